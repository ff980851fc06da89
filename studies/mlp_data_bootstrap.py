"""How much do neural students differ that see different bootstrap samples of the training rows?

A wide network teaches narrower ones, which learn from resampled rows: ground-truth labels, or the teacher's noise-free
answers. Least-squares students of the latter all equal their teacher (T9); networks keep the spread of where they begin,
and rows that were not drawn leave them free. Students that begin alike show what the resampling does by itself, students
that see all rows what their initial weights do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data
from uqkd.estimators import variance_half_widths
from uqkd.linear import fit_ols
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, measured
from uqkd.run import AtLeastTwo, Fraction, Run
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.testbeds.options import NetworkOptions
from uqkd.testbeds.spreads import begun_alike, begun_anew
from uqkd.theory import statements as theory


class Options(NetworkOptions):
    fractions: tuple[Fraction, ...] = (0.1, 0.2, 0.4, 0.7, 1.0)
    teacher: tuple[int, ...] = (128,)
    student: tuple[int, ...] = (64,)
    initialisations: AtLeastTwo = 16
    replicates: AtLeastTwo = 128


TENTHS = tuple(i / 10 for i in range(1, 11))
PRESETS = {
    "quick": Options(),
    "paper": Options(fractions=TENTHS, replicates=1_000),
    "full": Options(data=("diabetes", "ccard", "statecrime"), fractions=TENTHS, replicates=1_000),
}

LABELS = {"truth": "ground-truth labels", "teacher": "the teacher's noise-free answers"}
VARY = {
    "both": "rows resampled, each begins anew",
    "rows": "rows resampled, begin alike",
    "begin": "all rows, each begins anew",
}


def cells(options: Options) -> list[dict]:
    planned = []
    for name in options.data:
        shared = {**regression_cell(name, options.target), **options.only("teacher", "student", "steps", "replicates")}
        for cell in ({**shared, "labels": labels} for labels in LABELS):
            planned += [{**cell, "vary": "both", "fraction": f} for f in options.fractions]
            alike = {**cell, "initialisations": options.initialisations, "vary": "rows"}
            planned += [{**alike, "fraction": f} for f in options.fractions]
            planned.append({**cell, "vary": "begin", "fraction": 1.0})
    return planned


def measure(cell: dict) -> pd.DataFrame:
    part, recipe = data.split(regression_of(cell)), Recipe(steps=cell["steps"])
    known, wide = ("mlp", "wide teacher", cell["data_fingerprint"]), tuple(cell["teacher"])
    teacher = Teacher.fit(part.features, part.y_standard, noise_var=0.0, hidden=wide, recipe=recipe, key=known)
    answers = part.y_standard if cell["labels"] == "truth" else teacher.predict_mean(part.features)
    everything = ("mlp data bootstrap", cell["data_fingerprint"], tuple(cell["student"]))
    drawn = max(1, round(cell["fraction"] * len(part.X)))

    def taught(seed_design: SeedDesign, key: tuple) -> np.ndarray:
        students = distill(
            part.features, weigh(answers[None, :, None]), hidden=tuple(cell["student"]), recipe=recipe,
            seed_design=seed_design, drawn=None if seed_design.bootstrap is None else drawn, key=key,
        )  # fmt: skip
        return students.predict_mean(part.features_test)

    if cell["vary"] == "rows":  # a few beginnings with several resamples each, the same at every fraction
        spread = begun_alike(lambda design: taught(design, (*everything, "rows")), cell, bootstrap=True)
    else:
        key = (*everything, cell["labels"], cell["vary"], cell["fraction"])
        how = {"values": len(part.X), "bootstrap": cell["vary"] == "both"}
        spread = begun_anew(lambda design: taught(design, key), cell["replicates"], **how)

    residual = answers - fit_ols(part.X, answers).predict(part.X)
    about = {name: cell[name] for name in ("labels", "vary", "fraction")} | {"rows": len(part.X), "drawn": drawn}
    linear = theory.bootstrap_variance(part.X, residual, part.X_test, drawn=drawn).mean()
    error = ((part.y_test_standard - teacher.predict_mean(part.features_test)) ** 2).mean()
    found = {**spread.columns, "least_squares": linear, "teacher_error": error}
    return pd.DataFrame([{"data": data_label(cell), **about, **found}])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(len(names), 2, height=3.0, sharex=True, sharey="row")
    both, rows_only, begin = figures.colours(3)
    for (name, labels), axis in zip(((n, of) for n in names for of in LABELS), axes.flat, strict=True):
        mine = table[(table["data"] == name) & (table["labels"] == labels)]
        for vary, colour, shift in (("both", both, -0.005), ("rows", rows_only, 0.005)):  # side by side
            part = mine[mine["vary"] == vary]
            figures.points(axis, part, part["fraction"] + shift, color=colour, label=VARY[vary])
        linear = mine[mine["vary"] == "both"]
        dotted = {"color": "0.3", "linestyle": ":", "label": "least squares, rows resampled (T9, many rows)"}
        figures.theory(axis, linear["fraction"], linear["least_squares"], **dotted)
        alone = mine[mine["vary"] == "begin"].iloc[0]
        shown: Any = {"color": begin, "alpha": 0.5, "label": VARY["begin"]}
        figures.band(axis, alone["simulated"], alone["standard_error"], **shown)
        axis.set(title=f"{name}: {LABELS[labels]}", ylim=(0, None))
    figures.outer_labels(axes, x="share of rows drawn, with replacement", y="inter-student variance (Var y)")
    figures.legend_below(figure, axes[0, 0], f"points and band: simulation {captions.BARS}", columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    said: Any = {"caption": caption(table, options), "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="mlp", place=150)


def caption(table: pd.DataFrame, options: Options) -> str:
    name, most = table["data"].iloc[0], max(options.fractions)
    mine = table[(table["data"] == name) & (table["fraction"].isin([most, 1.0]))]
    at, bar = (mine.set_index(["labels", "vary"])[column] for column in ("simulated", "standard_error"))
    said = (
        f"{name}, {options.replicates:,} students per point; teacher {options.teacher}, students {options.student}, "
        f"{options.steps} steps on all their rows (the teacher's own test error: {mine['teacher_error'].iloc[0]:.2f} Var y). "
    )
    for labels, text in LABELS.items():
        total, rows, begin = (at[labels, vary] for vary in VARY)
        texts = [captions.plus_minus(at[labels, vary], bar[labels, vary], ".3f") for vary in VARY]
        said += (
            f"With {text} students of resamples (as many draws as {most:.0%} of the rows, with replacement) vary by {texts[0]} "
            f"Var y, by {texts[1]} when they begin alike; students of all rows by {texts[2]}. "
        )
    if rows + begin - total > variance_half_widths(0.0, np.sqrt((bar["teacher"] ** 2).sum()))[1]:
        said += f"The two sources do not add up: {rows:.3f} + {begin:.3f} is more than {total:.3f}. "
    ratio = at["teacher", "both"] / at["truth", "both"]
    ratio_se = ratio * np.hypot(*(bar[labels, "both"] / at[labels, "both"] for labels in LABELS))
    return said + (
        f"The teacher's answers instead of the truth leave {captions.plus_minus(100 * ratio, 100 * ratio_se, '.0f')} % of the "
        "variance; between least-squares students of a linear teacher it would be 0 (T9)."
    )


def answer(table: pd.DataFrame) -> Answer | None:
    """Variances over each other where most rows are drawn, on the first data set."""
    mine = table[(table["data"] == table["data"].iloc[0]) & (table["fraction"].isin([table["fraction"].max(), 1.0]))]
    resampled = mine[(mine["vary"] == "begin") | (mine["drawn"] == mine.loc[mine["vary"] != "begin", "drawn"].max())]
    at = {
        where: measured.pair(row)
        for where, row in resampled.set_index(["labels", "vary"])[["simulated", "standard_error"]].iterrows()
    }
    numbers = {"left": measured.ratio(at["teacher", "both"], at["truth", "both"], ".0%", shows="limits")}
    for labels in LABELS:
        numbers |= {f"{labels}_{vary}": measured.positive(*at[labels, vary], ".3f") for vary in VARY}
    said = {
        "below": "the teacher's noise-free answers leave {left} of the variance that ground truth causes",
        "above": "the teacher's noise-free answers make more of it than ground truth ({left} of its variance)",
        "open": "the teacher's noise-free answers leave as much of it as ground truth, as far as can be told ({left})",
    }
    sentence = (
        said[measured.side(numbers["left"], 1.0)] + "; least-squares students of a linear teacher would have none (T9)"
    )
    return measured.stated(sentence, numbers)
