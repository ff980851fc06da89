"""What does each part of CUD bring a student, when plain distillation is tuned as well?

Every method gets the same grid of temperature and loss weight, and each picks its best by the likelihood of held-out rows:
the published parts (shaping the teacher, clipping wrong mass, both), temperature scaling and label smoothing as baselines, and
the exact projections that the paper states and does not solve. How many rows a repair changes at all is counted beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import METHODS, Distillation, Recipe, SeedDesign, distill
from uqkd.errors import one_of
from uqkd.estimators import difference_half_width, half_width, negative_log_likelihood
from uqkd.report import figures
from uqkd.run import AtLeastTwo, Fraction, PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_cell, task_of
from uqkd.testbeds.classification import cached_target_factory, check_networks, evaluate, network
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.tables import over_students, signs, tidy

BY = ("data", "method", "temperature", "weight", "fired", "training_accuracy")
PLAIN = "teacher"  # its answers as they are


def known_method(name: str) -> str:
    return one_of("method", name, METHODS)


Method = Annotated[str, pydantic.AfterValidator(known_method)]


class Options(TaskOptions):
    methods: tuple[Method, ...] = tuple(method for method in METHODS if not method.startswith("out of fold"))
    temperatures: tuple[PositiveFloat, ...] = (1.0, 2.0, 4.0)
    weights: tuple[Fraction, ...] = (0.8, 1.0)
    students: AtLeastTwo = 5
    steps: AtLeastTwo = 400
    batch: AtLeastTwo = 32


BERT, SMALL = "google-bert/bert-base-uncased", "google/bert_uncased_L-4_H-256_A-4"  # 12L-768D and 4L-256D, as published

PRESETS = {
    "quick": Options(),
    "paper": Options(
        tasks=("banking77", "clinc150", "massive", "trec", "ag_news"), texts=(BERT, SMALL), rates=(3e-3, 5e-5),
        tokenizer=BERT, students=5, steps=9_000,
    ),
    "full": Options(
        tasks=("digits", "intents:30", "intents:150"), temperatures=(1.0, 2.0, 4.0, 8.0), weights=(0.5, 0.8, 1.0), students=40,
        steps=3_000,
    ),
}  # fmt: skip


def cells(options: Options) -> list[dict]:
    how = {name: getattr(options, name) for name in ("students", "steps", "batch")}
    tasks = [task_cell(name, **options.reading) for name in options.tasks]
    for task in tasks:
        check_networks(task_of(task), options.trained(task["kind"])["networks"])
    methods = dict.fromkeys((PLAIN, *options.methods))  # plain distillation is what the others are compared with
    return [
        {**task, **options.trained(task["kind"]), **how, "method": method, "temperature": t, "weight": w}
        for task in tasks
        for method in methods
        for t, w in product(options.temperatures, options.weights)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, (of_teacher, of_students) = task_of(cell), cell["networks"]
    recipe = Recipe(
        steps=cell["steps"], batch=cell["batch"], lr=cell["lr"], optimiser="adamw", weight_decay=0.01, clip_norm=1.0,
        schedule="cosine", warmup=cell["steps"] // 10,
    )  # fmt: skip
    views = cached_target_factory(task, network=of_teacher, recipe=recipe)
    students = distill(
        task.X, views.targets(cell["method"]), labels=task.labels, factory=network(of_students, task), recipe=recipe,
        objective=Distillation(cell["temperature"], cell["weight"]), seed_design=SeedDesign.independent(cell["students"]),
        key=("classify cud", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    numbers = evaluate(students, task)
    numbers["nll_held"] = np.asarray(negative_log_likelihood(students.predict_proba(task.X_held), task.labels_held))
    about = {"data": data_label(cell), **{name: cell[name] for name in ("method", "temperature", "weight")}}
    about["fired"] = views.firing_rate(cell["method"])
    about["training_accuracy"] = float((views.probabilities.argmax(axis=1) == views.labels).mean())
    return pd.DataFrame(
        tidy(numbers, **about, who="student") + tidy(evaluate(views.teacher, task), **about, who="teacher")
    )


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each method the temperature and weight with the best held-out likelihood, mean over students."""
    held = table[(table["measure"] == "nll_held") & (table["who"] == "student")]
    score = held.groupby(["data", "method", "temperature", "weight"], sort=False)["value"].mean().reset_index()
    best = score.loc[score.groupby(["data", "method"], sort=False)["value"].idxmin()]
    return table.merge(
        best[["data", "method", "temperature", "weight"]], on=["data", "method", "temperature", "weight"]
    )


