"""What do resampled prompts do to language-model students, beside what the teacher's sampling does?

Students train on k responses to each prompt of a bootstrap resample of the prompts, or to every prompt once; the responses
are the same for all students or of each student's own. Their answers are computed at all prompts: of those a resample leaves
out a third, which a student must answer from others, so that what it moves is between knowing and guessing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd.estimators import comparison, decompose_categorical, gini, uncertainty_shares
from uqkd.llm import SeedDesign, Testbed, weigh
from uqkd.llm.synthetic.questions import UNCERTAIN, of_relation, uncertain_prompts
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number, elsewhere, measured
from uqkd.run import PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions


class Options(EmbeddedOptions):
    k: PositiveInt = 4


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=32, steps=1_500, batch=128),
    "full": Options(groups=16, entities=16, students=64, k=16, steps=3_000, batch=128),
}


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    shared = {"data": folder, "data_fingerprint": fingerprint, **options.only("students", "k", "steps", "batch", "lr")}
    return [
        {**shared, "bootstrap": bootstrap, "responses": responses}
        for bootstrap in (False, True)
        for responses in ("same", "own")
    ]


def measure(cell: dict) -> pd.DataFrame:
    testbed, S, k = Testbed.at(cell["data"]), cell["students"], cell["k"]
    prompts = uncertain_prompts(testbed.world)
    given = 1 if cell["responses"] == "same" else S
    targets = weigh(testbed.bank().responses(prompts, students=given, k=k, per_student=k), "multi")
    # Students begin and shuffle on their own: what is asked is what comes on top of that.
    seed_design = SeedDesign.independent(S, bootstrap=cell["bootstrap"])
    key = ("llm data bootstrap", cell["bootstrap"], cell["responses"])
    students = testbed.distill(targets, cell, seed_design=seed_design, key=key)
    q, p = students.predict_proba(prompts), testbed.predict_proba(prompts)
    rows = []
    for relation in UNCERTAIN:
        own = of_relation(prompts, relation)
        shares = uncertainty_shares(decompose_categorical(q[:, own]), gini(p[own]))
        rows += [{"relation": relation, **comparison("", name, np.nan, *shares[name])} for name in QUANTITIES]
    about = {name: cell[name] for name in ("bootstrap", "responses", "students", "k")}
    return pd.DataFrame([{**about, "prompts": len(prompts), **row} for row in rows])


QUANTITIES = {"inter": "between students", "intra": "within one student"}
SETTINGS = (
    (False, "same", "same\nresponses,\nall prompts"), (False, "own", "own\nresponses,\nall prompts"),
    (True, "same", "same\nresponses,\nresampled"), (True, "own", "own\nresponses,\nresampled"),
)  # fmt: skip


def plot(table: pd.DataFrame) -> Figure:
    figure, (axes,) = figures.panels(1, 2, height=3.0, sharey=True)
    k = table["k"].iloc[0]
    memorised = {"inter": 1.0 / k, "intra": 1.0 - 1.0 / k}  # T4
    for axis, (relation, meaning) in zip(axes, UNCERTAIN.items(), strict=True):
        part = table[table["relation"] == relation].set_index(["bootstrap", "responses"])
        for i, ((quantity, label), colour) in enumerate(zip(QUANTITIES.items(), figures.colours(2), strict=True)):
            rows = part[part["quantity"] == quantity].loc[[setting[:2] for setting in SETTINGS]]
            x = np.arange(len(SETTINGS)) + (-0.08, 0.08)[i]
            figures.points(axis, rows, x, color=colour, label=label)
            axis.plot([0.6, 1.4], [memorised[quantity]] * 2, color=colour, linewidth=1)
        axis.set(title=f"questions with {meaning}")
        axis.set_xticks(range(len(SETTINGS)), labels=[label for *_, label in SETTINGS], fontsize=6.5)
    axes[0].set_ylabel("share of $G_p$")
    note = f"lines: own responses, for students that memorise (T4); points {captions.BARS}"
    figures.legend_below(figure, axes[0], note, columns=2)
    return figure


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    prompts = uncertain_prompts(testbed.world)
    fingerprint = testbed.draw(prompts, per_student=options.k, **options.only("students", "backend"))
    table = run.cells(cells(options, str(testbed.folder), fingerprint), measure)
    figures.publish(run, plot(table), table=table, caption=caption(table), answer=answer(table), group="llm", place=260)


def answer(table: pd.DataFrame) -> Answer | None:
    """What moves between students as a share of G_p, both kinds of questions together."""
    moved = {
        name: elsewhere.rows_of(table, bootstrap=bootstrap, responses=responses, quantity="inter")
        for name, bootstrap, responses in (
            ("neither", False, "same"), ("own", False, "own"), ("resampled", True, "same"), ("both", True, "own"),
        )
    }  # fmt: skip
    more = elsewhere.difference(moved["resampled"], moved["own"])
    than = "less than" if measured.side(more) == "below" else "at least as much as"
    sentence = (
        f"{than} the teacher's sampling: with resampled prompts {{resampled}} of G_p moves between students, with "
        "responses of their own (k = {k}) {own}, with both {both}, with neither {neither}"
    )
    numbers = {name: elsewhere.estimate(rows) for name, rows in moved.items()}
    return measured.stated(sentence, {**numbers, "more": more, "k": Number.exact(int(table["k"].iloc[0]), "d")})


def caption(table: pd.DataFrame) -> str:
    """What is seen, from the same table."""

    def said(bootstrap: bool, responses: str, relation: str) -> str:
        part = table[(table["relation"] == relation) & (table["quantity"] == "inter")]
        row = part[(part["bootstrap"] == bootstrap) & (part["responses"] == responses)].iloc[0]
        return captions.simulated(row)

    first, text = table.iloc[0], ""
    for relation, meaning in UNCERTAIN.items():
        text += (
            f" {meaning.capitalize()}: {said(False, 'same', relation)} with the same responses to all "
            f"prompts (begun and shuffled apart), {said(False, 'own', relation)} with own responses, "
            f"{said(True, 'same', relation)} with resampled prompts, "
            f"{said(True, 'own', relation)} with both."
        )
    about = f"{first['students']} students per point, {first['prompts']} prompts, k = {first['k']}; "
    return f"{about}inter-student variance as a share of G_p; a resample leaves out a third of the prompts.{text}"
