"""What do paired seeds find that independent students miss?

Two methods are compared on the same prompts. Where student s of both had the same seed, start or draws of the teacher, what
students are alike in cancels in their difference; students of other seeds keep it. The share of experiments in which `compare`
finds a true difference is drawn for both, beside the power that noncentral t gives for the true components of variance (T11).
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.estimators import LEVEL
from uqkd.estimators.comparing.crossed import Side, Spread
from uqkd.estimators.comparing.deciding import power_of
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, NonNegativeFloat, Run
from uqkd.run import Options as Base
from uqkd.theory.coverage.comparing import PROMPT_BY_METHOD, Cell, simulated

Correlation = Annotated[float, pydantic.Field(ge=0.0, lt=1.0)]


class Options(Base):
    students: tuple[AtLeastTwo, ...] = (3, 5, 10)
    correlations: tuple[Correlation, ...] = (0.7, 0.9)  # of the two methods' students where seeds are paired
    differences: tuple[NonNegativeFloat, ...] = (
        0.0,
        0.2,
        0.4,
        0.6,
        0.9,
        1.2,
        1.6,
        2.0,
    )  # in standard deviations of a student
    prompts: AtLeastTwo = 100
    replicates: AtLeastTwo = 500


PRESETS = {
    "quick": Options(),
    "paper": Options(replicates=4_000),
    "full": Options(students=(3, 5, 10, 30), replicates=10_000),
}


def cells(options: Options) -> list[dict]:
    shared = options.only("prompts", "replicates", "differences")
    return [
        {**shared, "students": students, "pairs": pairs, "correlation": correlation}
        for students in options.students
        for pairs, correlation in [(False, 0.0), *((True, one) for one in options.correlations)]
    ]


def measure(cell: dict) -> pd.DataFrame:
    rows, students, prompts = [], cell["students"], cell["prompts"]
    spread = true_spread(students, prompts, correlation=cell["correlation"], pairs=cell["pairs"])
    for difference in cell["differences"]:
        one = Cell("score", "normal", "students", cell["pairs"], students, prompts, cell["correlation"], difference)
        found: Any = simulated(one, cell["replicates"])["rejected"]
        power = power_of(difference, spread, level=LEVEL) if difference else 1.0 - LEVEL
        about = {name: cell[name] for name in ("students", "prompts", "pairs", "correlation", "replicates")}
        error = np.sqrt(max(found * (1.0 - found), 0.25 / cell["replicates"]) / cell["replicates"])
        rows.append({**about, "difference": difference, "power": power, "found": found, "standard_error": error})
    return pd.DataFrame(rows)


def true_spread(students: int, prompts: int, *, correlation: float, pairs: bool) -> Spread:
    """Of students of variance 1, whose pairs correlate, on prompts that suit either method a little more."""
    sides = (Side(students, 2.0 * (1.0 - correlation), 0.0),) if pairs else (Side(students, 1.0, 0.0),) * 2
    variance, dof = Spread(1.0, 1.0, sides, 2.0 * PROMPT_BY_METHOD, prompts).at(0, 0)
    return Spread(variance, dof, sides, 2.0 * PROMPT_BY_METHOD, prompts)


def name_of(pairs: bool, correlation: float) -> str:
    return f"pairs, ρ = {correlation:g}" if pairs else "independent students"


def plot(table: pd.DataFrame) -> Figure:
    counts, kinds = table["students"].unique(), table[["pairs", "correlation"]].drop_duplicates()
    figure, axes = figures.panels(1, len(counts), height=2.6, sharey=True)
    for axis, count in zip(axes[0], counts, strict=True):
        for (pairs, correlation), colour in zip(
            kinds.itertuples(index=False), figures.colours(len(kinds)), strict=True
        ):
            own = table[
                (table["students"] == count) & (table["pairs"] == pairs) & (table["correlation"] == correlation)
            ]
            spread = true_spread(count, int(own["prompts"].iloc[0]), correlation=correlation, pairs=pairs)
            dense = np.linspace(own["difference"].min() or 0.01, own["difference"].max(), 100)
            figures.theory(axis, dense, [power_of(one, spread, level=LEVEL) for one in dense], color=colour)
            figures.points(axis, own, "difference", y="found", color=colour, label=name_of(pairs, correlation))
        axis.axhline(1.0 - LEVEL, color="0.6", linestyle=":", zorder=1)
        axis.set(xlabel="true difference, sd of a student", title=f"{count} students a method", ylim=(0.0, 1.02))
    axes[0, 0].set_ylabel("share that find it")
    figures.legend_below(
        figure, axes[0, 0], f"lines: noncentral t; points: {captions.BARS}; dotted: 5 % where nothing differs"
    )
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    count, correlation = max(options.students), min(options.correlations)
    own = table[table["students"] == count].set_index(["pairs", "correlation", "difference"])["found"]
    apart, pairs = own.loc[False, 0.0], own.loc[True, correlation]
    close = quarter(table, count)
    size = table[table["difference"] == 0.0]
    caption = (
        f"Share of {options.replicates:,} experiments in which two methods are found to differ, {options.prompts} prompts. "
        f"{count} independent students a method find a difference of {close:g} standard deviations in {apart[close]:.0%} of "
        f"experiments, {count} pairs of seeds whose students correlate by {correlation:g} in {pairs[close]:.0%}."
    )
    if len(size):
        caption += f" Where nothing differs {size['found'].min():.0%} to {size['found'].max():.0%} are found."
    said: Any = {"caption": caption, "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="across", place=55)


def quarter(table: pd.DataFrame, count: int) -> float:
    """The true difference that so many independent students find in about a quarter of experiments, by their power."""
    apart = table[(table["students"] == count) & ~table["pairs"] & (table["difference"] > 0)].set_index("difference")
    nearest: Any = (apart["power"] - 0.25).abs().idxmin()
    return float(nearest)


def answer(table: pd.DataFrame) -> Answer | None:
    """Shares of experiments that find it, with the most students and the least correlation."""
    count, correlation = int(table["students"].max()), table.loc[table["pairs"], "correlation"].min()
    close = quarter(table, count)
    rows = table[(table["students"] == count) & (table["difference"] == close)]
    own: Any = rows.set_index(["pairs", "correlation"])[["found", "standard_error"]]
    apart, pairs = measured.pair(own.loc[(False, 0.0)]), measured.pair(own.loc[(True, correlation)])
    gain = pairs[0] - apart[0], float(np.hypot(pairs[1], apart[1]))
    numbers = {
        "apart": measured.mean(*apart, ".0%"), "pairs": measured.mean(*pairs, ".0%"), "gain": measured.mean(*gain, "+.0%"),
        "count": Number.exact(count, "d"), "correlation": Number.exact(float(correlation), "g"),
        "difference": Number.exact(close, "g"), "times": measured.ratio(pairs, apart, ".1f", shows="limits"),
    }  # fmt: skip
    more = {"above": "smaller differences", "below": "less than they do", "open": "nothing that is sure"}[
        measured.side(numbers["gain"])
    ]
    sentence = (
        f"{more}: {{count}} pairs of seeds whose students correlate by {{correlation}} find a difference of {{difference}} "
        "standard deviations in {pairs} of experiments, {count} independent students a method in {apart} ({times} times as often)"
    )
    return measured.stated(sentence, numbers)
