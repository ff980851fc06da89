"""How far does a teacher's response noise spread into neural students, and how much of their spread is their own?

Teacher and students are networks; each student learns from one noisy response per training row. Linearised (T8), its
answers vary by V_init + α·‖s(x)‖²: a line in the variance α of a response, whose intercept is the spread of students
that differ in their initial weights alone. Students that begin alike show the second term by itself; least squares (T1,
exact) is what a student without hidden layer would make of the same noise.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data
from uqkd.errors import OptionError, ShapeError, VarianceError
from uqkd.estimators import fit_averaging_law
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
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
    how, alike = options.network, options.network | options.only("initialisations")
    return [
        {**regression_cell(name, options.target), **(how if free == "all" else alike), "free": free, "alpha": alpha}
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
    centre = teacher.predict_mean(part.features_test)
    key = ("mlp teacher noise", cell["data_fingerprint"], hidden, cell["steps"], cell["free"])

    def taught(seed_design: SeedDesign, begin: tuple) -> np.ndarray:
        """Answers at the test rows of students that begin as this key says."""
        responses = teacher.respond(part.features, 1, students=seed_design, key=(*key, alpha))
        how = {"hidden": hidden, "recipe": recipe, "seed_design": seed_design, "key": begin}
        return distill(part.features, weigh(responses), **how).predict_mean(part.features_test)

    if cell["free"] == "all":
        spread = begun_anew(lambda design: taught(design, (*key, alpha)), cell["replicates"], values=len(part.X))
    else:  # the same few beginnings at every noise level, so that they do not blur its effect
        spread = begun_alike(lambda design: taught(design, key), cell)
    linear = theory.inter_student_variance(part.X, part.X_test, alpha, k=1).mean()
    r2 = 1 - ((part.y_test_standard - centre) ** 2).mean() / part.y_test_standard.var()
    about = {"data": data_label(cell), "free": cell["free"], "alpha": alpha}
    return pd.DataFrame([{**about, **spread.columns, "least_squares": linear, "teacher_r2": r2}])


def amplified(table: pd.DataFrame) -> pd.DataFrame:
    """What the noise adds to the spread, in units of what it adds to that of least squares: constant under T8."""
    noisy = table[table["alpha"] > 0].copy()
    silent = table[table["alpha"] == 0].set_index("data")[["simulated", "standard_error"]]
    free = noisy["free"] == "all"
    own, own_se = (noisy["data"].map(silent[c]).where(free, 0.0).fillna(0.0) for c in ("simulated", "standard_error"))
    noisy["amplification"] = (noisy["simulated"] - own) / noisy["least_squares"]
    noisy["amplification_se"] = np.hypot(noisy["standard_error"], own_se) / noisy["least_squares"]
    return noisy


def plot(table: pd.DataFrame, grown: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(len(names), 2, height=2.7, sharex=True)
    for (level, ratio), name in zip(axes, names, strict=True):
        rows = table[table["data"] == name]
        aside = 0.006 * rows["alpha"].max()  # side by side, so that no bar hides another
        for (free, label), colour, shift in zip(FREE.items(), figures.colours(2), (-aside, aside), strict=True):
            part = rows[rows["free"] == free]
            figures.points(level, part, part["alpha"] + shift, color=colour, label=label)
            part = grown[(grown["data"] == name) & (grown["free"] == free)]
            added = {"y": "amplification", "error": "amplification_se"}
            figures.points(ratio, part, part["alpha"] + shift, **added, color=colour)
        linear, first = rows[rows["free"] == "all"], grown[(grown["data"] == name) & (grown["free"] == "all")].iloc[0]
        figures.theory(level, linear["alpha"], linear["least_squares"], color="0.3", label="least squares (T1)")
        tangent = linear["least_squares"] * first["amplification"] + rows.loc[rows["alpha"] == 0, "simulated"].sum()
        dashed = {"color": figures.colours(1)[0], "linestyle": "--"}
        figures.theory(level, linear["alpha"], tangent, label=f"T8 through α = 0 and {first['alpha']:.2g}", **dashed)
        ratio.axhline(first["amplification"], zorder=2, **dashed)
        level.set(ylabel="inter-student variance (Var y)")
        level.set_title(f"{name}: teacher's R² {rows['teacher_r2'].iloc[0]:.2f}")
        ratio.set(ylabel="times least squares", ylim=(0, 1.1 * grown["amplification"].max()))
        ratio.set_title("added by the noise, relative to least squares")
    figures.outer_labels(axes, x="variance of one teacher response, α (Var y)")
    figures.legend_below(figure, axes[0, 0], f"points: simulation {captions.BARS}", columns=4)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    grown = amplified(table)
    said = caption(table, grown, options)
    figures.publish(run, plot(table, grown), table=table, caption=said, more={"relative": grown}, place=110)


def caption(table: pd.DataFrame, grown: pd.DataFrame, options: Options) -> str:
    name = table["data"].iloc[0]
    mine, alike = (grown[(grown["data"] == name) & (grown["free"] == free)] for free in FREE)
    low, high = mine.iloc[0], mine.iloc[-1]

    def times(row: pd.Series) -> str:
        return captions.plus_minus(row["amplification"], row["amplification_se"], ".1f")

    silent = table[(table["data"] == name) & (table["alpha"] == 0)]
    said = f"{name}, {options.replicates:,} students per point, networks with hidden layers {options.hidden}. "
    if len(silent):
        own = silent["simulated"].iloc[0]
        said += (
            f"Without noise students vary by {captions.simulated(silent.iloc[0], '.4f')} Var y, "
            f"from their initial weights alone: as much as "
            f"{own / low['simulated']:.1%} of their variance at α = {low['alpha']:.2g}, {own / high['simulated']:.1%} at "
            f"α = {high['alpha']:.2g}. "
        )
    said += (
        f"Noise of variance {low['alpha']:.2g} adds {times(low)} times what it adds to least-squares students "
        f"({times(alike.iloc[0])} among students that begin alike), of variance {high['alpha']:.2g} {times(high)} times "
        f"({times(alike.iloc[-1])})."
    )
    try:
        law = fit_averaging_law(1 / mine["alpha"], mine["simulated"], mine["standard_error"], proportional=True)
        said += (
            " A straight line through all levels with noise (T8, a linearisation) has a lack of fit of χ² = "
            f"{law.chi2:.0f} at {law.dof} degrees of freedom."
        )
    except (VarianceError, ShapeError):  # so few students that the fitted variance falls below zero, or one level
        pass
    return said
