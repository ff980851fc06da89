"""How far does a teacher's response noise spread into its students?

A linear teacher answers with noise of variance α·Var(y); each student is least squares on one response per training
row. T1 predicts the variance between students, T2 the mean and the variance over students of their test error, with
nothing fitted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, seeds
from uqkd.estimators import Moments, comparison
from uqkd.linear import Design, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.theory import statements as theory


class Options(Base):
    data: tuple[str, ...] = ("diabetes", "ccard", "statecrime")
    target: str | None = None
    alphas: tuple[NonNegativeFloat, ...] = tuple(float(a) for a in np.linspace(0.0, 2.0, 15).round(6))
    replicates: AtLeastTwo = 1_000


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "ccard", "statecrime", "fair")),
    "full": Options(data=data.REGRESSIONS, replicates=20_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**regression_cell(name, options.target), "alpha": alpha, "replicates": options.replicates}
        for name in options.data
        for alpha in options.alphas
    ]


def measure(cell: dict) -> pd.DataFrame:
    part = data.split(regression_of(cell))
    label_var = float(part.y.var())
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * label_var)
    design, centre = Design.of(part.X), teacher.predict_mean(part.X_test)
    residual = part.y_test - centre

    spread, error = Moments.about(centre), Moments.about([residual @ residual / len(residual)])
    for chunk, size in seeds.chunks(cell["replicates"], values=len(part.X)):
        key = ("teacher noise", cell["data_fingerprint"], cell["alpha"], chunk)
        responses = teacher.respond(part.X, k=1, students=size, key=key)
        students = distill(design, weigh(responses, "single"))
        predictions = students.predict_mean(part.X_test)
        spread = spread.add(predictions)
        error = error.add(((part.y_test - predictions) ** 2).mean(axis=1, keepdims=True))

    expected = theory.expected_error(part.X, part.X_test, residual, teacher.noise_var, k=1)
    between = theory.inter_student_variance(part.X, part.X_test, teacher.noise_var, k=1).mean()
    rows = [
        ("T2", "mean test error", expected.mean, error.mean[0], error.mean_se[0]),
        ("T2", "variance of test error", expected.variance, error.variance[0], error.variance_se[0]),
        ("T1", "inter-student variance", between, spread.mean_variance, spread.mean_variance_se),
    ]
    teacher_error = float(residual @ residual / len(residual))
    about = {"data": data_label(cell), "rows": len(part.X), "alpha": cell["alpha"], "label_var": label_var}
    about |= {"teacher_error": teacher_error, "teacher_r2": 1 - teacher_error / part.y_test.var()}
    random = cell["alpha"] > 0  # without noise there is nothing to judge
    rows = (
        rows if random else [("", quantity, predicted, simulated, 0.0) for _, quantity, predicted, simulated, _ in rows]
    )
    n = cell["replicates"]
    return pd.DataFrame([{**about, "replicates": n, **comparison(*row, variance_of=n)} for row in rows])


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, 3, height=2.7)
    error, variance, spread = axes[0]
    names = table["data"].unique()
    for name, colour in zip(names, figures.colours(len(names)), strict=True):
        rows = table[(table["data"] == name) & (table["alpha"] > 0)]
        first = rows.iloc[0]
        unit = first["label_var"]
        label = f"{name}: {first['rows']:,} rows, R² {first['teacher_r2']:.2f}"
        for axis, quantity, offset, scale in (
            (error, "mean test error", first["teacher_error"], unit),
            (variance, "variance of test error", 0.0, unit**2),
            (spread, "inter-student variance", 0.0, unit),
        ):
            part = rows[rows["quantity"] == quantity]
            figures.theory(axis, part["alpha"], (part["predicted"] - offset) / scale, color=colour)
            values, bars = (part["simulated"] - offset) / scale, part["standard_error"] / scale
            figures.simulation(axis, part["alpha"], values, bars, color=colour, label=label)
    error.set(title="test error above the teacher's", ylabel="mean (Var y)")
    variance.set(title="test error", ylabel="variance (Var² y)", yscale="log")
    spread.set(title="inter-student variance", ylabel="mean over test rows (Var y)")
    variance.set_xlabel("variance of one teacher response, α (Var y)")
    note = f"lines: theory; points: simulation {captions.BARS}; R²: the teacher's, on test rows"
    figures.legend_below(figure, spread, note)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    judged = table[table["statement"] != ""]
    caption = (
        f"{options.replicates:,} students per point. Lines are T1 and T2 without any fitted number; points are simulations "
        f"{captions.BARS}. Largest |z| of {len(judged)} comparisons: {judged['z'].abs().max():.2f}."
    )
    said: Any = {"caption": caption, "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="linear", place=10)


def answer(table: pd.DataFrame) -> Answer | None:
    """Simulated over predicted, all settings together."""
    judged = table[(table["statement"] != "") & table["z"].notna()]
    z = measured.largest_z(judged["z"])
    rows = judged[judged["quantity"] == "inter-student variance"]
    relative = rows["standard_error"] / rows["simulated"]
    share = measured.pooled(rows["simulated"] / rows["predicted"], relative)
    numbers = {"share": measured.positive(*share, ".3f", shows="limits"), "z": z, "n": Number.exact(len(judged), "d")}
    if measured.agree(z):
        sentence = (
            "as T1 and T2 say: the variance between students is σ_T²·h(x), linear in the noise (simulation over theory "
        )
        sentence += "{share}), and test error follows T2 (largest |z| of {n}: {z})"
    else:
        sentence = "not as T1 and T2 say: the variance between students is {share} times σ_T²·h(x) "
        sentence += "(largest |z| of {n}: {z})"
    return measured.stated(sentence, numbers)
