"""Does a student inherit its teacher's miscalibration, whatever the teacher's accuracy?

A teacher whose logits are divided by a temperature is exactly as accurate as before, and more or less confident: teachers of
equal accuracy and different calibration, for each of three networks. Students are distilled from each, with mixup and
without. The signed gap, confidence − accuracy, of the students is drawn against that of their teacher.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import PurePath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd.classify import Distillation, Mixing, SeedDesign, distill, weigh
from uqkd.estimators import half_width, mean_and_error
from uqkd.report import captions, figures
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, PUBLISHED_TEACHERS, ImageOptions
from uqkd.testbeds.tables import over_students, signs, students_and_teacher

METHODS = ("KD", "KD + mixup")
BY = ("data", "teacher", "sharpness", "method")


class Options(ImageOptions):
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16", "residual:8:8")
    sharpness: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0, 3.0)  # temperature of its answers
    temperature: PositiveFloat = 2.0  # of distillation


PRESETS = {
    "quick": Options(),
    "paper": Options(teachers=PUBLISHED_TEACHERS, student="residual:20", **PUBLISHED_IMAGES),
    "full": Options(sharpness=(0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0), students=40, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, options.teachers), **options.training, **options.only("temperature")}
    return [
        {**shared, "teacher": teacher, "sharpness": sharpness, "method": method}
        for teacher, sharpness, method in product(options.teachers, options.sharpness, METHODS)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, mixed = task_of(cell), cell["method"] == "KD + mixup"
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell))
    teacher = replace(teacher, temperature=cell["sharpness"])
    students = distill(
        task.X, teacher if mixed else weigh(teacher.predict_proba(task.X), "soft"),
        factory=network(cell["student"], task), recipe=cell_recipe(cell),
        objective=Distillation(cell["temperature"], weight=1.0), seed_design=SeedDesign.independent(cell["students"]),
        mixing=Mixing() if mixed else None, key=("classify calibration", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    about = {name: cell[name] for name in BY} | {"data": data_label(cell)}
    return students_and_teacher(evaluate(students, task), evaluate(teacher, task), **about)


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of the students' gap on their teacher's, student by student: its mean and interval per teacher and method."""
    by = ["teacher", "method"]
    gaps = table[table["measure"] == "signed_gap"]
    teachers = gaps[gaps["who"] == "teacher"][[*by, "sharpness", "value"]].rename(columns={"value": "of_teacher"})
    joined = gaps[gaps["who"] == "student"].merge(teachers, on=[*by, "sharpness"])
    rows = []
    for names, part in joined.groupby(by, sort=False):
        each = [np.polyfit(one["of_teacher"], one["value"], 1)[0] for _, one in part.groupby("student")]
        slope, error = mean_and_error(each)
        reach = float(half_width(error, len(each)))
        rows.append({**dict(zip(by, names, strict=True)), "slope": slope, "half_width": reach})
    return pd.DataFrame(rows)


def plot(found: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, len(METHODS), height=2.4, sharex=True, sharey="row")
    teachers, gaps = found["teacher"].unique(), found[found["measure"] == "signed_gap"].sort_values("of_teacher")
    for (above, below), method in zip(axes.T, METHODS, strict=True):
        for teacher, colour in zip(teachers, figures.colours(len(teachers)), strict=True):
            rows = gaps[(gaps["method"] == method) & (gaps["teacher"] == teacher)]
            rows = rows.assign(apart=rows["value"] - rows["of_teacher"])
            shown = {"students": "students", "color": colour}
            figures.points(above, rows, "of_teacher", y="value", label=PurePath(teacher).name, **shown)
            figures.points(below, rows, "of_teacher", y="apart", **shown)
            below.plot(rows["of_teacher"], rows["apart"], color=colour, linewidth=0.8, alpha=0.6)
        ends = [gaps["of_teacher"].min(), gaps["of_teacher"].max()]
        figures.theory(above, ends, ends, color="0.3", linestyle="--", label="equal")
        figures.theory(below, ends, [0.0, 0.0], color="0.3", linestyle="--")
        above.set_title(method)
        below.set_xlabel("teacher's confidence − accuracy")
    axes[0, 0].set_ylabel("student's gap")
    axes[1, 0].set_ylabel("student's gap − teacher's")
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.INTERVALS} over students", columns=4)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found, inherited = over_students(table, BY), slopes(table)
    said, more = caption(found, inherited, options), {"slopes": inherited, "students": table}
    figures.publish(run, plot(found), table=found, caption=said, more=more, group="classify", place=430)


def caption(found: pd.DataFrame, inherited: pd.DataFrame, options: Options) -> str:
    def of(method: str) -> str:
        rows = inherited.loc[inherited["method"] == method, ["teacher", "slope", "half_width"]].to_numpy()
        return ", ".join(f"{slope:.2f} ± {reach:.2f} ({teacher})" for teacher, slope, reach in rows)

    gaps = found[found["measure"] == "signed_gap"]
    apart = (gaps["value"] - gaps["of_teacher"]).abs()
    beyond = signs(apart, half_width(gaps["standard_error"], gaps["students"])) == "above"
    return (
        f"{found['data'].iloc[0]}, {options.students} students of {options.student} each, distilled at "
        f"T = {options.temperature:g} from teachers that answer at temperatures "
        f"{captions.listed(options.sharpness)}: as accurate, and more or less confident. Slope of the students' gap on "
        f"their teacher's, 1 being full inheritance: KD {of('KD')}; KD + mixup {of('KD + mixup')}. Gaps differ from their "
        f"teacher's by {apart.median():.3f} at the median, {apart.max():.3f} at most; {beyond.sum()} of {len(gaps)} do so beyond "
        f"{captions.INTERVALS}."
    )
