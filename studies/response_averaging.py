"""How much inter-student variance does averaging k teacher responses remove?

Students are least squares on the mean of k responses. T1 says that their variance is (σ_T²/k)·h(x): slope −1 on
logarithmic axes, no floor. The exponent and the floor are estimated from the simulation, with intervals and a test of fit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, figures, seeds
from uqkd.estimators import Moments, comparison, fit_averaging_law, fit_power_law
from uqkd.linear import Design, Teacher, distill, theory, weigh
from uqkd.run import Options as Base
from uqkd.run import Run


class Options(Base):
    data: tuple[str, ...] = ("diabetes",)
    target: str | None = None
    ks: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50)
    alphas: tuple[float, ...] = (0.01, 0.1, 0.5, 1.0)
    replicates: int = 1_000


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "ccard", "statecrime", "fair")),
    "full": Options(data=data.REGRESSIONS, replicates=10_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**data.cell(name, options.target), "alpha": alpha, "k": k, "replicates": options.replicates}
        for name in options.data
        for alpha in options.alphas
        for k in options.ks
    ]


def measure(cell: dict) -> pd.DataFrame:
    part, k = data.split(data.of_cell(cell)), cell["k"]
    label_var = float(part.y.var())
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * label_var)
    design, centre = Design.of(part.X), teacher.mean(part.X_test)

    spread = Moments.about(centre)
    for chunk, size in seeds.chunks(cell["replicates"]):
        key = ("response averaging", cell["data_fingerprint"], cell["alpha"], k, chunk)
        responses = teacher.respond(part.X, k, students=size, key=key)
        students = distill(design, weigh(responses, "average"))
        spread = spread.add(students.means(part.X_test))

    between = theory.inter_student_variance(part.X, part.X_test, teacher.noise_var, k).mean()
    row = comparison("T1", "inter-student variance", between, spread.mean_variance, spread.mean_variance_se)
    about = {"data": cell["data"], "alpha": cell["alpha"], "k": k, "label_var": label_var}
    return pd.DataFrame([{**about, "replicates": cell["replicates"], **row}])


def fits(table: pd.DataFrame) -> pd.DataFrame:
    """Exponent of the power law, floor and lack of fit of V(k) = floor + slope/k, per data set and noise level."""
    rows = []
    for (name, alpha), group in table.groupby(["data", "alpha"], sort=False):
        numbers = group["k"].to_numpy(), group["simulated"].to_numpy(), group["standard_error"].to_numpy()
        power, law = fit_power_law(*numbers), fit_averaging_law(*numbers, proportional=True)
        unit = float(group["predicted"].iloc[0] * group["k"].iloc[0])  # the slope that T1 predicts
        values = {
            "exponent": (power.exponent, power.exponent_interval),
            "floor": (law.floor, law.floor_interval),
            "slope": (law.slope, law.slope_interval),
        }
        for what, (estimate, interval) in values.items():
            scale = 1.0 if what == "exponent" else unit
            rows.append(
                {
                    "data": name,
                    "alpha": alpha,
                    "what": what,
                    "estimate": estimate / scale,
                    "low": float(interval.low) / scale,
                    "high": float(interval.high) / scale,
                    "lack_of_fit_p": law.p_value,
                }
            )
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame, fitted: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, 3, height=2.9, width_ratios=[2, 1, 1])
    alphas = table["alpha"].unique()
    for alpha, colour in zip(alphas, figures.colours(len(alphas)), strict=True):
        rows = table[(table["alpha"] == alpha) & (table["data"] == table["data"].iloc[0])]
        unit = rows["label_var"]
        figures.theory(axes[0, 0], rows["k"], rows["predicted"] / unit, color=colour)
        label = f"α = {alpha:g}"
        bars = rows["standard_error"] / unit
        figures.simulation(axes[0, 0], rows["k"], rows["simulated"] / unit, bars, color=colour, label=label)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="responses averaged, k", ylabel="inter-student variance (Var y)")
    axes[0, 0].set_title(f"{table['data'].iloc[0]}: lines are T1")
    axes[0, 0].set_xticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"], minor=False)
    axes[0, 0].set_xticks([], minor=True)
    axes[0, 0].legend(ncols=2)
    settings = fitted[["data", "alpha"]].drop_duplicates()
    labels = [
        f"{row.data}, α={row.alpha:g}" if table["data"].nunique() > 1 else f"α = {row.alpha:g}"
        for row in settings.itertuples()
    ]
    for axis, what, truth, scale in ((axes[0, 1], "exponent", -1.0, 1), (axes[0, 2], "floor", 0.0, 100)):
        rows = fitted[fitted["what"] == what]
        place = np.arange(len(rows))
        bars = np.stack([rows["estimate"] - rows["low"], rows["high"] - rows["estimate"]])
        axis.errorbar(rows["estimate"] * scale, place, xerr=bars * scale, fmt="o", color="0.2", capsize=2)
        axis.axvline(truth, color="0.5", linestyle="--")
        axis.set_yticks(place, labels=labels)
        axis.invert_yaxis()
        axis.locator_params(axis="x", nbins=4)
    axes[0, 1].set(title="fitted exponent", xlabel="theory (dashed): −1")
    axes[0, 2].set(title="fitted floor", xlabel="% of V(k = 1)")
    axes[0, 2].set_yticklabels([])
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    fitted = fits(table)
    exponents = fitted[fitted["what"] == "exponent"]
    caption = (
        f"{options.replicates:,} students per point. Fitted exponents {exponents['estimate'].min():.4f} to "
        f"{exponents['estimate'].max():.4f} (theory −1), 95 % intervals of half-width "
        f"{((exponents['high'] - exponents['low']) / 2).mean():.4f}; smallest lack-of-fit p-value of the line in 1/k: "
        f"{fitted['lack_of_fit_p'].min():.2f}. Least-squares students have no floor."
    )
    figures.publish(
        run, plot(table, fitted), table=table, title=__doc__.splitlines()[0], caption=caption, more={"fits": fitted}
    )
