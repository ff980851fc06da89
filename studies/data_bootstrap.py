"""How much do students differ that see different bootstrap samples of the training rows?

With the teacher's noise-free answers as labels every full-rank least-squares student equals the teacher, whatever rows it
saw; with ground-truth labels the sandwich of T9 holds where the sample is large beside the number of coefficients.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, figures
from uqkd.estimators import Moments, comparison
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
    # a large-sample statement: it counts as a check from 200 rows per coefficient, below it is drawn but not judged
    large = cell["labels"] == "truth" and drawn >= 200 * part.X.shape[1]
    sandwich = theory.bootstrap_variance(part.X, part.y - answers, part.X_test, drawn=drawn).mean() / unit
    row = comparison(
        "T9" if large else "",
        "inter-student variance",
        sandwich if cell["labels"] == "truth" else np.nan,
        spread.mean_variance / unit,
        spread.mean_variance_se / unit,
    )
    about = {"data": cell["data"], "labels": cell["labels"], "fraction": cell["fraction"], "drawn": drawn}
    rank = {
        "coefficients": part.X.shape[1],
        "students": len(students.coef),
        "deficient": cell["replicates"] - len(students.coef),
    }
    return pd.DataFrame([{**about, **rank, **row}])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(2, len(names), height=1.8, sharex=True, sharey="row", height_ratios=[2, 1])
    for column, name in enumerate(names):
        for axis, (labels, label), colour in zip(axes[:, column], LABELS.items(), figures.colours(2), strict=True):
            rows = table[(table["data"] == name) & (table["labels"] == labels)]
            figures.theory(axis, rows["fraction"], rows["predicted"], color=colour)
            bars = rows["standard_error"]
            figures.simulation(axis, rows["fraction"], rows["simulated"], bars, color=colour, label=label)
            axis.set_yscale("log")
        size = f"{rows['drawn'].max():,} rows, {rows['coefficients'].iloc[0]} coefficients"
        axes[0, column].set_title(f"{name}: {size}")
        axes[1, column].set(xlabel="share of rows drawn, with replacement", ylim=(1e-33, 1e-27))
    axes[0, 0].set_ylabel("ground-truth labels")
    axes[1, 0].set_ylabel("teacher's answers")
    figure.supylabel("inter-student variance (units of Var y)", fontsize=9)
    handles = [axes[row, 0].get_legend_handles_labels() for row in (0, 1)]
    figure.legend(
        [h for hs, _ in handles for h in hs],
        [text for _, texts in handles for text in texts],
        title="line: sandwich (T9); points: simulation ± 1.96 standard errors; below: rounding error of float64",
        loc="outside lower center",
        ncols=2,
    )
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    zero = table.loc[table["labels"] == "teacher", "simulated"].max()
    truth = table[table["labels"] == "truth"]
    truth = truth.assign(
        per_coefficient=truth["drawn"] / truth["coefficients"], excess=truth["simulated"] / truth["predicted"]
    )
    few, many = (truth.sort_values("per_coefficient").iloc[place] for place in (0, -1))
    caption = (
        f"{options.replicates} students per point; {table['deficient'].sum()} rank-deficient resamples left out. With the "
        f"teacher's answers the variance never exceeds {zero:.0e} of Var y: rounding. With ground truth the large-sample "
        f"sandwich is right to {abs(many['excess'] - 1):.0%} at {many['per_coefficient']:.0f} rows per coefficient and too "
        f"small by a factor of {few['excess']:.1f} at {few['per_coefficient']:.0f}."
    )
    figures.publish(run, plot(table), table=table, title=__doc__.splitlines()[0], caption=caption)
