"""Can a student's confidence be taken at its word where its teacher's can, or cannot?

Reliability of a teacher and of its students on test rows: how often they are right beside how sure they are. The grey band is where
a calibrated classifier with as many rows would lie. Students learn the teacher's distribution ("plain distillation"), one label
that it sampled for each row, or the true labels without a teacher. Their rows are counted together, student by student.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd.classify import Distillation, SeedDesign, distill, weigh
from uqkd.estimators import half_width, mean_and_error, percent, reliability_band, reliability_curve, signed_gap
from uqkd.estimators.calibration.binned import ReliabilityCurve
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number
from uqkd.run import AtLeastTwo, PositiveInt, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, network, task_cells
from uqkd.testbeds.options import TaskOptions

TEACHER, PLAIN, SAMPLED, LABELS = "the teacher", "plain distillation", "one sampled label", "labels, no teacher"
FEWEST_ROWS = 5  # of a bin that is drawn
GAP = "confidence − accuracy"


class Options(TaskOptions):
    bins: PositiveInt = 10
    students: AtLeastTwo = 6


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), students=20, steps=3_000, bins=15),
    "full": Options(tasks=("digits", "intents:30", "intents:150"), students=50, steps=3_000, bins=15),
}


def cells(options: Options) -> list[dict]:
    kinds = (TEACHER, PLAIN, SAMPLED, LABELS)
    shared = {**options.training, "bins": options.bins}
    return [{**task, **shared, "who": who} for task, who in product(task_cells(options), kinds)]


def measure(cell: dict) -> pd.DataFrame:
    task, recipe, who, S = task_of(cell), cell_recipe(cell), cell["who"], cell["students"]
    teacher = cached_teacher(task, network=cell["networks"][0], recipe=recipe)
    key = ("across reliability", task.fingerprint, who)
    if who == TEACHER:
        q = teacher.predict_proba(task.X_test)[None]
    else:
        targets = weigh(teacher.predict_proba(task.X), "soft")
        if who == SAMPLED:
            targets = weigh(teacher.respond(task.X, 1, students=S, key=key), classes=len(task.classes))
        students = distill(
            task.X, targets, labels=task.labels, factory=network(cell["networks"][1], task), recipe=recipe, key=key,
            objective=Distillation(1.0, weight=0.0 if who == LABELS else 1.0), seed_design=SeedDesign.independent(S),
        )  # fmt: skip
        q = students.predict_proba(task.X_test)
    about = {"data": data_label(cell), "who": who, "students": len(q)}
    curves = [reliability_curve(one, task.labels_test, bins=cell["bins"]) for one in q]
    rows = [
        {**about, "quantity": "bin", "student": s, "confidence": c, "accuracy": a, "rows": n}
        for s, curve in enumerate(curves)
        for c, a, n in zip(curve.confidence, curve.accuracy, curve.count, strict=True)
    ]
    gaps = np.atleast_1d(signed_gap(q, task.labels_test))
    return pd.DataFrame(rows + [{**about, "quantity": GAP, "student": s, "value": gap} for s, gap in enumerate(gaps)])


def plot(table: pd.DataFrame) -> Figure:
    names, others = table["data"].unique(), (PLAIN, SAMPLED, LABELS)
    figure, axes = figures.panels(len(names), len(others), height=2.3, sharex=True, sharey=True)
    for line, name in zip(axes, names, strict=True):
        rows = table[(table["data"] == name) & (table["quantity"] == "bin")]
        teacher = rows[rows["who"] == TEACHER]
        for axis, who in zip(line, others, strict=True):
            _curve(axis, teacher, figures.series_styles(2)[0], label=TEACHER, shaded=True)
            _curve(axis, rows[rows["who"] == who], figures.series_styles(2)[1], label="students", shaded=False)
            axis.plot([0, 1], [0, 1], color="0.25", linewidth=1, linestyle="--")
            axis.set_title(f"{name}: {who}")
    figures.outer_labels(axes, x="confidence", y="share right")
    note = f"band: {percent()} of a calibrated teacher; bars: {captions.INTERVALS}; thin: single students\n"
    note += f"(bins of {FEWEST_ROWS} rows and more)"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def _curve(axis: Axes, rows: pd.DataFrame, style: dict, *, label: str, shaded: bool) -> None:
    """Points over all rows of all students in bins of their confidence, and each student's own curve behind."""
    edges = np.linspace(0.0, 1.0, 11)
    whole = rows.assign(bin=np.digitize(rows["confidence"], edges), c=rows["confidence"] * rows["rows"],
                        a=rows["accuracy"] * rows["rows"])  # fmt: skip
    sums = whole.groupby("bin")[["c", "a", "rows"]].sum()
    shared = np.round(sums["rows"] / rows["students"].iloc[0])  # students share their test rows
    counts = np.maximum(1, shared).astype(int)
    sums, counts = sums[counts >= FEWEST_ROWS], counts[counts >= FEWEST_ROWS]
    said, right = ((sums[of] / sums["rows"]).to_numpy() for of in "ca")
    curve = ReliabilityCurve(said, right, counts.to_numpy())
    found = reliability_band(curve)
    if shaded:
        low, high = found.consistent_low, found.consistent_high
        axis.fill_between(curve.confidence, low, high, color="0.85", linewidth=0, zorder=0)
    else:
        for _, own in rows[rows["rows"] >= FEWEST_ROWS].groupby("student"):
            axis.plot(own["confidence"], own["accuracy"], color=style["color"], linewidth=0.4, alpha=0.6)
    reach = [curve.accuracy - found.accuracy_low, found.accuracy_high - curve.accuracy]
    figures.intervals(axis, curve.confidence, curve.accuracy, yerr=np.maximum(reach, 0.0), label=label, **style)


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    about: Any = {"answer": answer(table), "caption": caption(table), "group": "across", "place": 40}
    figures.publish(run, plot(table), table=table, **about)


def gap(table: pd.DataFrame, name: str, who: str) -> tuple[float, float]:
    """Mean confidence less accuracy and its half-width over students; of one teacher NaN."""
    values = table.loc[(table["data"] == name) & (table["who"] == who) & (table["quantity"] == GAP), "value"].to_numpy()
    if len(values) < 2:
        return float(values.mean()), float("nan")
    mean, error = mean_and_error(values)
    return mean, float(half_width(error, len(values)))


def answer(table: pd.DataFrame) -> Answer:
    numbers, told = {}, []
    for i, name in enumerate(table["data"].unique()):
        for who, short in ((PLAIN, "plain"), (SAMPLED, "sampled"), (LABELS, "labels")):
            mean, reach = gap(table, name, who)
            numbers[f"{short}_{i}"] = Number.measured(mean, mean - reach, mean + reach, "+.3f", shows="reach")
        told.append(
            f"{{plain_{i}}} after plain distillation, {{sampled_{i}}} of one sampled label, {{labels_{i}}} of labels ({name})"
        )
    return Answer(f"students' confidence less their accuracy is {'; '.join(told)}", numbers)


def caption(table: pd.DataFrame) -> str:
    told = [f"{name} {gap(table, name, TEACHER)[0]:+.3f}" for name in table["data"].unique()]
    students = int(table["students"].max())
    return captions.minus(
        f"{students} students of one teacher each; confidence less accuracy of the teacher: {', '.join(told)}. Bars count a "
        "test row once, however many students answer it."
    )
