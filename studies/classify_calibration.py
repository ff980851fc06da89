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

from uqkd.classify import Distillation, Mixing, SeedDesign, distill, weigh_probabilities
from uqkd.estimators import half_width
from uqkd.report import figures
from uqkd.run import AtLeastTwo, PositiveFloat, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, task_cell, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, check_networks, evaluate, network
from uqkd.testbeds.tables import over_students, signs, tidy

METHODS = ("KD", "KD + mixup")
BY = ("data", "teacher", "sharpness", "method")


class Options(Base):
    task: str = "digits"
    size: PositiveInt | None = None  # height and width to which images are brought
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16", "residual:8:8")
    sharpness: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0, 3.0)  # temperature of its answers
    student: str = "perceptron:64"
    temperature: PositiveFloat = 2.0  # of distillation
    students: AtLeastTwo = 6
    steps: AtLeastTwo = 600
    batch: AtLeastTwo = 32
    lr: PositiveFloat = 3e-3


PRESETS = {
    "quick": Options(),
    "paper": Options(
        task="cifar100", teachers=("residual:20", "residual:56", "residual:110"), student="residual:20", students=5,
        steps=78_000, batch=128, lr=1e-3,
    ),
    "full": Options(sharpness=(0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0), students=40, steps=3_000),
}  # fmt: skip


def cells(options: Options) -> list[dict]:
    how = {name: getattr(options, name) for name in ("student", "temperature", "students", "steps", "batch", "lr")}
    task = task_cell(options.task, only="images", size=options.size)
    check_networks(task_of(task), (*options.teachers, options.student))
    return [
        {**task, **how, "teacher": teacher, "sharpness": sharpness, "method": method}
        for teacher, sharpness, method in product(options.teachers, options.sharpness, METHODS)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, mixed = task_of(cell), cell["method"] == "KD + mixup"
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell))
    teacher = replace(teacher, temperature=cell["sharpness"])
    students = distill(
        task.X, teacher if mixed else weigh_probabilities(teacher.predict_proba(task.X)),
        factory=network(cell["student"], task), recipe=cell_recipe(cell),
        objective=Distillation(cell["temperature"], weight=1.0), seed_design=SeedDesign.independent(cell["students"]),
        mixing=Mixing() if mixed else None, key=("classify calibration", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    about = {name: cell[name] for name in BY} | {"data": data_label(cell)}
    return pd.DataFrame(
        tidy(evaluate(students, task), **about, who="student") + tidy(evaluate(teacher, task), **about, who="teacher")
    )


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """Slope of the students' gap on their teacher's, student by student: its mean and 95 % interval per teacher and method."""
    by = ["teacher", "method"]
    gaps = table[table["measure"] == "signed_gap"]
    teachers = gaps[gaps["who"] == "teacher"][[*by, "sharpness", "value"]].rename(columns={"value": "of_teacher"})
    joined = gaps[gaps["who"] == "student"].merge(teachers, on=[*by, "sharpness"])
    rows = []
    for names, part in joined.groupby(by, sort=False):
        each = [np.polyfit(one["of_teacher"], one["value"], 1)[0] for _, one in part.groupby("student")]
        error = np.std(each, ddof=1) / np.sqrt(len(each))
        reach = float(half_width(error, len(each)))
        rows.append({**dict(zip(by, names, strict=True)), "slope": np.mean(each), "half_width": reach})
    return pd.DataFrame(rows)


def plot(found: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, len(METHODS), height=2.4, sharex=True, sharey="row")
    teachers, gaps = found["teacher"].unique(), found[found["measure"] == "signed_gap"].sort_values("of_teacher")
    for (above, below), method in zip(axes.T, METHODS, strict=True):
        for teacher, colour in zip(teachers, figures.colours(len(teachers)), strict=True):
            rows = gaps[(gaps["method"] == method) & (gaps["teacher"] == teacher)]
            bars = {"standard_error": rows["standard_error"], "students": rows["students"], "color": colour}
            figures.simulation(above, rows["of_teacher"], rows["value"], **bars, label=PurePath(teacher).name)
            apart = rows["value"] - rows["of_teacher"]
            figures.simulation(below, rows["of_teacher"], apart, **bars)
            below.plot(rows["of_teacher"], apart, color=colour, linewidth=0.8, alpha=0.6)
        ends = [gaps["of_teacher"].min(), gaps["of_teacher"].max()]
        figures.theory(above, ends, ends, color="0.3", linestyle="--", label="equal")
        figures.theory(below, ends, [0.0, 0.0], color="0.3", linestyle="--")
        above.set_title(method)
        below.set_xlabel("teacher's confidence − accuracy")
    axes[0, 0].set_ylabel("student's gap")
    axes[1, 0].set_ylabel("student's gap − teacher's")
    figures.legend_below(figure, axes[0, 0], "bars: 95 % intervals over students", columns=4)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found, inherited = over_students(table, BY), slopes(table)
    title = __doc__.splitlines()[0]
    more = {"slopes": inherited, "students": table}
    figures.publish(
        run, plot(found), table=found, title=title, caption=caption(found, inherited, options), more=more, place=430
    )


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
        f"{', '.join(f'{s:g}' for s in options.sharpness)}: as accurate, and more or less confident. Slope of the students' gap on "
        f"their teacher's, 1 being full inheritance: KD {of('KD')}; KD + mixup {of('KD + mixup')}. Gaps differ from their "
        f"teacher's by {apart.median():.3f} at the median, {apart.max():.3f} at most; {beyond.sum()} of {len(gaps)} do so beyond "
        "95 % intervals."
    )
