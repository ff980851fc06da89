"""Which number k of responses is best for a budget: more responses for each student, or more students?

An ensemble of S students, each of k responses of its own, errs around what endless distillation would say by (floor + slope/k)/S
per prompt, and costs S·(c + k), where c is the price of a student in units of a response to each training prompt. The best k is
√(c · slope/floor), whatever the budget (T12). Floor and slope are fitted to students of k = 1, 2, 4, …, and `uqkd.plan` says what
to buy in whole numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd.estimators import fit_averaging_law
from uqkd.plan import Costs, known_components, plan
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number
from uqkd.run import AtLeastTwo, PositiveFloat, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds import every_layer
from uqkd.testbeds.every_layer import CLASSIFIERS, LEAST_SQUARES, NETWORKS
from uqkd.testbeds.spreads import spread_of

PRICES = np.geomspace(1.0, 1_000.0, 61)  # of a student, in responses to each training prompt
LAYERS = (LEAST_SQUARES, NETWORKS, CLASSIFIERS)


class Options(Base):
    ks: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16, 32)
    students: AtLeastTwo = 12  # classifiers of each k
    replicates: AtLeastTwo = 300  # students of numbers of each k
    price: PositiveFloat = 10.0  # of a student, in responses to each of the training prompts
    budget: PositiveFloat = 400.0


PRESETS = {
    "quick": Options(),
    "paper": Options(students=100, replicates=2_000),
    "full": Options(students=200, replicates=5_000),
}


def cells(options: Options) -> list[dict]:
    numbers = every_layer.numbers_cell(students=options.replicates)
    texts = every_layer.texts_cell(students=options.students)
    settings = {CLASSIFIERS: texts, NETWORKS: numbers, LEAST_SQUARES: numbers}  # the longest first
    return [{**cell, "layer": layer, "k": k} for layer, cell in settings.items() for k in options.ks]


def measure(cell: dict) -> pd.DataFrame:
    layer, k, key = cell["layer"], cell["k"], ("across costs",)
    if layer == CLASSIFIERS:
        q, _ = every_layer.answers_on_texts(cell, k, key=key, where="test")
        answers = q.reshape(len(q), -1) * np.sqrt(q.shape[2])  # the sum over classes, as a mean over all columns
    else:
        answers, _ = every_layer.answers_on_numbers(cell, k, layer=layer, key=key)
    return pd.DataFrame([{"layer": layer, "k": k, **spread_of(answers).columns}])


def laws(table: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Floor and slope of each layer, the best k at the price, and what the budget buys in whole numbers."""
    rows = []
    costs = Costs(response=1.0, student=options.price, train_prompts=1)
    for layer in LAYERS:
        own = table[table["layer"] == layer]
        law = fit_averaging_law(own["k"], own["simulated"], own["standard_error"], proportional=True)
        floor, slope = law.floor_interval, law.slope_interval
        ends = {f"floor_{end}": float(getattr(floor, end)) for end in ("estimate", "low", "high")}
        ends |= {f"slope_{end}": float(getattr(slope, end)) for end in ("estimate", "low", "high")}
        known = known_components({"teacher": ends["slope_estimate"], "student": ends["floor_estimate"]})
        limits = {"prompts": 1, "draws": 1}
        design = plan(known, costs, budget=options.budget, prompts="fixed", limits=limits).design
        bought = {"planned_k": design.k, "planned_students": design.students, "lack_of_fit_p": law.p_value}
        rows.append({"layer": layer, **ends, **bought})
    return pd.DataFrame(rows)


def best_k(law: pd.Series, price: float) -> dict[str, float]:
    """√(price · slope/floor), and its limits from opposite ends of both intervals (cautious); infinite where no floor is seen."""
    ends = {"estimate": "estimate", "low": "high", "high": "low"}  # of the floor, by those of the slope
    pairs = {end: (law[f"slope_{end}"], law[f"floor_{other}"]) for end, other in ends.items()}
    return {
        end: max(1.0, np.sqrt(price * slope / floor)) if floor > 0 else np.inf for end, (slope, floor) in pairs.items()
    }


