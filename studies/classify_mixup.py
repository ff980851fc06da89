"""Does mixup in distillation make students more linear and less overconfident, and is it mixup or the teacher that does it?

Students learn from labels or from a teacher's answers, with mixup or without: the four together separate what mixup does from
what distillation does. Three kinds of teachers of rising capacity, each trained several times; five temperatures ("std" divides
both sides' logits by their own standard deviation). A student is linear where its answer to a mixed image is the mixture of its
two answers. Students of the first teachers of all kinds begin alike, and so do those of labels: differences are paired.
"""

from __future__ import annotations

from itertools import product
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd.classify import (
    Distillation,
    Mixing,
    against_teacher,
    distill,
    measure_mixup,
    mixed_rows,
    weigh,
)
from uqkd.estimators import by_share
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, PUBLISHED_TEACHERS, ImageOptions
from uqkd.testbeds.tables import tidy
from uqkd.testbeds.teachers import alike, by_teacher, counted, less, over_teachers

# taught by a teacher, mixed
METHODS = {"CE": (False, False), "CE + mixup": (False, True), "KD": (True, False), "KD + mixup": (True, True)}
BINS = 20
BY = ("data", "teacher", "method", "temperature")


class Options(ImageOptions):
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16", "residual:8:8")
    temperatures: tuple[PositiveFloat | Literal["std"], ...] = (1.0, 2.0, 4.0, 8.0, "std")


PRESETS = {
    "quick": Options(),
    "paper": Options(teachers=PUBLISHED_TEACHERS, student="residual:20", **PUBLISHED_IMAGES),
    "full": Options(replicates=20, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, options.teachers), **options.training, **options.only("temperatures")}
    return [
        {**shared, "teacher": teacher, "alone": teacher == options.teachers[0], "replicate": replicate}
        for teacher, replicate in product(options.teachers, range(options.replicates))
    ]


