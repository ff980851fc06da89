"""How does the teacher's sampling temperature spread into language-model students?

The teacher of the embedded world is sampled at several temperatures, one bank each; students are trained on all k
responses to each prompt and then answer at temperature 1. Its answer distribution at a temperature T is exact, and so is
every student's. Students that memorise what they were given keep 1 − 1/k of the teacher's Gini variance G_p(T), and 1/k
moves between students (T4): a higher temperature raises both alike. The responses themselves obey T4 exactly, which is
judged; transformers are drawn beside it.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd.estimators import comparison, decompose_categorical, gini, kl_divergence, share_of, two_way_mean
from uqkd.llm import Prompts, SeedDesign, Testbed, answer_shares, weigh
from uqkd.llm.synthetic.exact import ROUNDING
from uqkd.llm.synthetic.questions import uncertain_prompts
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, elsewhere, measured
from uqkd.run import PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions
from uqkd.theory.statements.memorising import compare_memorised

Array = NDArray[np.float64]

Temperature = Annotated[float, pydantic.Field(ge=0.1, le=3.0)]
KL = "KL(teacher‖student), teacher at"  # its temperature, or temperature 1


class Options(EmbeddedOptions):
    temperatures: tuple[Temperature, ...] = (0.5, 1.0, 1.5)
    ks: tuple[PositiveInt, ...] = (1, 4)


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, temperatures=(0.3, 0.5, 0.7, 1.0, 1.25, 1.5), students=32, ks=(1, 4), steps=1_500,
                     batch=128),
    "full": Options(groups=16, entities=16, temperatures=(0.3, 0.5, 0.7, 1.0, 1.25, 1.5), students=64, ks=(1, 4, 16),
                    steps=3_000, batch=128),
}  # fmt: skip


def cells(options: Options, folder: str = "", fingerprints: dict[float, str] | None = None) -> list[dict]:
    shared = {"data": folder, **options.only("students", "steps", "batch", "lr"), "per_student": max(options.ks)}
    return [
        {**shared, "data_fingerprint": (fingerprints or {}).get(temperature, ""), "temperature": temperature, "k": k}
        for temperature in options.temperatures
        for k in options.ks
    ]


def measure(cell: dict) -> pd.DataFrame:
    testbed, k, temperature = Testbed.at(cell["data"]), cell["k"], cell["temperature"]
    prompts = uncertain_prompts(testbed.world)
    drawn = testbed.bank(temperature).responses(
        prompts, students=cell["students"], k=k, per_student=cell["per_student"]
    )
    targets = weigh(drawn, "multi")
    seed_design, key = SeedDesign.independent(cell["students"]), ("llm teacher noise", temperature, k)
    students = testbed.distill(targets, cell, seed_design=seed_design, key=key)
    p, plain = testbed.predict_proba(prompts, temperature=temperature), testbed.predict_proba(prompts)
    rows = [{"of": "students", **row} for row in of_students(students.predict_proba(prompts), p, plain, k=k)]
    rows += [{"of": "responses", **row} for row in compare_memorised(answer_shares(targets, testbed.encoder), p, k)]
    about = {"temperature": temperature, "k": k, "students": cell["students"], "prompts": len(prompts)}
    return pd.DataFrame([{**about, **row} for row in rows])


def of_students(q: Array, p: Array, plain: Array, *, k: int) -> list[dict]:
    """Students (S, P, C) beside the teacher at its own temperature and at 1, (P, C) each; T4 is what memorising gives."""
    parts, spread = decompose_categorical(q), gini(p)
    whole = float(spread.mean())
    intra, inter = parts.per_student_intra, parts.per_student_inter
    between = float(kl_divergence(plain, p, least=ROUNDING).mean())
    found = [
        ("intra", (1.0 - 1.0 / k) * whole, against(intra, spread, whole)),
        ("inter", whole / k, against(inter, spread, whole)),
        ("κ", 1.0, share_of(intra + inter, spread)),
        (f"{KL} its temperature", np.nan, two_way_mean(kl_divergence(p, q, least=ROUNDING))),
        (f"{KL} temperature 1", np.nan, two_way_mean(kl_divergence(plain, q, least=ROUNDING))),
        ("outside the valid answers", float(p[:, -1].mean()), two_way_mean(q[..., -1])),
        ("G_p of the teacher", np.nan, (whole, 0.0)),
        ("KL(teacher at 1‖teacher at its temperature)", np.nan, (between, 0.0)),
    ]
    return [comparison("", name, expected, *pair) for name, expected, pair in found]


def against(values: Array, spread: Array, whole: float) -> tuple[float, float]:
    """Mean of values (S, P), its error that of the share of G_p: prompts differ by what there is to spread."""
    share, error = share_of(values, spread)
    return share * whole, error * whole


def plot(table: pd.DataFrame, curve: pd.DataFrame) -> Figure:
    ks = sorted(table["k"].unique())
    figure, axes = figures.panels(2, 2, height=2.35)
    colours = figures.colours(4)
    for axis, k in zip(axes[0], (ks[0], ks[-1]), strict=True):
        for (name, label, share), colour in zip(
            (("intra", "within one student", 1 - 1 / k), ("inter", "between students", 1 / k)), colours, strict=False
        ):
            figures.theory(axis, curve["temperature"], share * curve["G_p"], color=colour)
            _points(axis, table, name, k=k, color=colour, label=label)
        axis.plot(curve["temperature"], curve["G_p"], ":", color="0.3", label="teacher, $G_p(T)$", zorder=4)
        axis.set(title=f"k = {k}", ylim=(-0.04, 1.0))
    axes[0, 0].set_ylabel("Gini variance")
    targets = (("its temperature", "teacher as sampled"), ("temperature 1", "teacher at T = 1"))
    for ((target, label), colour), markers in zip(zip(targets, colours[2:], strict=True), ("os", "^D"), strict=True):
        for k, marker in zip((ks[0], ks[-1]), markers, strict=True):
            _points(axes[1, 0], table, f"{KL} {target}", k=k, color=colour, fmt=marker, label=f"k = {k}: {label}")
    axes[1, 0].set(ylabel="KL(teacher‖student), nats")
    axes[1, 0].set_ylim(bottom=0.0)
    axes[1, 1].plot(curve["temperature"], curve["outside"], ":", color="0.3", label="teacher", zorder=1)
    for k, marker in zip((ks[0], ks[-1]), "os", strict=True):
        shown = {"color": "0.3", "fmt": marker, "label": f"students, k = {k}"}
        _points(axes[1, 1], table, "outside the valid answers", k=k, **shown)
    axes[1, 1].set(ylabel="mass on invalid answers")
    for axis, place in zip(axes[1], ("center", "upper left"), strict=True):
        axis.set_xlabel("teacher's sampling temperature, T")
        axis.legend(fontsize=7, loc=place)
    note = f"lines: T4, for students that memorise; points: transformers {captions.BARS}"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def _points(axis: Axes, table: pd.DataFrame, quantity: str, *, k: int, **options: Any) -> None:
    part = table[(table["of"] == "students") & (table["quantity"] == quantity) & (table["k"] == k)]
    figures.points(axis, part.sort_values("temperature"), "temperature", **options)


def teacher_curve(testbed: Testbed, prompts: Prompts, temperatures: tuple[float, ...]) -> pd.DataFrame:
    """The teacher's exact G_p and mass outside the valid answers over the range of temperatures."""
    low, high = min(temperatures), max(temperatures)
    dense = np.unique(np.concatenate([np.linspace(low, high, 13), temperatures]))
    exact = [testbed.predict_proba(prompts, temperature=float(one)) for one in dense]
    rows = [(one, gini(p).mean(), p[:, -1].mean()) for one, p in zip(dense, exact, strict=True)]
    return pd.DataFrame(rows, columns=["temperature", "G_p", "outside"])


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    prompts, fingerprints = uncertain_prompts(testbed.world), {}
    for temperature in options.temperatures:
        size = {"students": options.students, "per_student": max(options.ks)}
        fingerprints[temperature] = testbed.draw(prompts, **size, temperature=temperature, backend=options.backend)
    table = run.cells(cells(options, str(testbed.folder), fingerprints), measure)
    curve = teacher_curve(testbed, prompts, options.temperatures)
    said: Any = {"caption": caption(table), "answer": answer(table), "more": {"teacher": curve}}
    figures.publish(run, plot(table, curve), table=table, **said, group="llm", place=220)


