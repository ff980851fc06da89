"""`uqkd measure …`: let students answer, and measure what they do not know. Heavy libraries load when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uqkd.cli.app import MODELS, app, stoppable
from uqkd.cli.executing import (
    AddressOption,
    DryRunOption,
    Executor,
    ExecutorOption,
    PriceOption,
    WorkersOption,
    compare,
    show,
)
from uqkd.cli.models.cards import words_of, write_cards
from uqkd.cli.models.predicting import predict_drawing
from uqkd.cli.models.sample import note, pairs, typed
from uqkd.errors import DataError, OptionError

_TEACHERS = "the teacher's: default"


@app.command(epilog=MODELS)
@stoppable
def measure(
    context: typer.Context,
    students: Annotated[str, typer.Option(help="folder or fsspec URL of uqkd distill")],
    prompts: Annotated[str, typer.Option(help=".jsonl, .csv or .parquet with 'prompt' (id, answers); or a data set")],
    out: Annotated[
        str,
        typer.Option(
            help="table to write: .csv; beside it NAME.students.csv, .prompts.csv and .cells.csv (uqkd compare)"
        ),
    ],
    draws: Annotated[int, typer.Option(help="responses to each prompt by each student")] = 8,
    teacher_bank: Annotated[
        str | None, typer.Option(help="a teacher's responses that no student was trained on")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="the undistilled student; default: the one they were made of")
    ] = None,
    no_base: Annotated[bool, typer.Option("--no-base", help="leave the undistilled student out")] = False,
    backend: Annotated[str, typer.Option(help="transformers or vllm")] = "transformers",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    temperature: Annotated[float | None, typer.Option(help=f"of the answers; {_TEACHERS}")] = None,
    max_tokens: Annotated[int | None, typer.Option(help=f"greatest length of a response; {_TEACHERS}")] = None,
    top_p: Annotated[float | None, typer.Option(help=f"keep tokens of this total probability; {_TEACHERS}")] = None,
    top_k: Annotated[int | None, typer.Option(help=f"keep so many tokens, 0 keeps all; {_TEACHERS}")] = None,
    min_p: Annotated[
        float | None, typer.Option(help=f"drop tokens below this share of the most probable; {_TEACHERS}")
    ] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help=f"1 is none; {_TEACHERS}")] = None,
    system: Annotated[str | None, typer.Option(help="a system turn before every prompt, as in uqkd sample")] = None,
    template_arg: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="of the chat template, as in uqkd sample")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="chat template; default: if there is one")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="a column's name in the file: prompt=question")
    ] = None,
    split: Annotated[str, typer.Option(help="of a data set")] = "train",
    clusters: Annotated[str, typer.Option(help="exact, normalised or nli")] = "normalised",
    nli: Annotated[str | None, typer.Option(help="model of clusters nli")] = None,
    embedding: Annotated[str, typer.Option(help="builtin, or a sentence-transformers model")] = "builtin",
    max_flagged: Annotated[float, typer.Option(help="greatest share of flagged responses")] = 1.0,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    dry_run: DryRunOption = False,
    price_hour: PriceOption = None,
) -> None:
    """Draw answers of every student and of the undistilled one, kept beside the table; measure what they do not know.

    The numbers go to the uncertainty cards (README.md of each student) too.
    """
    from uqkd.llm import estimate, read_prompts
    from uqkd.llm.measuring.answers.recorded import recorded
    from uqkd.llm.measuring.losses import HeldOut
    from uqkd.llm.measuring.tables.printing import lines
    from uqkd.run.predictions import clock, key_of
    from uqkd.store import Store, twin

    if not out.endswith(".csv"):
        raise OptionError(f"--out got {out!r}; give a file that ends in .csv.")
    began, where = clock(), Executor(executor, address, workers)
    there = recorded(twin(students))
    wanted = read_prompts(prompts, split=split, system=system, columns=pairs("--column", column), note=note)
    sampling, line = there.sampled(
        temperature=temperature, max_tokens=max_tokens, top_p=top_p, top_k=top_k, min_p=min_p,
        repetition_penalty=repetition_penalty,
    )  # fmt: skip
    print(line, flush=True)
    models = [(folder.name, folder) for folder in there.folders]
    undistilled = None if no_base else _base(there, base)
    teacher, day, bank = (None, None, "") if teacher_bank is None else _teacher(teacher_bank, wanted, there)
    prompting = {"chat": chat, "template_args": typed(pairs("--template-arg", template_arg)), "device": device}
    every, count = [*models, *([("undistilled", undistilled)] if undistilled else [])], len(models)
    how = {"sampling": sampling, "max_flagged": max_flagged, "backend": backend, **prompting}
    known_by = key_of(
        prompts=wanted.fingerprint, draws=draws, sampling=sampling.columns(), models=[name for name, _ in every],
        learnt=there.bank, executor=executor, workers=workers,
    )  # fmt: skip
    missing = _missing(every, wanted, draws, out)
    if dry_run:
        predicted = _predicted(every, wanted, missing, where, clock() - began, how)
        show(predicted, Store(_root(out)), known_by, price_hour)
        return
    lost = (
        None
        if where.is_local
        else _elsewhere(where, every, wanted, draws, out, teacher, how, {**prompting, "day": day})
    )
    answers = _answers(every, wanted, draws, out, **how)
    compare(Store(_root(out)), known_by, count=missing, seconds=clock() - began)
    if teacher is not None and lost is None:
        lost = _losses(every, teacher, day=day, **prompting)
    losses = None if teacher is None or lost is None else HeldOut.concatenate(lost[:count], *lost[count:])
    banks = [*(name for name, _ in models), *(["undistilled"] if undistilled else [])]
    found = estimate(
        answers.of_students(range(count)), teacher, held_out=losses, embedding=embedding, clusters=clusters, model=nli,
        likelihoods=_likelihoods(banks, wanted, draws, out),
        undistilled=answers.of_students(count) if undistilled else None, names=[name for name, _ in models],
    )  # fmt: skip
    files = _write(out, found, bank)
    print("\n".join(lines(found)))
    print(f"{', '.join(files)}: {count} students, {len(wanted)} prompts, {draws} answers each")
    names = [*(["undistilled"] if undistilled else []), *(name for name, _ in models)]
    said = {name: answers.of_students(banks.index(name)) for name in names}
    beside = None if teacher is None else {
        "fingerprint": bank, "place": teacher_bank, "responses": teacher.shape[2], "learnt": bank == there.bank,
    }  # fmt: skip
    _cards(
        students, found, wanted, said if teacher is None else {"teacher": teacher, **said}, teacher=beside, draws=draws,
        sampling=sampling.columns(), sampled=line, clusters=clusters, undistilled=undistilled, table=out,
        command=words_of(context),
    )  # fmt: skip


def _cards(root: str, found: Any, wanted: Any, said: dict[str, Any], **about: Any) -> None:
    """Write what was measured into the students' cards."""
    from uqkd.llm.measuring.facts import measuring_facts
    from uqkd.report.card import read_facts
    from uqkd.store import twin

    try:
        learnt = read_facts(twin(root)).bank.get("prompt_keys")
    except DataError as problem:
        note(f"no uncertainty card was written: {problem}")
        return
    if written := write_cards(root, measured=measuring_facts(found, wanted, learnt=learnt, answers=said, **about)):
        print(f"uncertainty card of each of {written} students: README.md in its folder; uqkd report {root} shows them")


