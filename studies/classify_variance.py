"""How much of a teacher's doubt does a classifier keep, and how much moves between classifiers, under every method?

Several teachers, and students of each by each method of distillation, all with the same architecture and steps. Within a student:
its own Gini variance; between students of one teacher: the variance of their probabilities, unbiased; both as shares of the
teacher's Gini variance G_p on test rows. Methods that sample labels draw them anew for each student; all others differ by
initialisation, order and mixing alone. Intervals are over teachers and their students; test rows are fixed.
"""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

import pandas as pd
import pydantic
from matplotlib.figure import Figure

from uqkd.classify import METHODS, Distillation, Mixing, distill, weigh
from uqkd.estimators import decompose_categorical, gini, two_way_mean, uncertainty_shares, variance_half_widths
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, measured
from uqkd.run import AtLeastTwo, Run
from uqkd.testbeds.cells import data_label, task_of
from uqkd.testbeds.classification import cached_target_factory, cell_recipe, evaluate, network, task_cells
from uqkd.testbeds.options import TaskOptions
from uqkd.testbeds.teachers import alike, decided, side_by_side

SAMPLED = {"1 sampled label": 1, "4 sampled labels": 4, "16 sampled labels": 16, "4 labels and folds, by precision": 4}
KINDS = ("within one student", "between students", "sum")  # of shares of G_p
MIXED = {"labels, mixup": 0.0, "teacher, mixup": 1.0}  # weight of the teacher
SCORES = ("accuracy", "nll", "signed_gap", "ece", "nll_scaled")
PLAIN = "teacher"


class Options(TaskOptions):
    replicates: AtLeastTwo = 5  # independent teachers
    students: Annotated[int, pydantic.Field(ge=3)] = 4  # of each teacher and method
    steps: AtLeastTwo = 500


PRESETS = {
    "quick": Options(),
    "paper": Options(tasks=("digits", "intents:30", "intents:150"), replicates=10, students=10, steps=3_000),
    "full": Options(
        tasks=("digits", *(f"intents:{n}" for n in (6, 30, 77, 150))), replicates=20, students=10, steps=3_000
    ),
}


def cells(options: Options) -> list[dict]:
    return [
        {**task, **options.training, "replicate": replicate}
        for replicate, task in product(range(options.replicates), task_cells(options))
    ]


def measure(cell: dict) -> pd.DataFrame:
    """Of one teacher: students of every method, all but those of mixup in one pass, and what they keep and how they differ."""
    task, recipe, each = task_of(cell), cell_recipe(cell), cell["students"]
    of_teacher, of_students = cell["networks"]
    views = cached_target_factory(task, network=of_teacher, recipe=recipe, replicate=cell["replicate"])
    key = ("classify variance", task.fingerprint, cell["replicate"])
    targets = {method: views.targets(method) for method in METHODS}
    for method, count in SAMPLED.items():
        drawn = views.teacher.respond(task.X, count, students=each, key=(*key, method))
        how: Any = {"method": "precision", "second": views.folds.probabilities} if "folds" in method else {}
        targets[method] = weigh(drawn, **how, classes=len(task.classes))
    trained: dict[str, Any] = {
        "labels": task.labels, "factory": network(of_students, task), "recipe": recipe, "key": key,
    }  # fmt: skip
    students = distill(
        task.X, side_by_side(list(targets.values()), each), objective=Distillation(1.0, weight=1.0),
        seed_design=alike(each, len(targets)), **trained,
    )  # fmt: skip
    p, q, scores = (
        views.teacher.predict_proba(task.X_test),
        students.predict_proba(task.X_test),
        evaluate(students, task),
    )
    parts = {method: slice(m * each, (m + 1) * each) for m, method in enumerate(targets)}
    found = [described(method, q[own], p, {n: v[own] for n, v in scores.items()}) for method, own in parts.items()]
    for method, weight in (MIXED if cell["kind"] == "images" else {}).items():  # words have no average
        mixed = distill(
            task.X, views.teacher, objective=Distillation(1.0, weight=weight), seed_design=alike(each), mixing=Mixing(), **trained,
        )  # fmt: skip
        found.append(described(method, mixed.predict_proba(task.X_test), p, evaluate(mixed, task)))
    about = {"data": data_label(cell), "replicate": cell["replicate"], "teacher_gini": float(gini(p).mean())}
    return pd.DataFrame(found).melt(id_vars="method", var_name="measure").assign(**about)


