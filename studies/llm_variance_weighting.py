"""Which weighting of sampled responses brings a language-model student nearest to its teacher?

Students train on k responses with weight 1/k each ("multi"), on the one nearest the mean embedding ("medoid", the published
averaging of texts), on the one nearest an inverse-variance weighted centre of the teacher's and an undistilled student's
responses ("reranked", the published variance weighting), or on the teacher's responses together with those of students that
were trained on other prompts, weighted by estimated errors ("precision"). Distances to the teacher's answer distribution are
computed, not sampled, for the weighted responses themselves and for the students trained on them, and split into what is
common to all students (bias²) and what differs between them.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
import pydantic
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd import figures
from uqkd.estimators import comparison, decompose_categorical, gini, share_of
from uqkd.llm import (
    Bed,
    Prompts,
    Recipe,
    Responses,
    Sampling,
    Sources,
    Students,
    TextTargets,
    cross_fitted,
    distill,
    weigh,
)
from uqkd.run import Options as Base
from uqkd.run import Responses as Count
from uqkd.run import Run

Array = NDArray[np.float64]

RELATIONS = {"home": "own answers", "food": "a clan's answers"}
METHODS = ("multi", "medoid", "reranked", "precision")


class Options(Base):
    clans: Count = 8
    members: Annotated[int, pydantic.Field(ge=2)] = 6
    students: Annotated[int, pydantic.Field(ge=3)] = 8
    per_student: Count = 16  # responses set aside for each student: the largest k
    ks: tuple[Count, ...] = (
        1,
        4,
        16,
    )  # at k = 1 all methods but multi are left out: they change nothing or cannot be estimated
    steps: Count = 200
    batch: Count = 48
    lr: Annotated[float, pydantic.Field(gt=0)] = 8e-3
    backend: str = "vllm"


PRESETS = {
    "quick": Options(),
    "paper": Options(clans=16, members=16, students=32, ks=(1, 2, 4, 8, 16), steps=1_500, batch=128),
    "full": Options(clans=16, members=16, students=64, per_student=32, ks=(1, 2, 4, 8, 16, 32), steps=3_000, batch=128),
}


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    shared = {name: getattr(options, name) for name in ("students", "per_student", "steps", "batch", "lr")}
    return [
        {"data": folder, "data_fingerprint": fingerprint, **shared, "method": method, "k": k}
        for k in options.ks
        for method in METHODS
        if k > 1 or method == "multi"
    ]


def measure(cell: dict) -> pd.DataFrame:
    bed, S, k = Bed.at(cell["data"]), cell["students"], cell["k"]
    prompts = asked(bed)
    key = ("llm variance weighting", cell["method"], k)
    recipe = Recipe(
        steps=cell["steps"], batch=cell["batch"], optimiser="adamw", lr=cell["lr"], schedule="cosine", clip_norm=1.0
    )
    how: dict[str, Any] = {"encoder": bed.encoder, "recipe": recipe, "sources": Sources.independent(S)}
    drawn = bed.bank().responses(prompts, students=S, k=k, per_student=cell["per_student"])
    targets = weighed(bed, drawn, cell["method"], how, key)
    students = distill(bed.student_config(), targets, key=key, **how)
    p, truth, rows = bed.probabilities(prompts), bed.world.truth(prompts), []
    for who, q in (("responses", answered(targets, prompts)), ("students", students.probabilities(prompts))):
        for relation in RELATIONS:
            own = np.array([name.startswith(f"{relation}/") for name in prompts.ids])
            rows += [
                {"of": who, "relation": relation, **comparison("", name, float("nan"), *pair)}
                for name, pair in of_answers(q[:, own], p[own], truth[own]).items()
            ]
    alpha = (
        float(np.asarray(targets.notes["alpha"], dtype=np.float64).mean()) if "alpha" in targets.notes else float("nan")
    )
    about = {name: cell[name] for name in ("method", "k", "students")}
    return pd.DataFrame([{**about, "alpha": alpha, "prompts": len(prompts), **row} for row in rows])


def asked(bed: Bed) -> Prompts:
    return bed.world.prompts(phrasings=[0], relations=list(RELATIONS), every=2)


def weighed(bed: Bed, drawn: Responses, method: str, how: dict[str, Any], key: tuple) -> TextTargets:
    """Targets, with the second source that a method needs: as many answers as the teacher gave."""
    k, sampling = drawn.shape[2], Sampling(max_tokens=8)
    if method == "reranked":
        base = Students.untrained(bed.base, encoder=bed.encoder)
        return weigh(drawn, method, second=base.predict(drawn.prompts, k, sampling=sampling, key=(*key, "undistilled")))
    if method == "precision":
        second, fold = cross_fitted(
            bed.student_config(), drawn, answers=k, sampling=sampling, key=(*key, "cross"), **how
        )
        return weigh(drawn, method, second=second, fold=fold, embedding="exact")
    return weigh(drawn, method)


def answered(targets: TextTargets, prompts: Prompts) -> Array:
    """The weighted responses as distributions over the reference answers and anything else, (S, P, C + 1)."""
    texts = [r.text if r.finished else "" for r in targets.responses.distinct]
    most = max(map(len, prompts.answers))
    found = np.zeros((*targets.weights.shape[:2], most + 1))
    for (s, p, m), weight in np.ndenumerate(targets.weights):
        text = texts[targets.responses.index[s, p, m]]
        found[s, p, prompts.answers[p].index(text) if text in prompts.answers[p] else most] += weight
    return found


def of_answers(q: Array, p: Array, truth: Array) -> dict[str, tuple[float, float]]:
    """Of distributions (S, P, C): squared distance to the teacher's and its parts, and shares, as shares of G_p."""
    parts, spread = decompose_categorical(q), gini(p)
    distance = ((q - p) ** 2).sum(axis=-1)
    inter = parts.per_student_inter
    return {
        "distance": share_of(distance, spread),
        "inter": share_of(inter, spread),
        "bias²": share_of(distance - inter, spread),
        "intra": share_of(parts.per_student_intra, spread),
        "κ": share_of(parts.per_student_intra + inter, spread),
        "distance to the truth": share_of(((q - truth) ** 2).sum(axis=-1), spread),
        "outside the valid answers": share_of(q[..., -1], np.ones(len(p))),
    }


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(2, 3, height=2.4)
    shown = {"distance": "‖q − p‖² / $G_p$", "bias²": "bias² / $G_p$", "κ": "κ"}
    ks = tuple(sorted(table["k"].unique()))
    for line, (relation, meaning) in zip(axes, RELATIONS.items(), strict=True):
        for axis, (quantity, label) in zip(line, shown.items(), strict=True):
            part = table[
                (table["of"] == "students") & (table["relation"] == relation) & (table["quantity"] == quantity)
            ]
            for i, (method, colour) in enumerate(zip(METHODS, figures.colours(4), strict=True)):
                own = part[part["method"] == method].sort_values("k")
                x = own["k"] * 1.06 ** (i - 1.5)  # side by side, so that no point hides another
                figures.simulation(
                    axis, x, own["simulated"], own["standard_error"], color=colour, fmt="os^D"[i], label=method
                )
            figures.k_axis(axis, ks)
            axis.set_ylabel(label)
        line[0].set_title(f"{meaning}: distance to the teacher")
        line[1].set_title("common to all students")
        line[2].set_title("intra + inter")
        line[2].axhline(1.0, color="0.4", linestyle=":", linewidth=1)
        line[0].set_yscale("log")
    for axis in axes[1]:
        axis.set_xlabel("responses per prompt, k")
    figures.legend_below(figure, axes[0, 0], "students ± 1.96 standard errors; exact answer distributions", columns=4)
    return figure