def means(best: pd.DataFrame) -> pd.DataFrame:
    """Means over students, and differences from plain distillation, each at its own best setting."""
    found = over_students(best, BY)
    plain = found.loc[found["method"] == PLAIN, ["data", "measure", "value", "standard_error", "students"]]
    found = found.merge(plain, on=["data", "measure"], suffixes=("", "_plain"))
    own = found["method"] == PLAIN
    found["difference"] = found["value"] - found["value_plain"]
    spreads = [(found[f"standard_error{of}"], found[f"students{of}"]) for of in ("", "_plain")]
    found["half_width"] = np.where(own, 0.0, difference_half_width(*spreads))
    found["sign"] = signs(found["difference"], found["half_width"])
    return found.drop(columns=["value_plain", "standard_error_plain", "students_plain"])


SHOWN = {"accuracy": "accuracy", "nll": "NLL", "nll_scaled": "NLL, own temperature", "ece": "ECE"}


def plot(found: pd.DataFrame) -> Figure:
    names, methods = found["data"].unique(), list(found["method"].unique())
    figure, axes = figures.panels(len(names), len(SHOWN), height=2.6, sharey="row")
    place = {method: -n for n, method in enumerate(methods)}
    for line, name in zip(axes, names, strict=True):
        for axis, (measure, label) in zip(line, SHOWN.items(), strict=True):
            rows = found[(found["data"] == name) & (found["measure"] == measure)]
            axis.errorbar(
                rows["value"], rows["method"].map(place), xerr=half_width(rows["standard_error"], rows["students"]), fmt="o",
                ms=3.5, mfc="white", capsize=2, color=figures.colours(1)[0], label="students",
            )  # fmt: skip
            plain = rows[rows["method"] == PLAIN].iloc[0]
            axis.axvline(plain["value"], color="0.5", linewidth=0.8, label="plain distillation")
            axis.set_title(f"{name}: {label}" if measure == "accuracy" else label)
            axis.tick_params(axis="x", labelrotation=30)
        fired = found[found["data"] == name].drop_duplicates("method")
        labels = [f"{r.method} ({r.fired:.0%})" if r.method in CLIPPED else r.method for r in fired.itertuples()]
        line[0].set_yticks([place[method] for method in fired["method"]], labels)
    figures.legend_below(
        figure, axes[0, 0], "bars: 95 % intervals over students; in brackets: rows that a repair changes"
    )
    return figure


CLIPPED = ("W-Clip", "DUS + W-Clip", "label first, L2", "label first, KL", "groups", "groups, entropy")


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(chosen(table))
    title = __doc__.splitlines()[0]
    more = {"grid": table}
    figures.publish(run, plot(found), table=found, title=title, caption=caption(found, options), more=more, place=410)


def caption(found: pd.DataFrame, options: Options) -> str:
    def changed(rows: pd.DataFrame, measure: str, better: str) -> str:
        """Methods that are better than plain distillation, and worse, beyond a 95 % interval."""
        part = rows[(rows["measure"] == measure) & ~rows["sign"].eq("undecided")]
        kinds = {"better": part["sign"] == better, "worse": part["sign"] != better}
        return "; ".join(f"{kind} {quoted(part.loc[which, 'method'])}" for kind, which in kinds.items())

    told = []
    for name in found["data"].unique():
        rows = found[found["data"] == name]
        clipped = rows.loc[rows["method"] == "W-Clip", "fired"]
        fires = f", and W-Clip changes {clipped.iloc[0]:.1%} of them" if len(clipped) else ""
        told.append(
            f"{name}: the teacher is right on {rows['training_accuracy'].iloc[0]:.1%} of its training rows{fires}. "
            f"Accuracy: {changed(rows, 'accuracy', 'above')}. NLL at the student's own temperature: "
            f"{changed(rows, 'nll_scaled', 'below')}"
        )
    return (
        f"{options.students} students per setting; every method at the temperature (of {listed(options.temperatures)}) and weight "
        f"(of {listed(options.weights)}) with the best held-out likelihood. In brackets: rows that a repair changes. Against plain "
        f"distillation, beyond 95 % intervals. {'. '.join(told)}."
    )


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
