"""What does each part of CUD bring a student, when plain distillation is tuned as well?

Every method gets the same grid of temperature and loss weight, and each picks its best by the likelihood of held-out rows. The published
parts (shaping the teacher, clipping wrong mass, both), temperature scaling and label smoothing as baselines, and the exact
projections that the paper states and does not solve. How many rows clipping changes at all is counted beside.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd import data, figures
from uqkd.classify import (
    METHODS,
    Distillation,
    Recipe,
    Sources,
    by_name,
    distill,
    known_views,
    performance,
    tidy,
)
from uqkd.estimators import negative_log_likelihood
from uqkd.run import Options as Base
from uqkd.run import Replicates, Run, Share

Network = tuple[str, str]


class Options(Base):
    data: tuple[str, ...] = ("digits", "intents:30")
    networks: tuple[Network, ...] = (
        ("convolutional:16", "perceptron:64"),
        ("bag:64", "bag:32"),
    )  # teacher, student of each
    rates: tuple[float, ...] = (3e-3, 1e-2)  # learning rate for each
    tokenizer: str | None = None
    length: int = 128
    methods: tuple[str, ...] = tuple(method for method in METHODS if not method.startswith("out of fold"))
    temperatures: tuple[Annotated[float, pydantic.Field(gt=0)], ...] = (1.0, 2.0, 4.0)
    weights: tuple[Share, ...] = (0.8, 1.0)
    students: Replicates = 5
    steps: Replicates = 400
    batch: Replicates = 32


BERT, SMALL = "google-bert/bert-base-uncased", "google/bert_uncased_L-4_H-256_A-4"  # 12L-768D and 4L-256D, as published

PRESETS = {
    "quick": Options(),
    "paper": Options(
        data=("banking77", "clinc150", "massive", "trec", "ag_news"), networks=((BERT, SMALL),) * 5, rates=(5e-5,) * 5,
        tokenizer=BERT, students=5, steps=9_000,
    ),
    "full": Options(data=("digits", "intents:30", "intents:150"), networks=(
        ("convolutional:16", "perceptron:64"), ("bag:64", "bag:32"), ("bag:64", "bag:32")), rates=(3e-3, 1e-2, 1e-2),
        temperatures=(1.0, 2.0, 4.0, 8.0), weights=(0.5, 0.8, 1.0), students=40, steps=3_000,
    ),
}  # fmt: skip


def cells(options: Options) -> list[dict]:
    how = {name: getattr(options, name) for name in ("students", "steps", "batch")}
    reading = {} if options.tokenizer is None else {"tokenizer": options.tokenizer, "length": options.length}
    return [
        {
            **data.cell_task(name, **reading),
            **how,
            "networks": networks,
            "lr": lr,
            "method": method,
            "temperature": t,
            "weight": w,
        }
        for name, networks, lr in zip(options.data, options.networks, options.rates, strict=True)
        for method in options.methods
        for t, w in product(options.temperatures, options.weights)
    ]


def measure(cell: dict) -> pd.DataFrame:
    task, (of_teacher, of_students) = data.of_cell_task(cell), cell["networks"]
    recipe = Recipe(
        steps=cell["steps"], batch=cell["batch"], lr=cell["lr"], optimiser="adamw", weight_decay=0.01, clip_norm=1.0,
        schedule="cosine", warmup=cell["steps"] // 10,
    )  # fmt: skip
    how = {"classes": len(task.classes), "pad": task.pad, "vocabulary": task.vocabulary}
    views = known_views(task.X, task.labels, fingerprint=task.fingerprint, network=of_teacher, recipe=recipe, **how)
    students = distill(
        task.X, views.targets(cell["method"]), labels=task.labels, factory=by_name(of_students, row=task.X.shape[1:], **how),
        objective=Distillation(cell["temperature"], cell["weight"]), recipe=recipe, sources=Sources.independent(cell["students"]),
        key=("classify cud", *(str(cell[name]) for name in sorted(cell))),
    )  # fmt: skip
    about = {name: cell[name] for name in ("data", "method", "temperature", "weight")}
    about |= {"fired": views.firing_rate(cell["method"]), "teacher_accuracy": training_accuracy(views)}
    test, held = (task.X_test, task.labels_test), (task.X_held, task.labels_held)
    numbers = performance(students, *test, held=held)
    numbers["nll_held"] = np.asarray(negative_log_likelihood(students.probabilities(task.X_held), task.labels_held))
    return pd.DataFrame(
        tidy(numbers, **about, who="student")
        + tidy(performance(views.teacher, *test, held=held), **about, who="teacher")
    )


def training_accuracy(views) -> float:
    return float((views.probabilities.argmax(axis=1) == views.labels).mean())


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """Of each method the temperature and weight with the best held-out likelihood, mean over students."""
    held = table[(table["measure"] == "nll_held") & (table["who"] == "student")]
    score = held.groupby(["data", "method", "temperature", "weight"], sort=False)["value"].mean().reset_index()
    best = score.loc[score.groupby(["data", "method"], sort=False)["value"].idxmin()]
    return table.merge(
        best[["data", "method", "temperature", "weight"]], on=["data", "method", "temperature", "weight"]
    )


def means(best: pd.DataFrame) -> pd.DataFrame:
    by = ["data", "method", "temperature", "weight", "fired", "teacher_accuracy", "measure"]
    of_students = best[best["who"] == "student"].groupby(by, sort=False)["value"]
    found = of_students.agg(value="mean", students="count", standard_error="sem").reset_index()
    of_teacher = best[best["who"] == "teacher"].groupby(by, sort=False)["value"].first().rename("of_teacher")
    found = found.merge(of_teacher.reset_index(), on=by, how="left")
    plain = found[found["method"] == "teacher"].set_index(["data", "measure"])[["value", "standard_error"]]
    reference = plain.reindex(pd.MultiIndex.from_frame(found[["data", "measure"]]))
    found["difference"] = found["value"] - reference["value"].to_numpy()
    found["difference_se"] = np.hypot(found["standard_error"], reference["standard_error"].to_numpy())
    found.loc[found["method"] == "teacher", ["difference", "difference_se"]] = 0.0
    return found


SHOWN = {"accuracy": "accuracy", "nll": "NLL", "nll_scaled": "NLL, own temperature", "ece": "ECE"}


def plot(found: pd.DataFrame) -> Figure:
    names, methods = found["data"].unique(), list(found["method"].unique())
    figure, axes = figures.panels(len(names), len(SHOWN), height=2.6, sharey="row")
    place = {method: -n for n, method in enumerate(methods)}
    for line, name in zip(axes, names, strict=True):
        for axis, (measure, label) in zip(line, SHOWN.items(), strict=True):
            rows = found[(found["data"] == name) & (found["measure"] == measure)]
            axis.errorbar(
                rows["value"], rows["method"].map(place), xerr=1.96 * rows["standard_error"], fmt="o", ms=3.5, mfc="white",
                capsize=2, color=figures.colours(1)[0],
            )  # fmt: skip
            plain = rows[rows["method"] == "teacher"].iloc[0]
            axis.axvline(plain["value"], color="0.5", linewidth=0.8)
            axis.set_title(f"{name}: {label}" if measure == "accuracy" else label)
            axis.tick_params(axis="x", labelrotation=30)
        fired = found[found["data"] == name].drop_duplicates("method")
        labels = [f"{r.method} ({r.fired:.0%})" if r.method in CLIPPED else r.method for r in fired.itertuples()]
        line[0].set_yticks([place[method] for method in fired["method"]], labels)
    return figure


CLIPPED = ("W-Clip", "DUS + W-Clip", "label first, L2", "label first, KL", "groups", "groups, entropy")


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(chosen(table))
    title = __doc__.splitlines()[0]
    more = {"grid": table}
    figures.publish(run, plot(found), table=found, title=title, caption=caption(found, options), more=more, place=410)


def caption(found: pd.DataFrame, options: Options) -> str:
    told = []
    for name in options.data:
        rows = found[found["data"] == name]
        clip = rows[rows["method"] == "W-Clip"].iloc[0]
        parts = []
        for measure, label in (("accuracy", "accuracy"), ("nll_scaled", "NLL at its own temperature")):
            part = rows[(rows["measure"] == measure) & (rows["method"] != "teacher")]
            sign = 1 if measure == "accuracy" else -1
            better = part[sign * part["difference"] > 1.96 * part["difference_se"]]["method"].tolist()
            worse = part[sign * part["difference"] < -1.96 * part["difference_se"]]["method"].tolist()
            parts.append(f"{label} better: {', '.join(better) or 'none'}; worse: {', '.join(worse) or 'none'}")
        told.append(
            f"{name}: the teacher is right on {clip['teacher_accuracy']:.1%} of its training rows, W-Clip changes {clip['fired']:.1%} of "
            f"them. Against plain distillation beyond 1.96 standard errors, {'. '.join(parts)}"
        )
    return (
        f"{options.students} students per setting; temperature and weight chosen from {len(options.temperatures) * len(options.weights)} by "
        f"held-out likelihood, for every method. In brackets: rows that a repair changes. {'. '.join(told)}."
    )
