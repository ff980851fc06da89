"""What does each part of CUD bring a student, when plain distillation is tuned as well?

Every method gets the same grid of temperature and loss weight, and each picks its best by the likelihood of held-out rows:
the published parts (shaping the teacher, clipping wrong mass, both), temperature scaling and label smoothing as baselines, and
the exact projections that the paper states and does not solve. How many rows a repair changes at all is counted beside.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import METHODS, Distillation, SeedDesign, distill
from uqkd.errors import one_of
from uqkd.estimators import half_width, negative_log_likelihood
from uqkd.report import captions, figures
from uqkd.run import AtLeastTwo, Fraction, PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_target_factory, evaluate, network, published_recipe, task_cells
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.tables import differences, over_students, students_and_teacher

BY = ("data", "method", "temperature", "weight", "fired", "training_accuracy")
PLAIN = "teacher"  # its answers as they are
CLIPPED = ("W-Clip", "DUS + W-Clip", "label first, L2", "label first, KL", "groups", "groups, entropy")
SHOWN = {"accuracy": "accuracy", "nll": "NLL", "nll_scaled": "NLL, own temperature", "ece": "ECE"}
UNSEEN = ("out of fold", "out of fold, temperature")  # no part of CUD
Method = Annotated[str, pydantic.AfterValidator(lambda name: one_of("method", name, METHODS))]


class Options(TaskOptions):
    methods: tuple[Method, ...] = tuple(method for method in METHODS if method not in UNSEEN)
    temperatures: tuple[PositiveFloat, ...] = (1.0, 2.0, 4.0)
    weights: tuple[Fraction, ...] = (0.8, 1.0)
    students: AtLeastTwo = 5


BERT, SMALL = "google-bert/bert-base-uncased", "google/bert_uncased_L-4_H-256_A-4"  # 12L-768D and 4L-256D, as published

PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("banking77", "clinc150", "massive", "trec", "ag_news"), texts=(BERT, SMALL), rates=(3e-3, 5e-5),
                     tokenizer=BERT, steps=9_000),
    "full": Options(tasks=("digits", "intents:30", "intents:150"), temperatures=(1.0, 2.0, 4.0, 8.0), weights=(0.5, 0.8, 1.0),
                    students=40, steps=3_000),
}  # fmt: skip


def cells(options: Options) -> list[dict]:
    methods = dict.fromkeys((PLAIN, *options.methods))  # plain distillation is what the others are compared with
    settings = product(task_cells(options), methods, options.temperatures, options.weights)
    return [{**task, **options.training, "method": m, "temperature": t, "weight": w} for task, m, t, w in settings]


def measure(cell: dict) -> pd.DataFrame:
    task, (of_teacher, of_students) = task_of(cell), cell["networks"]
    recipe = published_recipe(steps=cell["steps"], batch=cell["batch"], lr=cell["lr"])
    views = cached_target_factory(task, network=of_teacher, recipe=recipe)
    students = distill(
        task.X, views.targets(cell["method"]), labels=task.labels, factory=network(of_students, task), recipe=recipe,
        objective=Distillation(cell["temperature"], cell["weight"]), seed_design=SeedDesign.independent(cell["students"]),
        key=("classify cud", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    numbers = evaluate(students, task)
    numbers["nll_held"] = np.asarray(negative_log_likelihood(students.predict_proba(task.X_held), task.labels_held))
    about = {"data": data_label(cell), **{name: cell[name] for name in ("method", "temperature", "weight")}}
    right = float((views.probabilities.argmax(axis=1) == views.labels).mean())
    about |= {"fired": views.firing_rate(cell["method"]), "training_accuracy": right}
    return students_and_teacher(numbers, evaluate(views.teacher, task), **about)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each method the temperature and weight with the best held-out likelihood, mean over students."""
    held = table[(table["measure"] == "nll_held") & (table["who"] == "student")]
    setting = ["data", "method", "temperature", "weight"]
    score = held.groupby(setting, sort=False)["value"].mean().reset_index()
    best = score.loc[score.groupby(["data", "method"], sort=False)["value"].idxmin()]
    return table.merge(best[setting], on=setting)


def means(best: pd.DataFrame) -> pd.DataFrame:
    """Means over students, and differences from plain distillation, each at its own best setting."""
    found = over_students(best, BY)
    found = differences(found, found[found["method"] == PLAIN], ["data", "measure"])
    return found.assign(half_width=np.where(found["method"] == PLAIN, 0.0, found["half_width"]))


def plot(found: pd.DataFrame) -> Figure:
    names, methods = found["data"].unique(), list(found["method"].unique())
    figure, axes = figures.panels(len(names), len(SHOWN), height=2.6, sharey="row")
    place, (colour,) = {method: -n for n, method in enumerate(methods)}, figures.colours(1)
    for line, name in zip(axes, names, strict=True):
        for axis, (measure, label) in zip(line, SHOWN.items(), strict=True):
            rows = found[(found["data"] == name) & (found["measure"] == measure)]
            shown = {"xerr": half_width(rows["standard_error"], rows["students"]), "color": colour, "label": "students"}
            figures.intervals(axis, rows["value"], rows["method"].map(place), **shown)
            plain = rows.loc[rows["method"] == PLAIN, "value"].iloc[0]
            axis.axvline(plain, color="0.5", linewidth=0.8, label="plain distillation")
            axis.set_title(f"{name}: {label}" if measure == "accuracy" else label)
            axis.tick_params(axis="x", labelrotation=30)
        fired = found[found["data"] == name].drop_duplicates("method")
        fired = fired.assign(name=fired["method"].map(captions.method_name))
        labels = [f"{r.name} ({r.fired:.0%})" if r.method in CLIPPED else r.name for r in fired.itertuples()]
        line[0].set_yticks([place[method] for method in fired["method"]], labels)
    note = f"bars: {captions.INTERVALS} over students; in brackets: rows that a repair changes"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(chosen(table))
    figures.publish(
        run,
        plot(found),
        table=found,
        caption=caption(found, options),
        more={"grid": table},
        group="classify",
        place=410,
    )


def caption(found: pd.DataFrame, options: Options) -> str:
    def changed(rows: pd.DataFrame, measure: str, better: str) -> str:
        part = rows[(rows["measure"] == measure) & ~rows["sign"].eq("undecided")]
        kinds = {"better": part["sign"] == better, "worse": part["sign"] != better}
        return "; ".join(f"{kind} {captions.quoted(part.loc[which, 'method'])}" for kind, which in kinds.items())

    told = []
    for name in found["data"].unique():
        rows = found[found["data"] == name]
        accuracy, nll = changed(rows, "accuracy", "above"), changed(rows, "nll_scaled", "below")
        clipped = rows.loc[rows["method"] == "W-Clip", "fired"][:1]
        told.append(
            f"{name}: the teacher is right on {rows['training_accuracy'].iloc[0]:.1%} of its training rows"
            + "".join(f", and W-Clip changes {one:.1%} of them" for one in clipped)
            + f". Accuracy: {accuracy}. NLL at the student's own temperature: {nll}"
        )
    return (
        f"{options.students} students per setting; every method at the temperature (of {captions.listed(options.temperatures)}) "
        f"and weight (of {captions.listed(options.weights)}) of best held-out likelihood. In brackets: rows that a repair changes. "
        f"Against plain distillation, beyond {captions.INTERVALS}. {'. '.join(told)}."
    )