def _base(there: Any, given: str | None) -> str | None:
    """The undistilled student; a note where there is none."""
    from uqkd.llm.models.revision import check_model

    if given is not None:
        check_model(given)
        return given
    if there.fresh:
        note("the students began with new parameters; there is no undistilled student to measure beside them")
        return None
    if there.base is None:
        note(
            "the students' folders do not say what they were made of (older students); --base DIR measures it beside them"
        )
        return None
    try:
        check_model(there.base)
    except DataError as problem:
        raise DataError(
            f"the undistilled student is not where it was: {problem} Give it as --base DIR, or leave it out with --no-base."
        ) from None
    return str(there.base)


def _teacher(place: str, wanted: Any, there: Any) -> tuple[Any, str | None, str]:
    """The teacher's responses to these prompts, their day, their bank; a note where the students were trained on them."""
    from uqkd.llm.bank import Bank

    bank = Bank(place, create=False)
    if there.bank is not None and bank.fingerprint == there.bank:
        note(
            f"{place!r} is the bank that the students learnt: distances from the teacher and losses come out too small; draw "
            "another one (uqkd sample --seed-key held-out, or other prompts)"
        )
    every = bank.prompts()[1]
    return (
        bank.responses(wanted, students=1, k=every, per_student=every),
        (bank.identity or {}).get("template_day"),
        str(bank.fingerprint),
    )


