"""How much of a teacher's doubt does one language-model student keep, and how much moves between students?

A small Llama that knows a world of questions is sampled k times for each student and prompt; students are trained on all k
responses with weight 1/k each ("multi"), or on the one nearest the mean embedding ("medoid", the published averaging of
texts). Answers of this world can be listed, so that every student's answer distribution is computed, not sampled: intra-
and inter-student variance have no sampling noise. A student that memorises k responses keeps 1 − 1/k of the teacher's
Gini variance G_p, and 1/k moves between students (T4); the two add up to G_p wherever students are unbiased. One that
memorises the medoid keeps nothing, and what moves between students is the Gini variance of the medoid's law (T5): less than
G_p. Both are exact for the responses themselves, which are judged; transformers need not memorise, and are drawn beside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import block_diag

from uqkd.estimators import (
    comparison,
    decompose_categorical,
    entropy,
    gini,
    kl_divergence,
    two_way_mean,
    uncertainty_shares,
)
from uqkd.llm import Prompts, SeedDesign, Testbed, answer_classes, answer_shares, embed, weigh
from uqkd.llm import Responses as Drawn
from uqkd.llm.synthetic.exact import ROUNDING
from uqkd.llm.synthetic.questions import UNCERTAIN, of_relation, uncertain_prompts
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, elsewhere, measured
from uqkd.report.shares import SHARES, memorised_lines, share_points
from uqkd.run import PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions
from uqkd.theory.statements.medoid import compare_medoids, medoid_distribution
from uqkd.theory.statements.memorising import compare_memorised

Array = NDArray[np.float64]

ASKED = (("crowd", "multi"), ("each", "multi"), ("each", "medoid"))
ALMOST_NONE = 0.1  # share of G_p
LARGEST_SHARE_OUTSIDE = 0.2  # students that put less outside the valid answers know what they are asked


class Options(EmbeddedOptions):
    per_student: PositiveInt = 16  # responses set aside for each student: the largest k
    multi: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16)
    medoid: tuple[PositiveInt, ...] = (4, 16)  # k = 1 and 2 change nothing (T5)
    steps: PositiveInt = 300
    crowd: tuple[PositiveInt, ...] = (12, 25, 50, 100, 200)  # steps, of one response to each of many like prompts


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=32, per_student=32, multi=(1, 2, 4, 8, 16, 32), medoid=(2, 4, 8, 16, 32),
                     steps=1_500, batch=128, crowd=(25, 50, 100, 200, 500, 1_500)),
    "full": Options(groups=16, entities=16, students=64, per_student=64, multi=(1, 2, 3, 4, 8, 16, 32, 64),
                    medoid=(2, 4, 8, 16, 32), steps=3_000, batch=128, crowd=(25, 50, 100, 200, 500, 1_500, 3_000)),
}  # fmt: skip


def cells(options: Options, folder: str = "", fingerprint: str = "", of_crowd: str = "") -> list[dict]:
    trained = [("multi", k) for k in options.multi] + [("medoid", k) for k in options.medoid]
    shared = {"data": folder, **options.only("students", "batch", "lr")}
    each = {"data_fingerprint": fingerprint, "asked": "each", **options.only("steps", "per_student")}
    crowd = {"data_fingerprint": of_crowd, "asked": "crowd", "method": "multi", "k": 1, "per_student": 1}
    found = [{**shared, **each, "method": method, "k": k} for method, k in trained]
    return found + [{**shared, **crowd, "steps": steps} for steps in options.crowd]


def measure(cell: dict) -> pd.DataFrame:
    testbed, k, each = Testbed.at(cell["data"]), cell["k"], cell["asked"] == "each"
    training, unseen = prompts_of(testbed) if each else (crowd_of(testbed), None)
    drawn = testbed.bank().responses(training, students=cell["students"], k=k, per_student=cell["per_student"])
    targets = weigh(drawn, cell["method"])
    key = ("llm student output", cell["asked"], cell["method"], k, cell["steps"])
    students = testbed.distill(targets, cell, seed_design=SeedDesign.independent(cell["students"]), key=key)
    rows = []
    for where, prompts in (("training", training), ("unseen entities", unseen)):
        if prompts is None:
            continue
        q, p = students.predict_proba(prompts), testbed.predict_proba(prompts)
        for relation in UNCERTAIN if each else ["food"]:
            own = of_relation(prompts, relation)
            about = {"student": "transformer", "prompts": where, "relation": relation}
            expected = memorised(cell, prompts, p, own) if where == "training" and each else {}
            rows += [
                {**about, **comparison("", name, expected.get(name, np.nan), *pair)}
                for name, pair in of_students(q[:, own], p[own]).items()
            ]
    if each:
        p, labels = testbed.predict_proba(training), answer_shares(targets, testbed.encoder)
        if cell["method"] == "medoid":
            judged = of_medoids(labels, answer_classes(drawn, testbed.encoder), p, drawn)
        else:
            judged = compare_memorised(labels, p, k)
        rows += [{"student": "the responses", "prompts": "training", "relation": "all", **row} for row in judged]
    about = {name: cell[name] for name in ("asked", "method", "k", "steps", "students")}
    return pd.DataFrame([{**about, **row} for row in rows])


def prompts_of(testbed: Testbed) -> tuple[Prompts, Prompts]:
    """Questions of every other entity for training, and those of the others, all in the first phrasing."""
    return uncertain_prompts(testbed.world, first=0), uncertain_prompts(testbed.world, first=1)


def crowd_of(testbed: Testbed) -> Prompts:
    """Every question whose answers a group shares, in every phrasing: members × phrasings prompts have one law."""
    ways = range(testbed.world.phrasings)
    return uncertain_prompts(testbed.world, every=1, phrasings=ways, relations=["food"])


def memorised(cell: dict, prompts: Prompts, p: Array, own: NDArray[np.bool_]) -> dict[str, float]:
    """Of students that memorise, as shares of G_p: T4, and of the medoid T5."""
    if cell["method"] == "multi":
        return {"intra": 1.0 - 1.0 / cell["k"], "inter": 1.0 / cell["k"], "total": 1.0}
    laws = np.array([of_answers(p[i], prompts.answers[i], cell["k"]) for i in np.flatnonzero(own)])
    kept = float(gini(laws).sum() / gini(p[own]).sum())
    return {"intra": 0.0, "inter": kept, "total": kept}


def of_answers(p: Array, answers: tuple[str, ...], k: int) -> Array:
    """T5: law of the medoid of k answers, (C + 1,); all that is no valid answer counts as one text unlike the others."""
    c = len(answers)
    vectors = block_diag(embed(answers), np.ones((1, 1)))
    law = medoid_distribution(np.append(p[:c], p[-1]), k, vectors)
    return np.concatenate([law[:c], np.zeros(len(p) - c - 1), law[c:]])


def of_medoids(labels: Array, classes: NDArray[np.int64], p: Array, drawn: Drawn) -> list[dict]:
    return [compare_medoids(labels, classes, p, [embed(answers) for answers in drawn.prompts.answers])]


def of_students(q: Array, p: Array) -> dict[str, tuple[float, float]]:
    """What students (S, P, C) made of the teacher's distributions (P, C), each number with its standard error."""
    parts, spread = decompose_categorical(q), gini(p)
    return {
        **uncertainty_shares(parts, spread),
        "expected entropy": two_way_mean(entropy(q)),
        "mutual information": two_way_mean(parts.per_student_information),
        "KL(teacher‖student)": two_way_mean(kl_divergence(p, q, least=ROUNDING)),
        "outside the valid answers": two_way_mean(q[..., -1]),
        "the same of the teacher": (float(p[:, -1].mean()), 0.0),
        "entropy of the teacher": (float(entropy(p).mean()), 0.0),
    }