def main(options: Options, run: Run) -> None:
    bed = Bed.open(run.store.root, clans=options.clans, members=options.members)
    fingerprint = bed.draw(
        asked(bed), students=options.students, per_student=options.per_student, backend=options.backend
    )
    table = run.cells(cells(options, str(bed.folder), fingerprint), measure)
    figures.publish(run, plot(table), table=table, title=__doc__.splitlines()[0], caption=caption(table), place=230)


def caption(table: pd.DataFrame) -> str:
    """What is seen, from the same table."""
    first, ks = table.iloc[0], sorted(table["k"].unique())
    text = f"{first['students']} students per point, {first['prompts']} prompts. Squared distance to the teacher over G_p, "
    for relation, meaning in RELATIONS.items():
        part = table[(table["relation"] == relation) & (table["quantity"] == "distance")]
        for k in ks[1:]:
            rows = part[(part["k"] == k) & (part["of"] == "students")].set_index("method")
            found = (f"{m} {rows['simulated'][m]:.2f} ± {1.96 * rows['standard_error'][m]:.2f}" for m in METHODS)
            own = part[(part["k"] == k) & (part["of"] == "responses")].set_index("method")["simulated"]
            text += f"{meaning}, k = {k}: {', '.join(found)} "
            text += f"(the weighted responses themselves: multi {own['multi']:.2f}, precision {own['precision']:.2f}); "
    alphas = table.dropna(subset="alpha").groupby("k")["alpha"].first()
    weights = ", ".join(f"{alpha:.2f} at k = {k}" for k, alpha in alphas.items())
    return f"{text.rstrip('; ')}. Precision leaves the teacher's responses a mean weight of {weights}."
