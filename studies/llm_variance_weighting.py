"""Which weighting of sampled responses brings a language-model student nearest to its teacher?

Students train on k responses with weight 1/k each ("multi"; at k = 1 "single"), on the one nearest the mean embedding ("medoid",
the published averaging of texts), on the one nearest an inverse-variance weighted centre of the teacher's and an undistilled
student's responses ("reranked", the published variance weighting), or on the teacher's responses together with those of students
that were trained on the same k responses to other prompts, weighted by estimated errors ("precision"). All spend k responses of
the teacher; "multi" with 2k is the rival that spends more. Distances to the teacher are computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd.estimators import comparison, decompose_categorical, gini, kl_divergence, share_of
from uqkd.estimators.comparing.theory_rows import FEWEST
from uqkd.llm import Sampling, SeedDesign, Students, Testbed, answer_shares, cross_fitted, distill, weigh
from uqkd.llm.synthetic.exact import ROUNDING
from uqkd.llm.synthetic.questions import UNCERTAIN, uncertain_prompts
from uqkd.llm.synthetic.testbed import MAX_TOKENS
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, elsewhere, measured
from uqkd.run import PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions
from uqkd.testbeds.tables import square

Array = NDArray[np.float64]

METHODS = ("multi", "medoid", "reranked", "precision")
SAYS = ("is not seen to help", "helps at one of them", "helps")  # at no k, one, or both
DOUBLE = "multi, 2k"  # the same k in the table, twice the responses
DIFFERENCE = "distance, less that of multi"


class Options(EmbeddedOptions):
    per_student: PositiveInt = 16  # responses set aside for each student: the largest k
    ks: tuple[PositiveInt, ...] = (4, 16)
    answers: PositiveInt = 4  # of the cross-fitted student: cheap to draw, but every different one is a row to learn
    pooled: bool = False  # "precision" at k = 1 too, its errors estimated from all students' responses together
    steps: PositiveInt = 200


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=32, ks=(1, 2, 4, 8, 16), answers=8, pooled=True, steps=2_000, batch=128),
    "full": Options(groups=16, entities=16, students=64, per_student=32, ks=(1, 2, 4, 8, 16, 32), answers=8, pooled=True,
                    steps=4_000, batch=128),
}  # fmt: skip


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    """Only where methods differ: one response is its own medoid, and of two the first is (T5)."""
    twice = [2 * k for k in options.ks if 2 * k <= options.per_student]
    work = [("multi", k) for k in dict.fromkeys([*options.ks, *twice])]
    work += [("medoid", k) for k in options.ks if k > 2] + [("reranked", k) for k in options.ks if k > 1]
    work += [("precision", k) for k in options.ks if k > 1 or options.pooled]
    shared = options.only("students", "per_student", "answers", "steps", "batch", "lr")
    about = {"data": folder, "data_fingerprint": fingerprint, **shared}
    return [{**about, "method": method, "k": k} for method, k in work]


def measure(cell: dict) -> pd.DataFrame:
    """One row for each student and prompt, of the weighted responses and of the students trained on them."""
    testbed, students, k = Testbed.at(cell["data"]), cell["students"], cell["k"]
    prompts, key = uncertain_prompts(testbed.world), ("llm variance weighting", cell["method"], k)
    recipe = testbed.student_recipe(steps=cell["steps"], batch=cell["batch"], lr=cell["lr"])
    seed_design = SeedDesign.independent(students)
    how: dict[str, Any] = {"encoder": testbed.encoder, "recipe": recipe, "seed_design": seed_design}
    drawn = testbed.bank().responses(prompts, students=students, k=k, per_student=cell["per_student"])
    targets = weighed(testbed, drawn, cell, how, key)
    labels = answer_shares(targets, testbed.encoder)
    q = distill(targets, student=testbed.student_config(), key=key, **how).predict_proba(prompts)
    p, truth = testbed.predict_proba(prompts), testbed.world.truth(prompts)
    parts = [of_answers(labels, p, truth).assign(of="responses"), of_answers(q, p, truth, labels).assign(of="students")]
    table = pd.concat(parts, ignore_index=True)
    alpha = np.asarray(targets.notes.get("alpha", np.full(drawn.shape[:2], np.nan)), dtype=np.float64)
    relation = np.array([name.partition("/")[0] for name in prompts.ids])
    table["relation"], table["alpha"] = relation[table["prompt"]], alpha[table["student"], table["prompt"]]
    return table.assign(method=cell["method"], k=k, learnt=targets.distinct_per_prompt)


def weighed(testbed: Testbed, drawn: Any, cell: dict, how: dict[str, Any], key: tuple) -> Any:
    """Targets, with the second source that a method needs; the undistilled student answers as often as the teacher."""
    k, method, sampling = drawn.shape[2], cell["method"], Sampling(max_tokens=MAX_TOKENS)
    if method == "reranked":
        base = Students.untrained(testbed.base, encoder=testbed.encoder)
        return weigh(drawn, method, second=base.predict(drawn.prompts, k, sampling=sampling, key=(*key, "undistilled")))
    if method == "precision":
        half = replace(how["recipe"], steps=max(1, cell["steps"] // 2))  # of half the prompts: each is seen as often
        again = {**how, "recipe": half, "answers": cell["answers"], "sampling": sampling, "key": (*key, "cross")}
        second, fold = cross_fitted(drawn, student=testbed.student_config(), **again)
        estimates = "own" if k > 1 else "pooled"
        return weigh(drawn, method, second=second, fold=fold, embedding="exact", estimates=estimates)
    return weigh(drawn, method)


def of_answers(q: Array, p: Array, truth: Array, labels: Array | None = None) -> pd.DataFrame:
    """What each student (S, P, C) answers to each prompt, held against the teacher, the truth and its own targets."""
    parts, unknown = decompose_categorical(q), np.full(q.shape[:2], np.nan)
    columns = {
        "gini": np.broadcast_to(gini(p), q.shape[:2]),
        "top": np.broadcast_to(p.max(axis=-1), q.shape[:2]),
        "distance": ((q - p) ** 2).sum(axis=-1),
        "inter": parts.per_student_inter,
        "intra": parts.per_student_intra,
        "distance to the truth": ((q - truth) ** 2).sum(axis=-1),
        "outside the valid answers": q[..., -1],
        "distance to its targets": unknown if labels is None else ((q - labels) ** 2).sum(axis=-1),
        "KL(teacher‖student)": unknown if labels is None else kl_divergence(p, q, least=ROUNDING),
    }
    columns |= dict(zip(("student", "prompt"), np.indices(q.shape[:2]), strict=True))
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def summary(units: pd.DataFrame) -> pd.DataFrame:
    """Averages over students and prompts as shares of G_p, and what each method differs in from multi, pair by pair."""
    groups: dict[Any, pd.DataFrame] = dict(iter(units.groupby(["of", "relation", "method", "k"], sort=False)))
    rows = []
    for (of, relation, method, k), part in groups.items():
        about = {"of": of, "relation": relation, "method": method, "k": k, "alpha": part["alpha"].mean()}
        size = {"students": part["student"].nunique(), "prompts": part["prompt"].nunique()}
        about |= {**size, "learnt": part["learnt"].iloc[0]}
        rows += [{**about, **row} for row in of_method(part, judged=of == "responses" and method == "multi", k=k)]
        plain, double = (groups.get((of, relation, "multi", n)) for n in (k, 2 * k))
        rivals = {method: (part, plain)} if method != "multi" else {DOUBLE: (double, part)}
        for name, (one, other) in rivals.items():
            if one is not None and other is not None:
                less = square(one, "distance") - square(other, "distance")
                row = comparison("", DIFFERENCE, float("nan"), *share_of(less, square(other, "gini")[0]))
                rows.append({**about, "method": name, **row})
    return pd.DataFrame(rows)


def of_method(part: pd.DataFrame, *, judged: bool, k: int) -> list[dict]:
    """Of one method at one k; T4 is exact for the responses themselves, what a student that memorises would answer."""
    spread, one = square(part, "gini")[0], np.ones(part["prompt"].nunique())
    distance, inter, intra = (square(part, name) for name in ("distance", "inter", "intra"))
    found = {
        "distance": share_of(distance, spread),
        "bias²": share_of(distance - inter, spread),
        "inter": share_of(inter, spread),
        "intra": share_of(intra, spread),
        "κ": share_of(intra + inter, spread),
        "distance to the truth": share_of(square(part, "distance to the truth"), spread),
        "outside the valid answers": share_of(square(part, "outside the valid answers"), one),
    }
    if not part["KL(teacher‖student)"].isna().any():
        found["distance to its targets"] = share_of(square(part, "distance to its targets"), spread)
        found["KL(teacher‖student)"] = share_of(square(part, "KL(teacher‖student)"), one)
    enough = (
        k * float((1.0 - square(part, "top")).sum()) >= FEWEST
    )  # of fewer unlikely answers the error says too little
    expected = {"distance": 1.0 / k, "inter": 1.0 / k, "intra": 1.0 - 1.0 / k} if judged else {}
    return [
        comparison("T4" if enough and name in expected else "", name, expected.get(name, float("nan")), *pair)
        for name, pair in found.items()
    ]


PANELS = (
    ("responses", "distance", "weighted responses: distance"),
    ("students", "distance", "students: distance"),
    ("students", "bias²", "students: bias²"),
)


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 3, height=2.4)
    ks = tuple(sorted(table["k"].unique()))
    dense = np.geomspace(ks[0], 1.3 * ks[-1], 50)
    for line, (relation, meaning) in zip(axes, UNCERTAIN.items(), strict=True):
        for axis, (of, quantity, title) in zip(line, PANELS, strict=True):
            part = table[(table["of"] == of) & (table["relation"] == relation) & (table["quantity"] == quantity)]
            for i, (method, colour) in enumerate(zip(METHODS, figures.colours(4), strict=True)):
                own = part[part["method"] == method].sort_values("k")
                x = own["k"] * 1.07**i  # side by side: multi at its k, on the line
                apart = {"students": "students"} if quantity == "bias²" else {}  # a difference, which may be below zero
                figures.points(axis, own, x, color=colour, label=method, **apart)
            figures.k_axis(axis, ks)
            axis.set_title(title)
            if quantity == "distance":
                figures.theory(axis, dense, 1.0 / dense, color="0.4", linewidth=1, zorder=1)
                axis.set(yscale="log", ylim=(0.03, 2.0))
                figures.ticks(axis, "y", [0.03, 0.1, 0.3, 1.0])
            else:
                axis.axhline(0.0, color="0.4", linewidth=1, zorder=1)
        line[0].set_ylabel(f"{meaning}:\nshare of $G_p$")
    figures.outer_labels(axes, x="responses per prompt, k")
    note = f"points {captions.BARS}, exact answer distributions; line: 1/k, of k responses (T4)"
    figures.legend_below(figure, axes[0, 0], note, columns=4)
    return figure


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    prompts = uncertain_prompts(testbed.world)
    fingerprint = testbed.draw(prompts, **options.only("students", "per_student", "backend"))
    table = summary(run.cells(cells(options, str(testbed.folder), fingerprint), measure))
    figures.publish(run, plot(table), table=table, caption=caption(table), answer=answer(table), group="llm", place=230)


def answer(table: pd.DataFrame) -> Answer | None:
    """Distance of students to the teacher, both kinds of questions together, and what rivals of 1/k differ in."""
    students = elsewhere.rows_of(table, of="students")
    ks = students.loc[(students["quantity"] == DIFFERENCE) & (students["method"] != DOUBLE), "k"]
    numbers: dict[str, Number | None] = {}
    for end, k in {"low": ks.min(), "high": ks.max()}.items():
        numbers |= elsewhere.counts(**{end: k})
        for method in (*METHODS, DOUBLE):
            rows, name = elsewhere.rows_of(students, method=method, k=k), method.replace(", 2k", "_double")
            less, found = (rows[rows["quantity"] == quantity] for quantity in (DIFFERENCE, "distance"))
            numbers[f"{name}_less_{end}"] = elsewhere.estimate(less, "+.2f", positive=False)
            numbers[f"{name}_{end}"] = elsewhere.estimate(found)
    side = {name: measured.side(number) for name, number in numbers.items()}
    nearer = [method for method in METHODS[1:] if "below" in (side[f"{method}_less_low"], side[f"{method}_less_high"])]
    helps = SAYS[[side[f"precision_less_{end}"] for end in ("low", "high")].count("below")]
    sentence = (
        f"{' and '.join(nearer) or 'none'} comes nearer than weight 1/k on all responses, at squared distance {{multi_low}} and "
        "{multi_high} of G_p (k = {low} and {high}); picking one leaves {medoid_high} (medoid) or {reranked_high} (inverse "
        f"variance) at k = {{high}}; blending in cross-fitted students {helps} ({{precision_less_low}}, {{precision_less_high}}); "
        "twice {low} responses change it by {multi_double_less_low}"
    )
    return measured.stated(sentence, numbers)


def caption(table: pd.DataFrame) -> str:
    count, text = int(table["students"].iloc[0]), ""
    for (relation, k), own in elsewhere.rows_of(table, of="students", quantity=DIFFERENCE).groupby(["relation", "k"]):
        pairs = own[["method", "simulated", "standard_error"]].itertuples(index=False)
        found = ", ".join(f"{method} {captions.verdict(*pair, students=count)}" for method, *pair in pairs)
        text += f"{'; ' if text else ''}{UNCERTAIN[str(relation)]}, k = {k}: {found}"
    return (
        f"{count} students per point, {table['prompts'].iloc[0]} prompts of each kind, as many optimiser steps for all. Squared "
        f'distance, as a share of G_p, less that of multi ("{DOUBLE}": multi of twice the responses): {text}.'
    )
