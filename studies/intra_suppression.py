"""What does a student trained on averaged answers believe about the teacher's spread?

Every student has the same mean; they differ in what their Gaussian head was fitted to. T3: after averaging k labels the
head reports σ_T²/k, from all raw responses or from the spread that the average carries along it reports σ_T². Students
answer by sampling, and the unbiased decomposition (T10) reads the intra-student variance off their answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data, seeds
from uqkd.estimators import LEVEL, comparison, decompose_variance, mean_and_error, normal_half_width, percent
from uqkd.linear import Design, Students, Teacher, distill, weigh
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.run import Options as Base
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.theory import statements as theory


class Options(Base):
    data: tuple[str, ...] = ("diabetes",)
    target: str | None = None
    ks: tuple[AtLeastTwo, ...] = (2, 3, 4, 5, 7, 10, 20, 50)
    alpha: NonNegativeFloat = 0.5
    students: AtLeastTwo = 200
    responses: AtLeastTwo = 8


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("diabetes", "ccard", "statecrime"), students=1_000),
    "full": Options(data=data.REGRESSIONS, students=1_000, responses=32),
}

COVERAGE = f"coverage of the {percent()} interval"
HEADS = {
    "point": "point student",
    "targets": "head fitted to the averages",
    "responses": "head fitted to all raw responses",
    "carried": "average with its spread carried along",
}


def cells(options: Options) -> list[dict]:
    shared = options.only("alpha", "students", "responses")
    return [{**regression_cell(name, options.target), **shared, "k": k} for name in options.data for k in options.ks]


def measure(cell: dict) -> pd.DataFrame:
    part, k = data.split(regression_of(cell)), cell["k"]
    teacher = Teacher.fit(part.X, part.y, noise_var=cell["alpha"] * float(part.y.var()))
    design = Design.of(part.X)

    key = ("intra suppression", cell["data_fingerprint"], cell["alpha"], k)
    X_test = part.X_test[:: 1 + len(part.X_test) // 2_000]  # of many test rows an even sample is enough
    taught: dict[str, list[Students]] = {head: [] for head in HEADS}
    for chunk, size in seeds.chunks(cell["students"], values=k * len(part.X)):
        targets = weigh(teacher.respond(part.X, k, students=size, key=(*key, "train", chunk)), "average")
        for head in HEADS:
            taught[head].append(distill(design, targets, head=head))
    fresh = teacher.respond(X_test, 1, students=cell["students"], key=(*key, "test"))[:, :, 0]

    rows = []
    for head in HEADS:
        students = Students.joined(taught[head])
        draws = students.predict(X_test, cell["responses"], key=(*key, "answers", head))
        intra = decompose_variance(draws).mean
        numbers = (
            theory.reported_variance(head, 1.0, k),
            intra.intra / teacher.noise_var,
            intra.intra_se / teacher.noise_var,
        )
        rows.append({"head": head, **comparison("T3", "intra-student variance", *numbers)})

        inside = np.abs(fresh - students.predict_mean(X_test)) <= normal_half_width(np.sqrt(students.head_var))[:, None]
        expected = theory.interval_coverage(part.X, X_test, head, k).mean()
        numbers = expected, *mean_and_error(inside.mean(axis=1))
        rows.append({"head": head, **comparison("T3", COVERAGE, *numbers)})
    about = {"data": data_label(cell), "alpha": cell["alpha"], "k": k, "students": cell["students"]}
    return pd.DataFrame([{**about, **row} for row in rows])


def plot(table: pd.DataFrame) -> Figure:
    figure, (axes,) = figures.panels(1, 2, height=3.2)
    rows = table[table["data"] == table["data"].iloc[0]]
    for axis, quantity in zip(axes, ("intra-student variance", COVERAGE), strict=True):
        for (head, label), colour in zip(HEADS.items(), figures.colours(len(HEADS)), strict=True):
            part = rows[(rows["head"] == head) & (rows["quantity"] == quantity)]
            nudge = {"responses": 0.97, "carried": 1.03}.get(head, 1.0)  # the two coincide: show both
            figures.theory(axis, part["k"], part["predicted"], color=colour)
            figures.points(axis, part, part["k"] * nudge, color=colour, label=label)
        axis.set(xlabel="responses averaged, k", ylim=(-0.04, 1.12))
        figures.k_axis(axis, (2, 3, 5, 10, 20, 50))
    axes[0].set(title="intra-student variance", ylabel="share of the teacher's variance")
    axes[1].set(title=f"answers inside its {percent()} interval", ylabel="share of fresh teacher answers")
    axes[1].axhline(LEVEL, color="0.6", linestyle=":", zorder=1)
    figures.legend_below(figure, axes[0], f"lines: theory; points: simulation {captions.BARS}", columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    seen = table[table["data"] == table["data"].iloc[0]].set_index(["quantity", "head", "k"])["simulated"]
    k = 10 if 10 in options.ks else max(options.ks)
    kept, inside = seen["intra-student variance"], seen[COVERAGE]
    caption = (
        f"{table['data'].iloc[0]}, α = {options.alpha:g}, {options.students} students, {options.responses} answers each per test "
        f"row. At k = {k} a student whose head was fitted to averages keeps {kept['targets', k]:.3f} of the teacher's variance "
        f"(theory {1 / k:.3f}) and its {percent()} interval holds {inside['targets', k]:.0%} of the teacher's fresh answers; with "
        f"the spread carried along it keeps {kept['carried', k]:.3f} and holds {inside['carried', k]:.1%}."
    )
    said: Any = {"caption": caption, "answer": answer(table, k)}
    figures.publish(run, plot(table), table=table, **said, group="linear", place=40)


def answer(table: pd.DataFrame, k: int) -> Answer | None:
    """What two heads report and hold at k, on the first data set."""
    rows: Any = table[(table["data"] == table["data"].iloc[0]) & (table["k"] == k)].set_index(["quantity", "head"])
    rows, z = rows[["simulated", "standard_error"]], measured.largest_z(table["z"])
    if z is None:
        return None  # too few students to judge T3
    numbers: dict[str, Number | None] = {
        "k": Number.exact(k, "d"),
        "z": z,
        "n": Number.exact(int(table["z"].notna().sum()), "d"),
    }
    known: dict[str, measured.Shows] = {"targets": "limits", "carried": "value"}
    for head, shows in known.items():
        numbers[f"{head}_kept"] = measured.positive(
            *measured.pair(rows.loc["intra-student variance", head]), ".0%", shows=shows
        )
        numbers[f"{head}_inside"] = measured.mean(*measured.pair(rows.loc[COVERAGE, head]), ".0%")
    numbers["targets_kept"] = measured.changed(numbers["targets_kept"], lambda v: v, ".1%")
    found = "a k-th of the teacher's variance" if measured.agree(z) else "not what T3 says"
    sentence = (
        f"{found}: at k = {{k}} they keep {{targets_kept}} of it, and their {percent()} intervals hold {{targets_inside}} of its "
        "answers; where the average carries its spread along, {carried_kept} and {carried_inside}"
    )
    return measured.stated(sentence, numbers)
