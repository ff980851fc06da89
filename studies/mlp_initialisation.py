"""How much of the spread between neural students comes from where they begin, and does training shrink or grow it?

All students learn the teacher's noise-free answers from the same rows in the same order. They begin near one common
network, each weight of it times 1 + ε·N(0, 1), or independently. The variance between students is measured before and
after training on the same parameters, and of the answers on the test rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import data
from uqkd.estimators import variance_half_widths
from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, initialisation, weigh
from uqkd.mlp.network import answers
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import PositiveFloat, Run
from uqkd.testbeds.cells import data_label, regression_cell, regression_of
from uqkd.testbeds.options import NetworkOptions
from uqkd.testbeds.spreads import spread_of


class Options(NetworkOptions):
    perturbations: tuple[PositiveFloat, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0)


PRESETS = {
    "quick": Options(),
    "paper": Options(replicates=1_000),
    "full": Options(data=("diabetes", "ccard", "statecrime"), replicates=2_000),
}
INDEPENDENT = -1.0  # instead of a perturbation: students that begin independently


def cells(options: Options) -> list[dict]:
    return [
        {**regression_cell(name, options.target), **options.network, "perturbation": level}
        for name in options.data
        for level in (*options.perturbations, INDEPENDENT)
    ]


def measure(cell: dict) -> pd.DataFrame:
    part, recipe = data.split(regression_of(cell)), Recipe(steps=cell["steps"])
    hidden, X = tuple(cell["hidden"]), part.features_test
    perturbation = None if cell["perturbation"] == INDEPENDENT else cell["perturbation"]
    known = ("mlp", "teacher", cell["data_fingerprint"])
    teacher = Teacher.fit(part.features, part.y_standard, noise_var=0.0, hidden=hidden, recipe=recipe, key=known)
    labels = weigh(teacher.predict_mean(part.features)[None, :, None])
    # The common network, and the directions in which students leave it, are the same at every level: only ε differs.
    key = ("mlp initialisation", cell["data_fingerprint"], hidden)
    seen: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed_design in SeedDesign.in_chunks(cell["replicates"], values=len(part.X)):
        seed_design = replace(seed_design, recurring=("initialisation",))
        start: dict[str, Any] = {"key": key, "perturbation": perturbation}
        begin = initialisation((X.shape[1], *hidden, 1), seed_design.initialisation, **start, shared=True)
        students = distill(part.features, labels, hidden=hidden, recipe=recipe, seed_design=seed_design, **start)
        for when, parameters in (("before", begin), ("after", students.parameters)):
            values = {name: array.reshape(len(array), -1) for name, array in parameters.items()}
            for name, found in {**values, "answers": answers(parameters, X)[..., 0]}.items():
                seen.setdefault((name, when), []).append(found)

    about, rows = {"data": data_label(cell), "perturbation": cell["perturbation"]}, []
    for (name, when), parts in seen.items():
        numbers = spread_of(np.concatenate(parts)).columns
        rows.append({**about, "students": numbers.pop("students"), "quantity": name, "when": when, **numbers})
    return pd.DataFrame(rows)


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """One row per quantity and level: variance before, after, and how many times training multiplied it."""
    where = ["data", "perturbation", "quantity"]
    wide = table.pivot(index=where, columns="when", values=["simulated", "standard_error"])
    values, errors = wide["simulated"], wide["standard_error"] / wide["simulated"]
    out = values[["before", "after"]].assign(ratio=values["after"] / values["before"])
    ratio_se = out["ratio"] * np.hypot(errors["before"], errors["after"])
    return out.assign(ratio_se=ratio_se, after_se=wide["standard_error", "after"]).reset_index()


def plot(changed: pd.DataFrame) -> Figure:
    name, first = changed["data"].iloc[0], changed[changed["data"] == changed["data"].iloc[0]]
    near, free = first[first["perturbation"] > 0], first[first["perturbation"] == INDEPENDENT].set_index("quantity")
    figure, ((weights, ratio, spread),) = figures.panels(1, 3, height=3.0)
    quantities = free.index.drop("answers")
    for i, (quantity, colour) in enumerate(zip((*quantities, "answers"), figures.colours(len(free)), strict=True)):
        rows = near[near["quantity"] == quantity]
        axis = spread if quantity == "answers" else weights
        figures.theory(axis, rows["perturbation"], rows["before"], color=colour, linestyle="--")
        beside = rows["perturbation"] * 1.07 ** (i - len(quantities) / 2)  # so that no point hides another
        at, shown = rows["perturbation"] if quantity == "answers" else beside, {"color": colour, "fmt": "os^Dv"[i % 5]}
        figures.points(axis, rows, at, y="after", error="after_se", **shown)
        figures.points(ratio, rows, beside, y="ratio", error="ratio_se", label=figures.layer_name(quantity), **shown)
    own, error = free.loc["answers", ["after", "after_se"]]
    figures.band(spread, own, error, color="0.6", zorder=1)
    spread.text(near["perturbation"].min(), 1.3 * own, "independent", fontsize=7.5, color="0.3")
    ratio.axhline(1.0, color="0.3", linewidth=1)
    titles = (f"{name}: parameters", "after / before training", "answers on test rows")
    labels = ("variance between students", "", "variance (Var y)")
    for axis, title, label in zip((weights, ratio, spread), titles, labels, strict=True):
        axis.set(xscale="log", yscale="log", xlabel="perturbation, ε", title=title, ylabel=label)
    note = f"dashed: before training (parameters: ∝ ε²); points: after training {captions.BARS}\n"
    note += "each weight begins at that of one common network, times 1 + ε·N(0, 1)"
    figures.legend_below(figure, ratio, note, columns=5)
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    changed = compared(table)
    said: Any = {"caption": caption(changed, options), "answer": answer(changed)}
    figures.publish(run, plot(changed), table=table, **said, more={"ratios": changed}, group="mlp", place=140)


def caption(changed: pd.DataFrame, options: Options) -> str:
    mine = changed[changed["data"] == changed["data"].iloc[0]]
    own = mine[(mine["perturbation"] == INDEPENDENT) & (mine["quantity"] == "answers")].iloc[0]
    said = (
        f"{mine['data'].iloc[0]}, {options.replicates:,} students per point, hidden layers {options.hidden}, the same noise-free "
        f"labels for all. Independently begun answers vary by {captions.plus_minus(own['after'], own['after_se'], '.4f')} Var y "
        f"after training ({own['before']:.3f} before): V_init of T8. The rest begins around one common network. "
    )
    for level in (min(options.perturbations), max(options.perturbations)):
        at = mine[mine["perturbation"] == level].set_index("quantity")["ratio"]
        least, most, answer = map(captions.times, (at.drop("answers").min(), at.drop("answers").max(), at["answers"]))
        said += (
            f"At ε = {level:g} training multiplies the variance of parameters by {least} to {most} and that of answers "
        )
        said += f"by {answer}. "
    near = mine[(mine["perturbation"] > 0) & (mine["quantity"] == "answers")]
    below, above = variance_half_widths(near["ratio"], near["ratio_se"])
    grown = near.loc[near["ratio"] - below > 1, "perturbation"]
    shrunk = near.loc[near["ratio"] + above < 1, "perturbation"]
    if len(grown) and len(shrunk) and grown.max() < shrunk.min():
        said += f"Training grows the variance of answers up to ε = {grown.max():g} and shrinks it from ε = {shrunk.min():g} on."
    return said


def answer(changed: pd.DataFrame) -> Answer | None:
    """How many times training multiplies the variance of answers, for the smallest and the largest differences."""
    answers = changed[(changed["data"] == changed["data"].iloc[0]) & (changed["quantity"] == "answers")]
    near = answers[answers["perturbation"] > 0].sort_values("perturbation")
    numbers: dict[str, Number | None] = {}
    for end, row in (("small", near.iloc[0]), ("large", near.iloc[-1])):
        numbers[f"times_{end}"] = measured.positive(row["ratio"], row["ratio_se"], ".2g", shows="limits")
        numbers[f"level_{end}"] = Number.exact(float(row["perturbation"]), "g")
    for _, row in answers[answers["perturbation"] == INDEPENDENT].iterrows():
        numbers["own"] = measured.positive(row["after"], row["after_se"], ".4f")
        numbers["times_own"] = measured.positive(row["ratio"], row["ratio_se"], ".2g")
    does = {"above": "grows", "below": "shrinks", "open": "changes, if at all,"}
    small, large = (does[measured.side(numbers[f"times_{end}"], 1.0)] for end in ("small", "large"))
    sentence = (
        f"training {small} small differences (the variance of answers {{times_small}} times at ε = {{level_small}}) and {large} "
        "large ones ({times_large} times at ε = {level_large})"
    )
    return measured.stated(sentence, numbers)
