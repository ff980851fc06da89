"""What does each part of CUD bring a student, when plain distillation is tuned as well?

Every method gets the same grid of temperature and loss weight, and picks its best for each teacher by the likelihood of held-out
rows: the published parts (shaping the teacher, clipping wrong mass, both), temperature scaling and label smoothing as baselines,
and the exact projections that the paper states and does not solve. How many rows a repair changes at all is counted beside.
Teachers are trained several times; the students of one begin alike under all methods, and differences are taken teacher by teacher.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import METHODS, Distillation, distill
from uqkd.errors import one_of
from uqkd.estimators import negative_log_likelihood
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, Fraction, PositiveFloat, PositiveInt, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_target_factory, evaluate, network, published_recipe, task_cells
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.tables import students_and_teacher
from uqkd.testbeds.teachers import alike, by_teacher, less, most_frequent, over_teachers, side_by_side

SETTING = ("temperature", "weight")
BY = ("data", "method")
PLAIN = "teacher"  # its answers as they are
CLIPPED = ("W-Clip", "DUS + W-Clip", "label first, L2", "label first, KL", "groups", "groups, entropy")
SHOWN = {"accuracy": "accuracy", "nll": "NLL", "nll_scaled": "NLL, own temperature", "ece": "ECE"}
UNSEEN = ("out of fold", "out of fold, temperature")  # no part of CUD
Method = Annotated[str, pydantic.AfterValidator(lambda name: one_of("method", name, METHODS))]


class Options(TaskOptions):
    methods: tuple[Method, ...] = tuple(method for method in METHODS if method not in UNSEEN)
    temperatures: tuple[PositiveFloat, ...] = (1.0, 2.0, 4.0)
    weights: tuple[Fraction, ...] = (0.8, 1.0)
    replicates: AtLeastTwo = 5  # independent teachers
    students: PositiveInt = 2  # of each teacher and setting


PUBLISHED = ("banking77", "clinc150", "massive", "trec", "ag_news")
BERT, SMALL = "google-bert/bert-base-uncased", "google/bert_uncased_L-4_H-256_A-4"  # 12L-768D and 4L-256D, as published

PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=PUBLISHED, texts=(BERT, SMALL), rates=(3e-3, 5e-5), tokenizer=BERT, steps=9_000),
    "full": Options(tasks=("digits", "intents:30", "intents:150"), temperatures=(1.0, 2.0, 4.0, 8.0), weights=(0.5, 0.8, 1.0),
                    replicates=20, steps=3_000),
}  # fmt: skip


def cells(options: Options) -> list[dict]:
    methods = tuple(dict.fromkeys((PLAIN, *options.methods)))  # plain distillation is what the others are compared with
    shared = {**options.training, **options.only("temperatures", "weights"), "methods": methods}
    return [{**task, **shared, "replicate": r} for r, task in product(range(options.replicates), task_cells(options))]


def measure(cell: dict) -> pd.DataFrame:
    """All students of one teacher: at each temperature and weight those of every method in one pass."""
    task, (of_teacher, of_students), replicate = task_of(cell), cell["networks"], cell["replicate"]
    recipe = published_recipe(steps=cell["steps"], batch=cell["batch"], lr=cell["lr"])
    each, methods = cell["students"], cell["methods"]
    views = cached_target_factory(task, network=of_teacher, recipe=recipe, replicate=replicate)
    right = float((views.probabilities.argmax(axis=1) == views.labels).mean())
    targets = side_by_side([views.targets(method) for method in methods], each)
    of_its_own, found = evaluate(views.teacher, task), []
    for temperature, weight in product(cell["temperatures"], cell["weights"]):
        students = distill(
            task.X, targets, labels=task.labels, factory=network(of_students, task), recipe=recipe,
            objective=Distillation(temperature, weight), seed_design=alike(each, len(methods)),
            key=("classify cud", task.fingerprint, replicate),
        )  # fmt: skip
        numbers = evaluate(students, task)
        numbers["nll_held"] = np.asarray(negative_log_likelihood(students.predict_proba(task.X_held), task.labels_held))
        for m, method in enumerate(methods):
            own = {name: values[m * each : (m + 1) * each] for name, values in numbers.items()}
            about = {"data": data_label(cell), "method": method, "temperature": temperature, "weight": weight}
            about |= {"replicate": replicate, "fired": views.firing_rate(method), "training_accuracy": right}
            found.append(students_and_teacher(own, of_its_own, **about))
    return pd.concat(found)


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each teacher and method the temperature and weight with the best held-out likelihood, mean over students."""
    held = table[(table["measure"] == "nll_held") & (table["who"] == "student")]
    of = [*BY, "replicate"]
    score = held.groupby([*of, *SETTING], sort=False)["value"].mean().reset_index()
    best = score.loc[score.groupby(of, sort=False)["value"].idxmin()]
    return table.merge(best[[*of, *SETTING]], on=[*of, *SETTING])


