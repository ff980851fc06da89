"""Do estimates from sampled answers find what enumeration knows?

Students answer R times to each prompt, in many independent blocks, and every measure is estimated from each block alone, as
one must where answers cannot be listed. Here they can, so that the exact value for the very same students is known: what
is random is the drawing alone. Estimates that are unbiased (T4, T10) are judged; entropies, of which no unbiased estimate exists,
are shown beside them; wrong versions of the estimates must fail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd.estimators import comparison, decompose_categorical, entropy, gini, mean_and_error, share_of
from uqkd.estimators.answers.agreement import decompose_agreement, gini_from_draws
from uqkd.estimators.answers.distance import conservation_from_draws, squared_distance
from uqkd.estimators.answers.semantic import RULES, decompose_entropy
from uqkd.llm import Sampling, SeedDesign, Students, Testbed, answer_classes, weigh
from uqkd.llm.measuring.errors import grade
from uqkd.llm.synthetic.exact import consecutive
from uqkd.llm.synthetic.questions import uncertain_prompts
from uqkd.llm.synthetic.testbed import MAX_TOKENS
from uqkd.report import figures
from uqkd.report.answers import Answer, Number, elsewhere, measured
from uqkd.report.page import threshold
from uqkd.run import AtLeastTwo, PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions

Array = NDArray[np.float64]
Classes = NDArray[np.int64]

# Each measure: the statement that judges it, empty where it is biased, and its name in the figure.
MEASURES = {
    "intra": ("T4", "intra-student variance"),
    "inter": ("T10", "inter-student variance"),
    "κ": ("T4", "κ = (intra + inter)/$G_p$"),
    "G_p": ("T4", "teacher's variance $G_p$"),
    "distance": ("T4", "‖q − p‖², p known"),
    "bias²": ("T4", "distance − inter, p known"),
    "distance, p sampled": ("T4", "‖q − p‖², p sampled"),
    "bias², p sampled": ("T4", "distance − inter, p sampled"),
    "unsupported": ("T4", "unsupported answers"),
}
ENTROPIES = {"expected": "entropy of a student", "total": "entropy of all", "information": "mutual information"}
WRONG = {
    "intra, ddof 0": "intra: disagreement counts a draw with itself",
    "inter, plug-in": "inter: variance of means, noise left in",
    "inter, students ddof 0": "inter: ddof 0 over students",
    "inter, shared draws": "inter: students share consecutive draws",
    "G_p, ddof 0": "$G_p$ of the shares of R draws",
    "distance, plug-in": "‖q − p‖² of the shares of R draws",
}  # with the measure that each is a wrong version of before the comma


class Options(EmbeddedOptions):
    ks: tuple[PositiveInt, ...] = (1, 4)
    every: PositiveInt = 8  # of all entities, those whose prompts are trained on and asked
    steps: PositiveInt = 60  # students that memorised one response would not be unsure of anything
    batch: PositiveInt = 24
    responses: AtLeastTwo = 8
    blocks: AtLeastTwo = 200


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=16, ks=(1, 4, 16), blocks=1_000),
    "full": Options(groups=16, entities=16, students=32, ks=(1, 4, 16), every=4, blocks=2_000),
}


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    shared = options.only("students", "every", "steps", "batch", "lr", "responses", "blocks")
    shared |= {"data": folder, "data_fingerprint": fingerprint, "most": max(options.ks)}
    return [{**shared, "k": k} for k in options.ks]


def measure(cell: dict) -> pd.DataFrame:
    """Every measure of every block, and its exact value."""
    testbed, students, k, size = Testbed.at(cell["data"]), cell["students"], cell["k"], cell["responses"]
    prompts, key = uncertain_prompts(testbed.world, every=cell["every"]), ("llm sampled estimates", k)
    given = testbed.bank().responses(prompts, students=students, k=k, per_student=cell["most"])
    made = testbed.distill(weigh(given, "multi"), cell, seed_design=SeedDesign.independent(students), key=key)
    q, p, sampling = made.predict_proba(prompts), testbed.predict_proba(prompts), Sampling(max_tokens=MAX_TOKENS)
    answered = made.predict(prompts, cell["blocks"] * size, sampling=sampling, key=(*key, "answers"))
    teacher = Students.untrained(testbed.teacher, encoder=testbed.encoder)
    theirs = teacher.predict(prompts, cell["blocks"] * size, sampling=sampling, key=(*key, "teacher"))
    shared = consecutive(q, cell["blocks"], size, key=(*key, "shared"))
    (graded,), shape = grade(answered), (-1, len(prompts), cell["blocks"], size)  # independent blocks of answers
    mine, its = (answer_classes(one, testbed.encoder).reshape(shape) for one in (answered, theirs))
    found = estimates(mine, its[0], p, shared=shared)
    found["unsupported"] = 1.0 - graded.supported.reshape(shape).mean(axis=(0, 1, 3))
    known, rows = exact(q, p), []
    for name, values in found.items():
        of_block = {"measure": name, "block": np.arange(len(values)), "estimate": values}
        rows.append(pd.DataFrame({**of_block, "exact": known[truth_of(name)]}))
    about = {"k": k, "students": students, "prompts": len(prompts), "responses": size}
    return pd.concat(rows, ignore_index=True).assign(**about)


def exact(q: Array, p: Array) -> dict[str, float]:
    """What enumeration knows of students q (S, P, C) and a teacher p (P, C), averaged over prompts."""
    parts, spread = decompose_categorical(q), gini(p)
    distance = ((q - p) ** 2).sum(axis=-1).mean()
    return {
        "intra": float(parts.intra.mean()),
        "inter": float(parts.inter.mean()),
        "κ": share_of((parts.intra + parts.inter)[None], spread)[0],
        "G_p": float(spread.mean()),
        "distance": float(distance),
        "bias²": float(distance - parts.inter.mean()),
        "unsupported": float(q[..., -1].mean()),
        "expected": float(entropy(q).mean()),
        "total": float(parts.total_entropy.mean()),
        "information": float(parts.mutual_information.mean()),
    }


def truth_of(name: str) -> str:
    """The exact value that an estimate is of: its name up to the comma."""
    return name.partition(",")[0]


def estimates(draws: Classes, teacher: Classes, p: Array, *, shared: Classes) -> dict[str, Array]:
    """Every measure of every block, (B,) each, from answers (S, P, B, R) of students and (P, B, R) of the teacher."""
    students, prompts, count, size = draws.shape

    def each(values: Array) -> Array:
        """Average over prompts, block by block: what is estimated prompt by prompt takes blocks for more prompts."""
        return np.asarray(values.reshape(prompts, count).mean(axis=0))

    flat, theirs, law = draws.reshape(students, -1, size), teacher.reshape(-1, size), np.repeat(p, count, axis=0)
    parts, spread = decompose_agreement(flat), gini_from_draws(theirs)
    known, sampled = squared_distance(flat, probs=law), squared_distance(flat, teacher=theirs)
    intra, inter, distance = each(parts.intra), each(parts.inter), each(known.mean_square)
    found = {
        "intra": intra,
        "inter": inter,
        "κ": np.array([conservation_from_draws(draws[:, :, b], probs=p)[0] for b in range(count)]),
        "G_p": each(spread),
        "distance": distance,
        "bias²": each(known.bias_square),
        "distance, p sampled": each(sampled.mean_square),
        "bias², p sampled": each(sampled.bias_square),
    }
    for rule in RULES:
        of_rule = decompose_entropy(flat, rule)
        values = (of_rule.expected, of_rule.total, of_rule.mutual_information)
        found |= {f"{name}, {rule}": each(value) for name, value in zip(ENTROPIES, values, strict=True)}
    return found | {
        "intra, ddof 0": intra * (1.0 - 1.0 / size),
        "inter, plug-in": inter + intra / size,
        "inter, students ddof 0": (inter + intra / size) * (1.0 - 1.0 / students) - intra / size,
        "inter, shared draws": each(decompose_agreement(shared.reshape(students, -1, size)).inter),
        "G_p, ddof 0": each(spread) * (1.0 - 1.0 / size),
        "distance, plug-in": distance + intra / size,
    }


def compared(units: pd.DataFrame) -> pd.DataFrame:
    """Mean of each estimate over blocks against the exact value, all judged alike."""
    groups: dict[Any, pd.DataFrame] = dict(iter(units.groupby(["k", "measure"], sort=False)))
    rows, limit = [], threshold(units["k"].nunique() * len(MEASURES))
    for (k, name), part in groups.items():
        values, first = part["estimate"].to_numpy(), part.iloc[0]
        mean, error = mean_and_error(values)
        statement = MEASURES[name][0] if name in MEASURES else ""
        kind = "unbiased" if name in MEASURES else "wrong" if name in WRONG else "biased"
        row = comparison(statement, name, first["exact"], mean, error)
        about = {name: first[name] for name in ("students", "prompts", "responses")}
        beyond = {"single_sd": float(values.std(ddof=1)), "rejected": abs(row["z"]) > limit}  # type: ignore[arg-type]
        rows.append({"k": k, "kind": kind, "blocks": len(values), **about, **row, **beyond})
    return pd.DataFrame(rows)


def labels() -> dict[str, str]:
    """Every estimate and its name in the figure, in the figure's order."""
    found = {name: label for name, (_, label) in MEASURES.items()}
    rules = {rule: rule if rule == "plug-in" else rule.title() for rule in RULES}
    entropies = {f"{name}, {rule}": f"{label}, {rules[rule]}" for name, label in ENTROPIES.items() for rule in rules}
    return found | entropies | WRONG


