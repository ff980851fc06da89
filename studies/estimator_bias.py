"""How wrong is the variance of student means as a measure of inter-student variance?

With R answers per student and prompt the variance of their means holds the students' own spread divided by R (T10). The
plug-in is compared with the unbiased estimate on students whose true inter-student variance T1 gives exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data
from uqkd.estimators import comparison, decompose_variance, mean_and_error, percent, tails, variance_of_means
from uqkd.linear import Design, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.theory import statements as theory


class Options(Base):
    data: tuple[str, ...] = ("diabetes", "statecrime")
    target: str | None = None
    responses: tuple[AtLeastTwo, ...] = (2, 3, 5, 8, 15, 30, 60, 120)
    k: AtLeastTwo = 4
    alpha: NonNegativeFloat = 0.5
    students: AtLeastTwo = 10
    replicates: AtLeastTwo = 1_000


PRESETS = {
    "quick": Options(),
    "paper": Options(replicates=5_000),
    "full": Options(data=data.REGRESSIONS, replicates=5_000),
}

ESTIMATORS = {"plug-in": "variance of student means (plug-in)", "unbiased": "unbiased (T10)"}


def cells(options: Options) -> list[dict]:
    shared = options.only("k", "alpha", "students", "replicates")
    return [
        {**regression_cell(name, options.target), **shared, "responses": responses}
        for name in options.data
        for responses in options.responses
    ]


def measure(cell: dict) -> pd.DataFrame:
    part, k = data.split(regression_of(cell)), cell["k"]
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * float(part.y.var()))
    design = Design.of(part.X)
    truth = theory.inter_student_variance(part.X, part.X_test, teacher.noise_var, k).mean()

    found: dict[str, list[float]] = {"plug-in": [], "unbiased": []}
    for repeat in range(cell["replicates"]):
        key = ("estimator bias", cell["data_fingerprint"], cell["responses"], repeat)
        targets = weigh(teacher.respond(part.X, k, students=cell["students"], key=(*key, "train")), "average")
        students = distill(design, targets, head="carried")
        draws = students.predict(part.X_test, cell["responses"], key=(*key, "answers"))
        found["plug-in"].append(variance_of_means(draws).mean() / truth)
        found["unbiased"].append(decompose_variance(draws).mean.inter / truth)

    own = teacher.noise_var / truth / cell["responses"]
    rows = []
    for estimator, predicted in (("plug-in", 1.0 + own), ("unbiased", 1.0)):
        values = np.array(found[estimator])
        numbers = (predicted, *mean_and_error(values))
        spread = dict(zip(("low", "high"), np.quantile(values, tails()), strict=True))
        rows.append({"estimator": estimator, **comparison("T10", f"{estimator} / truth", *numbers), **spread})
    shown = ("responses", "k", "alpha", "students", "replicates")
    about = {"data": data_label(cell), **{name: cell[name] for name in shown}}
    about["own_over_truth"] = teacher.noise_var / truth  # intra-student variance in units of the truth
    return pd.DataFrame([{**about, **row} for row in rows])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(1, len(names), height=3.0, sharey=True)
    for axis, name in zip(axes[0], names, strict=True):
        dense = np.geomspace(table["responses"].min(), table["responses"].max(), 200)
        for (estimator, label), colour in zip(ESTIMATORS.items(), figures.colours(2), strict=True):
            rows = table[(table["data"] == name) & (table["estimator"] == estimator)]
            own = rows["own_over_truth"].iloc[0] if estimator == "plug-in" else 0.0
            figures.theory(axis, dense, 1.0 + own / dense, color=colour)
            figures.points(axis, rows, "responses", color=colour, label=label)
            axis.fill_between(rows["responses"], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        axis.set_yscale("symlog", linthresh=1.0)  # as the note says
        axis.set(xlabel="answers per student and prompt, R", title=name)
        figures.k_axis(axis, (2, 5, 15, 30, 60, 120))
        figures.ticks(axis, "y", (-10, -3, -1, 0, 1, 3, 10, 30, 100))
        axis.axhline(1.0, color="0.6", linestyle=":", zorder=1)
    axes[0, 0].set_ylabel("estimate / truth")
    note = f"lines: theory; points: mean {captions.BARS}; bands: {percent()} of single estimates\n"
    note += "(axis linear between −1 and 1, logarithmic beyond)"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    first = table[table["data"] == table["data"].iloc[0]].set_index(["estimator", "responses"])
    few, many = min(options.responses), max(options.responses)
    plug_in, unbiased = first.loc["plug-in"], first.loc["unbiased"]
    caption = (
        f"Inter-student variance of {options.students} students, k = {options.k}, mean over the test rows; {options.replicates:,} "
        f"repetitions. On {table['data'].iloc[0]} at R = {few} the plug-in reports {plug_in.loc[few, 'simulated']:.0f} times the "
        f"truth (theory {plug_in.loc[few, 'predicted']:.0f}), at R = {many} still {plug_in.loc[many, 'simulated']:.1f}. The "
        f"unbiased estimate is right on average at every R, but a single one scatters: {percent()} lie between "
        f"{unbiased.loc[few, 'low']:.1f} and {unbiased.loc[few, 'high']:.1f} at R = {few}, between {unbiased.loc[many, 'low']:.2f} "
        f"and {unbiased.loc[many, 'high']:.2f} at R = {many}. Negative estimates are drawn as they are."
    )
    said: Any = {"caption": caption, "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="across", place=50)


def answer(table: pd.DataFrame) -> Answer | None:
    """Both estimates over the truth, with the fewest and the most answers, on the data set where the plug-in errs most."""
    worst = table["data"].iloc[table["own_over_truth"].argmax()]
    first: Any = table[table["data"] == worst].set_index(["estimator", "responses"])
    few, many = table["responses"].min(), table["responses"].max()
    unbiased = table[table["estimator"] == "unbiased"]
    numbers = {
        "few": Number.exact(int(few), "d"),
        "many": Number.exact(int(many), "d"),
        "z": measured.largest_z(unbiased["z"]),
    }
    if numbers["z"] is None:
        return None  # too few repetitions to judge T10
    for name, at in (("times", few), ("times_many", many)):
        row = first.loc[("plug-in", at)]
        numbers[name] = measured.positive(row["simulated"], row["standard_error"], ".0f" if at == few else ".1f")
    mean = measured.pooled(unbiased["simulated"], unbiased["standard_error"])
    numbers["unbiased"] = measured.mean(*mean, ".3f", shows="limits")
    above = {
        "above": "no: student means vary by",
        "below": "no, student means vary too little:",
        "open": "student means cannot be told from the truth:",
    }
    right = "is right on average" if measured.agree(numbers["z"]) else "is not right either"
    sentence = (
        f"{above[measured.side(numbers['times'], 1.0)]} {{times}} times the truth from {{few}} answers per prompt on {worst}, "
        f"{{times_many}} times from {{many}}; the unbiased estimate {right} ({{unbiased}} of it)"
    )
    return measured.stated(sentence, numbers)
