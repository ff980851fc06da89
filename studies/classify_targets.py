"""Which targets come nearer to the truth: clipped, projected, smoothed, tempered, or the teacher as it is?

Texts are generated, so the true posterior P(intent | text) is known exactly. A teacher is trained on their labels, some of them
wrong on purpose, and every target that a student could be given is held against that posterior: KL(truth ‖ target), on the
rows that students are trained on. A repair also costs nothing to check: how many rows does it change at all?
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from uqkd import data
from uqkd.classify import METHODS, BagOfWords, Recipe, TargetFactory, pretrained
from uqkd.classify.networks.plain import Factory
from uqkd.estimators import half_width, kl_divergence
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, Run
from uqkd.run import Options as Base
from uqkd.testbeds.teachers import counted, decided

ROUNDING = 1e-12  # of a label that has all the mass, so that log 0 is a number: labels themselves are drawn at the edge

Rate = Annotated[float, pydantic.Field(ge=0, lt=1)]


class Options(Base):
    classes: tuple[Annotated[int, pydantic.Field(ge=2)], ...] = (6, 30, 150)
    noise: tuple[Rate, ...] = (0.0, 0.2)
    overlap: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5
    rows: AtLeastTwo = 2_000
    steps: AtLeastTwo = 300
    replicates: AtLeastTwo = 5
    transformer_classes: tuple[int, ...] = (6,)  # with these a small BERT is a teacher too, without label noise
    transformer_steps: AtLeastTwo = 100


LONG = {"rows": 10_000, "steps": 3_000, "transformer_classes": (6, 77, 150), "transformer_steps": 3_000}

PRESETS = {
    "quick": Options(),
    "paper": Options.model_validate({**LONG, "noise": (0.0, 0.1, 0.2, 0.3), "replicates": 20}),
    "full": Options.model_validate(
        {**LONG, "classes": (6, 30, 77, 150), "noise": (0.0, 0.05, 0.1, 0.2, 0.4), "replicates": 40}
    ),
}


def cells(options: Options) -> list[dict]:
    world = {"overlap": options.overlap, "rows": options.rows}
    bags = [(classes, noise, "bag of words", options.steps) for classes in options.classes for noise in options.noise]
    berts = [(classes, 0.0, "small BERT", options.transformer_steps) for classes in options.transformer_classes]
    return [
        {**world, "classes": classes, "noise": noise, "teacher": teacher, "steps": steps, "replicate": replicate}
        for classes, noise, teacher, steps in (*bags, *berts)
        for replicate in range(options.replicates)
    ]


def measure(cell: dict) -> pd.DataFrame:
    classes, noise = cell["classes"], cell["noise"]
    key = ("classify targets", *(cell[name] for name in sorted(cell)))
    world = data.IntentWorld.make(classes=classes, overlap=cell["overlap"], key=("classify targets", "world"))
    drawn = world.draw(cell["rows"], key=key)
    labels = data.with_label_noise(drawn.labels, noise, classes=classes, key=key)
    truth = world.posterior(drawn.words)
    truths = {"the class": truth, "the label": data.noisy_posterior(truth, noise)}

    X, factory, recipe = reading(cell, world, drawn)
    views = TargetFactory.fit(X, labels, classes=classes, factory=factory, recipe=recipe, key=key)
    about = {name: cell[name] for name in ("classes", "noise", "teacher", "replicate")}
    about |= {
        "bayes_accuracy": world.bayes_accuracy(drawn.words, drawn.labels),
        "training_accuracy": float((views.probabilities.argmax(axis=1) == labels).mean()),
        "out_of_fold_accuracy": float((views.folds.logits.argmax(axis=1) == labels).mean()),
        "temperature": views.temperature,
    }
    rows = []
    for method in METHODS:
        target = views.targets(method).probabilities[0]
        fired = views.firing_rate(method)
        for of, p in truths.items():
            distance = kl_divergence(p, target, least=ROUNDING).mean()
            rows.append({**about, "method": method, "truth": of, "kl": float(distance), "fired": fired})
    return pd.DataFrame(rows)


def reading(cell: dict, world: data.IntentWorld, drawn: data.IntentTexts) -> tuple[np.ndarray, Factory, Recipe]:
    """Rows as the teacher reads them, its architecture, and how it is trained: as published, in fewer steps."""
    steps, classes = cell["steps"], cell["classes"]
    published = {
        "optimiser": "adamw",
        "weight_decay": 0.01,
        "clip_norm": 1.0,
        "schedule": "cosine",
        "warmup": steps // 10,
    }
    if cell["teacher"] == "bag of words":
        vocabulary = len(world.vocabulary) + 1  # a word's number is its place and one, 0 is padding
        recipe = Recipe(steps=steps, batch=64, lr=1e-2, **published)
        return drawn.words + 1, lambda: BagOfWords(vocabulary, classes, pad=0, width=32), recipe
    from transformers import BertConfig

    reader = data.tokenizer(world)
    size = BertConfig(
        vocab_size=len(reader), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=16, hidden_dropout_prob=0.1,
    )  # fmt: skip
    recipe = Recipe(steps=steps, batch=32, lr=2e-3, **published)
    return data.encode(reader, drawn.texts, 16), lambda: pretrained(size, classes, pad=reader.pad_token_id), recipe


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over replicates (texts, labels and teacher anew), and differences from the teacher as it is."""
    by = ["teacher", "classes", "noise", "truth"]
    plain = table.loc[table["method"] == "teacher", [*by, "replicate", "kl"]]
    joined = table.merge(plain, on=[*by, "replicate"], suffixes=("", "_plain"))
    joined["difference"] = joined["kl"] - joined["kl_plain"]
    grouped = joined.groupby([*by, "method"], sort=False)
    found, errors = grouped[["kl", "difference", "fired"]].mean(), grouped[["kl", "difference", "fired"]].sem()
    found["replicates"] = grouped.size()
    found = found.join(errors.add_suffix("_se"))
    return found.assign(half_width=half_width(found["difference_se"], found["replicates"])).reset_index()


