"""How much inter-student variance of neural students does averaging k teacher responses remove?

Linearised (T8), students of a network trained on the mean of k responses vary by V_init + (σ_T²/k)·‖s(x)‖²: averaging
removes the second term only. Floor and slope are estimated from the simulation, with intervals and a test of fit; the floor
is held against students trained on the teacher's noise-free answers, the slope against that of least squares (T1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd import data
from uqkd.errors import DataError, OptionError, ShapeError, VarianceError
from uqkd.estimators import fit_averaging_law, variance_half_widths
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, PositiveInt, Run
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.testbeds.options import NetworkOptions
from uqkd.testbeds.spreads import begun_anew
from uqkd.theory import statements as theory


class Options(NetworkOptions):
    ks: tuple[PositiveInt, ...] = (1, 2, 3, 5, 8, 12, 20, 50)
    alphas: tuple[NonNegativeFloat, ...] = (0.01, 0.1, 0.5, 1.0)
    replicates: AtLeastTwo = 300


SMALL = 0.1  # noise of a label, α/k, up to which the line is fitted (Var y)
KS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50)
PRESETS = {
    "quick": Options(),
    "paper": Options(ks=KS, replicates=1_000),
    "full": Options(data=("diabetes", "ccard", "statecrime"), ks=KS, replicates=2_000),
}


def cells(options: Options) -> list[dict]:
    if not any(alpha > 0 for alpha in options.alphas):
        raise OptionError(f"averaging needs responses with noise: an alpha > 0; got {options.alphas}.")
    planned = []
    for name in options.data:
        shared = {**regression_cell(name, options.target), **options.network}
        planned.append({**shared, "alpha": 0.0, "k": 1})  # the teacher's noise-free answers
        planned += [{**shared, "alpha": alpha, "k": k} for alpha in options.alphas if alpha > 0 for k in options.ks]
    return planned


def measure(cell: dict) -> pd.DataFrame:
    part, recipe = data.split(regression_of(cell)), Recipe(steps=cell["steps"])
    hidden, alpha, k = tuple(cell["hidden"]), cell["alpha"], cell["k"]
    known = ("mlp", "teacher", cell["data_fingerprint"])
    teacher = Teacher.fit(part.features, part.y_standard, noise_var=alpha, hidden=hidden, recipe=recipe, key=known)

    key = ("mlp response averaging", cell["data_fingerprint"], hidden, cell["steps"], alpha, k)

    def taught(seed_design: SeedDesign) -> np.ndarray:
        targets = weigh(teacher.respond(part.features, k, students=seed_design, key=key), "average")
        students = distill(part.features, targets, hidden=hidden, recipe=recipe, seed_design=seed_design, key=key)
        return students.predict_mean(part.features_test)

    spread = begun_anew(taught, cell["replicates"], values=k * len(part.X))
    linear = theory.inter_student_variance(part.X, part.X_test, alpha, k).mean()
    about = {"data": data_label(cell), "alpha": alpha, "k": k}
    return pd.DataFrame([{**about, **spread.columns, "least_squares": linear}])


def fits(table: pd.DataFrame) -> pd.DataFrame:
    """Floor and slope of V(k) = floor + slope/k, fitted where the noise of a label is small, and over all k."""
    rows = []
    for (name, alpha), group in table[table["alpha"] > 0].groupby(["data", "alpha"], sort=False):
        silent = table[(table["data"] == name) & (table["alpha"] == 0)].iloc[0]
        own = {"noise_free": silent["simulated"], "noise_free_se": silent["standard_error"]}
        for span, part in (("small", group[group["alpha"] / group["k"] <= SMALL]), ("all", group)):
            try:  # every k has students of its own, so that their variances are independent
                law = fit_averaging_law(part["k"], part["simulated"], part["standard_error"], proportional=True)
            except (VarianceError, ShapeError, DataError):
                continue  # no line: too few k are left
            linear = float((group["least_squares"] * group["k"]).iloc[0])
            low, high = float(law.floor_interval.low), float(law.floor_interval.high)
            z = (law.floor - silent["simulated"]) / np.hypot(law.floor_se, silent["standard_error"])
            floor = {
                "floor": float(law.floor_interval.estimate),
                "floor_low": low,
                "floor_high": high,
                **own,
                "floor_z": z,
            }
            slope = {"slope": law.slope, "times": law.slope / linear, "times_se": law.slope_se / linear}
            rows.append({"data": name, "alpha": alpha, "ks": span, **floor, **slope, "lack_of_fit_p": law.p_value})
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["data", "alpha", "ks", "lack_of_fit_p"])


def plot(table: pd.DataFrame, fitted: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 2, height=2.3, width_ratios=[2, 1], height_ratios=[1.6, 1])
    (level, floor), (ratio, slope) = axes
    name = table["data"].iloc[0]
    mine, small = (t[t["data"] == name] for t in (table, fitted[fitted["ks"] == "small"]))
    silent, alphas = mine[mine["alpha"] == 0].iloc[0], mine.loc[mine["alpha"] > 0, "alpha"].unique()
    dense = np.geomspace(mine["k"].min(), mine["k"].max(), 200)
    for i, (alpha, colour) in enumerate(zip(alphas, figures.colours(len(alphas)), strict=True)):
        rows = mine[mine["alpha"] == alpha]
        label = f"α = {alpha:g}"
        figures.points(level, rows, "k", color=colour, label=label)
        figures.theory(level, rows["k"], rows["least_squares"], color=colour, linestyle=":")
        for _, law in small[small["alpha"] == alpha].iterrows():
            fitted_on = dense >= alpha / SMALL
            figures.theory(level, dense[fitted_on], (law["floor"] + law["slope"] / dense)[fitted_on], color=colour)
            figures.theory(level, dense, law["floor"] + law["slope"] / dense, color=colour, linestyle="--")
            at = law["floor"] + law["slope"] / rows["k"]
            beside = rows["k"] * 1.03 ** (i - 1.5)  # side by side, so that no bar hides another
            figures.simulation(ratio, beside, rows["simulated"] / at, rows["standard_error"] / at, color=colour)
    level.axhline(silent["simulated"], color="0.4", linestyle="-.", linewidth=1, label="noise-free labels")
    ratio.axhline(1.0, color="0.3", linewidth=1)
    for axis in (level, ratio):
        figures.k_axis(axis, (1, 2, 5, 10, 20, 50))
        axis.set_xlim(dense[0] / 1.2, dense[-1] * 1.2)
    level.set(yscale="log", ylabel="inter-student variance (Var y)", title=f"{name}: floor + slope/k (T8), fitted")
    ratio.set(xlabel="responses averaged, k", ylabel="simulated / fitted")
    if len(small):
        _estimates(floor, slope, small, silent)
    note = f"points: simulation {captions.BARS}; dotted: least squares (T1)\n"
    note += f"lines in colour: fitted where α/k ≤ {SMALL:g}, dashed beyond"
    figures.legend_below(figure, level, note, columns=5)
    return figure


def _estimates(floor: Axes, slope: Axes, rows: pd.DataFrame, silent: pd.Series) -> None:
    place, solid = np.arange(len(rows)), {"color": "0.2", "mfc": "0.2"}
    across = figures.limits(rows, "floor_low", "floor_high", estimate="floor")
    figures.intervals(floor, rows["floor"], place, xerr=across, **solid)
    figures.band(floor, silent["simulated"], silent["standard_error"], along="y", color="0.85", zorder=1)
    figures.intervals(slope, rows["times"], place, xerr=variance_half_widths(rows["times"], rows["times_se"]), **solid)
    for axis in (floor, slope):
        figures.named_rows(axis, [f"α = {alpha:g}" for alpha in rows["alpha"]])
        axis.locator_params(axis="x", nbins=4)
    floor.set(title=f"fitted, {captions.INTERVALS}", xlabel="floor, Var y (band: noise-free)")
    slope.set(xlabel="slope, times least squares", xlim=(0, None))


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    fitted = fits(table)
    said: Any = {"caption": caption(table, fitted, options), "answer": answer(table, fitted)}
    figures.publish(run, plot(table, fitted), table=table, **said, more={"fits": fitted}, group="mlp", place=120)


def caption(table: pd.DataFrame, fitted: pd.DataFrame, options: Options) -> str:
    silent = table[table["alpha"] == 0].iloc[0]
    said = (
        f"{table['data'].iloc[0]}, {options.replicates:,} students per point, hidden layers {options.hidden}. On noise-free "
        f"labels students vary by {captions.simulated(silent, '.4f')} Var y: no k removes this. "
    )
    ends = table[(table["data"] == table["data"].iloc[0]) & (table["alpha"] > 0)].groupby("alpha", sort=False)
    if len(options.ks) > 1 and len(ends):
        removed = [f"{1 - part['simulated'].iloc[-1] / part['simulated'].iloc[0]:.0%}" for _, part in ends]
        said += (
            f"Averaging {options.ks[-1]} responses instead of {options.ks[0]} removes {', '.join(removed)} of the variance at "
            f"α = {', '.join(f'{alpha:g}' for alpha in ends.groups)}. "
        )
    mine = fitted[fitted["data"] == table["data"].iloc[0]]
    small, every = (mine[mine["ks"] == span].set_index("alpha") for span in ("small", "all"))
    if len(small):
        slopes = [captions.plus_minus(*pair, ".1f") for pair in zip(small["times"], small["times_se"], strict=True)]
        said += (
            f"Where a label's noise α/k is at most {SMALL:g}, floor + slope/k (T8) fits with p = "
            f"{', '.join(f'{p:.2g}' for p in small['lack_of_fit_p'].dropna())} (α = {', '.join(f'{a:g}' for a in small.index)}); "
            f"its floors lie {', '.join(f'{round(z, 1) + 0.0:.1f}' for z in small['floor_z'])} standard errors from the "
            f"noise-free one, its slopes are {', '.join(slopes)} times those of least squares. "
        )
    low = ((a, p) for a, p in every["lack_of_fit_p"].items() if p is not None and p < 1e-3)
    bent = [f"{a:g} (p < 1e-9)" if p < 1e-9 else f"{a:g} (p = {p:.1g})" for a, p in low]
    bent += [f"{a:g} (no such line is positive)" for a in options.alphas if a > 0 and a not in every.index]
    if bent:
        said += f"Over all k the law is rejected at α = {', '.join(bent)}: large noise is amplified more than small."
    return said


def answer(table: pd.DataFrame, fitted: pd.DataFrame) -> Answer | None:
    """The floor, whether the fitted ones agree with it, and where the rest follows T8; on the first data set."""
    name, pair = table["data"].iloc[0], ["simulated", "standard_error"]
    mine, own = table[table["data"] == name], fitted[fitted["data"] == name]
    silent = mine[mine["alpha"] == 0].iloc[0]
    numbers = {
        "floor": measured.positive(*measured.pair(silent[pair]), ".4f", shows="limits"),
        "small": Number.exact(SMALL, "g"),
    }
    for end, alpha in (("low", mine.loc[mine["alpha"] > 0, "alpha"].min()), ("high", mine["alpha"].max())):
        rows = mine[mine["alpha"] == alpha].sort_values("k")[pair]
        numbers[f"alpha_{end}"] = Number.exact(float(alpha), "g")
        numbers[f"left_{end}"] = measured.ratio(tuple(rows.iloc[-1]), tuple(rows.iloc[0]), ".0%")  # with most responses
        numbers[f"share_{end}"] = measured.ratio(
            tuple(silent[pair]), tuple(rows.iloc[0]), ".1%"
        )  # of the floor at k = 1
    sentence = "a floor: networks that begin differently vary by {floor} Var y on noise-free labels too"
    if own.empty:
        return measured.stated(sentence, numbers)
    few, every = (own[own["ks"] == span].set_index("alpha") for span in ("small", "all"))
    if len(few):
        numbers |= {"z": measured.largest_z(few["floor_z"]), "n": Number.exact(len(few), "d")}
        slope = measured.pooled(few["times"], few["times_se"])
        numbers["slope"] = measured.positive(*slope, ".1f", shows="limits")  # over that of least squares
        like = "agree" if measured.agree(numbers["z"]) else "do not agree"
        sentence += f", and the floors of T8 {like} (largest |z| of {{n}}: {{z}})"
        fits = (few["lack_of_fit_p"].dropna() > (1.0 - measured.FAMILY) / len(few)).all()
        sentence += (
            f"; the rest {'falls' if fits else 'does not fall'} as 1/k where a label's noise α/k is at most {{small}}"
        )
    bent = every.loc[every["lack_of_fit_p"] < (1.0 - measured.FAMILY) / max(len(every), 1), "slope"]
    if len(bent) and len(few):
        faster = (bent > few["slope"].reindex(bent.index)).all()
        sentence += f", {'faster' if faster else 'otherwise'} where it is larger"
    return measured.stated(sentence, numbers)
