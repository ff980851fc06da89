"""What do students say where their teacher is unsure: what it says, or each something of its own?

Questions of the embedded world whose answers can be listed: the teacher's distribution over them, and that of each of a few
students, once of one response per question and once of sixteen. Students of one response are each sure of another answer; together
they say what the teacher says. Students of sixteen each say nearly what it says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from uqkd.estimators import gini, half_width, two_way_mean
from uqkd.llm import SeedDesign, Testbed, weigh
from uqkd.llm.synthetic.questions import uncertain_prompts
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, Number
from uqkd.run import AtLeastTwo, PositiveInt, Run
from uqkd.testbeds.options import EmbeddedOptions

TEACHER = "teacher"
INVALID = "(no valid answer)"
ONE, MEAN, DISTANCE = "one student", "the students' mean", "total variation distance"


class Options(EmbeddedOptions):
    ks: tuple[PositiveInt, ...] = (1, 16)
    per_student: PositiveInt = 16  # responses set aside for each student
    shown: AtLeastTwo = 4  # questions, of those that the teacher is least sure of
    steps: PositiveInt = 300


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, students=32, steps=1_500, batch=128),
    "full": Options(groups=16, entities=16, students=64, steps=3_000, batch=128),
}


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    shared = {"data": folder, "data_fingerprint": fingerprint}
    shared |= options.only("students", "steps", "batch", "lr", "per_student", "shown")
    return [{**shared, "k": k} for k in options.ks]


def measure(cell: dict) -> pd.DataFrame:
    """Probabilities of every answer to the questions that are shown, and over all questions the distance to the teacher."""
    testbed, k, S = Testbed.at(cell["data"]), cell["k"], cell["students"]
    prompts = uncertain_prompts(testbed.world, first=0)
    drawn = testbed.bank().responses(prompts, students=S, k=k, per_student=cell["per_student"])
    key = ("across examples", k)
    students = testbed.distill(weigh(drawn, "multi"), cell, seed_design=SeedDesign.independent(S), key=key)
    q, p = students.predict_proba(prompts), testbed.predict_proba(prompts)
    rows = []
    for i in unsure(p, prompts.ids, cell["shown"]):
        names = [*prompts.answers[i], INVALID]
        places = [*range(len(names) - 1), p.shape[1] - 1]
        for who, values in ((TEACHER, p[i]), *((f"{s}", one) for s, one in enumerate(q[:, i]))):
            about = {"k": k, "prompt": prompts.texts[i], "student": who, "quantity": "probability"}
            rows += [
                {**about, "answer": name, "value": float(values[c])} for name, c in zip(names, places, strict=True)
            ]
    for who, of in ((ONE, q), (MEAN, q.mean(axis=0, keepdims=True))):
        elsewhere = np.abs(of - p).sum(axis=-1) / 2.0
        value, error = two_way_mean(elsewhere) if len(of) > 1 else (float(elsewhere.mean()), np.nan)
        about = {"k": k, "prompt": "all", "student": who, "quantity": DISTANCE, "answer": ""}
        rows.append({**about, "value": value, "standard_error": error, "students": S})
    return pd.DataFrame(rows)


def unsure(p: np.ndarray, ids: tuple[str, ...], count: int) -> list[int]:
    """Questions of the largest Gini variance, as many of each relation."""
    spread, relations = gini(p), [name.split("/")[0] for name in ids]
    kinds = list(dict.fromkeys(relations))
    best = {kind: [i for i in np.argsort(-spread) if relations[i] == kind] for kind in kinds}
    return [int(best[kinds[n % len(kinds)]][n // len(kinds)]) for n in range(count)]


def plot(table: pd.DataFrame) -> Figure:
    rows = table[table["quantity"] == "probability"]
    prompts, ks = list(dict.fromkeys(rows["prompt"])), sorted(rows["k"].unique())
    figure, axes = figures.panels(len(ks), len(prompts), height=2.3, sharey=True)
    teacher, student = figures.series_styles(2)
    for line, k in zip(axes, ks, strict=True):
        for axis, prompt in zip(line, prompts, strict=True):
            own = rows[(rows["k"] == k) & (rows["prompt"] == prompt)]
            answers = list(dict.fromkeys(own["answer"]))
            said = own[own["student"] == TEACHER]
            axis.bar(range(len(answers)), said["value"], color=teacher["color"], alpha=0.35, label="the teacher")
            students = own[own["student"] != TEACHER]
            for n, (_, one) in enumerate(students.groupby("student", sort=False)):
                aside = np.arange(len(answers)) + 0.6 * (n / max(1, students["student"].nunique() - 1) - 0.5)
                shown = {"color": student["color"], "marker": student["fmt"], "ms": 3.5, "mfc": "white"}
                axis.plot(aside, one["value"], label="one student each" if n == 0 else None, linestyle="none", **shown)
            axis.set_xticks(range(len(answers)), answers, rotation=50, ha="right", rotation_mode="anchor", fontsize=6.5)
            axis.grid(axis="x", visible=False)
            if k == ks[0]:
                axis.set_title(f"“{prompt}”", fontsize=8)
        line[0].set_ylabel(f"probability,\n{'one response' if k == 1 else f'{k} responses'}\nper question")
    figures.legend_below(figure, axes[0, 0], "questions that the teacher is least sure of")
    return figure


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    prompts, how = uncertain_prompts(testbed.world, first=0), options.only("students", "per_student", "backend")
    table = run.cells(cells(options, str(testbed.folder), testbed.draw(prompts, **how)), measure)
    about: Any = {"answer": answer(table), "caption": caption(table), "group": "across", "place": 60}
    figures.publish(run, plot(table), table=table, **about)


def apart(table: pd.DataFrame, k: int, who: str) -> pd.Series:
    """The row that says how far students are from their teacher over all questions."""
    rows = table[(table["quantity"] == DISTANCE) & (table["k"] == k) & (table["student"] == who)]
    return rows.iloc[0]


def answer(table: pd.DataFrame) -> Answer:
    few, many = int(table["k"].min()), int(table["k"].max())
    numbers = {}
    for name, k in (("few", few), ("many", many)):
        one, students = apart(table, k, ONE), int(table["students"].max())
        reach = float(half_width(one["standard_error"], students))
        numbers[name] = Number.measured(one["value"], one["value"] - reach, one["value"] + reach, ".0%")
        mean = apart(table, k, MEAN)["value"]  # its own spread is not known: within that of one student
        numbers[f"mean_{name}"] = Number.measured(mean, max(0.0, mean - reach), mean + reach, ".0%")
    return Answer(
        f"each something of its own: a student of {few} response a question puts {{few}} of its probability elsewhere than its "
        f"teacher, the mean of all students {{mean_few}}; of {many} responses {{many}} and {{mean_many}}",
        numbers,
    )


def caption(table: pd.DataFrame) -> str:
    told = []
    for k in sorted(table["k"].unique()):
        one = apart(table, k, ONE)
        said = captions.plus_minus(one["value"], one["standard_error"], students=int(one["students"]))
        told.append(f"k = {k}: one student {said}, the students' mean {apart(table, k, MEAN)['value']:.2f}")
    return (
        f"{int(table['students'].max())} students of k responses of their own to each question. Total variation distance from the "
        f"teacher's distribution, mean over all questions: {'; '.join(told)}."
    )
