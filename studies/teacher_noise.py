"""How far does a teacher's response noise spread into its students?

A linear teacher answers with noise of variance α·Var(y); each student is least squares on one response per training
row. T1 predicts the variance between students, T2 the mean and the variance over students of their test error, with
nothing fitted.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, figures, seeds
from uqkd.estimators import Moments, comparison
from uqkd.linear import Design, Teacher, distill, theory, weigh
from uqkd.run import Options as Base
from uqkd.run import Run


class Options(Base):
    data: tuple[str, ...] = ("diabetes", "ccard", "statecrime")
    target: str | None = None
    alphas: tuple[float, ...] = tuple(float(a) for a in np.linspace(0.0, 2.0, 15).round(6))
    replicates: int = 1_000


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "ccard", "statecrime", "fair")),
    "full": Options(data=data.REGRESSIONS, replicates=20_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**data.cell(name, options.target), "alpha": alpha, "replicates": options.replicates}
        for name in options.data
        for alpha in options.alphas
    ]


def measure(cell: dict) -> pd.DataFrame:
    part = data.split(data.of_cell(cell))
    label_var = float(part.y.var())
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * label_var)
    design, centre = Design.of(part.X), teacher.mean(part.X_test)
    residual = part.y_test - centre

    spread, error = Moments.about(centre), Moments.about([residual @ residual / len(residual)])
    for chunk, size in seeds.chunks(cell["replicates"]):
        key = ("teacher noise", cell["data_fingerprint"], cell["alpha"], chunk)
        responses = teacher.respond(part.X, k=1, students=size, key=key)
        students = distill(design, weigh(responses, "single"))
        predictions = students.means(part.X_test)
        spread = spread.add(predictions)
        error = error.add(((part.y_test - predictions) ** 2).mean(axis=1, keepdims=True))

    expected = theory.expected_error(part.X, part.X_test, residual, teacher.noise_var, k=1)
    between = theory.inter_student_variance(part.X, part.X_test, teacher.noise_var, k=1).mean()
    rows = [
        ("T2", "mean test error", expected.mean, error.mean[0], error.mean_se[0]),
        ("T2", "variance of test error", expected.variance, error.variance[0], error.variance_se[0]),
        ("T1", "inter-student variance", between, spread.mean_variance, spread.mean_variance_se),
    ]
    about = {"data": cell["data"], "alpha": cell["alpha"], "label_var": label_var, "replicates": cell["replicates"]}
    return pd.DataFrame([{**about, **comparison(*row)} for row in rows])


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, 3, height=2.7)
    error, variance, spread = axes[0]
    names = table["data"].unique()
    for name, colour in zip(names, figures.colours(len(names)), strict=True):
        rows = table[table["data"] == name]
        teacher_error = rows.loc[rows["alpha"] == 0, "simulated"].iloc[0] if (rows["alpha"] == 0).any() else 1.0
        for axis, quantity, unit in (
            (error, "mean test error", teacher_error),
            (variance, "variance of test error", teacher_error**2),
            (spread, "inter-student variance", rows["label_var"].iloc[0]),
        ):
            part = rows[(rows["quantity"] == quantity) & (rows["alpha"] > 0)]
            figures.theory(axis, part["alpha"], part["predicted"] / unit, color=colour)
            figures.simulation(
                axis, part["alpha"], part["simulated"] / unit, part["standard_error"] / unit, color=colour, label=name
            )
    error.set(title="test error, mean", ylabel="units of the teacher's error")
    variance.set(title="test error, variance", ylabel="same units, squared", yscale="log")
    spread.set(title="inter-student variance", ylabel="units of Var y")
    variance.set_xlabel("variance of one teacher response, α (units of Var y)")
    figures.legend_below(figure, spread, "lines: theory; points: simulation ± 1.96 standard errors")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    caption = (
        f"{int(table['replicates'].max()):,} students per point. Lines are T1 and T2 without any fitted number; points are "
        f"simulations ± 1.96 standard errors. Largest |z| of {table['z'].notna().sum()} comparisons: "
        f"{table['z'].abs().max():.2f}."
    )
    figures.publish(run, plot(table), table=table, title=__doc__.splitlines()[0], caption=caption)