KINDS = {"unbiased": "unbiased: judged", "biased": "biased by nature: shown", "wrong": "wrong version: must fail"}


def plot(table: pd.DataFrame) -> Figure:
    names, ks = labels(), sorted(table["k"].unique())
    figure, axes = figures.panels(1, len(ks), height=5.2, sharey=True, sharex=True)
    place, limit = {name: i for i, name in enumerate(names)}, threshold(int((table["kind"] == "unbiased").sum()))
    for axis, k in zip(axes[0], ks, strict=True):
        for i, ((kind, label), colour) in enumerate(zip(KINDS.items(), figures.colours(3), strict=True)):
            rows = table[(table["k"] == k) & (table["kind"] == kind)]
            shown: dict[str, Any] = {"color": colour, "fmt": "osD"[i], "mfc": "white", "mew": 0.9, "ms": 3.5}
            axis.errorbar(rows["z"], rows["quantity"].map(place), label=label, zorder=3, **shown)
        axis.axvspan(-limit, limit, color="0.88", linewidth=0, zorder=0)
        axis.axvline(0.0, color="0.3", linewidth=1, zorder=1)
        axis.set_xscale("symlog", linthresh=5.0, linscale=2.0)
        axis.set(title=f"students of k = {k}", xlabel="z of the mean estimate")
        figures.ticks(axis, "x", [-100, -5, 0, 5, 100])
        figures.named_rows(axis, names.values(), fontsize=7)
    first = table.iloc[0]
    note = f"means of {first['blocks']} independent blocks of R = {first['responses']} answers; band: |z| ≤ {limit:.1f} passes"
    figures.legend_below(figure, axes[0, 0], note, columns=3)
    return figure


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    prompts = uncertain_prompts(testbed.world, every=options.every)
    fingerprint = testbed.draw(prompts, per_student=max(options.ks), **options.only("students", "backend"))
    table = compared(run.cells(cells(options, str(testbed.folder), fingerprint), measure))
    figures.publish(run, plot(table), table=table, caption=caption(table), answer=answer(table), group="llm", place=240)


