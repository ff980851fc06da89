"""What does it do to hold a teacher's answer to a mixed image to the two classes it was mixed of?

On an image λ·x_i + (1 − λ)·x_j the teacher's answer is projected, by the least KL, so that class i keeps at least c·λ and class j
c·(1 − λ), and all others at most 1 − c. c = 0 is mixup in distillation as published, c = 1 is mixup of the labels, without
a teacher; between them the teacher is corrected where it is lost, and heard where it is not. Teachers are trained several times.
"""

from __future__ import annotations

from itertools import cycle, product
from pathlib import PurePath
from typing import Annotated, Any

import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import Distillation, Mixing, against_teacher, distill, measure_mixup, mixed_rows
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, PUBLISHED_TEACHERS, ImageOptions
from uqkd.testbeds.tables import tidy
from uqkd.testbeds.teachers import alike, by_teacher, less, over_teachers

BY = ("data", "teacher", "floor")


class Options(ImageOptions):
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16")
    floors: tuple[Annotated[float, pydantic.Field(ge=0, le=1)], ...] = (0.0, 0.5, 0.8, 1.0)  # c
    temperature: PositiveFloat = 1.0


PRESETS = {
    "quick": Options(),
    "paper": Options(teachers=PUBLISHED_TEACHERS, student="residual:20", **PUBLISHED_IMAGES),
    "full": Options(floors=(0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), replicates=20, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, options.teachers), **options.training, **options.only("temperature", "floors")}
    return [
        {**shared, "teacher": teacher, "replicate": replicate}
        for teacher, replicate in product(options.teachers, range(options.replicates))
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, replicate = task_of(cell), cell["replicate"]
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell), replicate=replicate)
    pairs = mixed_rows(task.X, task.labels, classes=len(task.classes), key=("classify pairs", task.fingerprint))
    found = []
    for floor in cell["floors"]:
        students = distill(
            task.X, teacher, labels=task.labels, mixing=Mixing(), floor=floor, factory=network(cell["student"], task),
            recipe=cell_recipe(cell), objective=Distillation(cell["temperature"], weight=1.0),
            seed_design=alike(cell["students"]), key=("classify pairs", task.fingerprint, replicate),
        )  # fmt: skip
        about = {"data": data_label(cell), "teacher": cell["teacher"], "floor": floor, "replicate": replicate}
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
        for teacher, style, line in zip(
            teachers, figures.series_styles(len(teachers)), cycle((":", "--", "-.")), strict=False
        ):
            rows = found[(found["measure"] == measure) & (found["teacher"] == teacher)].sort_values("floor")
            name, of_teacher = PurePath(teacher).name, rows["of_teacher"].iloc[0]
            figures.points(axis, rows, "floor", y="value", students="teachers", label=f"students of {name}", **style)
            axis.plot(rows["floor"], rows["value"], color=style["color"], linewidth=0.8, alpha=0.6)
            axis.axhline(of_teacher, color=style["color"], linestyle=line, linewidth=1.2, label=f"{name} itself")
        axis.set_title(label)
    for axis in axes[-1]:
        axis.set_xlabel("c")
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.INTERVALS} over teachers", columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    each = by_teacher(table, BY)
    found = over_teachers(each, BY)
    said: Any = {"caption": caption(found, options), "answer": answer(each)}
    figures.publish(run, plot(found), table=found, **said, more={"students": table}, group="classify", place=450)


FORMS = {"nonlinearity": ".2f", "off_pair_mass": ".2f", "signed_gap": "+.2f", "accuracy": "+.4f", "nll_scaled": "+.3f"}


def answer(each: pd.DataFrame) -> Answer | None:
    """Of the last kind of teacher: what the largest c changes against the least, and a c between them against both."""
    least, *between, most = sorted(each["floor"].unique())
    if not between:
        return None
    floors = {
        "none": least,
        "middle": between[(len(between) - 1) // 2],
        "all": most,
    }  # the middle is not chosen by its results
    numbers = changes(each[each["teacher"] == each["teacher"].iloc[-1]], floors)
    kinds = {name: measured.side(numbers[f"{name}_all_less_none"]) for name in FORMS}
    linear = {"below": "more linear", "above": "less linear", "open": "no more linear"}[kinds["nonlinearity"]]
    doubt = {"below": "less confident", "above": "more confident", "open": "as confident"}[kinds["signed_gap"]]
    words = {"below": "better than at", "above": "worse than at", "open": "not told from"}
    low, high = (words[measured.side(numbers[f"nll_scaled_middle_less_{end}"])] for end in ("none", "all"))
    sentence = (
        f"students at c = {{all}} are {linear} than at c = {{none}} (non-linearity {{nonlinearity_none}} to "
        f"{{nonlinearity_all}} nats) and {doubt} (confidence − accuracy {{signed_gap_none}} to {{signed_gap_all}}); after "
        f"temperature scaling the likelihood at c = {{middle}} is {low} c = {{none}} (NLL {{nll_scaled_middle_less_none}}) and "
        f"{high} c = {{all}} ({{nll_scaled_middle_less_all}})"
    )
    return measured.stated(sentence, numbers)


def changes(rows: pd.DataFrame, floors: dict[str, float]) -> dict[str, Number | None]:
    """Every measure at some c, and its differences between them, teacher by teacher."""
    numbers: dict[str, Number | None] = {name: Number.exact(float(c), "g") for name, c in floors.items()}
    level = over_teachers(rows, BY).set_index(["measure", "floor"])
    for (name, c), (measure, form) in product(floors.items(), FORMS.items()):
        numbers[f"{measure}_{name}"] = measured.around(
            *measured.pair(level.loc[(measure, c), ["value", "half_width"]]), form
        )
    for name, other in (("all", "none"), ("middle", "none"), ("middle", "all")):
        one, two = (rows[rows["floor"] == floors[end]] for end in (name, other))
        apart = less(one, two, by=["data", "teacher"], on=["data", "teacher"]).set_index("measure")
        for measure, form in FORMS.items():
            reach = apart.loc[measure, ["difference", "half_width"]]
            numbers[f"{measure}_{name}_less_{other}"] = measured.around(*measured.pair(reach), f"+{form.lstrip('+')}")
    return numbers


def caption(found: pd.DataFrame, options: Options) -> str:
    teacher = options.teachers[-1]

    def along(measure: str, form: str) -> str:
        rows = found[(found["teacher"] == teacher) & (found["measure"] == measure)].sort_values("floor")
        numbers = rows[["value", "standard_error", "teachers"]].to_numpy()
        return " → ".join(captions.plus_minus(value, error, form, students=n) for value, error, n in numbers)

    return (
        f"{found['data'].iloc[0]}, {options.replicates} teachers of each kind, {options.students} students of {options.student} "
        f"of each per point, T = {options.temperature:g}. Students of {teacher} at c = {captions.listed(sorted(options.floors))}, "
        f"± {captions.INTERVALS} over teachers: mass off the pair {along('off_pair_mass', '.3f')}; non-linearity "
        f"{along('nonlinearity', '.3f')}; accuracy {along('accuracy', '.3f')}; confidence − accuracy "
        f"{along('signed_gap', '.3f')}; NLL at a temperature of their own {along('nll_scaled', '.3f')}."
    )