def plot(table: pd.DataFrame, fitted: pd.DataFrame, price: float) -> Figure:
    figure, ((left, right),) = figures.panels(1, 2, height=3.6)
    ks, dashes = table["k"].unique(), dict(zip(LAYERS, (":", "-", "--"), strict=True))
    dense = np.geomspace(ks.min(), ks.max(), 200)
    for n, (law, style) in enumerate(zip(fitted.to_dict("records"), figures.series_styles(len(LAYERS)), strict=True)):
        layer, own = law["layer"], table[table["layer"] == law["layer"]]
        line = (price + dense) * (law["floor_estimate"] + law["slope_estimate"] / dense)
        unit = line.min()
        figures.theory(left, dense, line / unit, color=style["color"], linestyle=dashes[layer])
        scale, beside = (price + own["k"]) / unit, own["k"] * 1.04 ** (n - 1)
        figures.simulation(left, beside, own["simulated"] * scale, own["standard_error"] * scale, label=layer, **style)
        _best(right, pd.Series(law), color=style["color"], linestyle=dashes[layer])
    left.set(yscale="log", xlabel="responses for each student, k", ylabel="error, times that of the best k")
    left.set_title(f"what a budget buys\n(a student costs {price:g} responses to each prompt)")
    figures.k_axis(left, tuple(ks))
    figures.ticks(left, "y", (1, 1.5, 2, 3, 5, 8))
    right.axvline(price, color="0.7", linewidth=1)
    figures.legend_below(figure, left, f"lines: (floor + slope/k)·(c + k), fitted; points: measured {captions.BARS}")
    return figure


def _best(axis: Axes, law: pd.Series, **shown: Any) -> None:
    best = pd.DataFrame([best_k(law, price) for price in PRICES])
    if np.isfinite(best["estimate"]).all():
        figures.theory(axis, PRICES, best["estimate"], **shown)
        axis.fill_between(
            PRICES, best["low"], best["high"].clip(upper=1e4), color=shown["color"], alpha=0.15, linewidth=0
        )
    else:
        said = f"{law['layer']}: no floor,\none student of all responses"
        axis.annotate(said, (0.03, 0.97), xycoords="axes fraction", fontsize=7.5, va="top", color=shown["color"])
    axis.set(xscale="log", yscale="log", title="the best k", xlabel="price c of a student (responses to each prompt)")
    axis.set_ylim(0.9, 300)
    figures.ticks(axis, "x", (1, 10, 100, 1_000), ("1", "10", "100", "1,000"))
    figures.ticks(axis, "y", (1, 2, 5, 10, 20, 50, 100, 200))
    axis.set_ylabel("responses for each student, k")


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    fitted = laws(table, options)
    said: Any = {"answer": answer(fitted, options), "caption": caption(table, fitted, options)}
    figure, more = plot(table, fitted, options.price), {"laws": fitted}
    figures.publish(run, figure, table=table, more=more, **said, group="across", place=30)


def answer(fitted: pd.DataFrame, options: Options) -> Answer:
    numbers = {"price": Number.exact(options.price, "g")}
    for layer in (NETWORKS, CLASSIFIERS):
        best = best_k(fitted[fitted["layer"] == layer].iloc[0], options.price)
        numbers[layer] = Number.measured(best["estimate"], best["low"], min(best["high"], 1e6), ".1f", shows="limits")
    return Answer(
        "where a student costs as much as {price} responses to each prompt, {networks} responses for each of the networks and "
        "{classifiers} for each of the classifiers, whatever the budget (√(price · slope/floor)); in least squares all for one",
        numbers,
    )


def caption(table: pd.DataFrame, fitted: pd.DataFrame, options: Options) -> str:
    told = []
    for law in fitted.to_dict("records"):
        shares = {end: law[f"floor_{end}"] / law["slope_estimate"] for end in ("estimate", "low", "high")}
        bought = f"buys {law['planned_students']} × k = {law['planned_k']}"
        told.append(
            f"{law['layer']}: floor/slope {captions.limits(shares, '.3f')}, a budget of {options.budget:g} {bought}"
        )
    counts = table.groupby("layer", sort=False)["students"].first()
    students = ", ".join(f"{n:,} ({layer})" for layer, n in counts.items())
    return f"{'; '.join(told)}. Students of each k: {students}; intervals over them, of one teacher each."
