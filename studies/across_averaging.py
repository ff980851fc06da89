"""What does averaging k teacher responses remove in every layer, and what stays?

One estimand for all: the variance between independently distilled students, V(k), as a share of V(1). Least squares on numbers,
networks on numbers, classifiers of texts, language models whose answers can be listed, and the recorded answers of a real chat
model. Where nothing is sampled, and all students learn the same, what is left is the floor of training itself. Of answers, which
have a Gini variance G_p, students that memorise k responses keep 1 − 1/k within and move 1/k between (T4).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd import llm
from uqkd.estimators import decompose_categorical, gini, mean_and_error, uncertainty_shares, variance_half_widths
from uqkd.llm.measuring.tables.side_by_side import values_of
from uqkd.llm.synthetic.questions import uncertain_prompts
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number
from uqkd.run import AtLeastTwo, PositiveInt, Run, here_or_bundled
from uqkd.stacked import SeedDesign
from uqkd.testbeds import every_layer
from uqkd.testbeds.cells import file_fingerprint
from uqkd.testbeds.every_layer import CLASSIFIERS, NETWORKS
from uqkd.testbeds.every_layer import LEAST_SQUARES as LINEAR
from uqkd.testbeds.options import EmbeddedOptions
from uqkd.testbeds.spreads import spread_of

WORLD, REAL = "language models", "a real chat model"
LAYERS = (LINEAR, NETWORKS, CLASSIFIERS, WORLD, REAL)
RECORDED = "docs/llm_real/answers.csv"
SAME = 0  # instead of k: all students learn the same


class Options(EmbeddedOptions):
    ks: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16)
    per_student: PositiveInt = 16  # responses set aside for each student
    steps: PositiveInt = 300
    replicates: AtLeastTwo = 200  # students of numbers; each of the other layers has `students`, or as many as answered


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=32, steps=1_500, batch=128, replicates=1_000),
    "full": Options(groups=16, entities=16, students=64, steps=3_000, batch=128, replicates=2_000),
}


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    numbers = every_layer.numbers_cell(students=options.replicates)
    texts = every_layer.texts_cell(students=options.students)
    world = {"data": folder, "data_fingerprint": fingerprint}
    world |= options.only("students", "steps", "batch", "lr", "per_student")
    settings = {WORLD: world, CLASSIFIERS: texts, NETWORKS: numbers, LINEAR: numbers}  # the longest first
    found = [{**cell, "layer": layer, "k": k} for layer, cell in settings.items() for k in (*options.ks, SAME)]
    recorded = {"data": RECORDED, "data_fingerprint": file_fingerprint(here_or_bundled(RECORDED))}
    return [*found, {**recorded, "layer": REAL, "k": SAME}]


def measure(cell: dict) -> pd.DataFrame:
    layer, k, key = cell["layer"], cell["k"], ("across averaging",)
    if layer in (LINEAR, NETWORKS):
        spread = spread_of(every_layer.answers_on_numbers(cell, k, layer=layer, key=key)[0])
        rows = [{"quantity": "inter", "unit": "Var y", **spread.columns}]
    elif layer == CLASSIFIERS:
        rows = shares(*every_layer.answers_on_texts(cell, k, key=key, where="test"))
    else:
        rows = of_world(cell) if layer == WORLD else of_recorded(cell)
    return pd.DataFrame([{"layer": layer, "k": k, **row} for row in rows])


def of_world(cell: dict) -> list[dict]:
    testbed, k, S = llm.Testbed.at(cell["data"]), cell["k"], cell["students"]
    prompts = uncertain_prompts(testbed.world, first=0)
    asked = {"students": S, "k": k} if k else {"students": 1, "k": cell["per_student"]}  # the first student's, for all
    drawn = testbed.bank().responses(prompts, per_student=cell["per_student"], **asked)
    seed_design = SeedDesign.independent(S)
    key = ("across averaging", "world", k)
    students = testbed.distill(llm.weigh(drawn, "multi"), cell, seed_design=seed_design, key=key)
    return shares(students.predict_proba(prompts), testbed.predict_proba(prompts))


def of_recorded(cell: dict) -> list[dict]:
    """Of students on the questions that they were trained on, as they answered."""
    answers = pd.read_csv(here_or_bundled(cell["data"]), dtype={"answers": str, "supported": str})
    values, rows = values_of(answers[answers["part"] == "trained"]), []
    whole = values["trained", "teacher", 0]["intra"].mean()
    for (_, method, k), own in values.items():
        for quantity in ("intra", "inter") if method in ("single", "multi") else ():
            value, error = mean_and_error(own[quantity].mean(axis=1) / whole)
            about = {"k": k, "quantity": quantity, "unit": "G_p", "students": len(own[quantity])}
            rows.append({**about, "simulated": value, "standard_error": error})
    return rows


def shares(q: np.ndarray, p: np.ndarray) -> list[dict]:
    found = uncertainty_shares(decompose_categorical(q), gini(p))
    about = {"unit": "G_p", "students": len(q)}
    return [
        {"quantity": name, **about, "simulated": v, "standard_error": e}
        for name, (v, e) in found.items()
        if name != "total"
    ]


def relative(table: pd.DataFrame) -> pd.DataFrame:
    """V(k)/V(1) of each layer; students of every k are others, so that relative errors add as squares."""
    inter = table[table["quantity"] == "inter"]
    one = inter[inter["k"] == 1].set_index("layer")[["simulated", "standard_error"]]
    joined = inter.join(one.add_suffix("_one"), on="layer")
    ratio = joined["simulated"] / joined["simulated_one"]
    errors = (joined["standard_error"], ratio * joined["standard_error_one"])
    spread = np.hypot(*errors) / joined["simulated_one"] * (joined["k"] != 1)
    low, high = variance_half_widths(ratio, spread, joined["students"])
    found = joined[["layer", "k", "students"]].assign(ratio=ratio, ratio_se=spread)
    return found.assign(low=ratio - low, high=ratio + high)


def plot(table: pd.DataFrame, ratios: pd.DataFrame) -> Figure:
    figure, ((left, inter, intra),) = figures.panels(1, 3, height=3.9, width_ratios=[1.5, 1, 1])
    ks = np.array(sorted(set(table.loc[table["k"] > 0, "k"])), dtype=float)
    same, dense = 3.0 * ks[-1], np.geomspace(ks[0], ks[-1], 100)
    for n, (layer, style) in enumerate(zip(LAYERS, figures.series_styles(len(LAYERS)), strict=True)):
        beside = 1.05 ** (n - (len(LAYERS) - 1) / 2)  # side by side, so that no bar hides another
        own = ratios[ratios["layer"] == layer]
        at = own["k"].where(own["k"] > 0, same) * beside
        figures.intervals(left, at, own["ratio"], yerr=figures.limits(own, estimate="ratio"), label=layer, **style)
        for axis, quantity in ((inter, "inter"), (intra, "intra")):
            rows = table[(table["layer"] == layer) & (table["quantity"] == quantity) & (table["unit"] == "G_p")]
            if len(rows):
                figures.points(axis, rows, rows["k"].where(rows["k"] > 0, same) * beside, **style)
    figures.theory(left, dense, 1.0 / dense, color="0.25", linestyle="--")
    figures.theory(inter, dense, 1.0 / dense, color="0.25")
    figures.theory(intra, dense, 1.0 - 1.0 / dense, color="0.25")
    left.set(
        yscale="log", ylabel="V(k) / V(1)", title="variance between students,\nshare of that of k = 1 (dashed: 1/k)"
    )
    figures.focus(left, ratios["ratio"])
    figures.log_ticks(left, steps=(1, 2, 5))
    inter.set(title="between students,\nshare of $G_p$ (line: T4)", ylim=(-0.05, 1.3))
    intra.set(title="within one student,\nshare of $G_p$ (line: T4)", ylim=(-0.05, 1.6))
    for axis in (left, inter, intra):
        axis.set(xscale="log", xlabel="responses averaged, k")
        axis.axvline(same / 1.7, color="0.8", linewidth=0.8)
        figures.ticks(axis, "x", [*ks[ks != 8], same], [*(f"{k:g}" for k in ks if k != 8), "same\nfor all"])
    figures.legend_below(
        figure, left, f"points {captions.BARS}; same for all: nothing sampled, the floor of training itself"
    )
    return figure


def main(options: Options, run: Run) -> None:
    testbed = llm.Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    prompts, how = uncertain_prompts(testbed.world, first=0), options.only("students", "per_student", "backend")
    table = run.cells(cells(options, str(testbed.folder), testbed.draw(prompts, **how)), measure)
    ratios = relative(table)
    about: Any = {"answer": answer(ratios), "caption": caption(table, ratios), "group": "across", "place": 10}
    figures.publish(run, plot(table, ratios), table=table, more={"ratios": ratios}, **about)


def answer(ratios: pd.DataFrame) -> Answer:
    most, numbers = int(ratios.loc[ratios["layer"] == LINEAR, "k"].max()), {}
    for name, layer in zip(("squares", "networks", "classifiers", "models"), LAYERS, strict=False):
        own = ratios[ratios["layer"] == layer].set_index("k")
        for kind, k in (("left", most), ("floor", SAME)):
            row: Any = own.loc[k]
            numbers[f"{name}_{kind}"] = Number.measured(row["ratio"], row["low"], row["high"], ".1%")
    return Answer(
        f"{most} responses instead of one leave {{squares_left}} of the variance between students in least squares "
        f"(1/{most} = {1 / most:.1%}), {{networks_left}} in networks, {{classifiers_left}} in classifiers and {{models_left}} in "
        "language models; what no number of responses removes, as all learn the same, is {squares_floor}, {networks_floor}, "
        "{classifiers_floor} and {models_floor}".replace("%)", " %)"),
        numbers,
    )


def caption(table: pd.DataFrame, ratios: pd.DataFrame) -> str:
    def said(layer: str) -> str:
        own = ratios[(ratios["layer"] == layer) & (ratios["k"] != 1)].sort_values(
            "k", key=lambda k: k.replace(SAME, 1000)
        )
        texts = (f"{captions.limits(row.rename({'ratio': 'estimate'}), '.3f')} {'at k = ' + str(row['k']) if row['k'] else 'floor'}"
                 for _, row in own.iterrows())  # fmt: skip
        return f"{layer} ({own['students'].iloc[0]:,} students) {', '.join(texts)}"

    settings = "Diabetes at noise 0.1 Var y; unseen texts of 30 intents; the embedded world; SmolLM2 on its training questions."
    return f"{settings} V(k)/V(1): {'; '.join(map(said, LAYERS))}. {captions.INTERVALS} over students."
