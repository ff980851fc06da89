"""Does mixup in distillation make students more linear and less overconfident, and is it mixup or the teacher that does it?

Students learn from labels or from a teacher's answers, with mixup or without: the four together separate what mixup does from
what distillation does. Three teachers of rising capacity, five temperatures ("std" divides both sides' logits by their own
standard deviation). A student is linear where its answer to a mixed image is the mixture of its two answers.
"""

from __future__ import annotations

from itertools import product
from pathlib import PurePath
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd.classify import (
    Distillation,
    Mixing,
    SeedDesign,
    against_teacher,
    distill,
    measure_mixup,
    mixed_rows,
    weigh,
)
from uqkd.estimators import by_share, half_width
from uqkd.report import captions, figures
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, PUBLISHED_TEACHERS, ImageOptions
from uqkd.testbeds.tables import differences, over_students, signs, tidy

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
    "full": Options(students=40, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, options.teachers), **options.training}
    alone = product(options.teachers[:1], ("CE", "CE + mixup"), (1.0,))  # of no teacher and no temperature
    taught = product(options.teachers, ("KD", "KD + mixup"), options.temperatures)
    return [
        {**shared, "teacher": teacher, "method": method, "temperature": temperature}
        for teacher, method, temperature in (*alone, *taught)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, (taught, mixed) = task_of(cell), METHODS[cell["method"]]
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell))
    students = distill(
        task.X, teacher if mixed else weigh(teacher.predict_proba(task.X), "soft"), labels=task.labels,
        factory=network(cell["student"], task), recipe=cell_recipe(cell),
        objective=Distillation(cell["temperature"], weight=1.0 if taught else 0.0),
        seed_design=SeedDesign.independent(cell["students"]), mixing=Mixing() if mixed else None,
        key=("classify mixup", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    pairs = mixed_rows(task.X, task.labels, classes=len(task.classes), key=("classify mixup", task.fingerprint))
    about = {name: str(cell[name]) for name in BY} | {"data": data_label(cell)}
    found = []
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
    """Means over students; those taught by labels alone have no teacher and no temperature."""
    found = over_students(table, BY)
    alone = found["method"].str.startswith("CE")
    found.loc[alone, "of_teacher"] = np.nan
    found.loc[alone, ["teacher", "temperature"]] = "none"
    return found


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
    note = f"CE: of labels, KD: of a teacher; bars and bands: {captions.INTERVALS} over students"
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
            value, reach = part["value"].iloc[0], half_width(part["standard_error"], part["students"])[0]
            dashes = "--" if method == "CE" else "-."
            axis.axhline(value, color=style["color"], linestyle=dashes, linewidth=1, label=method)
            axis.axhspan(value - reach, value + reach, color=style["color"], alpha=0.15, linewidth=0)
        else:
            at = part["temperature"].map(place) + aside
            figures.points(axis, part, at, y="value", students="students", label=method, **style)
    of_teacher = rows["of_teacher"].max()  # one number; NaN, which is not drawn, where it is undefined
    axis.axhline(of_teacher, color="0.25", linewidth=1.2, label="the teacher")
    axis.set_xticks(list(place.values()), [t.removesuffix(".0") for t in place])


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """KD + mixup against three references, per teacher and temperature: differences with intervals (Student, Welch)."""
    mixed, plain, control = (found[found["method"] == name] for name in ("KD + mixup", "KD", "CE + mixup"))
    place = ["teacher", "temperature", "measure"]
    known = mixed.assign(  # the teacher is one, and known
        difference=mixed["value"] - mixed["of_teacher"],
        half_width=half_width(mixed["standard_error"], mixed["students"]),
    )
    against = {
        "KD": differences(mixed, plain, place),
        "CE + mixup": differences(mixed, control, ["measure"]),
        "the teacher": known,
    }
    tables = [
        table.assign(against=name)[[*place, "against", "difference", "half_width"]] for name, table in against.items()
    ]
    told = pd.concat(tables, ignore_index=True).dropna()
    return told.assign(sign=signs(told["difference"], told["half_width"]))


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    claims = compared(found)
    said, more = caption(found, claims, options), {"signs": claims, "students": table}
    figures.publish(run, plot(found), table=found, caption=said, more=more, group="classify", place=420)


def caption(found: pd.DataFrame, claims: pd.DataFrame, options: Options) -> str:
    numbers = claims[claims["temperature"] != "std"]  # "std" leaves the scale of the logits free: told apart

    def count(measure: str, against: str) -> str:
        kinds = numbers.loc[(numbers["measure"] == measure) & (numbers["against"] == against), "sign"].value_counts()
        return f"{kinds.get('below', 0)} below, {kinds.get('above', 0)} above, {kinds.get('undecided', 0)} undecided"

    return (
        f"{found['data'].iloc[0]}, {options.students} students of {options.student} each. Students by KD + mixup, "
        f"over teachers and temperatures, beyond {captions.INTERVALS}. Non-linearity: against their teacher's "
        f"{count('nonlinearity', 'the teacher')}; against KD without mixup {count('nonlinearity', 'KD')}; against mixup of "
        f"labels, without a teacher, {count('nonlinearity', 'CE + mixup')}. Confidence − accuracy: against KD "
        f"{count('signed_gap', 'KD')}; against their teacher's {count('signed_gap', 'the teacher')}. Accuracy: against "
        f"KD {count('accuracy', 'KD')}. 'std' leaves the scale of a student's logits free, so that its confidence says "
        "nothing before a temperature is fitted."
    )