NAMES = {"teacher": "teacher as it is"}  # its targets, not students of them
DRAWN = [method for method in METHODS if method != "labels"]  # labels are infinitely far from any doubt


def plot(table: pd.DataFrame) -> Figure:
    shown = table[(table["truth"] == "the class") & table["method"].isin(DRAWN)]
    settings = sorted(set(zip(shown["teacher"], shown["classes"], strict=True)))
    levels = sorted(shown["noise"].unique())
    figure, axes = figures.panels(1, len(settings), height=4.1, sharey=True)
    place = {method: n for n, method in enumerate(DRAWN)}
    for axis, (teacher, count) in zip(axes[0], settings, strict=True):
        own = shown[(shown["teacher"] == teacher) & (shown["classes"] == count)]
        for n, (noise, style) in enumerate(zip(levels, figures.series_styles(len(levels)), strict=True)):
            rows = own[own["noise"] == noise]
            if rows.empty:
                continue
            _targets(axis, rows, rows["method"].map(place) + 0.24 * (n - (len(levels) - 1) / 2), style)
        figures.named_rows(axis, [NAMES.get(method, captions.method_name(method)) for method in DRAWN])
        axis.set(title=f"{teacher},\n{count} classes", xscale="log", xlabel="nats")
        reach = half_width(own["kl_se"], own["replicates"])
        figures.focus(axis, [(own["kl"] - reach).clip(lower=own["kl"] / 2), own["kl"] + reach], which="x", room=0.05)
        low, high = axis.get_xlim()
        places = [one for one in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if low <= one <= high]
        figures.ticks(axis, "x", places if len(places) > 1 else np.round(np.linspace(low, high, 4)[1:3], 2))
    for noise, style in zip(levels, figures.series_styles(len(levels)), strict=True):
        axes[0, 0].plot([], [], linestyle="none", marker=style["fmt"], color=style["color"], mfc="white",
                        label=f"{noise:.0%} of the labels wrong")  # fmt: skip
    note = f"KL(truth ‖ target); lines: the teacher as it is; filled: nearer than it; bars: {captions.INTERVALS} over teachers"
    figures.legend_below(figure, axes[0, 0], note)
    return figure


