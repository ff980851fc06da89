"""How much inter-student variance does averaging k teacher responses remove?

Students are least squares on the mean of k responses. T1 says that their variance is (σ_T²/k)·h(x): slope −1 on
logarithmic axes, no floor. The exponent and the floor are estimated from the simulation, with intervals and a test of fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from uqkd import data, seeds
from uqkd.estimators import Moments, comparison, fit_averaging_law, fit_power_law, normal_quantile
from uqkd.linear import Design, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.theory import statements as theory


class Options(Base):
    data: tuple[str, ...] = ("diabetes",)
    target: str | None = None
    ks: tuple[PositiveInt, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50)
    alphas: tuple[NonNegativeFloat, ...] = (0.01, 0.1, 0.5, 1.0)
    replicates: AtLeastTwo = 1_000


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "ccard", "statecrime", "fair")),
    "full": Options(data=data.REGRESSIONS, replicates=10_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**regression_cell(name, options.target), "alpha": alpha, "k": k, "replicates": options.replicates}
        for name in options.data
        for alpha in options.alphas
        for k in options.ks
    ]


def measure(cell: dict) -> pd.DataFrame:
    part, k = data.split(regression_of(cell)), cell["k"]
    label_var = float(part.y.var())
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * label_var)
    design, centre = Design.of(part.X), teacher.predict_mean(part.X_test)

    spread = Moments.about(centre)
    for chunk, size in seeds.chunks(cell["replicates"], values=k * len(part.X)):
        key = ("response averaging", cell["data_fingerprint"], cell["alpha"], k, chunk)
        responses = teacher.respond(part.X, k, students=size, key=key)
        students = distill(design, weigh(responses, "average"))
        spread = spread.add(students.predict_mean(part.X_test))

    between = theory.inter_student_variance(part.X, part.X_test, teacher.noise_var, k).mean()
    n, numbers = cell["replicates"], (between, spread.mean_variance, spread.mean_variance_se)
    row = comparison("T1", "inter-student variance", *numbers, variance_of=n)
    about = {"data": data_label(cell), "alpha": cell["alpha"], "k": k, "label_var": label_var}
    return pd.DataFrame([{**about, "replicates": n, **row}])


def fits(table: pd.DataFrame) -> pd.DataFrame:
    """Exponent of the power law, floor and lack of fit of V(k) = floor + slope/k, per data set and noise level."""
    rows = []
    for (name, alpha), group in table.groupby(["data", "alpha"], sort=False):
        numbers = group["k"].to_numpy(), group["simulated"].to_numpy(), group["standard_error"].to_numpy()
        power = fit_power_law(*numbers)
        law = fit_averaging_law(*numbers, proportional=True)  # every k has students of its own: independent variances
        unit = float(group["predicted"].iloc[0] * group["k"].iloc[0])  # the slope that T1 predicts
        values = {"exponent": (power.exponent_interval, 1.0), "floor": (law.floor_interval, unit)}
        values |= {"slope": (law.slope_interval, unit)}
        for what, (interval, scale) in values.items():
            ends = {end: float(getattr(interval, end)) / scale for end in ("estimate", "low", "high")}
            rows.append({"data": name, "alpha": alpha, "what": what, **ends, "lack_of_fit_p": law.p_value})
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame, fitted: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 2, height=2.2, width_ratios=[2, 1], height_ratios=[1.6, 1])
    (level, exponent), (ratio, floor) = axes
    name, alphas = table["data"].iloc[0], table["alpha"].unique()
    for i, (alpha, colour) in enumerate(zip(alphas, figures.colours(len(alphas)), strict=True)):
        rows = table[(table["alpha"] == alpha) & (table["data"] == name)]
        unit, bars = rows["label_var"], rows["standard_error"]
        figures.theory(level, rows["k"], rows["predicted"] / unit, color=colour)
        shown = {"color": colour, "label": f"α = {alpha:g}"}
        figures.simulation(level, rows["k"], rows["simulated"] / unit, bars / unit, **shown)
        beside = rows["k"] * 1.02 ** (i - 1.5)  # side by side, so that no bar hides another
        figures.simulation(ratio, beside, rows["simulated"] / rows["predicted"], bars / rows["predicted"], color=colour)
    ratio.axhline(1.0, color="0.3", linewidth=1)
    for axis in (level, ratio):
        figures.k_axis(axis, (1, 2, 5, 10, 20, 50))
    level.set(yscale="log", ylabel="inter-student variance (Var y)", title=f"{name}: lines are T1, nothing fitted")
    level.set_ylim(level.get_ylim()[0] / 8, None)  # room for the legend
    level.legend(ncols=2, title=f"simulation, {captions.INTERVALS}", loc="lower left")
    ratio.set(xlabel="responses averaged, k", ylabel="simulated / T1")
    _estimates(exponent, fitted[fitted["what"] == "exponent"], truth=-1.0)
    _estimates(floor, fitted[fitted["what"] == "floor"], truth=0.0, scale=100)
    exponent.set(title=f"fitted, {captions.INTERVALS}", xlabel="exponent of k")
    floor.set(xlabel="floor, % of V(k = 1)")
    return figure


def _estimates(axis: Axes, rows: pd.DataFrame, *, truth: float, scale: float = 1.0) -> None:
    across = {"xerr": figures.limits(rows) * scale, "color": "0.2", "mfc": "0.2"}
    figures.intervals(axis, rows["estimate"] * scale, np.arange(len(rows)), **across)
    axis.axvline(truth, color="0.5", linestyle="--")
    several = rows["data"].nunique() > 1
    figures.named_rows(axis, [f"{r.data}, α={r.alpha:g}" if several else f"α = {r.alpha:g}" for r in rows.itertuples()])
    axis.locator_params(axis="x", nbins=4)


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    fitted = fits(table)
    power, floors = (fitted[fitted["what"] == what] for what in ("exponent", "floor"))
    misses = int(((power["low"] > -1) | (power["high"] < -1)).sum())
    floor = f"Any floor is below {100 * floors['high'].max():.2f} % of the variance at k = 1:"
    z = (power["estimate"] + 1) / ((power["high"] - power["low"]) / (2 * normal_quantile()))
    caption = (
        f"{options.replicates:,} students per point. Fitted exponents {power['estimate'].min():.4f} to "
        f"{power['estimate'].max():.4f} (theory −1); {misses} of {len(power)} {captions.INTERVALS} miss −1 (all together: p = "
        f"{stats.chi2.sf(float((z**2).sum()), len(z)):.2f}). {floor} "
        "averaging removes the teacher's response noise as 1/k, and least-squares students have nothing else."
    )
    said: Any = {"caption": caption, "answer": answer(table, fitted)}
    figures.publish(run, plot(table, fitted), table=table, **said, more={"fits": fitted}, group="linear", place=20)


def answer(table: pd.DataFrame, fitted: pd.DataFrame) -> Answer | None:
    """Exponent and floor of all data sets and noise levels together; each has students of its own."""

    def estimate(what: str, form: str) -> Number | None:
        rows = fitted[fitted["what"] == what]
        errors = (rows["high"] - rows["low"]) / (2 * normal_quantile())
        return measured.mean(*measured.pooled(rows["estimate"], errors), form, shows="limits")

    exponent, floor = estimate("exponent", "+.3f"), estimate("floor", ".2%")
    bound = measured.changed(floor, lambda v: max(v, 0.0), ".2%")
    numbers = {"exponent": exponent, "floor": floor, "slope": estimate("slope", ".3f")}
    noisiest = table[(table["data"] == table["data"].iloc[0]) & (table["alpha"] == table["alpha"].max())].sort_values(
        "k"
    )
    last, first = (measured.pair(noisiest[["simulated", "standard_error"]].iloc[at]) for at in (-1, 0))
    numbers |= {"left": measured.ratio(last, first, ".2%"), "k_last": Number.exact(int(noisiest["k"].max()), "d")}
    if bound is not None:  # another run finds its bound within as much again
        numbers["bound"] = measured.within(bound.high, bound.value, 2 * bound.high - bound.value, ".2%")
    left = {
        "above": "all of it but a floor, {floor} of the variance at k = 1",
        "below": "all of it (a fitted floor of {floor})",
    }
    found = left.get(measured.side(floor), "all of it: any floor is below {bound} of the variance at k = 1")
    power = "as 1/k" if measured.side(exponent, -1.0) == "open" else "not as 1/k"
    sentence = f"{found}; it falls {power} (exponent {{exponent}}, all levels of noise together)"
    return measured.stated(sentence, numbers)
