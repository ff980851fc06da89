"""Do the methods hold up where data are not as in training: shifted, ambiguous, long-tailed, or from elsewhere?

Students of every method are judged on test rows as they are, on shifted ones (noise, blur, rotation and translation of images, lost
words of texts), and on ambiguous ones, each apart; on how well confidence tells rows from elsewhere (shuffled pixels, words
at random); and once more when the classes of the training rows grow rare. Class by class, changes of accuracy against plain
distillation are tested with Holm's correction for their number.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd import data, seeds
from uqkd.classify import Classifiers, Distillation, Mixing, SeedDesign, distill
from uqkd.estimators import class_accuracy_changes, entropy, kl_divergence, out_of_distribution_auroc
from uqkd.report import captions, figures
from uqkd.run import Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_target_factory, cell_recipe, network, performance, task_cells
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.tables import differences, tidy

Array = NDArray[np.float64]

METHODS = ("labels", "label smoothing", "teacher", "DUS + W-Clip", "groups, entropy", "teacher, mixup")
PLAIN = "teacher"
SEVERITY = 3  # of 5
LOST = 0.3  # share of the words of a text
SHOWN = {
    "accuracy": "accuracy (right: better)",
    "ece": "ECE (left: better)",
    "kl": "KL on ambiguous rows\n(left: better)",
}
ROUNDING = 1e-12


class Options(TaskOptions):
    # frequency of the most to the least frequent class
    ratios: tuple[Annotated[float, pydantic.Field(ge=1)], ...] = (1.0, 10.0)


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), students=20, steps=3_000),
    "full": Options(tasks=("digits", "intents:30", "intents:150"), ratios=(1.0, 10.0, 50.0), students=100, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    return [
        {**task, **options.training, "ratio": ratio} for task, ratio in product(task_cells(options), options.ratios)
    ]


def measure(cell: dict) -> pd.DataFrame:
    whole, ratio = task_of(cell), cell["ratio"]
    kept = data.long_tailed(whole.labels, ratio, key=("classify shift", whole.fingerprint))
    task = replace(
        whole, X=whole.X[kept], labels=whole.labels[kept], fingerprint=f"{whole.fingerprint}, long-tailed {ratio:g}"
    )
    of_teacher, of_students = cell["networks"]
    recipe = cell_recipe(cell)
    views = cached_target_factory(task, network=of_teacher, recipe=recipe)
    inputs, probabilities, found = parts(whole), {}, []
    for method in METHODS:
        mixed = method == "teacher, mixup"
        if mixed and cell["kind"] == "texts":
            continue  # words have no average
        students = distill(
            task.X, views.teacher if mixed else views.targets(method), objective=Distillation(2.0, weight=1.0),
            recipe=recipe, factory=network(of_students, task), seed_design=SeedDesign.independent(cell["students"]),
            mixing=Mixing() if mixed else None, key=("classify shift", task.fingerprint, method),
        )  # fmt: skip
        about = {"data": data_label(cell), "ratio": ratio, "method": method}
        for name, (rows, truth) in inputs.items():
            found += tidy(performance(students, rows, truth), **about, part=name)
        found += tidy(doubts(students, whole), **about, part="ambiguous")
        probabilities[method] = students.predict_proba(whole.X_test)
        apart = out_of_distribution_auroc(probabilities[method], students.predict_proba(elsewhere(whole)))
        found += tidy({"ood_auroc": np.asarray(apart)}, **about, part="elsewhere")
    for method in probabilities:
        if method != PLAIN:
            changes = class_accuracy_changes(probabilities[method], probabilities[PLAIN], whole.labels_test)
            counts = {"improved": np.array([len(changes.improved)]), "worsened": np.array([len(changes.worsened)])}
            found += tidy(counts, data=data_label(cell), ratio=ratio, method=method, part="class by class")
    return pd.DataFrame(found)


def parts(task: data.Task) -> dict[str, tuple[NDArray, NDArray]]:
    """Test rows as they are, and shifted in each way."""
    X, labels, key = task.X_test, task.labels_test, ("classify shift", task.fingerprint)
    found = {"as trained": (X, labels)}
    if task.pad is None:
        scale = {"background": float(X.min()), "pixel_range": float(np.ptp(X))}
        return found | {name: (data.shifted(X, name, SEVERITY, key=key, **scale), labels) for name in data.SHIFTS}
    return found | {"words lost": (data.drop_tokens(X, LOST, key=key, pad=task.pad), labels)}


def doubts(students: Classifiers, task: data.Task) -> dict[str, Array]:
    """On ambiguous rows, (S,) each: divergence from what is known of them, entropy, and the entropy that it should be."""
    if task.posterior_test is not None:  # the third of the texts whose true posterior is most spread
        spread = entropy(task.posterior_test)
        rows = np.argsort(-spread)[: len(spread) // 3]
        X, truth = task.X_test[rows], task.posterior_test[rows]
    else:  # averages of two images: the classes of both, as two annotators would have it
        key = ("classify shift", task.fingerprint)
        both = data.ambiguous(task.X_test, task.labels_test, key=key, pairs=500, shared=True)
        X, truth = both.images, np.eye(len(task.classes))[both.annotators].mean(axis=1)
    q = students.predict_proba(X)
    known = np.full(len(q), entropy(truth).mean())
    return {
        "kl": kl_divergence(truth, q, least=ROUNDING).mean(axis=1),
        "entropy": entropy(q).mean(axis=1),
        "true_entropy": known,
    }


def elsewhere(task: data.Task) -> NDArray:
    """Rows of no class: images whose pixels are shuffled, all alike; texts of words at random."""
    rng = seeds.generator("classify shift", "elsewhere", task.fingerprint, shared=True)
    X = task.X_test
    if task.pad is None:
        return X.reshape(len(X), -1)[:, rng.permutation(X[0].size)].reshape(X.shape)
    words = rng.integers(1, task.vocabulary, size=X.shape)
    return np.where(task.X_test == task.pad, task.pad, words)


def means(table: pd.DataFrame) -> pd.DataFrame:
    by = ["data", "ratio", "method", "part", "measure"]
    grouped = table.groupby(by, sort=False)["value"]
    return grouped.agg(value="mean", students="count", standard_error="sem").reset_index()


def plot(found: pd.DataFrame) -> Figure:
    """Every method less plain distillation: left of the line is lower."""
    apart = differences(found, found[found["method"] == PLAIN], ["data", "ratio", "part", "measure"])
    apart = apart[apart["measure"].isin(SHOWN) & (apart["method"] != PLAIN)]
    figure, axes = figures.panels(1, len(SHOWN), height=5.0, width_ratios=[1, 1, 1])
    for axis, (measure, label) in zip(axes[0], SHOWN.items(), strict=True):
        rows = apart[apart["measure"] == measure]
        rows = rows[rows["part"] == "ambiguous"] if measure == "kl" else rows[rows["part"] != "ambiguous"]
        places = list(dict.fromkeys(zip(rows["data"], rows["ratio"], rows["part"], strict=True)))
        methods = [method for method in METHODS if method != PLAIN]
        for n, (method, style) in enumerate(zip(methods, figures.series_styles(len(methods)), strict=True)):
            own = rows[rows["method"] == method]
            at = [places.index(one) for one in zip(own["data"], own["ratio"], own["part"], strict=True)]
            aside = np.asarray(at) + 0.15 * (n - (len(methods) - 1) / 2)
            figures.intervals(
                axis, own["difference"], aside, xerr=own["half_width"], label=captions.method_name(method), **style
            )
        axis.axvline(0.0, color="0.25", linewidth=1)
        figures.named_rows(axis, [_place(*one, parts=measure != "kl") for one in places], fontsize=7.5)
        for n in range(1, len(places)):
            new = places[n][:2] != places[n - 1][:2]
            axis.axhline(n - 0.5, color="0.5" if new else "0.9", linewidth=0.9 if new else 0.5)
        axis.grid(axis="y", visible=False)
        axis.set_title(label)
    axes[0, 1].tick_params(labelleft=False)
    figures.legend_below(figure, axes[0, 0], f"less plain distillation; bars: {captions.INTERVALS} over students")
    return figure


def _place(name: str, ratio: float, part: str, *, parts: bool) -> str:
    setting = name if ratio == 1 else f"{name}, tail 1/{ratio:g}"
    return f"{setting}: {part}" if parts else setting.replace(", ", "\n")


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    figures.publish(
        run,
        plot(found),
        table=found,
        caption=caption(found, options),
        more={"students": table},
        group="classify",
        place=470,
    )


def caption(found: pd.DataFrame, options: Options) -> str:
    scores = found[~found["measure"].isin(("improved", "worsened"))]
    apart = differences(scores, scores[scores["method"] == PLAIN], ["data", "ratio", "part", "measure"])

    def against(method: str, measure: str) -> str:
        kinds = apart.loc[(apart["method"] == method) & (apart["measure"] == measure), "sign"]
        return f"lower in {(kinds == 'below').sum()} and higher in {(kinds == 'above').sum()} of {len(kinds)}"

    told = [f"'{m}' ECE {against(m, 'ece')}, KL to the truth {against(m, 'kl')}" for m in METHODS if m != PLAIN]
    by_class = found[found["part"] == "class by class"].groupby(["method", "measure"], sort=False)["value"]
    counts = by_class.sum().unstack().reset_index().to_numpy()
    classes = ", ".join(f"'{m}' {up:.0f} better and {down:.0f} worse" for m, up, down in counts)
    return (
        f"{options.students} students per method, distilled at T = 2 without labels. Against plain distillation beyond "
        f"{captions.INTERVALS}, over tasks, class frequencies and shifts (KL on ambiguous rows): {'; '.join(told)}. "
        f"Classes whose accuracy differs after Holm's correction, summed over tasks and frequencies: {classes}."
    )