def described(method: str, q: Any, p: Any, scores: dict[str, Any]) -> dict[str, Any]:
    """Of students (S, P, C) of one teacher (P, C): variance within and between them as shares of its own, and mean scores."""
    parts = decompose_categorical(q)
    found = dict(zip(KINDS, (value for value, _ in uncertainty_shares(parts, gini(p)).values()), strict=True))
    found["mutual information"] = two_way_mean(parts.per_student_information)[0]
    return {"method": method, **found, **{name: float(scores[name].mean()) for name in SCORES}}


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over teachers, and differences from plain distillation of the same teachers."""
    plain = table[table["method"] == PLAIN]
    joined = table.merge(
        plain[["data", "replicate", "measure", "value"]], on=["data", "replicate", "measure"], suffixes=("", "_plain")
    )
    joined["apart"] = joined["value"] - joined["value_plain"]
    grouped = joined.groupby(["data", "method", "measure"], sort=False)
    found = grouped.agg(
        value=("value", "mean"), standard_error=("value", "sem"), teachers=("value", "count"),
        teacher_gini=("teacher_gini", "mean"), difference=("apart", "mean"), difference_error=("apart", "sem"),
    ).reset_index()  # fmt: skip
    apart = decided(found.assign(standard_error=found["difference_error"]))
    return found.assign(difference_half_width=apart["half_width"], sign=apart["sign"])


def plot(table: pd.DataFrame) -> Figure:
    names = table["data"].unique()
    figure, axes = figures.panels(1, len(names), height=4.4, sharey=True)
    methods = [*METHODS, *SAMPLED, *MIXED]
    place = {method: -n for n, method in enumerate(methods)}
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["data"] == name]
        for measure, style, aside in zip(KINDS, figures.series_styles(3), (0.18, -0.18, 0.0), strict=True):
            part = rows[rows["measure"] == measure]
            at = part["method"].map(place) + aside
            reach = variance_half_widths(part["value"], part["standard_error"], part["teachers"])
            figures.intervals(axis, part["value"], at, xerr=reach, label=measure, **style)
        axis.axvline(1.0, color="0.4", linewidth=0.9)
        axis.set_xscale("log")
        axis.set_yticks(list(place.values()), [captions.method_name(method) for method in methods])
        axis.set(xlabel="share of the teacher's $G_p$", title=f"{name}, $G_p$ = {rows['teacher_gini'].iloc[0]:.3f}")
    figures.legend_below(figure, axes[0, 0], f"bars: {captions.BARS} over teachers and students")
    return figure


def main(options: Options, run: Run) -> None:
    table = run.cells(cells(options), measure)
    found = means(table)
    said: Any = {"caption": caption(found, options), "answer": answer(found)}
    figures.publish(run, plot(found), table=found, **said, more={"teachers": table}, group="classify", place=460)


TOLD = {
    "plain": PLAIN,
    "one": "1 sampled label",
    "many": "16 sampled labels",
    "bounded": "groups, entropy",
    "cud": "DUS + W-Clip",
}


def answer(found: pd.DataFrame) -> Answer | None:
    """What moves between students, and what they keep, under the methods that tell most."""
    names, rows = found["data"].unique(), found.set_index(["data", "method", "measure"])
    numbers: dict[str, Number | None] = {}
    for (n, name), (short, method) in product(enumerate(names), TOLD.items()):
        for kind, key in zip(KINDS[:2], ("within", "between"), strict=True):
            row: Any = rows.xs((name, method, kind))
            form = ".1f" if key == "within" else ".2f"
            few, part = int(row["teachers"]), (row["value"], row["standard_error"])
            numbers[f"{key}_{short}_{n}"] = measured.positive(*part, form, shows="limits", students=few)
            d, reach = row["difference"], row["difference_half_width"]
            numbers[f"{key}_{short}_less_plain_{n}"] = measured.within(d, d - reach, d + reach, "+.3f", shows="reach")

    def moves(short: str) -> str:
        sides = {measured.side(numbers[f"between_{short}_less_plain_{n}"]) for n in range(len(names))}
        words = {"above": "more", "below": "less", "open": "nothing that is told from it"}
        return (
            words[sides.pop()]
            if len(sides) == 1
            else "not everywhere more"
            if "above" in sides
            else "not everywhere less"
        )

    def listed(key: str) -> str:
        return ", ".join(f"{{{key}_{n}}} ({name})" for n, name in enumerate(names))

    doubt = {measured.side(numbers[f"within_plain_{n}"], 1.0) for n in range(len(names))}
    keeps = (
        "more than all of it"
        if doubt == {"above"}
        else "less than all"
        if doubt == {"below"}
        else "all, or not told from it"
    )
    sentence = (
        f"{keeps}: of the teacher's G_p plain distillation's students have {listed('within_plain')} within, and "
        f"{listed('between_plain')} between them; one sampled label moves {moves('one')}, {listed('between_one')}, the projection "
        f"with bounded entropy {moves('bounded')}, {listed('between_bounded')}"
    )
    return measured.stated(sentence, numbers)


def caption(found: pd.DataFrame, options: Options) -> str:
    def of(name: str, method: str, measure: str) -> str:
        rows = found[(found["data"] == name) & (found["method"] == method) & (found["measure"] == measure)]
        return captions.plus_minus(*rows[["value", "standard_error"]].iloc[0], variance_of=options.replicates)

    told = []
    for name in found["data"].unique():
        between = found[(found["data"] == name) & (found["measure"] == "between students")]
        most, least = (between.loc[getattr(between["value"], pick)(), "method"] for pick in ("idxmax", "idxmin"))
        kept = ", ".join(
            f"{of(name, m, 'within one student')} and {of(name, m, 'between students')} ({m})"
            for m in ("teacher", "1 sampled label", "16 sampled labels")
        )
        told.append(f"{name}: within and between {kept}; most between students of '{most}', least of '{least}'")
    return (
        f"Shares of the teacher's Gini variance on test rows, {options.replicates} teachers, {options.students} students of each "
        f"per method, ± {captions.INTERVALS} over teachers and students. {'; '.join(told)}."
    )
