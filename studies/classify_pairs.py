"""What does it do to hold a teacher's answer to a mixed image to the two classes it was mixed of?

On an image λ·x_i + (1 − λ)·x_j the teacher's answer is projected, by the least KL, so that class i keeps at least c·λ and class j
c·(1 − λ), and all others at most 1 − c. c = 0 is mixup in distillation as published, c = 1 is mixup of the labels, without
a teacher; between them the teacher is corrected where it is lost, and heard where it is not.
"""

from __future__ import annotations

from itertools import product
from pathlib import PurePath
from typing import Annotated

import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import Distillation, Mixing, SeedDesign, against_teacher, distill, measure_mixup, mixed_rows
from uqkd.report import captions, figures
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, PUBLISHED_TEACHERS, ImageOptions
from uqkd.testbeds.tables import over_students, tidy

BY = ("data", "teacher", "floor")


class Options(ImageOptions):
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16")
    floors: tuple[Annotated[float, pydantic.Field(ge=0, le=1)], ...] = (0.0, 0.5, 0.8, 1.0)  # c
    temperature: PositiveFloat = 1.0


PRESETS = {
    "quick": Options(),
    "paper": Options(teachers=PUBLISHED_TEACHERS, student="residual:20", **PUBLISHED_IMAGES),
    "full": Options(floors=(0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), students=40, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, options.teachers), **options.training, **options.only("temperature")}
    return [
        {**shared, "teacher": teacher, "floor": floor} for teacher, floor in product(options.teachers, options.floors)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task = task_of(cell)
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell))
    students = distill(
        task.X, teacher, labels=task.labels, mixing=Mixing(), floor=cell["floor"], factory=network(cell["student"], task),
        recipe=cell_recipe(cell), objective=Distillation(cell["temperature"], weight=1.0),
        seed_design=SeedDesign.independent(cell["students"]), key=("classify pairs", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    pairs = mixed_rows(task.X, task.labels, classes=len(task.classes), key=("classify pairs", task.fingerprint))
    about, found = {name: cell[name] for name in BY} | {"data": data_label(cell)}, []
    for who, asked in (("student", students), ("teacher", teacher)):
        numbers = evaluate(asked, task) | measure_mixup(asked, pairs).per_student()
        if who == "student":
            numbers |= against_teacher(students, teacher, pairs).per_student()
        found += tidy(numbers, **about, who=who)
    return pd.DataFrame(found)


SHOWN = {
    "off_pair_mass": "mass off the pair",
    "nonlinearity": "non-linearity, nats",
    "accuracy": "accuracy",
    "signed_gap": "confidence − accuracy",
    "nll_scaled": "NLL, own temperature",
    "ece_scaled": "ECE, own temperature",
}


def plot(found: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 3, height=2.1, sharex=True)
    teachers = found["teacher"].unique()
    for axis, (measure, label) in zip(axes.ravel(), SHOWN.items(), strict=True):
        for teacher, colour in zip(teachers, figures.colours(len(teachers)), strict=True):
            rows = found[(found["measure"] == measure) & (found["teacher"] == teacher)].sort_values("floor")
            name, of_teacher = PurePath(teacher).name, rows["of_teacher"].iloc[0]
            figures.points(
                axis, rows, "floor", y="value", students="students", color=colour, label=f"students of {name}"
            )
            axis.plot(rows["floor"], rows["value"], color=colour, linewidth=0.8, alpha=0.6)
            axis.axhline(of_teacher, color=colour, linestyle=":", linewidth=1.2, label=f"{name} itself")
        axis.set_title(label)
    for axis in axes[-1]:
        axis.set_xlabel("c")
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.INTERVALS} over students", columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = over_students(table, BY)
    figures.publish(
        run,
        plot(found),
        table=found,
        caption=caption(found, options),
        more={"students": table},
        group="classify",
        place=450,
    )


def caption(found: pd.DataFrame, options: Options) -> str:
    teacher = options.teachers[-1]

    def along(measure: str, form: str) -> str:
        rows = found[(found["teacher"] == teacher) & (found["measure"] == measure)].sort_values("floor")
        numbers = rows[["value", "standard_error", "students"]].to_numpy()
        return " → ".join(captions.plus_minus(value, error, form, students=n) for value, error, n in numbers)

    return (
        f"{found['data'].iloc[0]}, {options.students} students of {options.student} per point, T = {options.temperature:g}. "
        f"Students of {teacher} at c = {captions.listed(sorted(options.floors))}: mass off the pair "
        f"{along('off_pair_mass', '.3f')}; non-linearity {along('nonlinearity', '.3f')}; accuracy "
        f"{along('accuracy', '.3f')}; confidence − accuracy {along('signed_gap', '.3f')}; NLL at a "
        f"temperature of their own {along('nll_scaled', '.3f')}."
    )
