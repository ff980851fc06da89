"""How much of a teacher's doubt does a classifier keep, and how much moves between classifiers, under every method?

Ten students of one teacher by each method of distillation, all with the same architecture and steps. Within a student: its own
Gini variance; between students: the variance of their probabilities, unbiased; both as shares of the teacher's Gini variance
G_p on test rows. Methods that sample labels draw them anew for each student; all others differ by initialisation, order and
mixing alone.
"""

from __future__ import annotations

from typing import Annotated, Any

import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import METHODS, Distillation, Mixing, SeedDesign, distill, weigh
from uqkd.estimators import (
    decompose_categorical,
    gini,
    mean_and_error,
    two_way_mean,
    uncertainty_shares,
    variance_half_widths,
)
from uqkd.report import captions, figures
from uqkd.run import AtLeastTwo, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_target_factory, cell_recipe, evaluate, network, task_cells
from uqkd.testbeds.options import TaskOptions

SAMPLED = {"1 sampled label": 1, "4 sampled labels": 4, "16 sampled labels": 16, "4 labels and folds, by precision": 4}
KINDS = ("within one student", "between students", "sum")  # of shares of G_p
MIXED = {"labels, mixup": 0.0, "teacher, mixup": 1.0}  # weight of the teacher


class Options(TaskOptions):
    students: Annotated[int, pydantic.Field(ge=3)] = 10
    steps: AtLeastTwo = 500


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), students=100, steps=3_000),
    "full": Options(tasks=("digits", *(f"intents:{n}" for n in (6, 30, 77, 150))), students=200, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**task, **options.training, "method": method}
        for task in task_cells(options)
        for method in (*METHODS, *SAMPLED, *MIXED)
        if not (method in MIXED and task["kind"] == "texts")  # words have no average
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, method, students = task_of(cell), cell["method"], cell["students"]
    of_teacher, of_students = cell["networks"]
    recipe = cell_recipe(cell)
    views = cached_target_factory(task, network=of_teacher, recipe=recipe)
    key = ("classify variance", *(str(cell[name]) for name in sorted(cell)))
    targets: Any = views.targets(method) if method in METHODS else views.teacher
    if method in SAMPLED:
        drawn = views.teacher.respond(task.X, SAMPLED[method], students=students, key=(*key, "labels"))
        how: Any = {"method": "precision", "second": views.folds.probabilities} if "folds" in method else {}
        targets = weigh(drawn, **how, classes=len(task.classes))
    trained = distill(
        task.X, targets, labels=task.labels, factory=network(of_students, task), recipe=recipe,
        objective=Distillation(1.0, weight=MIXED.get(method, 1.0)), seed_design=SeedDesign.independent(students),
        mixing=Mixing() if method in MIXED else None, key=key,
    )  # fmt: skip
    q, p = trained.predict_proba(task.X_test), views.teacher.predict_proba(task.X_test)
    parts, spread = decompose_categorical(q), gini(p)
    numbers = dict(zip(KINDS, uncertainty_shares(parts, spread).values(), strict=True))
    numbers["mutual information"] = two_way_mean(parts.per_student_information)
    scores = evaluate(trained, task)
    for name in ("accuracy", "nll", "signed_gap", "ece", "nll_scaled"):
        numbers[name] = mean_and_error(scores[name])
    about = {"data": data_label(cell), "method": method, "students": students, "teacher_gini": float(spread.mean())}
    rows = [{"measure": name, "value": value, "standard_error": error} for name, (value, error) in numbers.items()]
    return pd.DataFrame([{**about, **row} for row in rows])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(1, len(names), height=4.4, sharey=True)
    methods = [*METHODS, *SAMPLED, *MIXED]
    place = {method: -n for n, method in enumerate(methods)}
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["data"] == name]
        for measure, colour, marker, aside in zip(KINDS, figures.colours(3), "so^", (0.18, -0.18, 0.0), strict=True):
            part = rows[rows["measure"] == measure]
            at = part["method"].map(place) + aside
            reach = variance_half_widths(part["value"], part["standard_error"], part["students"])
            figures.intervals(axis, part["value"], at, xerr=reach, fmt=marker, color=colour, label=measure)
        axis.axvline(1.0, color="0.4", linewidth=0.9)
        axis.set_xscale("log")
        axis.set_yticks(list(place.values()), [captions.method_name(method) for method in methods])
        axis.set(xlabel="share of the teacher's $G_p$", title=f"{name}, $G_p$ = {rows['teacher_gini'].iloc[0]:.3f}")
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.BARS} over students and rows")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    figures.publish(run, plot(table), table=table, caption=caption(table, options), group="classify", place=460)


def caption(table: pd.DataFrame, options: Options) -> str:
    def of(name: str, method: str, measure: str) -> str:
        rows = table[(table["data"] == name) & (table["method"] == method) & (table["measure"] == measure)]
        return captions.plus_minus(*rows[["value", "standard_error"]].iloc[0], variance_of=options.students)

    told = []
    for name in table["data"].unique():
        between = table[(table["data"] == name) & (table["measure"] == "between students")]
        most, least = (between.loc[getattr(between["value"], pick)(), "method"] for pick in ("idxmax", "idxmin"))
        kept = ", ".join(
            f"{of(name, m, 'within one student')} and {of(name, m, 'between students')} ({m})"
            for m in ("teacher", "1 sampled label", "16 sampled labels")
        )
        told.append(f"{name}: within and between {kept}; most between students of '{most}', least of '{least}'")
    return f"Shares of the teacher's Gini variance on test rows, {options.students} students per method. {'; '.join(told)}."
