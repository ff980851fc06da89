"""Do students learn their teacher or memorise its responses, as training goes on?

Classifiers of texts are trained for more and more steps on one sampled label per text, on 16, and on the teacher's distribution
itself. What is learnt shows in the distance KL(teacher ‖ student) on texts that no student saw, what is memorised in a distance on
the training texts that moves away from it, and in the share of the teacher's Gini variance G_p that one student keeps.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd.estimators import (
    decompose_categorical,
    difference_half_width,
    gini,
    kl_divergence,
    two_way_mean,
    uncertainty_shares,
)
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number
from uqkd.run import AtLeastTwo, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds import every_layer
from uqkd.testbeds.cells import task_of

SOFT = 0  # instead of k: the teacher's distribution itself
WHERE = ("training", "test")
ROUNDING = 1e-12  # probabilities below it count as it
DISTANCE, KEPT = "KL(teacher‖student)", "within one student"


class Options(Base):
    ks: tuple[PositiveInt, ...] = (1, 16)
    steps: tuple[PositiveInt, ...] = (25, 100, 400, 800)
    students: AtLeastTwo = 4


PRESETS = {
    "quick": Options(),
    "paper": Options(ks=(1, 4, 16), steps=(50, 100, 200, 400, 800, 1_600, 3_200, 6_400), students=20),
    "full": Options(ks=(1, 2, 4, 8, 16), steps=(50, 100, 200, 400, 800, 1_600, 3_200, 6_400), students=50),
}


def cells(options: Options) -> list[dict]:
    shared = every_layer.texts_cell(students=options.students)
    trained = sorted(product(options.steps, (*options.ks, SOFT)), reverse=True)  # the longest first
    return [{**shared, "student_steps": steps, "k": k} for steps, k in trained]


def measure(cell: dict) -> pd.DataFrame:
    task, rows = task_of(cell), []
    students, teacher = every_layer.classifiers_of_texts(
        cell, cell["k"], key=("across learning", cell["student_steps"])
    )
    for where, texts in zip(WHERE, (task.X, task.X_test), strict=True):
        q, p = students.predict_proba(texts), teacher.predict_proba(texts)
        found = {DISTANCE: two_way_mean(kl_divergence(p, q, least=ROUNDING))}
        found[KEPT] = uncertainty_shares(decompose_categorical(q), gini(p))["intra"]
        about = {"k": cell["k"], "steps": cell["student_steps"], "texts": where, "students": cell["students"]}
        rows += [
            {**about, "quantity": name, "simulated": value, "standard_error": error}
            for name, (value, error) in found.items()
        ]
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame) -> Figure:
    ks = sorted(table["k"].unique(), key=lambda k: k or np.inf)
    figure, axes = figures.panels(2, len(ks), height=2.1, sharex=True, sharey="row")
    for column, k in enumerate(ks):
        for axis, quantity in zip(axes[:, column], (DISTANCE, KEPT), strict=True):
            for where, style in zip(WHERE, figures.series_styles(2), strict=True):
                rows = table[
                    (table["k"] == k) & (table["quantity"] == quantity) & (table["texts"] == where)
                ].sort_values("steps")
                figures.points(axis, rows, "steps", label=f"{where} texts", **style)
                axis.plot(
                    rows["steps"], rows["simulated"], ":", color=style["color"], linewidth=0.8
                )  # a guide to the eye
            figures.k_axis(axis, tuple(sorted(table["steps"].unique())))
        labels = {SOFT: "the distribution itself", 1: "one label per text"}
        axes[0, column].set(title=labels.get(k, f"{k} labels per text"), yscale="log")
        axes[1, column].axhline(1.0, color="0.25", linestyle="--", linewidth=1)
    distances = table[table["quantity"] == DISTANCE]
    figures.focus(axes[0, 0], distances["simulated"])
    figures.log_ticks(axes[0, 0], steps=(1, 2, 5))
    axes[0, 0].set_ylabel(f"{DISTANCE},\nnats")
    axes[1, 0].set_ylabel("kept within one\nstudent, share of $G_p$")
    figures.outer_labels(axes, x="training steps")
    figures.legend_below(figure, axes[0, 0], f"points {captions.BARS}; dashed: all of the teacher's uncertainty")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    about: Any = {"answer": answer(table), "caption": caption(table), "group": "across", "place": 50}
    figures.publish(run, plot(table), table=table, **about)


def distance(table: pd.DataFrame, k: int) -> pd.DataFrame:
    """Distances on unseen texts of one k, by steps."""
    rows = table[(table["k"] == k) & (table["quantity"] == DISTANCE) & (table["texts"] == "test")]
    return rows.set_index("steps").sort_index()


def answer(table: pd.DataFrame) -> Answer:
    numbers, words = {}, []
    for k in (table.loc[table["k"] > 0, "k"].min(), SOFT):
        rows = distance(table, k)
        best, last = rows.iloc[rows["simulated"].argmin()], rows.iloc[-1]
        sides = [(row["standard_error"], row["students"]) for row in (last, best)]
        grown, reach = last["simulated"] - best["simulated"], float(difference_half_width(*sides))
        name = f"of_{k or 'all'}"
        numbers[name] = Number.measured(grown, grown - reach, grown + reach, "+.2f", shows="reach")
        numbers[f"best_{name}"] = Number.exact(rows.index.tolist()[int(rows["simulated"].argmin())], "d")
        words.append(f"{'one label per text' if k else 'the distribution itself'} {{{name}}} nats")
    return Answer(
        f"from its least to its last, students' distance to their teacher on unseen texts changes: of {words[0]}, of {words[1]}",
        numbers,
    )


def caption(table: pd.DataFrame) -> str:
    told = []
    for k in sorted(table["k"].unique(), key=lambda k: k or np.inf):
        rows = distance(table, k)
        best = rows["simulated"].idxmin()
        kept = (
            table[(table["k"] == k) & (table["quantity"] == KEPT) & (table["texts"] == "training")]
            .set_index("steps")
            .sort_index()
        )
        said = (captions.simulated(row) for row in (rows.iloc[rows["simulated"].argmin()], rows.iloc[-1]))
        ends = (captions.simulated(kept.iloc[i]) for i in (0, -1))
        name = f"k = {k}" if k else "the distribution itself"
        told.append(
            f"{name}: nearest to the teacher on unseen texts after {best:,} steps ({' and at last '.join(said)} nats); on training "
            f"texts one student keeps {' of G_p at first and '.join(ends)} at last"
        )
    return f"Texts of 30 intents, {table['students'].iloc[0]} students each. {'. '.join(told)}."
