"""How far does a teacher's response noise spread into neural students, and how much of their spread is their own?

Teacher and students are networks; each student learns from one noisy response per training row. Linearised (T8), its
answers vary by V_init + α·‖s(x)‖²: a line in the variance α of a response, whose intercept is the spread of students
that differ in their initial weights alone. Students that begin alike show the second term by itself; least squares (T1,
exact) is what a student without hidden layer would make of the same noise.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data
from uqkd.errors import OptionError, ShapeError
from uqkd.estimators import fit_averaging_law
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.testbeds.options import NetworkOptions
from uqkd.testbeds.spreads import begun_alike, begun_anew
from uqkd.theory import statements as theory


class Options(NetworkOptions):
    alphas: tuple[NonNegativeFloat, ...] = tuple(float(a) for a in np.linspace(0.0, 2.0, 15).round(6))
    initialisations: AtLeastTwo = 20


PRESETS = {
    "quick": Options(),
    "paper": Options(replicates=1_000),
    "full": Options(data=("diabetes", "ccard", "statecrime"), replicates=2_000),
}
FREE = {"all": "students begin anew", "responses": "students begin alike"}


def cells(options: Options) -> list[dict]:
    if not any(alpha > 0 for alpha in options.alphas):
        raise OptionError(f"response noise needs an alpha > 0; got {options.alphas}.")
    alike = {"all": {}, "responses": options.only("initialisations")}
    return [
        {**regression_cell(name, options.target), **options.network, **alike[free], "free": free, "alpha": alpha}
        for name in options.data
        for free in FREE
        for alpha in options.alphas
        if alpha > 0 or free == "all"  # without noise students that begin alike are one student
    ]


def measure(cell: dict) -> pd.DataFrame:
    part, recipe = data.split(regression_of(cell)), Recipe(steps=cell["steps"])
    hidden, alpha = tuple(cell["hidden"]), cell["alpha"]
    known = ("mlp", "teacher", cell["data_fingerprint"])
    teacher = Teacher.fit(part.features, part.y_standard, noise_var=alpha, hidden=hidden, recipe=recipe, key=known)
    key = ("mlp teacher noise", cell["data_fingerprint"], hidden, cell["steps"], cell["free"])

    def taught(design: SeedDesign, begin: tuple) -> np.ndarray:
        targets = weigh(teacher.respond(part.features, 1, students=design, key=(*key, alpha)))
        students = distill(part.features, targets, hidden=hidden, recipe=recipe, seed_design=design, key=begin)
        return students.predict_mean(part.features_test)

    if cell["free"] == "all":
        spread = begun_anew(lambda design: taught(design, (*key, alpha)), cell["replicates"], values=len(part.X))
    else:  # the same few beginnings at every noise level, so that they do not blur its effect
        spread = begun_alike(lambda design: taught(design, key), cell)
    linear = theory.inter_student_variance(part.X, part.X_test, alpha, k=1).mean()
    r2 = (
        1 - ((part.y_test_standard - teacher.predict_mean(part.features_test)) ** 2).mean() / part.y_test_standard.var()
    )
    found = {**spread.columns, "least_squares": linear, "teacher_r2": r2}
    return pd.DataFrame([{"data": data_label(cell), "free": cell["free"], "alpha": alpha, **found}])


def amplified(table: pd.DataFrame) -> pd.DataFrame:
    """What the noise adds to the spread, in units of what it adds to that of least squares: constant under T8."""
    noisy = table[table["alpha"] > 0]
    silent = table[table["alpha"] == 0].set_index("data")[["simulated", "standard_error"]]
    own, own_se = (noisy["data"].map(silent[c]).where(noisy["free"] == "all", 0.0).fillna(0.0) for c in silent)
    added, error = noisy["simulated"] - own, np.hypot(noisy["standard_error"], own_se)
    return noisy.assign(amplification=added / noisy["least_squares"], amplification_se=error / noisy["least_squares"])


def plot(table: pd.DataFrame, grown: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(table["data"].nunique(), 2, height=2.7, sharex=True)
    for (level, ratio), name in zip(axes, table["data"].unique(), strict=True):
        rows = table[table["data"] == name]
        aside, highest = 0.006 * rows["alpha"].max(), 1.1 * grown["amplification"].max()  # no bar hides another
        for (free, label), colour, shift in zip(FREE.items(), figures.colours(2), (-aside, aside), strict=True):
            part, noisy = rows[rows["free"] == free], grown[(grown["data"] == name) & (grown["free"] == free)]
            figures.points(level, part, part["alpha"] + shift, color=colour, label=label)
            added = {"y": "amplification", "error": "amplification_se", "color": colour}
            figures.points(ratio, noisy, noisy["alpha"] + shift, **added)
        linear, first = rows[rows["free"] == "all"], grown[(grown["data"] == name) & (grown["free"] == "all")].iloc[0]
        figures.theory(level, linear["alpha"], linear["least_squares"], color="0.3", label="least squares (T1)")
        tangent = linear["least_squares"] * first["amplification"] + rows.loc[rows["alpha"] == 0, "simulated"].sum()
        dashed = {"color": figures.colours(1)[0], "linestyle": "--"}
        figures.theory(level, linear["alpha"], tangent, label=f"T8 through α = 0 and {first['alpha']:.2g}", **dashed)
        ratio.axhline(first["amplification"], zorder=2, **dashed)
        r2 = rows["teacher_r2"].iloc[0]
        level.set(ylabel="inter-student variance (Var y)", title=f"{name}: teacher's R² {r2:.2f}")
        ratio.set(ylabel="times least squares", title="added by the noise, over least squares", ylim=(0, highest))
    figures.outer_labels(axes, x="variance of one teacher response, α (Var y)")
    figures.legend_below(figure, axes[0, 0], f"points: simulation {captions.BARS}", columns=4)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    grown = amplified(table)
    said: Any = {"caption": caption(table, grown, options), "answer": answer(table, grown)}
    figures.publish(run, plot(table, grown), table=table, **said, more={"relative": grown}, group="mlp", place=110)


def caption(table: pd.DataFrame, grown: pd.DataFrame, options: Options) -> str:
    name = table["data"].iloc[0]
    mine, alike = (grown[(grown["data"] == name) & (grown["free"] == free)] for free in FREE)
    low, high = mine.iloc[0], mine.iloc[-1]
    pairs = pd.DataFrame([low, alike.iloc[0], high, alike.iloc[-1]])[["amplification", "amplification_se"]].to_numpy()
    added = [captions.plus_minus(value, error, ".1f") for value, error in pairs]
    said = f"{name}, {options.replicates:,} students per point, networks with hidden layers {options.hidden}. "
    for _, row in table[(table["data"] == name) & (table["alpha"] == 0)].iterrows():
        own = [row["simulated"] / at["simulated"] for at in (low, high)]
        said += (
            f"Without noise students vary by {captions.simulated(row, '.4f')} Var y, from their initial weights alone: as much "
            f"as {own[0]:.1%} of their variance at α = {low['alpha']:.2g}, {own[1]:.1%} at α = {high['alpha']:.2g}. "
        )
    said += (
        f"Noise of variance {low['alpha']:.2g} adds {added[0]} times what it adds to least-squares students ({added[1]} among "
        f"students that begin alike), of variance {high['alpha']:.2g} {added[2]} times ({added[3]})."
    )
    with suppress(ShapeError):  # one level; each has students of its own, so that the variances are independent
        law = fit_averaging_law(1 / mine["alpha"], mine["simulated"], mine["standard_error"], proportional=True)
        said += " A straight line through all levels with noise (T8, a linearisation) has a lack of fit of χ² = "
        said += f"{law.chi2:.0f} at {law.dof} degrees of freedom."
    return said


def answer(table: pd.DataFrame, grown: pd.DataFrame) -> Answer | None:
    """What the least and the most noise add, in what they add to least squares, on the first data set."""
    name = table["data"].iloc[0]
    noisy = grown[(grown["data"] == name) & (grown["free"] == "all")]
    low, high = (noisy.loc[at] for at in (noisy["alpha"].idxmin(), noisy["alpha"].idxmax()))
    times = [(row["amplification"], row["amplification_se"]) for row in (low, high)]
    growth = times[1][0] - times[0][0], float(np.hypot(times[0][1], times[1][1]))
    numbers = {"growth": measured.mean(*growth, "+.1f", shows="limits")}
    for end, row, (value, error) in zip(("low", "high"), (low, high), times, strict=True):
        numbers[f"times_{end}"] = measured.mean(value, error, ".1f", shows="limits")
        numbers[f"alpha_{end}"] = Number.exact(float(row["alpha"]), ".2g")
        silent = table[(table["data"] == name) & (table["alpha"] == 0)][["simulated", "standard_error"]]
        if len(silent):
            own = tuple(silent.iloc[0]), (row["simulated"], row["standard_error"])
            numbers[f"own_{end}"] = measured.ratio(*own, ".1%")  # share that the initial weights alone make up
    curved = {
        "above": ": more than linearly",
        "below": ": less than linearly",
        "open": ", linearly as far as can be told",
    }
    if low["alpha"] == high["alpha"]:
        sentence = "{times_low} times as far as into least-squares students at α = {alpha_low}"
    else:
        sentence = (
            "{times_low} times as far as into least-squares students at α = {alpha_low}, {times_high} times at α = "
        )
        sentence += "{alpha_high}" + curved[measured.side(numbers["growth"])]
    return measured.stated(sentence, numbers)