def answer(table: pd.DataFrame) -> Answer | None:
    """How the variance between students follows the temperature, and what more responses add outside the valid answers."""
    low, high, one, many = (getattr(table[name], end)() for name in ("temperature", "k") for end in ("min", "max"))
    students = elsewhere.rows_of(table, of="students")

    def of(quantity: str, **where: float) -> pd.DataFrame:
        return elsewhere.rows_of(students, quantity=quantity, **where)

    cold, hot = (of("inter", k=one, temperature=t) for t in (low, high))
    outside = of("outside the valid answers", k=many)
    excess = outside.assign(simulated=outside["simulated"] - outside["predicted"])
    numbers = {
        **elsewhere.counts(one=one, many=many), "low": Number.exact(float(low), "g"), "high": Number.exact(float(high), "g"),
        "cold": elsewhere.estimate(cold), "hot": elsewhere.estimate(hot), "growth": elsewhere.difference(hot, cold),
        "kappa": elsewhere.estimate(of("κ", k=one)), "outside": elsewhere.estimate(excess, "+.2f", positive=False),
    }  # fmt: skip
    moved = {"above": "widens", "below": "narrows", "open": "leaves open how wide is"}[measured.side(numbers["growth"])]
    like = "as" if measured.side(numbers["kappa"], 1.0) == "open" else "not as"
    apart = "below" if measured.side(numbers["outside"]) == "below" else "not below"
    sentence = (
        f"a higher one {moved} what lies between students: from T = {{low}} to {{high}} their variance at k = {{one}} goes from "
        f"{{cold}} to {{hot}}, {like} the teacher's does (κ = {{kappa}}); what students of {{many}} put outside the valid "
        f"answers is {apart} the teacher's ({{outside}} on average over temperatures)"
    )
    return measured.stated(sentence, numbers)