def plot(table: pd.DataFrame) -> Figure:
    rows = table[(table["student"] == "transformer") & (table["prompts"] == "training")]
    each, crowd = rows[rows["asked"] == "each"], rows[rows["asked"] == "crowd"]
    figure, axes = figures.panels(2, 3, height=2.45)
    for line, (relation, meaning) in zip(axes, UNCERTAIN.items(), strict=True):
        own = each[each["relation"] == relation]
        multi = own[own["method"] == "multi"]
        memorised_lines(line[0], multi["k"].min(), multi["k"].max())
        _points(line[0], multi)
        line[0].set(title="multi", xlabel="responses per prompt, k")
        line[0].set_ylabel(f"questions with {meaning}:\nshare of $G_p$")
        _medoids(line[1], own[(own["method"] == "medoid") | (own["k"] == 1)])
        line[1].set(title="medoid", xlabel="responses per prompt, k")
        for axis in line[:2]:
            axis.set_ylim(-0.05, 1.3)
    for quantity, colour in zip(SHARES, figures.colours(3), strict=True):
        _steps(axes[0, 2], crowd[crowd["quantity"] == quantity], colour)
    axes[0, 2].set(title="one response to each\nof many like prompts", ylim=(-0.05, 1.3))
    _steps(axes[1, 2], crowd[crowd["quantity"] == "outside the valid answers"], "0.3")
    axes[1, 2].set(title="the same students", ylabel="mass on invalid answers", ylim=(-0.05, 1.0))
    note = f"lines: T4 and T5 (medoid), for students that memorise; points: transformers {captions.BARS}"
    figures.legend_below(figure, axes[0, 0], note, columns=3)
    return figure


