"""Do the methods hold up where data are not as in training: shifted, ambiguous, long-tailed, or from elsewhere?

Students of every method are judged on test rows as they are, on shifted ones (noise, blur, rotation and translation of images, lost
words of texts), and on ambiguous ones, each apart; on how well confidence tells rows from elsewhere (shuffled pixels, words
at random); and once more when the classes of the training rows grow rare. Class by class, changes of accuracy against plain
distillation are tested with Holm's correction for their number.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd import data, figures, seeds
from uqkd.classify import (
    Classifiers,
    Distillation,
    Mixing,
    Recipe,
    Sources,
    by_name,
    distill,
    known_views,
    performance,
    tidy,
)
from uqkd.estimators import class_accuracy_changes, entropy, kl_divergence, out_of_distribution_auroc
from uqkd.run import Options as Base
from uqkd.run import Replicates, Run

Array = NDArray[np.float64]

NETWORKS = {"images": ("convolutional:16", "perceptron:64"), "texts": ("bag:64", "bag:32")}  # of teacher and students
RATES = {"images": 3e-3, "texts": 1e-2}
METHODS = ("labels", "label smoothing", "teacher", "DUS + W-Clip", "groups, entropy", "teacher, mixup")
PLAIN = "teacher"
SEVERITY = 2  # of 5
LOST = 0.3  # share of the words of a text
SHOWN = {"accuracy": "accuracy", "ece": "ECE"}
ROUNDING = 1e-12


class Options(Base):
    data: tuple[str, ...] = ("digits", "intents:30")
    ratios: tuple[Annotated[float, pydantic.Field(ge=1)], ...] = (
        1.0,
        10.0,
    )  # frequency of the most to the least frequent class
    students: Replicates = 6
    steps: Replicates = 400
    batch: Replicates = 32


PRESETS = {
    "quick": Options(),
    "paper": Options(data=("digits", "intents:30", "intents:150"), students=20, steps=3_000),
    "full": Options(data=("digits", "intents:30", "intents:150"), ratios=(1.0, 10.0, 50.0), students=100, steps=3_000),
}


def cells(options: Options) -> list[dict]:
    how = {name: getattr(options, name) for name in ("students", "steps", "batch")}
    return [{**data.cell_task(name), **how, "ratio": ratio} for name, ratio in product(options.data, options.ratios)]


def measure(cell: dict) -> pd.DataFrame:
    task = data.of_cell_task(cell)
    kind = "images" if task.pad is None else "texts"
    kept = data.long_tailed(task.labels, cell["ratio"], key=("classify shift", task.fingerprint))
    X, labels = task.X[kept], task.labels[kept]
    recipe = Recipe(
        steps=cell["steps"],
        batch=cell["batch"],
        lr=RATES[kind],
        optimiser="adamw",
        schedule="cosine",
        weight_decay=0.01,
    )
    how = {"classes": len(task.classes), "pad": task.pad, "vocabulary": task.vocabulary}
    of_teacher, of_students = NETWORKS[kind]
    views = known_views(
        X, labels, fingerprint=f"{task.fingerprint} {cell['ratio']}", network=of_teacher, recipe=recipe, **how
    )
    inputs, probabilities, found = parts(task), {}, []
    for method in METHODS:
        mixed = method == "teacher, mixup"
        if mixed and kind == "texts":
            continue  # words have no average
        students = distill(
            X, views.teacher if mixed else views.targets(method), objective=Distillation(2.0, weight=1.0), recipe=recipe,
            factory=by_name(of_students, row=X.shape[1:], **how), sources=Sources.independent(cell["students"]),
            mixing=Mixing() if mixed else None, key=("classify shift", task.fingerprint, cell["ratio"], method),
        )  # fmt: skip
        about = {"data": cell["data"], "ratio": cell["ratio"], "method": method}
        for name, (rows, truth) in inputs.items():
            found += tidy(performance(students, rows, truth), **about, part=name)
        found += tidy(doubts(students, task), **about, part="ambiguous")
        apart = out_of_distribution_auroc(students.probabilities(task.X_test), students.probabilities(elsewhere(task)))
        found += tidy({"ood_auroc": apart}, **about, part="elsewhere")
        probabilities[method] = students.probabilities(task.X_test)
    for method, q in probabilities.items():
        if method != PLAIN:
            changes = class_accuracy_changes(q, probabilities[PLAIN], task.labels_test)
            about = {"data": cell["data"], "ratio": cell["ratio"], "method": method, "part": "class by class"}
            numbers = {"classes improved": len(changes.improved), "classes worsened": len(changes.worsened)}
            found += tidy({name: np.array([count]) for name, count in numbers.items()}, **about)
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
    q = students.probabilities(X)
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
    return (
        table.groupby(by, sort=False)["value"].agg(value="mean", students="count", standard_error="sem").reset_index()
    )


def plot(found: pd.DataFrame) -> Figure:
    settings = list(dict.fromkeys(zip(found["data"], found["ratio"], strict=True)))
    figure, axes = figures.panels(len(SHOWN) + 1, len(settings), height=2.3, sharey="row")
    for column, (name, ratio) in enumerate(settings):
        here = found[(found["data"] == name) & (found["ratio"] == ratio)]
        frequencies = "classes alike" if ratio == 1 else f"classes 1 to 1/{ratio:g}"
        axes[0, column].set_title(f"{name}\n{frequencies}")
        for axis, (measure, label) in zip(
            axes[:, column], (*SHOWN.items(), ("kl", "KL on ambiguous rows")), strict=True
        ):
            rows = here[here["measure"] == measure]
            shown = list(dict.fromkeys(rows["part"])) if measure != "kl" else ["ambiguous"]
            for n, (method, colour) in enumerate(zip(METHODS, figures.colours(len(METHODS)), strict=True)):
                part = rows[rows["method"] == method].set_index("part").reindex(shown)
                at = np.arange(len(shown)) + 0.13 * (n - (len(METHODS) - 1) / 2)
                figures.simulation(axis, at, part["value"], part["standard_error"], color=colour, label=method)
            axis.set_xticks(range(len(shown)), shown, rotation=30, ha="right")
            if column == 0:
                axis.set_ylabel(label)
    figures.legend_below(figure, axes[0, 0], "bars: ± 1.96 standard errors over students")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    title = __doc__.splitlines()[0]
    more = {"students": table}
    figures.publish(run, plot(found), table=found, title=title, caption=caption(found, options), more=more, place=470)


def caption(found: pd.DataFrame, options: Options) -> str:
    def best(name: str, ratio: float, part: str, measure: str, *, most: bool) -> str:
        rows = found[
            (found["data"] == name)
            & (found["ratio"] == ratio)
            & (found["part"] == part)
            & (found["measure"] == measure)
        ].set_index("method")
        pick = rows["value"].idxmax() if most else rows["value"].idxmin()
        plain = rows.loc[PLAIN]
        return f"{pick} ({rows.loc[pick, 'value']:.3f} ± {1.96 * rows.loc[pick, 'standard_error']:.3f}, plain {plain['value']:.3f})"

    told = []
    for name, ratio in product(options.data, options.ratios):
        shift = "noise" if "noise" in found.loc[found["data"] == name, "part"].to_numpy() else "words lost"
        changed = found[(found["data"] == name) & (found["ratio"] == ratio) & (found["part"] == "class by class")]
        counts = changed.pivot_table(index="method", columns="measure", values="value").astype(int)
        classes = (
            ", ".join(f"{m} +{r['classes improved']} −{r['classes worsened']}" for m, r in counts.iterrows() if r.any())
            or "none"
        )
        told.append(
            f"{name}, classes {'alike' if ratio == 1 else f'down to 1/{ratio:g}'}: lowest ECE as trained {best(name, ratio, 'as trained', 'ece', most=False)}, "
            f"under {shift} {best(name, ratio, shift, 'ece', most=False)}; nearest on ambiguous rows "
            f"{best(name, ratio, 'ambiguous', 'kl', most=False)}; best at telling rows from elsewhere, AUROC "
            f"{best(name, ratio, 'elsewhere', 'ood_auroc', most=True)}; classes whose accuracy changed: {classes}"
        )
    return f"{options.students} students per method, distilled at T = 2 without labels. {'. '.join(told)}."
