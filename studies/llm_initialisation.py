"""How far apart do language-model students end that begin apart, when everything they learn from is the same?

All students get the same responses in the same order; what differs is where they begin: near one model that was trained on
other phrasings, each parameter θ of it at θ + ε·|θ|·N(0, 1), or each at an initialisation of its own. The variance between
students of their answer distributions is computed before and after distillation, without sampling noise, as a share of the
teacher's Gini variance G_p.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd.estimators import comparison, decompose_categorical, gini, uncertainty_shares, variance_half_widths
from uqkd.llm import SeedDesign, Students, Testbed, distill, weigh
from uqkd.llm.students.models import Together
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.training.ways_to_train import stacked_of
from uqkd.llm.synthetic.questions import uncertain_prompts
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, elsewhere, measured
from uqkd.run import PositiveFloat, PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions

INDEPENDENT = -1.0  # instead of a perturbation: an initialisation of each student's own
HARDLY = 0.1  # share of G_p, below which students differ hardly at all


class Options(EmbeddedOptions):
    perturbations: tuple[PositiveFloat, ...] = (0.01, 0.1, 0.5)
    k: PositiveInt = 4


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=32, perturbations=(0.001, 0.01, 0.03, 0.1, 0.3, 1.0), steps=1_500, batch=128),
    "full": Options(groups=16, entities=16, students=64, perturbations=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), steps=3_000,
                    batch=128),
}  # fmt: skip


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    shared = {"data": folder, "data_fingerprint": fingerprint, **options.only("students", "k", "steps", "batch", "lr")}
    return [{**shared, "perturbation": level} for level in (*options.perturbations, INDEPENDENT)]


def measure(cell: dict) -> pd.DataFrame:
    testbed, level, S = Testbed.at(cell["data"]), cell["perturbation"], cell["students"]
    prompts = uncertain_prompts(testbed.world)
    targets = weigh(testbed.bank().responses(prompts, students=1, k=cell["k"], per_student=cell["k"]), "multi")
    recipe = testbed.student_recipe(steps=cell["steps"], batch=cell["batch"], lr=cell["lr"])
    key = ("llm initialisation", level)
    fresh = level == INDEPENDENT
    start = {"fresh": fresh, "perturbation": None if fresh else level}
    seed_design = SeedDesign.independent(S, freeze=["order"])
    students = distill(
        targets, student=testbed.base, encoder=testbed.encoder, recipe=recipe, seed_design=seed_design, key=key, **start
    )
    rows, p = [], testbed.predict_proba(prompts)
    for when, made in (("before", untrained(testbed, S, key, start)), ("after", students)):
        shares = uncertainty_shares(decompose_categorical(made.predict_proba(prompts)), gini(p))
        rows += [{"when": when, **comparison("", name, np.nan, *shares[name])} for name in ("inter", "intra")]
    about = {name: cell[name] for name in ("perturbation", "students", "k", "steps")}
    return pd.DataFrame([{**about, "prompts": len(prompts), **row} for row in rows])


def untrained(testbed: Testbed, students: int, key: tuple, start: dict[str, Any]) -> Students:
    """The same students where they begin."""
    initializer = Initializer.of(testbed.base, **start)
    begin = [initializer.parameters(s, key=key, adapter=s, shared=True) for s in range(students)]
    model = stacked_of(initializer, begin, key=key, dropout=range(students), device="cpu")
    none = np.full(students, np.nan)
    return Students(Together(model), testbed.encoder, np.full(students, -1), none, "untrained")


def plot(table: pd.DataFrame) -> Figure:
    figure, ((axis,),) = figures.panels(1, 1, height=3.0)
    near, free = table[table["perturbation"] > 0], table[table["perturbation"] == INDEPENDENT]
    levels = sorted(near["perturbation"].unique())
    apart = levels[-1] * 8  # independent beginnings stand at the right, behind a line
    for (when, label), style in zip(
        {"before": "before distillation", "after": "after"}.items(), figures.series_styles(2), strict=True
    ):
        part = near[(near["when"] == when) & (near["quantity"] == "inter")].sort_values("perturbation")
        own = free[(free["when"] == when) & (free["quantity"] == "inter") & (free["when"] != "before")]
        both = pd.concat([part, own])
        x = np.array([*part["perturbation"], *([apart] * len(own))]) * (0.95 if when == "before" else 1.05)
        reach = variance_half_widths(both["simulated"], both["standard_error"], both["students"])
        figures.intervals(axis, x, both["simulated"], yerr=reach, capsize=3, label=label, **style)
    untold = "before: untrained, no valid\nanswer to compare"
    axis.annotate(untold, (apart, 0.04), xycoords=("data", "axes fraction"), fontsize=7, ha="center", color="0.3")
    axis.axhline(1.0 / table["k"].iloc[0], color="0.4", linestyle=":", linewidth=1)
    axis.axvline(levels[-1] * 3, color="0.7", linewidth=1)
    axis.set(xscale="log", yscale="log", ylabel="inter-student variance / $G_p$")
    axis.set_xlabel("perturbation ε of where students begin")
    figures.ticks(axis, "x", [*levels, apart], [*(f"{level:g}" for level in levels), "independent"])
    note = f"points {captions.BARS}; dotted: 1/k, with other responses for each student (T4)"
    figures.legend_below(figure, axis, note, columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    fingerprint = testbed.draw(
        uncertain_prompts(testbed.world), students=1, per_student=options.k, backend=options.backend
    )
    table = run.cells(cells(options, str(testbed.folder), fingerprint), measure)
    figures.publish(run, plot(table), table=table, caption=caption(table), answer=answer(table), group="llm", place=250)


def answer(table: pd.DataFrame) -> Answer | None:
    """What is left between students after training, from whichever beginning leaves most."""
    after = elsewhere.rows_of(table, when="after", quantity="inter")
    end = elsewhere.estimate(after.nlargest(1, "simulated"), ".3f", shows="limits")
    others = 1.0 / int(table["k"].iloc[0])
    small, beside = measured.side(end, HARDLY), measured.side(end, others)
    far = "hardly at all" if small == "below" else "less than others" if beside == "below" else "as far as others"
    sentence = (
        f"{far}: on the same responses the variance between them ends at {{end}} of G_p at most, wherever they begin, where other "
        f"responses for each would leave 1/k = {{others}}"
    )
    return measured.stated(sentence, {"end": end, "others": Number.exact(others, ".2g")})


def caption(table: pd.DataFrame) -> str:
    """What is seen, from the same table."""
    inter = table[table["quantity"] == "inter"]

    def said(level: float, when: str) -> str:
        row = inter[(inter["perturbation"] == level) & (inter["when"] == when)].iloc[0]
        return captions.simulated(row, ".2g", reach=".1g")

    near = sorted(inter.loc[inter["perturbation"] > 0, "perturbation"].unique())
    first = inter.iloc[0]
    return (
        f"{first['students']} students per point, {first['prompts']} prompts, the same {first['k']} responses in the same order "
        f"for all. Inter-student variance as a share of G_p, before and after: {said(near[0], 'before')} and "
        f"{said(near[0], 'after')} "
        f"from ε = {near[0]:g}, {said(near[-1], 'before')} and {said(near[-1], 'after')} from ε = {near[-1]:g}, "
        f"{said(INDEPENDENT, 'before')} and {said(INDEPENDENT, 'after')} from independent beginnings, which give no valid answer "
        f"before, and so all the same. T4 with other responses for each would give {1 / first['k']:g}."
    )
