"""What does it do to hold a teacher's answer to a mixed image to the two classes it was mixed of?

On an image λ·x_i + (1 − λ)·x_j the teacher's answer is projected, by the least KL, so that class i keeps at least c·λ and class j
c·(1 − λ), and all others at most 1 − c. c = 0 is mixup in distillation as published, c = 1 is mixup of the labels, without
a teacher; between them the teacher is corrected where it is lost, and heard where it is not.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated

import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd import data, figures
from uqkd.classify import (
    Distillation,
    Mixing,
    Recipe,
    Sources,
    against_teacher,
    by_name,
    distill,
    known_teacher,
    mixed_rows,
    on_pairs,
    performance,
    tidy,
)
from uqkd.run import Options as Base
from uqkd.run import Replicates, Run


class Options(Base):
    data: str = "digits"
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16")
    floors: tuple[Annotated[float, pydantic.Field(ge=0, le=1)], ...] = (0.0, 0.5, 0.8, 1.0)  # c
    student: str = "perceptron:64"
    temperature: Annotated[float, pydantic.Field(gt=0)] = 1.0
    students: Replicates = 6
    steps: Replicates = 600
    batch: Replicates = 32
    lr: float = 3e-3


PRESETS = {
    "quick": Options(),
    "paper": Options(
        data="cifar100", teachers=("residual:20", "residual:56", "residual:110"), student="residual:20", students=5,
        steps=78_000, batch=128, lr=1e-3,
    ),
    "full": Options(floors=(0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), students=40, steps=3_000),
}  # fmt: skip


def cells(options: Options) -> list[dict]:
    how = {name: getattr(options, name) for name in ("student", "temperature", "students", "steps", "batch", "lr")}
    return [
        {**data.cell_task(options.data), **how, "teacher": teacher, "floor": floor}
        for teacher, floor in product(options.teachers, options.floors)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task = data.of_cell_task(cell)
    training = Recipe(
        steps=cell["steps"], batch=cell["batch"], lr=cell["lr"], optimiser="adamw", schedule="cosine", weight_decay=0.01
    )
    known = {"classes": len(task.classes), "recipe": training, "fingerprint": task.fingerprint}
    teacher = known_teacher(task.X, task.labels, network=cell["teacher"], **known)
    students = distill(
        task.X, teacher, labels=task.labels, mixing=Mixing(), floor=cell["floor"],
        factory=by_name(cell["student"], row=task.X.shape[1:], classes=len(task.classes)),
        objective=Distillation(cell["temperature"], weight=1.0), recipe=training,
        sources=Sources.independent(cell["students"]), key=("classify pairs", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    pairs = mixed_rows(task.X, task.labels, classes=len(task.classes), key=("classify pairs", task.fingerprint))
    found = []
    for who, asked in (("student", students), ("teacher", teacher)):
        numbers = performance(asked, task.X_test, task.labels_test, held=(task.X_held, task.labels_held))
        numbers |= on_pairs(asked, pairs).per_student()
        if who == "student":
            numbers |= against_teacher(students, teacher, pairs).per_student()
        found += tidy(numbers, data=cell["data"], teacher=cell["teacher"], floor=cell["floor"], who=who)
    return pd.DataFrame(found)


def means(table: pd.DataFrame) -> pd.DataFrame:
    by = ["data", "teacher", "floor", "measure"]
    of_students = table[table["who"] == "student"].groupby(by, sort=False)["value"]
    found = of_students.agg(value="mean", students="count", standard_error="sem").reset_index()
    of_teacher = table[table["who"] == "teacher"].groupby(by, sort=False)["value"].first().rename("of_teacher")
    return found.merge(of_teacher.reset_index(), on=by, how="left")


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
            figures.simulation(
                axis, rows["floor"], rows["value"], rows["standard_error"], color=colour, label=f"students of {teacher}"
            )
            axis.plot(rows["floor"], rows["value"], color=colour, linewidth=0.8, alpha=0.6)
            axis.axhline(
                rows["of_teacher"].iloc[0], color=colour, linestyle=":", linewidth=1.2, label=f"{teacher} itself"
            )
        axis.set_title(label)
    for axis in axes[-1]:
        axis.set_xlabel("c")
    figures.legend_below(figure, axes[0, 0], "bars: ± 1.96 standard errors over students", columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    title = __doc__.splitlines()[0]
    figures.publish(
        run, plot(found), table=found, title=title, caption=caption(found, options), more={"students": table}, place=450
    )


def caption(found: pd.DataFrame, options: Options) -> str:
    def along(teacher: str, measure: str, form: str) -> str:
        rows = found[(found["teacher"] == teacher) & (found["measure"] == measure)].sort_values("floor")
        return " → ".join(f"{r.value:{form}} ± {1.96 * r.standard_error:{form}}" for r in rows.itertuples())

    teacher = options.teachers[-1]
    return (
        f"{options.data}, {options.students} students of {options.student} per point, T = {options.temperature:g}. Students of {teacher} at c = "
        f"{', '.join(f'{c:g}' for c in sorted(options.floors))}: mass off the pair {along(teacher, 'off_pair_mass', '.3f')}; non-linearity "
        f"{along(teacher, 'nonlinearity', '.2f')}; accuracy {along(teacher, 'accuracy', '.3f')}; confidence − accuracy "
        f"{along(teacher, 'signed_gap', '.3f')}; NLL at a temperature of their own {along(teacher, 'nll_scaled', '.3f')}."
    )
