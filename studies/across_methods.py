"""What helps where: which way of distilling improves which quantity, of the student and of its uncertainty?

Classifiers of images and of texts are distilled by every method from the same teachers, several of them, and each method is held
against plain distillation teacher by teacher. A method helps, or hurts, where the interval over teachers of the difference lies on
one side of zero, and is undecided otherwise. Inter is what moves between students, intra how far a student's own uncertainty
is from its teacher's, both as shares of the teacher's Gini variance G_p.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import Distillation, Mixing, SeedDesign, TargetFactory, distill, weigh
from uqkd.estimators import decompose_categorical, gini, half_width, kl_divergence
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number
from uqkd.run import AtLeastTwo, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cell_recipe, network, performance, task_cells
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.tables import signs

PLAIN = "teacher"
SAMPLED = {"1 sampled label": 1, "16 sampled labels": 16}
METHODS = (
    "labels",
    "label smoothing",
    "teacher, temperature",
    "DUS + W-Clip",
    "groups, entropy",
    *SAMPLED,
    "teacher, mixup",
)
MEASURES = {"accuracy": "accuracy", "nll": "likelihood", "ece": "ECE", "inter": "inter", "intra": "intra, off\nthe teacher's",
            "kl": "distance to\nthe teacher"}  # fmt: skip
SHOWN = {"helps": ("▲", "#0173b2"), "hurts": ("▼", "#d55e00"), "undecided": ("○", "0.6")}
ROUNDING = 1e-12  # probabilities below it count as it


class Options(TaskOptions):
    teachers: Annotated[int, pydantic.Field(ge=3)] = 5
    students: AtLeastTwo = 3  # of each teacher
    steps: AtLeastTwo = 300


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), teachers=10, students=10, steps=3_000),
    "full": Options(tasks=("digits", "intents:6", "intents:30", "intents:150"), teachers=20, students=20, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**task, **options.training, "teacher": teacher}
        for task in task_cells(options)
        for teacher in range(options.teachers)
    ]


def measure(cell: dict) -> pd.DataFrame:
    """Of one teacher every method's students: means over students, and of inter the unbiased variance between them."""
    task, recipe, (of_teacher, of_students) = task_of(cell), cell_recipe(cell), cell["networks"]
    key = ("across methods", task.fingerprint, cell["teacher"])
    trained: dict[str, Any] = {"factory": network(of_students, task), "labels": task.labels, "recipe": recipe,
                               "seed_design": SeedDesign.independent(cell["students"])}  # fmt: skip
    views = TargetFactory.fit(
        task.X, task.labels, classes=len(task.classes), factory=network(of_teacher, task), recipe=recipe, key=key
    )
    p, rows = views.teacher.predict_proba(task.X_test), []
    for method in (PLAIN, *METHODS):
        mixed = "mixup" in method
        if mixed and cell["kind"] == "texts":
            continue  # words have no average
        targets: Any = views.teacher if mixed else None
        if method in SAMPLED:
            drawn = views.teacher.respond(task.X, SAMPLED[method], students=cell["students"], key=(*key, method))
            targets = weigh(drawn, classes=len(task.classes))
        students = distill(
            task.X, views.targets(method) if targets is None else targets, mixing=Mixing() if mixed else None,
            objective=Distillation(1.0, weight=1.0), key=(*key, method), **trained,
        )  # fmt: skip
        q, scores = students.predict_proba(task.X_test), performance(students, task.X_test, task.labels_test)
        parts, whole = decompose_categorical(q).mean, gini(p).mean()
        found = {name: float(np.mean(scores[name])) for name in ("accuracy", "nll", "ece")}
        found |= {"inter": parts.inter / whole, "intra": abs(parts.intra / whole - 1.0)}
        found["kl"] = float(kl_divergence(p, q, least=ROUNDING).mean())
        about = {"data": data_label(cell), "teacher": cell["teacher"], "method": method}
        rows += [{**about, "measure": name, "value": value} for name, value in found.items()]
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """Differences from plain distillation of the same teacher, their mean and its interval over teachers, and what that means."""
    plain = table[table["method"] == PLAIN].drop(columns="method")
    joined = table.merge(plain, on=["data", "teacher", "measure"], suffixes=("", "_plain"))
    joined["difference"] = joined["value"] - joined["value_plain"]
    grouped = joined.groupby(["data", "method", "measure"], sort=False)
    found = grouped.agg(value=("value", "mean"), difference=("difference", "mean"), error=("difference", "sem"),
                        teachers=("difference", "size")).reset_index()  # fmt: skip
    found = found.assign(half_width=half_width(found["error"], found["teachers"]))
    sign = np.where(found["measure"] == "accuracy", -1.0, 1.0)
    kinds = {"below": "helps", "above": "hurts", "undecided": "undecided"}
    told = [kinds[one] for one in signs(found["difference"] * sign, found["half_width"])]
    return found.assign(verdict=told)[found["method"] != PLAIN].reset_index(drop=True)


