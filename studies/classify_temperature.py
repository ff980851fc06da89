"""What does the temperature of distillation trade between accuracy and calibration, and does mixup sharpen the trade?

Several teachers of one architecture, students of another, temperatures from 0.5 to 16; students by distillation alone, with
mixup, and with the labels beside (one fifth of the loss, as in the later variant). Accuracy is drawn against three readings
of calibration: as the student stands, after a temperature of its own fitted on other rows, and the signed gap, which tells
under- from overconfidence.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from uqkd.classify import Distillation, Mixing, SeedDesign, distill, weigh
from uqkd.estimators import half_width, mean_and_error
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, PositiveFloat, PositiveInt, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, evaluate, image_cell, network
from uqkd.testbeds.options import PUBLISHED_IMAGES, ImageOptions
from uqkd.testbeds.tables import students_and_teacher
from uqkd.testbeds.teachers import by_teacher, over_teachers

# mixed, weight of the teacher
METHODS = {"KD": (False, 1.0), "KD + mixup": (True, 1.0), "KD + mixup + CE": (True, 0.8)}
BY = ("data", "method", "temperature")


class Options(ImageOptions):
    teacher: str = "convolutional:16"
    temperatures: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0, 4.0, 16.0)
    replicates: AtLeastTwo = 5  # independent teachers
    students: PositiveInt = 3  # of each


PRESETS = {
    "quick": Options(),
    "paper": Options(teacher="residual:56", student="residual:20", **PUBLISHED_IMAGES),
    "full": Options(
        temperatures=(0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0), replicates=20, students=5, steps=3_000
    ),
}


def cells(options: Options) -> list[dict]:
    shared = {**image_cell(options, [options.teacher]), **options.training, **options.only("teacher")}
    return [
        {**shared, "method": method, "temperature": temperature, "replicate": replicate}
        for replicate in range(options.replicates)
        for method, temperature in product(METHODS, options.temperatures)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, (mixed, weight) = task_of(cell), METHODS[cell["method"]]
    teacher = cached_teacher(task, network=cell["teacher"], recipe=cell_recipe(cell), replicate=cell["replicate"])
    students = distill(
        task.X, teacher if mixed else weigh(teacher.predict_proba(task.X), "soft"), labels=task.labels,
        factory=network(cell["student"], task), recipe=cell_recipe(cell), objective=Distillation(cell["temperature"], weight),
        seed_design=SeedDesign.independent(cell["students"]), mixing=Mixing() if mixed else None,
        key=("classify temperature", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    about = {name: cell[name] for name in (*BY, "replicate")} | {"data": data_label(cell)}
    return students_and_teacher(evaluate(students, task), evaluate(teacher, task), **about)


SHOWN = {"ece": "ECE", "nll_scaled": "NLL, own temperature", "signed_gap": "confidence − accuracy"}


def plot(found: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, len(SHOWN), height=3.0, sharex=True)
    wide = found.pivot(index=["method", "temperature"], columns="measure", values=["value", "half_width", "of_teacher"])
    for axis, (measure, label) in zip(axes[0], SHOWN.items(), strict=True):
        for method, style in zip(METHODS, figures.series_styles(len(METHODS)), strict=True):
            rows = wide.loc[method].sort_index()
            x, y = rows["value", "accuracy"], rows["value", measure]
            bars = {"xerr": rows["half_width", "accuracy"], "yerr": rows["half_width", measure]}
            joined = {"fmt": f"{style['fmt']}-", "linewidth": 0.8, "elinewidth": 0.8, "capsize": None}
            figures.intervals(axis, x, y, **bars, **{**style, **joined}, label=method)
            if method == "KD":  # the order along the others is the same
                for at, aside in ((0, (-4, -9)), (-1, (4, 3))):
                    text, where = f"T={rows.index[at]:g}", (x.iloc[at], y.iloc[at])
                    axis.annotate(text, where, aside, textcoords="offset points", fontsize=7, color=style["color"])
        teacher = wide["of_teacher"].iloc[0]
        axis.plot(teacher["accuracy"], teacher[measure], "k*", ms=7, label="the teachers")
        axis.set(xlabel="accuracy", title=label)
    axes[0, -1].axhline(0.0, color="0.6", linewidth=0.8)
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.INTERVALS} over teachers", columns=4)
    return figure


def trends(each: pd.DataFrame) -> pd.DataFrame:
    """Change per doubling of T, from T = 1 on, of each teacher's students: mean and interval over teachers."""
    rows = []
    students = each[each["temperature"] >= 1]
    for (method, measure), part in students.groupby(["method", "measure"], sort=False):
        slopes = [np.polyfit(np.log2(one["temperature"]), one["value"], 1)[0] for _, one in part.groupby("replicate")]
        slope, error = mean_and_error(slopes)
        reach = float(half_width(error, len(slopes)))
        rows.append({"method": method, "measure": measure, "per_doubling": slope, "half_width": reach})
    return pd.DataFrame(rows)


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    each = by_teacher(table, BY)
    found, slopes = over_teachers(each, BY), trends(each)
    more = {"trends": slopes, "students": table}
    said: Any = {"caption": caption(found, slopes, options), "answer": answer(each)}
    figures.publish(run, plot(found), table=found, **said, more=more, group="classify", place=440)


