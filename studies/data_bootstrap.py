"""How much do students differ that see different bootstrap samples of the training rows?

With the teacher's noise-free answers as labels every full-rank least-squares student equals the teacher, whatever rows it
saw; with ground-truth labels the sandwich of T9 holds where the sample is large beside the number of coefficients.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data
from uqkd.estimators import Moments, comparison, variance_half_widths
from uqkd.linear import Teacher, bootstrap_students
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, Fraction, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.theory import statements as theory


class Options(Base):
    data: tuple[str, ...] = ("diabetes", "fair")
    target: str | None = None
    fractions: tuple[Fraction, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    replicates: AtLeastTwo = 1_000


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "fair", "engel"), replicates=5_000),
    "full": Options(data=("diabetes", "fair", "engel", "randhie"), replicates=10_000),
}

JUDGED_FROM = 200  # rows per coefficient
LABELS = {"truth": "ground-truth labels", "teacher": "the teacher's noise-free answers"}


def cells(options: Options) -> list[dict]:
    planned = []
    for name in options.data:
        X = data.split(data.load(name, target=options.target)).X
        # resamples of fewer than twice as many rows as coefficients are mostly rank-deficient
        fractions = [f for f in options.fractions if round(f * len(X)) >= 2 * X.shape[1]]
        shared = {**regression_cell(name, options.target), "replicates": options.replicates}
        planned += [{**shared, "fraction": f, "labels": labels} for labels in LABELS for f in fractions]
    return planned


def measure(cell: dict) -> pd.DataFrame:
    part = data.split(regression_of(cell))
    teacher = Teacher.fit(part.X, part.y, noise_var=0.0)
    answers, centre = teacher.predict_mean(part.X), teacher.predict_mean(part.X_test)
    drawn = round(cell["fraction"] * len(part.X))
    students = bootstrap_students(
        part.X,
        part.y if cell["labels"] == "truth" else answers,
        drawn=drawn,
        students=cell["replicates"],
        key=("data bootstrap", cell["data_fingerprint"], cell["fraction"], cell["labels"]),
        deficient="exclude",
    )
    spread = Moments.about(centre).add(students.predict_mean(part.X_test))
    unit = float(part.y.var())
    # T9 is a large-sample statement. By convention it is judged from 200 rows per coefficient; under that it is drawn
    # (dotted) but not judged.
    large = cell["labels"] == "truth" and drawn >= JUDGED_FROM * part.X.shape[1]
    sandwich = theory.bootstrap_variance(part.X, part.y - answers, part.X_test, drawn=drawn).mean() / unit
    row = comparison(
        "T9" if large else "",
        "inter-student variance",
        sandwich if cell["labels"] == "truth" else np.nan,
        spread.mean_variance / unit,
        spread.mean_variance_se / unit,
        variance_of=len(students.coef),
    )
    about = {"data": data_label(cell), "labels": cell["labels"], "fraction": cell["fraction"], "drawn": drawn}
    rank = {
        "coefficients": part.X.shape[1],
        "students": len(students.coef),
        "deficient": cell["replicates"] - len(students.coef),
    }
    return pd.DataFrame([{**about, **rank, **row}])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(2, len(names), height=1.9, sharex=True, sharey="row", height_ratios=[3, 1])
    for column, name in enumerate(names):
        for axis, (labels, label), colour in zip(axes[:, column], LABELS.items(), figures.colours(2), strict=True):
            rows = table[(table["data"] == name) & (table["labels"] == labels)]
            figures.theory(axis, rows["fraction"], rows["predicted"], color=colour, linestyle=":")
            judged = rows[rows["statement"].fillna("") != ""]
            figures.theory(axis, judged["fraction"], judged["predicted"], color=colour)
            figures.points(axis, rows, "fraction", color=colour, label=label)
            axis.set_yscale("log")
        size = f"{rows['drawn'].max():,} rows, {rows['coefficients'].iloc[0]} coefficients"
        axes[0, column].set_title(f"{name}: {size}")
        axes[1, column].set(xlabel="share of rows drawn, with replacement", ylim=(1e-33, 1e-27))
    figure.supylabel("inter-student variance (Var y)", fontsize=8.5)
    note = f"line: sandwich (T9), dotted below {JUDGED_FROM} rows per coefficient; points: simulation {captions.BARS}"
    figures.legend_below(figure, list(axes[:, 0]), note, columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    zero = table.loc[table["labels"] == "teacher", "simulated"].max()
    truth = table[table["labels"] == "truth"]
    per_coefficient = truth["drawn"] / truth["coefficients"]
    truth = truth.assign(
        per_coefficient=per_coefficient,
        excess=100 * (truth["simulated"] / truth["predicted"] - 1),
        bar=100 * variance_half_widths(truth["simulated"], truth["standard_error"])[1] / truth["predicted"],
    )
    nearest = [(truth["per_coefficient"] - at).abs().idxmin() for at in (0, 30, 100, 1e9)]
    parts = [
        f"{row['excess']:+.0f} ± {row['bar']:.0f} % at {row['per_coefficient']:.0f} rows per coefficient"
        for _, row in truth.loc[list(dict.fromkeys(nearest))].iterrows()
    ]
    caption = (
        f"{options.replicates:,} students per point; {table['deficient'].sum()} rank-deficient resamples left out. With the "
        f"teacher's noise-free answers the variance is rounding error (at most {zero:.0e} of Var y; lower panels). With ground "
        f"truth the simulated variance differs from the large-sample sandwich by {', '.join(parts)} ({captions.BARS})."
    )
    said: Any = {"caption": caption, "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="linear", place=60)


ROUNDING = 1e-20  # of Var y: below it, students differ by nothing but rounding


def answer(table: pd.DataFrame) -> Answer | None:
    """Variance over that of the sandwich, at the fewest rows per coefficient and where T9 is judged."""
    truth = table[table["labels"] == "truth"]
    truth = truth.assign(
        rows=truth["drawn"] / truth["coefficients"],
        excess=truth["simulated"] / truth["predicted"],
        error=truth["standard_error"] / truth["predicted"],
    )
    few: Any = truth.sort_values("rows").iloc[0]
    judged = truth[(truth["statement"] == "T9") & truth["z"].notna()]
    numbers = {
        "few": measured.changed(measured.positive(few["excess"], few["error"], shows="limits"), lambda v: v - 1.0, "+.0%"),
        "few_rows": Number.exact(float(few["rows"]), ".0f"), "z": measured.largest_z(judged["z"]),
        "n": Number.exact(len(judged), "d"), "from": Number.exact(JUDGED_FROM, "d"),
    }  # fmt: skip
    relative = judged["standard_error"] / judged["simulated"]
    pooled = measured.positive(*measured.pooled(judged["excess"], relative), shows="limits")
    numbers["many"] = measured.changed(pooled, lambda v: v - 1.0, "+.1%")
    nothing = table.loc[table["labels"] == "teacher", "simulated"].max() < ROUNDING
    sentence = "nothing" if nothing else "something even"
    sentence += " with the teacher's noise-free answers; with ground truth students vary by {few} against the sandwich of T9 at "
    sentence += "{few_rows} rows per coefficient"
    if len(judged):
        follow = "as it says" if measured.agree(numbers["z"]) else "not as it says either"
        sentence += f", from {{from}} on {follow} ({{many}}; largest |z| of {{n}}: {{z}})"
    return measured.stated(sentence, numbers)