def _targets(axis: Axes, rows: pd.DataFrame, at: pd.Series, style: dict) -> None:
    reach, nearer = half_width(rows["kl_se"], rows["replicates"]), rows["difference"] < -rows["half_width"]
    figures.intervals(axis, rows["kl"], at, xerr=reach, **style)
    filled = {"color": style["color"], "marker": style["fmt"], "ms": style["ms"], "linestyle": "none", "zorder": 4}
    axis.plot(rows.loc[nearer, "kl"], at[nearer], **filled)
    axis.axvline(rows.loc[rows["method"] == "teacher", "kl"].iloc[0], color=style["color"], linewidth=0.8, alpha=0.6)


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    said: Any = {"caption": caption(found, options), "answer": answer(found)}
    figures.publish(run, plot(found), table=found, **said, more={"replicates": table}, group="classify", place=400)


TOLD = {"scale": "teacher, temperature", "clip": "W-Clip", "shape": "DUS", "cud": "DUS + W-Clip",
        "groups": "groups, entropy"}  # fmt: skip
TRUTHS = {"the class": "", "the label": "_labels"}


def answer(found: pd.DataFrame) -> Answer | None:
    """Settings in which targets come nearer to the true posterior of the class, without label noise and with it."""
    rows = decided(found.rename(columns={"difference_se": "standard_error", "replicates": "teachers"}))
    ends = {"clean": rows[rows["noise"] == 0], "noisy": rows[rows["noise"] > 0]}
    numbers: dict[str, Number] = {}
    for (end, part), (truth, to), (short, method) in product(ends.items(), TRUTHS.items(), TOLD.items()):
        own = part[(part["method"] == method) & (part["truth"] == truth)]
        numbers[f"settings{to}_{end}"] = Number.exact(len(own), "d")
        for sign, word in (("below", f"nearer{to}"), ("above", f"farther{to}")):
            count, low, high = counted(own, sign)
            numbers[f"{short}_{word}_{end}"] = Number.measured(count, low, high, ".0f")
    settings = {end: numbers[f"settings_{end}"].value for end in ends}

    def nearest(end: str, none: str) -> str:
        always = [short for short in TOLD if numbers[f"{short}_nearer_{end}"].value == settings[end] > 0]
        names = [TOLD[short] if short != "scale" else "the teacher at an out-of-fold temperature" for short in always]
        return " and ".join(names) or none

    sentence = (
        f"without label noise {nearest('clean', 'none always')}: temperature nearer in {{scale_nearer_clean}} of "
        "{settings_clean} settings (farther in {scale_farther_clean}), clipping in {clip_nearer_clean} ({clip_farther_clean}), "
        "CUD's shaping and clipping in {cud_nearer_clean} ({cud_farther_clean})"
    )
    if settings["noisy"]:
        sentence += (
            f"; with wrong labels {nearest('noisy', 'none')}: {{scale_nearer_noisy}} of {{settings_noisy}}, "
            "{clip_nearer_noisy} and {cud_nearer_noisy} (temperature is nearer to the wrong labels in {scale_nearer_labels_noisy})"
        )
    return measured.stated(sentence, numbers)


def caption(found: pd.DataFrame, options: Options) -> str:
    def count(method: str, truth: str, noisy: bool) -> str:
        rows = found[(found["method"] == method) & (found["truth"] == truth) & ((found["noise"] > 0) == noisy)]
        near = (rows["difference"] < -rows["half_width"]).sum()
        far = (rows["difference"] > rows["half_width"]).sum()
        return f"{near} nearer, {far} farther of {len(rows)}"

    def of(method: str) -> str:
        return f"{count(method, 'the class', False)} without label noise, {count(method, 'the class', True)} with it"

    clip = found.loc[found["method"] == "W-Clip", "fired"]
    return (
        f"Settings of teacher, classes and label noise, {options.replicates} teachers each; distance from the true posterior of "
        f"the class, against that of the teacher as it is, beyond {captions.INTERVALS}. W-Clip, which changes {clip.min():.1%} to "
        f"{clip.max():.0%} of the rows: {of('W-Clip')}. Shaping (DUS): {of('DUS')}. Both: {of('DUS + W-Clip')}. Temperature "
        f"scaling, fitted out of fold: {of('teacher, temperature')}; it fits the distribution of the labels, wrong ones included, "
        f"to which it is {count('teacher, temperature', 'the label', True)} with noise. Groups with a bound on the entropy: "
        f"{of('groups, entropy')}."
    )