def caption(table: pd.DataFrame) -> str:
    """What is seen, from the same table."""
    rows = table[table["of"] == "students"].set_index(["temperature", "k", "quantity"])
    low, high = table["temperature"].min(), table["temperature"].max()
    one, many = table["k"].min(), table["k"].max()

    def said(temperature: float, k: int, quantity: str) -> str:
        row: Any = rows.loc[(temperature, k, quantity)]  # type: ignore[index]  # the stubs know no index of floats
        return captions.simulated(row)

    every = [float(t) for t in sorted(table["temperature"].unique())]

    def each(quantity: str) -> str:
        return ", ".join(f"{said(t, many, quantity)} (T = {t:g})" for t in every)

    text = (
        f"{table['students'].iloc[0]} students per point, {table['prompts'].iloc[0]} prompts. From T = {low:g} to {high:g} the "
        f"teacher's G_p grows from {rows.loc[(low, one, 'G_p of the teacher'), 'simulated']:.2f} to "
        f"{rows.loc[(high, one, 'G_p of the teacher'), 'simulated']:.2f}; the variance between students of k = {one} from "
        f"{said(low, one, 'inter')} to {said(high, one, 'inter')}, that within one student of k = {many} from "
        f"{said(low, many, 'intra')} to {said(high, many, 'intra')}. κ at k = {many}: {each('κ')}. "
    )
    name = f"{KL} temperature 1"
    outside = "outside the valid answers"
    teachers = ", ".join(f"{rows.loc[(t, many, outside), 'predicted']:.2f}" for t in every)  # type: ignore[index]
    return text + (
        f"KL(teacher at temperature 1‖students of k = {many}): {each(name)} (nats). "
        f"Outside the valid answers they put {each(outside)}; the teacher {teachers}."
    )