def _medoids(axis: Axes, rows: pd.DataFrame) -> None:
    """Of one or two responses the medoid has the law of any response (T5): students of one are those of "multi"."""
    kept = rows[(rows["quantity"] == "inter") & (rows["method"] == "medoid")].sort_values("k")
    shown = rows[(rows["method"] == "medoid") | (rows["k"] == 1)]
    ks = [1, 2, *(k for k in kept["k"] if k > 2)]
    values = [1.0, 1.0, *(kept.loc[kept["k"] > 2, "predicted"])]
    within, between, _ = figures.colours(3)
    figures.theory(axis, ks, [0.0] * len(ks), color=within)
    figures.theory(axis, ks, values, color=between)
    _points(axis, shown[shown["quantity"] != "total"])  # the sum is what moves between students: drawn once


def _points(axis: Axes, rows: pd.DataFrame) -> None:
    share_points(axis, rows, sort=True)
    figures.k_axis(axis, tuple(sorted(rows["k"].unique())))


def _steps(axis: Axes, rows: pd.DataFrame, colour: Any) -> None:
    rows = rows.sort_values("steps")
    figures.points(axis, rows, "steps", color=colour)
    figures.k_axis(axis, tuple(sorted(rows["steps"].unique())))
    axis.set_xlabel("optimiser steps")


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    (training, _), how = prompts_of(testbed), options.only("students", "backend")
    fingerprint = testbed.draw(training, per_student=options.per_student, **how)
    of_crowd = testbed.draw(crowd_of(testbed), per_student=1, **how)
    table = run.cells(cells(options, str(testbed.folder), fingerprint, of_crowd), measure)
    said: Any = {"caption": caption(table, len(training)), "answer": answer(table)}
    figures.publish(run, plot(table), table=table, **said, group="llm", place=200)


def answer(table: pd.DataFrame) -> Answer | None:
    """What students keep and what moves between them, as shares of G_p, both kinds of questions together."""
    rows = elsewhere.rows_of(table, student="transformer", prompts="training")
    crowd, multi, medoid = (rows[(rows["asked"] == a) & (rows["method"] == m)] for a, m in ASKED)
    invalid = elsewhere.rows_of(crowd, quantity="outside the valid answers").set_index("steps")["simulated"]
    able, k, chosen = invalid.index[invalid < LARGEST_SHARE_OUTSIDE], multi["k"].max(), medoid["k"].max()
    numbers = elsewhere.counts(k=k, chosen=chosen)
    parts = {"one": multi[multi["k"] == 1], "many": multi[multi["k"] == k], "medoid": medoid[medoid["k"] == chosen]}
    parts |= {"early": crowd[crowd["steps"] == able.min()], "late": crowd[crowd["steps"] == able.max()]}
    for name, part in parts.items():
        of = {quantity: elsewhere.rows_of(part, quantity=quantity) for quantity in SHARES}
        numbers |= {f"{name}_{quantity}": elsewhere.estimate(own) for quantity, own in of.items()}
    found = "almost none" if measured.side(numbers["one_intra"], ALMOST_NONE) == "below" else "part"
    numbers["rate"] = measured.changed(
        numbers["many_inter"], lambda share: share * k, ".2f"
    )  # 1 of students that memorise
    unbiased = "unbiased" if measured.side(numbers["many_total"], 1.0) == "open" else "biased"
    sentence = (
        f"{found} of one response per prompt once it is memorised ({{one_intra}} of G_p; {{one_inter}} moves between students), "
        f"{{many_intra}} of {{k}} ({unbiased}, κ = {{many_total}}); trained on the medoid of {{chosen}} it keeps {{medoid_intra}}, "
        "and {medoid_inter} moves; of one response to each of many like prompts {early_intra} while it generalises, "
        "{late_intra} when it has memorised them"
    )
    return measured.stated(sentence, numbers)


def caption(table: pd.DataFrame, prompts: int) -> str:
    return f"{table['students'].iloc[0]} students per point, {prompts} prompts, one seed per response of the teacher."