def answer(table: pd.DataFrame) -> Answer | None:
    """What passes, what fails, and by how much plug-ins are too large for students of most responses."""
    right, wrong = (table[table["kind"] == kind] for kind in ("unbiased", "wrong"))
    limit, largest, first, k = threshold(len(right)), right["z"].abs().max(), table.iloc[0], table["k"].max()
    passing, rows = int((~right["rejected"]).sum()), table[table["k"] == k].set_index("quantity")
    numbers = {name: elsewhere.inflation(rows.loc[f"{name}, plug-in"]) for name in ("inter", "information")}
    numbers["rejected"] = elsewhere.count_beyond(wrong["z"], limit)
    numbers |= elsewhere.counts(right=len(right), passing=passing, wrong=len(wrong), k=k, responses=first["responses"])
    numbers |= {"z": measured.within(largest, 0.0, max(largest, limit), ".1f"), "limit": Number.exact(limit, ".1f")}
    find = "the unbiased ones do, all {right}" if passing == len(right) else "of {right} unbiased ones {passing} do"
    sentence = (
        f"{find} (largest |z| {{z}} of {{limit}} allowed); of {{wrong}} wrong versions {{rejected}} are rejected; of {{responses}} "
        "answers per prompt the plug-in reports {inter} too much variance between students (k = {k})"
    )
    return measured.stated(sentence, numbers)


def caption(table: pd.DataFrame) -> str:
    first, passed = table.iloc[0], table[(table["kind"] == "wrong") & ~table["rejected"]]
    unseen = ", ".join(f"{WRONG[row['quantity']]} (k = {row['k']})" for _, row in passed.iterrows())
    text = f"{first['students']} students, {first['prompts']} prompts, {first['blocks']} blocks of R = {first['responses']}."
    return f"{text} Wrong versions not seen: {unseen or 'none'}."