def plot(found: pd.DataFrame) -> Figure:
    names = found["data"].unique()
    figure, axes = figures.panels(1, len(names), height=4.3, sharey=True)
    methods = list(dict.fromkeys(found["method"]))
    for axis, name in zip(axes[0], names, strict=True):
        for row in found[found["data"] == name].itertuples():
            sign, colour = SHOWN[row.verdict]
            x, y = list(MEASURES).index(row.measure), methods.index(row.method)
            axis.text(x, y - 0.2, sign, color=colour, ha="center", va="center", fontsize=8 if sign == "○" else 12)
            text = captions.minus(f"{row.difference:+.3f}".replace("0.", "."))
            axis.text(x, y + 0.28, text, color=colour, ha="center", va="center", fontsize=6)
        figures.named_rows(axis, [captions.method_name(method) for method in methods])
        axis.set(title=f"{name}, against plain distillation", xlim=(-0.6, len(MEASURES) - 0.4))
        axis.set_xticks(
            range(len(MEASURES)), MEASURES.values(), fontsize=7, rotation=40, ha="right", rotation_mode="anchor"
        )
    for verdict, (sign, colour) in SHOWN.items():
        axes[0, 0].plot(
            [],
            [],
            linestyle="none",
            marker={"▲": "^", "▼": "v", "○": "o"}[sign],
            color=colour,
            mfc="white" if sign == "○" else colour,
            ms=7,
            label=verdict,
        )
    note = f"number: difference (accuracy, nats, shares of $G_p$); helps, hurts: beyond {captions.INTERVALS} over teachers\n"
    note += "(texts have no mixup: words have no average)"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = compared(table)
    about: Any = {"answer": answer(found), "caption": caption(found, options), "group": "across", "place": 20}
    figures.publish(run, plot(found), table=found, more={"teachers": table}, **about)


def tally(found: pd.DataFrame) -> pd.DataFrame:
    """Of each method how often it helps, hurts and is undecided, over tasks and quantities."""
    return found.pivot_table(
        index="method", columns="verdict", values="value", aggfunc="size", fill_value=0, sort=False
    ).reindex(columns=list(SHOWN), fill_value=0)


def answer(found: pd.DataFrame) -> Answer:
    counts = tally(found)
    free = [m for m in counts.index if counts.loc[m, "hurts"] == 0 and counts.loc[m, "helps"] > 0]
    whole = found.groupby("method").size().max()
    numbers = {"methods": Number.exact(len(counts), "d"), "quantities": Number.exact(int(whole), "d")}
    said = f"only {captions.quoted(captions.method_name(m) for m in free)}" if free else "none"
    return Answer(
        f"of {{methods}} methods {said} helps anywhere without hurting elsewhere, in {{quantities}} quantities by task",
        numbers,
    )


def caption(found: pd.DataFrame, options: Options) -> str:
    counts = "; ".join(
        f"'{captions.method_name(str(m))}' helps in {r['helps']}, hurts in {r['hurts']} of {r.sum()}"
        for m, r in tally(found).iterrows()
    )
    return (
        f"{options.teachers} teachers, {options.students} students of each by every method. Against plain distillation from the "
        f"same teacher, with {captions.INTERVALS} over teachers, each for itself (of a hundred that change nothing some five are "
        f"called either): {counts}."
    )
