"""Does a student inherit its teacher's miscalibration, whatever the teacher's accuracy?

A teacher whose logits are divided by a temperature is exactly as accurate as before, and more or less confident: teachers of
equal accuracy and different calibration, for each of three networks, each trained several times. Students are distilled from
each, with mixup and without. The signed gap, confidence − accuracy, of the students is drawn against that of their teacher.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd.classify import Distillation, Mixing, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, PUBLISHED_TEACHERS, ImageOptions
from uqkd.testbeds.tables import students_and_teacher
from uqkd.testbeds.teachers import alike, by_teacher, counted, decided, less, over_teachers

METHODS = ("KD", "KD + mixup")
BY = ("data", "teacher", "sharpness", "method")


class Options(ImageOptions):
    teachers: tuple[str, ...] = ("perceptron:64", "convolutional:16", "residual:8:8")
    sharpness: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0, 3.0)  # temperature of its answers
    temperature: PositiveFloat = 2.0  # of distillation


PRESETS = {
    "quick": Options(),
    "paper": Options(teachers=PUBLISHED_TEACHERS, student="residual:20", **PUBLISHED_IMAGES),
    "full": Options(sharpness=(0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0), replicates=20, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, options.teachers), **options.training, **options.only("temperature", "sharpness")}
    return [
        {**shared, "teacher": teacher, "replicate": replicate}
        for teacher, replicate in product(options.teachers, range(options.replicates))
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, recipe, replicate = task_of(cell), cell_recipe(cell), cell["replicate"]
    known = cached_teacher(task, network=cell["teacher"], recipe=recipe, replicate=replicate)
    found = []
    for sharpness, method in product(cell["sharpness"], METHODS):
        teacher, mixed = replace(known, temperature=sharpness), method == "KD + mixup"
        students = distill(
            task.X, teacher if mixed else weigh(teacher.predict_proba(task.X), "soft"),
            factory=network(cell["student"], task), recipe=recipe, objective=Distillation(cell["temperature"], weight=1.0),
            seed_design=alike(cell["students"]), mixing=Mixing() if mixed else None,
            key=("classify calibration", task.fingerprint, replicate),
        )  # fmt: skip
        about = {"data": data_label(cell), "teacher": cell["teacher"], "sharpness": sharpness, "method": method}
        found.append(
            students_and_teacher(evaluate(students, task), evaluate(teacher, task), **about, replicate=replicate)
        )
    return pd.concat(found)


def slopes(each: pd.DataFrame) -> pd.DataFrame:
    """Slope of the students' gap on their teacher's, teacher by teacher: its mean and interval per kind of teacher and method."""
    by, rows = ["teacher", "method"], []
    gaps = each[each["measure"] == "signed_gap"]
    for names, part in gaps.groupby([*by, "replicate"], sort=False):
        slope = np.polyfit(part["of_teacher"], part["value"], 1)[0]
        rows.append({**dict(zip(by, names, strict=False)), "slope": slope})
    grouped = pd.DataFrame(rows).groupby(by, sort=False)["slope"]
    found = grouped.agg(slope="mean", standard_error="sem", teachers="count").reset_index()
    return decided(found.assign(difference=found["slope"] - 1.0)).rename(columns={"difference": "above_one"})


def plot(found: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, len(METHODS), height=2.4, sharex=True, sharey="row")
    teachers, gaps = found["teacher"].unique(), found[found["measure"] == "signed_gap"].sort_values("of_teacher")
    for (above, below), method in zip(axes.T, METHODS, strict=True):
        for teacher, style in zip(teachers, figures.series_styles(len(teachers)), strict=True):
            rows = gaps[(gaps["method"] == method) & (gaps["teacher"] == teacher)]
            name = PurePath(teacher).name
            figures.points(above, rows, "of_teacher", y="value", students="teachers", label=name, **style)
            figures.intervals(below, rows["of_teacher"], rows["apart"], yerr=rows["apart_half_width"], **style)
            below.plot(rows["of_teacher"], rows["apart"], color=style["color"], linewidth=0.8, alpha=0.6)
        ends = [gaps["of_teacher"].min(), gaps["of_teacher"].max()]
        figures.theory(above, ends, ends, color="0.3", linestyle="--", label="equal")
        figures.theory(below, ends, [0.0, 0.0], color="0.3", linestyle="--")
        above.set_title(method)
        below.set_xlabel("teacher's confidence − accuracy")
    axes[0, 0].set_ylabel("student's gap")
    axes[1, 0].set_ylabel("student's gap − teacher's")
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.INTERVALS} over teachers", columns=4)
    return figure


def means(each: pd.DataFrame) -> pd.DataFrame:
    """Means over teachers, and how far students are from their own teacher: apart, with its interval and p."""
    apart = less(each, "of_teacher", by=BY).drop(columns=["teachers", "standard_error"])
    names = {"difference": "apart", "half_width": "apart_half_width", "p": "apart_p", "sign": "apart_sign"}
    return over_teachers(each, BY).merge(apart.rename(columns=names), on=[*BY, "measure"])


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    each = by_teacher(table, BY)
    found, inherited = means(each), slopes(each)
    said: Any = {"caption": caption(found, inherited, options), "answer": answer(found, inherited)}
    more = {"slopes": inherited, "students": table}
    figures.publish(run, plot(found), table=found, **said, more=more, group="classify", place=430)


def answer(found: pd.DataFrame, inherited: pd.DataFrame) -> Answer | None:
    """Slopes of all kinds of teachers, and gaps that are told from their teacher's."""
    rows = inherited[["slope", "half_width"]].to_numpy()
    slopes = [measured.within(slope, slope - reach, slope + reach) for slope, reach in rows]
    gaps = found[found["measure"] == "signed_gap"]
    apart = gaps.rename(columns={"apart": "difference", "apart_p": "p"})
    told = [counted(apart, sign) for sign in ("below", "above")]
    count, low, high = (sum(one) for one in zip(*told, strict=True))
    far = gaps.iloc[gaps["apart"].abs().argmax()]
    size, reach = abs(far["apart"]), far["apart_half_width"]
    numbers = {
        "least": measured.least(slopes), "most": measured.most(slopes), "gaps": Number.exact(len(gaps), "d"),
        "apart": Number.measured(count, low, high, ".0f"),
        "farthest": measured.within(size, max(size - reach, 0.0), size + reach, ".3f"),
        "typical": Number.exact(float(gaps["apart"].abs().median()), ".3f"),
        "span": Number.exact(float(np.ptp(gaps["of_teacher"])), ".2f"),
    }  # fmt: skip
    least, most = numbers["least"], numbers["most"]
    if least is None or most is None:
        return None
    whole = least.value > 0.9 and most.value < 1.1
    sentence = "nearly whole" if whole else "in part" if least.value > 0 else "not throughout"
    sentence += ": the slope of its gap (confidence − accuracy) on that of teachers of equal accuracy is {least} to {most}, with "
    sentence += "mixup or without"
    sentence += ", but not exactly: " if count else ": "
    sentence += "{apart} of {gaps} gaps differ from the teacher's beyond their intervals, by {farthest} at most"
    return measured.stated(sentence, numbers)


def caption(found: pd.DataFrame, inherited: pd.DataFrame, options: Options) -> str:
    def of(method: str) -> str:
        rows = inherited.loc[inherited["method"] == method, ["teacher", "slope", "half_width"]].to_numpy()
        return ", ".join(f"{slope:.2f} ± {reach:.2f} ({teacher})" for teacher, slope, reach in rows)

    gaps = found[found["measure"] == "signed_gap"]
    apart, beyond = gaps["apart"].abs(), gaps["apart_sign"] != "undecided"
    return (
        f"{found['data'].iloc[0]}, {options.replicates} teachers of each kind, {options.students} students of {options.student} "
        f"of each, distilled at T = {options.temperature:g} from teachers that answer at temperatures "
        f"{captions.listed(options.sharpness)}: as accurate, and more or less confident. Slope of the students' gap on "
        f"their teacher's, 1 being full inheritance: KD {of('KD')}; KD + mixup {of('KD + mixup')}. Gaps differ from their "
        f"teacher's by {apart.median():.3f} at the median, {apart.max():.3f} at most; {beyond.sum()} of {len(gaps)} do so beyond "
        f"{captions.INTERVALS} over teachers."
    )