def _answers(models: Any, wanted: Any, draws: int, out: str, **how: Any) -> Any:
    """Answers of all models, with progress."""
    from uqkd.llm.measuring.answers.drawing import draw_students
    from uqkd.run.progress import Progress

    root, total = _root(out), len(models) * len(wanted) * draws
    with Progress("measure", total=total, done=0, what="answers") as progress:

        def advance(done: int, _total: int) -> None:
            progress.done = done - 1
            progress.advance()

        say = lambda line: print(line, flush=True)  # noqa: E731
        return draw_students(models, wanted, draws, root=root, say=say, progress=advance, **how)


def _missing(models: Any, wanted: Any, draws: int, out: str) -> int:
    """Answers that are not there."""
    from uqkd.llm.bank import Bank

    banks = (Bank(f"{_root(out)}/{name}") for name, _ in models)
    return sum(len(bank.inventory(wanted, draws).missing) for bank in banks)


def _predicted(models: Any, wanted: Any, missing: int, where: Executor, before_s: float, how: Any) -> Any:
    """What drawing takes, by the first of the models; losses and the table are not counted."""
    from uqkd.llm.teachers import open_teacher
    from uqkd.run.predictions import clock

    asked = {name: value for name, value in how.items() if name not in ("sampling", "max_flagged")}
    began = clock()
    opened = open_teacher(models[0][1], **asked)
    try:
        opening = (clock() - began) * len(models) / (where.workers or 1)
        return predict_drawing(
            opened, wanted, missing, sampling=how["sampling"], where=where, before_s=before_s + opening, what="answers"
        )
    finally:
        opened.close()


def _root(out: str) -> str:
    """Folder of the answers' banks."""
    return f"{out.removesuffix('.csv')}.draws"


def _likelihoods(names: list[str], wanted: Any, draws: int, out: str) -> Any:
    """Likelihoods of the answers, where the engine gave them."""
    from uqkd.llm.bank import Bank
    from uqkd.llm.measuring.answers.likelihoods import likelihoods_of

    return likelihoods_of([Bank(f"{_root(out)}/{name}") for name in names], wanted, draws)


def _losses(models: Any, teacher: Any, **how: Any) -> list[Any]:
    """Losses on the teacher's responses, one model after another."""
    from uqkd.llm.measuring.held_out import loss_of_folder

    found = []
    for name, path in models:
        print(f"{name}: loss on the teacher's responses", flush=True)
        found.append(loss_of_folder(path, teacher, **how))
    return found


def _elsewhere(
    where: Executor, models: Any, wanted: Any, draws: int, out: str, teacher: Any, how: Any, prompting: Any
) -> list[Any]:
    """Answers of all models, drawn on Ray into their banks, and their losses."""
    from uqkd.llm.measuring.answers.distributed import Asking, ask_elsewhere
    from uqkd.llm.teachers.distributed import from_anywhere
    from uqkd.run.progress import Progress

    root = _root(out) if "://" in out else str(Path(_root(out)).absolute())
    make = Asking(wanted, draws, root, how, teacher, prompting)
    pool = where.actors(make, device=how["device"], what="models")
    try:
        with Progress("measure", total=len(models), what="models") as progress:
            named = [(name, from_anywhere(str(path))) for name, path in models]
            return ask_elsewhere(pool, named, progress=progress.advance)
    finally:
        pool.close()


def _write(out: str, found: Any, bank: str) -> list[str]:
    """Four CSV files; a text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    import pandas as pd

    from uqkd.store import Store, apart

    folder, file = apart(out)
    store, names = Store(folder), []
    for part in ("quantities", "students", "prompts", "cells"):
        name = file if part == "quantities" else f"{file.removesuffix('.csv')}.{part}.csv"
        table = pd.DataFrame(getattr(found, part))
        if part == "cells":
            table.insert(2, "teacher", bank)  # whose answers distances are from
        for column in table.columns:
            table[column] = [
                f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@", "\t", "\r") else v
                for v in table[column]
            ]
        store.write_bytes(name, table.to_csv(index=False).encode("utf-8", "surrogatepass"))
        names.append(f"{out.removesuffix(file)}{name}")
    return names