def measure(cell: dict) -> pd.DataFrame:
    """All students of one teacher, and, beside the first kind of teacher, those of labels alone."""
    task, replicate = task_of(cell), cell["replicate"]
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell), replicate=replicate)
    soft = weigh(teacher.predict_proba(task.X), "soft")
    pairs = mixed_rows(task.X, task.labels, classes=len(task.classes), key=("classify mixup", task.fingerprint))
    settings = [*product(("CE", "CE + mixup"), (1.0,))] if cell["alone"] else []
    found = []
    for method, temperature in (*settings, *product(("KD", "KD + mixup"), cell["temperatures"])):
        taught, mixed = METHODS[method]
        students = distill(
            task.X, teacher if mixed else soft, labels=task.labels, factory=network(cell["student"], task),
            recipe=cell_recipe(cell), objective=Distillation(temperature, weight=1.0 if taught else 0.0),
            seed_design=alike(cell["students"]), mixing=Mixing() if mixed else None,
            key=("classify mixup", task.fingerprint, replicate),
        )  # fmt: skip
        of_setting = {"teacher": cell["teacher"], "method": method, "temperature": str(temperature)}
        about = {"data": data_label(cell), **of_setting, "replicate": replicate}
        for who, asked in (("student", students), ("teacher", teacher)):
            between = measure_mixup(asked, pairs)
            bins = by_share(between.per_pair, between.share, bins=BINS)
            numbers = evaluate(asked, task) | between.per_student()
            numbers |= {f"nonlinearity at {at:.3f}": bins.of_student[:, n] for n, at in enumerate(bins.centre)}
            if who == "student":
                numbers |= against_teacher(students, teacher, pairs).per_student()
            found += tidy(numbers, **about, who=who)
    return pd.DataFrame(found)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Of every teacher, or of every start of those taught by labels alone, who have no teacher and no temperature."""
    each = by_teacher(table, BY)
    alone = each["method"].str.startswith("CE")
    each.loc[alone, "of_teacher"] = np.nan
    each.loc[alone, ["teacher", "temperature"]] = "none"
    return each


SHOWN = {
    "nonlinearity": "non-linearity, nats",
    "signed_gap": "confidence − accuracy",
    "ece_scaled": "ECE, own temperature",
    "accuracy": "accuracy",
}


def plot(found: pd.DataFrame) -> Figure:
    found = found[found["temperature"] != "std"]  # whose logits have a scale of their own: in the table
    teachers = [name for name in found["teacher"].unique() if name != "none"]
    figure, axes = figures.panels(len(SHOWN), len(teachers), height=1.95, sharex=True, sharey="row")
    for line, (measure, label) in zip(axes, SHOWN.items(), strict=True):
        for axis, teacher in zip(line, teachers, strict=True):
            _panel(axis, found[(found["measure"] == measure) & found["teacher"].isin((teacher, "none"))])
        line[0].set_ylabel(label)
    for axis, teacher in zip(axes[0], teachers, strict=True):
        axis.set_title(f"teacher {PurePath(teacher).name}")
    for axis in axes[-1]:
        axis.set_xlabel("temperature")
    note = f"CE: of labels, KD: of a teacher; bars and bands: {captions.INTERVALS} over teachers"
    figures.legend_below(figure, axes[0, 0], note, columns=5)
    return figure


def _panel(axis: Axes, rows: pd.DataFrame) -> None:
    order = [t for t in dict.fromkeys(rows["temperature"]) if t != "none"]
    place = {temperature: n for n, temperature in enumerate(order)}
    for (method, style), aside in zip(
        zip(METHODS, figures.series_styles(4), strict=True), (0, 0, -0.08, 0.08), strict=True
    ):
        part = rows[rows["method"] == method]
        if method.startswith("CE"):
            value, reach = part[["value", "half_width"]].iloc[0]
            dashes = "--" if method == "CE" else "-."
            axis.axhline(value, color=style["color"], linestyle=dashes, linewidth=1, label=method)
            axis.axhspan(value - reach, value + reach, color=style["color"], alpha=0.15, linewidth=0)
        else:
            at = part["temperature"].map(place) + aside
            figures.points(axis, part, at, y="value", students="teachers", label=method, **style)
    of_teacher = rows["of_teacher"].max()  # one number; NaN, which is not drawn, where it is undefined
    axis.axhline(of_teacher, color="0.25", linewidth=1.2, label="the teacher")
    axis.set_xticks(list(place.values()), [t.removesuffix(".0") for t in place])


def compared(each: pd.DataFrame) -> pd.DataFrame:
    """KD + mixup against four references, per teacher and temperature: differences with intervals over teachers."""
    mixed, plain, control, labels = (each[each["method"] == name] for name in ("KD + mixup", "KD", "CE + mixup", "CE"))
    place = ["teacher", "temperature"]
    against = {
        "KD": less(mixed, plain, by=place, on=place),
        "CE + mixup": less(mixed, control, by=place),
        "the teacher": less(mixed, "of_teacher", by=place),
        "mixup of labels, less labels": less(control, labels, by=place),
    }
    return pd.concat([table.assign(against=name) for name, table in against.items()], ignore_index=True)


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    each = means(table)
    found, claims = over_teachers(each, BY), compared(each)
    said: Any = {"caption": caption(found, claims, options), "answer": answer(claims)}
    more = {"signs": claims, "students": table}
    figures.publish(run, plot(found), table=found, **said, more=more, group="classify", place=420)


def judged(claims: pd.DataFrame, measure: str, against: str) -> pd.DataFrame:
    """Settings that are counted: "std" leaves the scale of the logits free, and is told apart."""
    rows = claims[(claims["measure"] == measure) & (claims["against"] == against)]
    return rows[rows["temperature"] != "std"]


def answer(claims: pd.DataFrame) -> Answer | None:
    """Settings (kinds of teachers × temperatures) that are decided, and mean differences over them."""
    numbers: dict[str, Number | None] = {}
    names = {"the teacher": "teacher", "KD": "plain", "CE + mixup": "labels_mixup"}
    measures = {"nonlinearity": "nonlinearity", "signed_gap": "gap", "accuracy": "accuracy", "ece": "ece", "nll": "nll"}
    for (against, other), (measure, name) in product(names.items(), measures.items()):
        rows = judged(claims, measure, against)
        numbers[f"{name}_settings"] = Number.exact(len(rows), "d")
        for sign in ("below", "above"):
            count, low, high = counted(rows, sign)
            numbers[f"{name}_{sign}_{other}"] = Number.measured(count, low, high, ".0f")
        if len(rows):  # the setting in the middle, with its own interval
            middle = (rows["difference"] - rows["difference"].median()).abs().argmin()
            d, reach = measured.pair(rows[["difference", "half_width"]].iloc[middle])
            numbers[f"{name}_median_{other}"] = measured.within(d, d - reach, d + reach, "+.3f", shows="reach")
    linear, plain = numbers["nonlinearity_below_teacher"], numbers["nonlinearity_below_plain"]
    sentence = (
        "more linear than their teacher in {nonlinearity_below_teacher} of {nonlinearity_settings} settings, than plain "
        "distillation's in {nonlinearity_below_plain} (less so in {nonlinearity_above_plain}), than those of mixed labels without "
        "a teacher in {nonlinearity_below_labels_mixup} ({nonlinearity_above_labels_mixup}); confidence − accuracy: below plain "
        "distillation's in {gap_below_plain} ({gap_above_plain} above), the teacher's in {gap_below_teacher} ({gap_above_teacher})"
    )
    if linear and plain and linear.value and plain.value < linear.value / 2:
        sentence = sentence.replace("settings, than plain", "settings, but not by mixup: than plain")
    return measured.stated(sentence, numbers)


def caption(found: pd.DataFrame, claims: pd.DataFrame, options: Options) -> str:
    def count(measure: str, against: str) -> str:
        kinds = judged(claims, measure, against)["sign"].value_counts()
        return f"{kinds.get('below', 0)} below, {kinds.get('above', 0)} above, {kinds.get('undecided', 0)} undecided"

    return (
        f"{found['data'].iloc[0]}, {options.replicates} teachers of each kind, {options.students} students of {options.student} "
        f"of each. Students by KD + mixup, over kinds of teachers and temperatures, beyond {captions.INTERVALS} over teachers. "
        f"Non-linearity: against their teacher's {count('nonlinearity', 'the teacher')}; against KD without mixup "
        f"{count('nonlinearity', 'KD')}; against mixup of labels, without a teacher, {count('nonlinearity', 'CE + mixup')}. "
        f"Confidence − accuracy: against KD {count('signed_gap', 'KD')}; against their teacher's "
        f"{count('signed_gap', 'the teacher')}. Accuracy: against KD {count('accuracy', 'KD')}. 'std' leaves the scale of a "
        "student's logits free, so that its confidence says nothing before a temperature is fitted."
    )
