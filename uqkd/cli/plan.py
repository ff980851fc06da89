"""`uqkd plan …`: what a pilot says about the best size of an experiment. Heavy libraries load when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.errors import OptionError

_HELD = "; a number, or LEAST:MOST"


@app.command(epilog=STUDIES)
@stoppable
def plan(
    answers: Annotated[
        str | None,
        typer.Option(help="table of a pilot: of uqkd measure, or with columns student, prompt and value, or answers"),
    ] = None,
    components: Annotated[
        str | None, typer.Option(help='.json of known components: {"prompt": .04, "student": .01, ...}')
    ] = None,
    budget: Annotated[float | None, typer.Option(help="greatest cost: the least standard error is sought")] = None,
    target: Annotated[float | None, typer.Option(help="greatest standard error: the least cost is sought")] = None,
    cost_response: Annotated[float, typer.Option(help="of one teacher response")] = 0.0,
    cost_student: Annotated[float, typer.Option(help="of one student, whatever it is trained on")] = 0.0,
    cost_row: Annotated[float, typer.Option(help="of training a student on one response")] = 0.0,
    cost_draw: Annotated[float, typer.Option(help="of one answer of a student")] = 0.0,
    cost_prompt: Annotated[float, typer.Option(help="of one prompt to measure on")] = 0.0,
    train_prompts: Annotated[
        int | None, typer.Option(help="prompts trained on; default: those that are measured on")
    ] = None,
    one_bank: Annotated[bool, typer.Option("--one-bank", help="all students learn the same responses")] = False,
    quantity: Annotated[
        str | None,
        typer.Option(help="what will be reported: of a table of uqkd measure one of its quantities, or inter"),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="rows of --answers to take: method=multi")
    ] = None,
    prompts_are: Annotated[str, typer.Option(help="random (a sample) or fixed (all that there are)")] = "random",
    k: Annotated[str | None, typer.Option(help="teacher responses a prompt" + _HELD)] = None,
    students: Annotated[str | None, typer.Option(help="students" + _HELD)] = None,
    draws: Annotated[str | None, typer.Option(help="answers of each student to each prompt" + _HELD)] = None,
    prompts: Annotated[str | None, typer.Option(help="prompts to measure on" + _HELD)] = None,
    cautious: Annotated[
        bool, typer.Option("--cautious", help="plan with components at the upper end of their intervals")
    ] = False,
    out: Annotated[str | None, typer.Option(help="table of the curve around the best design: .csv")] = None,
    figure: Annotated[str | None, typer.Option(help="picture of the curve: .png or .pdf")] = None,
) -> None:
    """Best numbers of responses, students, answers and prompts for a budget or a standard error."""
    from uqkd.plan import Costs
    from uqkd.plan import plan as planned
    from uqkd.plan.printing import lines
    from uqkd.plan.tables import components_of_file, pilot_of_table

    if (answers is None) == (components is None):
        raise OptionError("plan needs the table of a pilot, --answers FILE.csv, or known ones, --components FILE.json.")
    if out is not None and not out.endswith(".csv"):
        raise OptionError(f"--out got {out!r}; give a file that ends in .csv.")
    if figure is not None and not figure.endswith((".png", ".pdf")):
        raise OptionError(f"--figure got {figure!r}; give a file that ends in .png or .pdf.")
    costs = Costs(cost_response, cost_student, cost_row, cost_draw, cost_prompt, train_prompts, one_bank)
    given = {"k": k, "students": students, "draws": draws, "prompts": prompts}
    limits = {level: _limits(level, text) for level, text in given.items() if text is not None}
    if answers is None:
        pilot = components_of_file(str(components))
    else:
        pilot = pilot_of_table(answers, quantity=quantity, where=_pairs(where), limits=limits)
        _complete(pilot, costs)
    found = planned(
        pilot, costs, budget=budget, target=target, cautious=cautious, prompts=prompts_are, limits=limits,
        quantity="inter" if quantity == "inter" else "mean", shared=("teacher",) if one_bank else (),
    )  # fmt: skip
    print("\n".join(lines(found)))
    curve = found.curve() if out or figure else []
    if out is not None:
        text = ",".join(curve[0]) + "\n" + "".join(",".join(map(str, row.values())) + "\n" for row in curve)
        _write(out, text.encode())
        print(f"{out}: the curve around it")
    if figure is not None:
        from uqkd.report.plans import plan_figure

        _write(figure, plan_figure(curve, kind=figure[-3:]))
        print(f"{figure}: the same as a picture")


def _complete(pilot: Any, costs: Any) -> None:
    """Refuse a pilot of which is not known what its students were trained on, or how often they were asked, where that costs."""
    effects = ":".join(pilot.effects)
    if "teacher" not in effects and "k" not in pilot.held and (costs.response or costs.row):
        raise OptionError(
            "the table does not say how many responses the pilot's students learnt for each prompt; give --k."
        )
    if "decoding" not in effects and "draws" not in pilot.held and costs.draw:
        raise OptionError("the table does not say how many answers each student gave to each prompt; give --draws.")


def _limits(level: str, text: str) -> tuple[int, int]:
    """'8' or '2:20'."""
    first, _, last = text.partition(":")
    if not first.isdigit() or (last and not last.isdigit()):
        raise OptionError(f"--{level} got {text!r}; give a number, or the least and the most as 2:20.")
    return int(first), int(last or first)


def _pairs(given: list[str] | None) -> dict[str, str]:
    found = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise OptionError(f"--where got {text!r}; give COLUMN=VALUE, such as method=multi.")
        found[name] = value
    return found


def _write(out: str, content: bytes) -> None:
    from uqkd.store import Store

    path = Path(out).absolute()
    Store(path.parent).write_bytes(path.name, content, recorded=False)