ANSWERED = {"accuracy": "+.2f", "signed_gap": "+.2f", "confidence": "+.2f", "ece": "+.2f", "ece_scaled": "+.2f"}
SHORT = {"KD": "plain", "KD + mixup": "mixup", "KD + mixup + CE": "mixup_labels"}


def answer(each: pd.DataFrame) -> Answer | None:
    """What the highest T changes against T = 1, and each doubling between them, in points, by distillation alone and with mixup."""
    each = with_confidence(each)
    numbers: dict[str, Number | None] = {}
    of, temperatures = trends(each).set_index(["method", "measure"]), sorted(each["temperature"].unique())
    students = each.set_index(["method", "measure", "temperature", "replicate"])["value"].sort_index()
    above = [t for t in temperatures if t > 1]
    if 1.0 not in temperatures or not above:
        return None

    def mean(values: ArrayLike, form: str) -> Number | None:
        return measured.mean(
            *mean_and_error(100 * np.asarray(values)), form, shows="reach", students=len(np.asarray(values))
        )

    for (method, short), (measure, form) in product(SHORT.items(), ANSWERED.items()):
        slope, reach = measured.pair(100 * of.loc[(method, measure), ["per_doubling", "half_width"]])
        numbers[f"{measure}_{short}"] = measured.within(slope, slope - reach, slope + reach, form, shows="reach")
        own = students[method, measure]
        for name, to in (("top", above[-1]), ("first", above[0])):
            numbers[f"{measure}_{short}_to_{name}"] = mean(own[to] - own[1.0], form.replace("2", "1"))
    numbers |= {"top": Number.exact(above[-1], "g"), "first": Number.exact(above[0], "g")}
    apart = (students["KD + mixup", "accuracy"] - students["KD", "accuracy"]).unstack("temperature")
    numbers["accuracy_mixup_less_plain"] = mean(per_doubling(apart), "+.2f")
    verbs = {"above": "rises", "below": "falls", "open": "moves by nothing sure,"}
    right, sure = (verbs[measured.side(numbers[f"{name}_plain"])] for name in ("accuracy", "confidence"))
    mixed = measured.side(numbers["accuracy_mixup_less_plain"])
    sharpens = {"below": "mixup sharpens it", "above": "mixup softens it", "open": "mixup is not seen to change it"}[
        mixed
    ]
    sentence = (
        f"from T = 1 to {{top}} accuracy {right} ({{accuracy_plain_to_top}} points) and confidence {sure} "
        "({confidence_plain_to_top}, of which {confidence_plain_to_first} by T = {first}; confidence − accuracy "
        f"{{signed_gap_plain_to_top}}); {sharpens} ({{accuracy_mixup_less_plain}} points of accuracy per doubling); at a "
        "temperature of the student's own ECE changes by {ece_scaled_plain_to_top}"
    )
    return measured.stated(sentence, numbers)


def with_confidence(each: pd.DataFrame) -> pd.DataFrame:
    """Beside confidence − accuracy and accuracy their sum."""
    gap, right = (each[each["measure"] == name] for name in ("signed_gap", "accuracy"))
    both = gap.merge(right, on=[*BY, "replicate"], suffixes=("", "_right"))
    both = both.assign(measure="confidence", value=both["value"] + both["value_right"])
    return pd.concat([each, both[each.columns]], ignore_index=True)


def per_doubling(table: pd.DataFrame) -> np.ndarray:
    """Slope on log2 T, from T = 1 on, of each row of a table with a column per temperature."""
    own = table[[t for t in table.columns if float(t) >= 1]]
    return np.polyfit(np.log2(own.columns.to_numpy(dtype=float)), own.to_numpy().T, 1)[0]


def caption(found: pd.DataFrame, slopes: pd.DataFrame, options: Options) -> str:
    def of(measure: str) -> str:
        rows = slopes.loc[slopes["measure"] == measure, ["method", "per_doubling", "half_width"]].to_numpy()
        return ", ".join(f"{100 * slope:+.2f} ± {100 * reach:.2f} ({method})" for method, slope, reach in rows)

    return (
        f"{found['data'].iloc[0]}, {options.replicates} teachers {options.teacher}, {options.students} students of "
        f"{options.student} of each per point; intervals over teachers. Per doubling of T from 1 on, in points of percent: "
        f"accuracy {of('accuracy')}; ECE {of('ece')}; ECE at the student's own temperature {of('ece_scaled')}; confidence − "
        f"accuracy {of('signed_gap')}."
    )
