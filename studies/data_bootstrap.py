"""How much do students differ that see different bootstrap samples of the training rows?

With the teacher's noise-free answers as labels every full-rank least-squares student equals the teacher, whatever rows it
saw; with ground-truth labels the sandwich of T9 holds where the sample is large beside the number of coefficients.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, figures
from uqkd.estimators import Moments
from uqkd.linear import Teacher, bootstrap_students, theory
from uqkd.run import Options as Base
from uqkd.run import Run


class Options(Base):
    data: tuple[str, ...] = ("diabetes", "fair")
    target: str | None = None
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    replicates: int = 400


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "fair", "engel"), replicates=1_000),
    "full": Options(data=("diabetes", "fair", "engel", "randhie"), replicates=5_000),
}

LABELS = {"truth": "ground-truth labels", "teacher": "the teacher's noise-free answers"}


def cells(options: Options) -> list[dict]:
    return [
        {**data.cell(name, options.target), "fraction": fraction, "labels": labels, "replicates": options.replicates}
        for name in options.data
        for labels in LABELS
        for fraction in options.fractions
    ]


def measure(cell: dict) -> pd.DataFrame:
    part = data.split(data.of_cell(cell))
    teacher = Teacher.fit(part.X, part.y, noise_var=0.0)
    answers, centre = teacher.mean(part.X), teacher.mean(part.X_test)
    drawn = round(cell["fraction"] * len(part.X))
    students = bootstrap_students(
        part.X,
        part.y if cell["labels"] == "truth" else answers,
        drawn=drawn,
        students=cell["replicates"],
        key=("data bootstrap", cell["data_fingerprint"], cell["fraction"], cell["labels"]),
        deficient="exclude",
    )
    spread = Moments.about(centre).add(students.means(part.X_test))
    unit = float(part.y.var())
    sandwich = theory.bootstrap_variance(part.X, part.y - answers, part.X_test, drawn=drawn).mean() / unit
    row = figures.comparison(
        "T9 (large samples)",
        "inter-student variance",
        sandwich if cell["labels"] == "truth" else np.nan,
        spread.mean_variance / unit,
        spread.mean_variance_se / unit,
    )
    about = {"data": cell["data"], "labels": cell["labels"], "fraction": cell["fraction"], "drawn": drawn}
    rank = {"coefficients": part.X.shape[1], "students": len(students.coef), "deficient": cell["replicates"] - len(students.coef)}
    return pd.DataFrame([{**about, **rank, **row}])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(1, len(names), height=3.0, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        for (labels, label), colour in zip(LABELS.items(), figures.colours(2), strict=True):
            rows = table[(table["data"] == name) & (table["labels"] == labels)]
            figures.theory(axis, rows["fraction"], rows["predicted"], color=colour)
            figures.simulation(axis, rows["fraction"], rows["simulated"], rows["standard_error"], color=colour, label=label)
        size = f"{rows['drawn'].max():,} rows, {rows['coefficients'].iloc[0]} coefficients"
        axis.set(yscale="log", xlabel="share of rows drawn, with replacement", title=f"{name}: {size}")
    axes[0, 0].set_ylabel("inter-student variance (units of Var y)")
    figures.legend_below(figure, axes[0, 0], "line: sandwich (T9); points: simulation ± 95 %")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    truth = table[table["labels"] == "truth"]
    zero, excess = table.loc[table["labels"] == "teacher", "simulated"].max(), truth["simulated"] / truth["predicted"]
    per_coefficient = truth["drawn"] / truth["coefficients"]
    caption = (
        f"{options.replicates} students per point; {table['deficient'].sum()} rank-deficient resamples left out. With the "
        f"teacher's answers the variance never exceeds {zero:.0e} of Var y: rounding. With ground truth the large-sample "
        f"sandwich is right to {abs(excess[per_coefficient.idxmax()] - 1):.0%} at {per_coefficient.max():.0f} rows per "
        f"coefficient and too small by a factor {excess[per_coefficient.idxmin()]:.1f} at {per_coefficient.min():.0f}."
    )
    figures.publish(run, plot(table), table=table, title=__doc__.splitlines()[0], caption=caption)
