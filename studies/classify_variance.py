"""How much of a teacher's doubt does a classifier keep, and how much moves between classifiers, under every method?

Ten students of one teacher by each method of distillation, all with the same architecture and steps. Within a student: its own
Gini variance; between students: the variance of their probabilities, unbiased; both as shares of the teacher's Gini variance
G_p on test rows. Methods that sample labels draw them anew for each student; all others differ by initialisation, order and
mixing alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import (
    METHODS,
    ClassTargets,
    Distillation,
    Mixing,
    SeedDesign,
    TargetFactory,
    distill,
    weigh_labels,
    weigh_precision,
)
from uqkd.estimators import decompose_categorical, gini, share_of, two_way_mean
from uqkd.report import figures
from uqkd.run import Run
from uqkd.testbeds.cells import data_label, task_cell, task_of
from uqkd.testbeds.classification import cached_target_factory, cell_recipe, check_networks, evaluate, network
from uqkd.testbeds.options import TaskOptions

Sampled = Callable[[TargetFactory, Any, int, tuple], ClassTargets]


def sampled(k: int) -> Sampled:
    return lambda views, X, students, key: weigh_labels(
        views.teacher.respond(X, k, students=students, key=key), views.probabilities.shape[1]
    )


def blended(k: int) -> Sampled:
    return lambda views, X, students, key: weigh_precision(
        views.teacher.respond(X, k, students=students, key=key), views.folds.probabilities
    )


SAMPLED: dict[str, Sampled] = {
    "1 sampled label": sampled(1),
    "4 sampled labels": sampled(4),
    "16 sampled labels": sampled(16),
    "4 labels and folds, by precision": blended(4),
}
MIXED = {"labels, mixup": 0.0, "teacher, mixup": 1.0}  # weight of the teacher


class Options(TaskOptions):
    students: Annotated[int, pydantic.Field(ge=3)] = 10
    steps: Annotated[int, pydantic.Field(ge=2)] = 500
    batch: Annotated[int, pydantic.Field(ge=2)] = 32


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), students=100, steps=3_000),
    "full": Options(
        tasks=("digits", "intents:6", "intents:30", "intents:77", "intents:150"), students=200, steps=3_000
    ),
}


def cells(options: Options) -> list[dict]:
    how = {name: getattr(options, name) for name in ("students", "steps", "batch")}
    tasks = [task_cell(name, **options.reading) for name in options.tasks]
    for task in tasks:
        check_networks(task_of(task), options.trained(task["kind"])["networks"])
    return [
        {**task, **options.trained(task["kind"]), **how, "method": method}
        for task in tasks
        for method in (*METHODS, *SAMPLED, *MIXED)
        if not (method in MIXED and task["kind"] == "texts")  # words have no average
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, method, students = task_of(cell), cell["method"], cell["students"]
    of_teacher, of_students = cell["networks"]
    recipe = cell_recipe(cell)
    views = cached_target_factory(task, network=of_teacher, recipe=recipe)
    key = ("classify variance", *(str(cell[name]) for name in sorted(cell)))
    targets: Any = views.teacher
    if method in SAMPLED:
        targets = SAMPLED[method](views, task.X, students, (*key, "labels"))
    elif method in METHODS:
        targets = views.targets(method)
    trained = distill(
        task.X, targets, labels=task.labels, factory=network(of_students, task), recipe=recipe,
        objective=Distillation(1.0, weight=MIXED.get(method, 1.0)), seed_design=SeedDesign.independent(students),
        mixing=Mixing() if method in MIXED else None, key=key,
    )  # fmt: skip
    q, p = trained.predict_proba(task.X_test), views.teacher.predict_proba(task.X_test)
    parts, spread = decompose_categorical(q), gini(p)
    numbers = {
        "within one student": share_of(parts.per_student_intra, spread),
        "between students": share_of(parts.per_student_inter, spread),
        "sum": share_of(parts.per_student_intra + parts.per_student_inter, spread),
        "mutual information": two_way_mean(parts.per_student_information),
    }
    scores = evaluate(trained, task)
    for name in ("accuracy", "nll", "signed_gap", "ece", "nll_scaled"):
        numbers[name] = (float(scores[name].mean()), float(scores[name].std(ddof=1) / len(scores[name]) ** 0.5))
    about = {"data": data_label(cell), "method": method, "students": students, "teacher_gini": float(spread.mean())}
    return pd.DataFrame(
        [
            {**about, "measure": name, "value": value, "standard_error": error}
            for name, (value, error) in numbers.items()
        ]
    )


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(1, len(names), height=4.4, sharey=True)
    methods = [*METHODS, *SAMPLED, *MIXED]
    place = {method: -n for n, method in enumerate(methods)}
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["data"] == name]
        kinds = ("within one student", "between students", "sum")
        for measure, colour, marker, aside in zip(kinds, figures.colours(3), "so^", (0.18, -0.18, 0.0), strict=True):
            part = rows[rows["measure"] == measure]
            axis.errorbar(
                part["value"], part["method"].map(place) + aside, xerr=1.96 * part["standard_error"], fmt=marker, ms=3.5,
                mfc="white", capsize=2, color=colour, label=measure,
            )  # fmt: skip
        axis.axvline(1.0, color="0.4", linewidth=0.9)
        axis.set_xscale("log")
        axis.set_yticks(list(place.values()), methods)
        axis.set(xlabel="share of the teacher's $G_p$", title=f"{name}, $G_p$ = {rows['teacher_gini'].iloc[0]:.3f}")
    figures.legend_below(figure, axes[0, 0], "bars: ± 1.96 standard errors over students and rows")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    title = __doc__.splitlines()[0]
    figures.publish(run, plot(table), table=table, title=title, caption=caption(table, options), place=460)


def caption(table: pd.DataFrame, options: Options) -> str:
    def of(name: str, method: str, measure: str) -> str:
        rows = table[(table["data"] == name) & (table["method"] == method) & (table["measure"] == measure)]
        return f"{rows['value'].iloc[0]:.2f} ± {1.96 * rows['standard_error'].iloc[0]:.2f}"

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