def means(best: pd.DataFrame) -> pd.DataFrame:
    """Means over teachers, and differences from plain distillation of the same teacher, each at its own best setting."""
    each = by_teacher(best, BY)
    found = over_teachers(each, BY).rename(columns={"half_width": "value_half_width"})
    apart = less(each, each[each["method"] == PLAIN], by=BY, on=["data"]).drop(columns=["standard_error", "teachers"])
    settings = best.drop_duplicates([*BY, "replicate"]).groupby(list(BY), sort=False)
    about = settings[["fired", "training_accuracy"]].mean().join(settings[list(SETTING)].agg(most_frequent))
    return found.merge(apart, on=[*BY, "measure"]).merge(about.reset_index(), on=list(BY))


def plot(found: pd.DataFrame) -> Figure:
    names, methods = found["data"].unique(), list(found["method"].unique())
    figure, axes = figures.panels(len(names), len(SHOWN), height=2.6, sharey="row")
    place, (style,) = {method: -n for n, method in enumerate(methods)}, figures.series_styles(1)
    for line, name in zip(axes, names, strict=True):
        for axis, (measure, label) in zip(line, SHOWN.items(), strict=True):
            rows = found[(found["data"] == name) & (found["measure"] == measure)]
            shown = {"xerr": rows["value_half_width"], "label": "students", **style}
            figures.intervals(axis, rows["value"], rows["method"].map(place), **shown)
            for plain in rows.loc[rows["method"] == PLAIN, "value"]:  # none where no temperature could be fitted
                axis.axvline(plain, color="0.5", linewidth=0.8, label="plain distillation")
            axis.set_title(f"{name}: {label}" if measure == "accuracy" else label)
            axis.tick_params(axis="x", labelrotation=30)
        fired = found[found["data"] == name].drop_duplicates("method")
        fired = fired.assign(name=fired["method"].map(captions.method_name))
        labels = [f"{r.name} ({r.fired:.0%})" if r.method in CLIPPED else r.name for r in fired.itertuples()]
        line[0].set_yticks([place[method] for method in fired["method"]], labels)
    note = f"bars: {captions.INTERVALS} over teachers; in brackets: rows that a repair changes"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(chosen(table))
    said: Any = {"caption": caption(found, options), "answer": answer(found)}
    figures.publish(run, plot(found), table=found, **said, more={"grid": table}, group="classify", place=410)


def answer(found: pd.DataFrame) -> Answer | None:
    """Of each part its accuracy (in points) and likelihood less plain distillation's, on each task."""
    parts = {"clip": "W-Clip", "shape": "DUS", "cud": "DUS + W-Clip", "scale": "teacher, temperature"}
    forms = {"accuracy": ("+.1f", 100.0), "nll": ("+.3f", 1.0), "nll_scaled": ("+.3f", 1.0), "ece": ("+.3f", 1.0)}
    names, rows = found["data"].unique(), found.set_index(["data", "method", "measure"])
    numbers: dict[str, Number | None] = {}
    for (n, name), (part, method) in product(enumerate(names), parts.items()):
        for measure, (form, unit) in forms.items():
            known = (name, method, measure) in rows.index
            d, reach = (np.nan, np.nan)
            if known:
                d, reach = measured.pair(rows.loc[(name, method, measure), ["difference", "half_width"]] * unit)
            numbers[f"{part}_{measure}_{n}"] = measured.within(d, d - reach, d + reach, form, shows="reach")
            if known and measure == "accuracy":
                fired = float(rows["fired"].to_dict()[name, method, measure])
                numbers[f"{part}_fired_{n}"] = measured.within(fired, 0.8 * fired, 1.2 * fired, ".0%")

    def on(part: str, measure: str, side: str) -> list[str]:
        return [name for n, name in enumerate(names) if measured.side(numbers[f"{part}_{measure}_{n}"]) == side]

    def listed(key: str) -> str:
        return " and ".join(f"{{{key}_{n}}}" for n in range(len(names)))

    gained = sorted({*on("clip", "accuracy", "above"), *on("cud", "accuracy", "above")})
    lost = on("cud", "nll_scaled", "above")
    sentence = f"accuracy on {' and '.join(gained)}" if gained else "no gain in accuracy that is told from zero"
    sentence += (
        f": clipping changes {listed('clip_fired')} of the rows of {' and '.join(names)}, accuracy by {listed('clip_accuracy')} "
        f"points; with shaping (CUD) {listed('cud_accuracy')} points, and NLL at a temperature by {listed('cud_nll_scaled')}"
    )
    sentence += f", a loss on {' and '.join(lost)}" if lost else ", no sure loss"
    return measured.stated(sentence, numbers)


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
        f"{options.replicates} teachers, {options.students} students of each per setting; every method, for each teacher, at the "
        f"temperature (of {captions.listed(options.temperatures)}) and weight (of {captions.listed(options.weights)}) of best "
        f"held-out likelihood. In brackets: rows that a repair changes. Against plain distillation of the same teachers, beyond "
        f"{captions.INTERVALS} over teachers. {'. '.join(told)}."
    )
