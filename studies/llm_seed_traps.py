"""What do the usual ways of seeding an engine do to the variance that one measures?

A real vLLM engine draws k responses for each student and prompt, seeded in four ways: one seed per student, prompt and
response ("keyed"); one request with n = k for each student and prompt, students at consecutive seeds, so that they share
k − 1 of k draws; one seed per student for all prompts; and no seed, every student in a fresh engine, whose default is
engine seed 0. Students are taken as what they were given: averages of k one-hot responses. The teacher's exact answer
distribution says how much they must vary: G_p/k for each prompt (T4), and the sum of v_p/(k·P²) for the average over prompts.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators import comparison, expected_share_variances, mean_and_error, share_variances
from uqkd.estimators.answers.shares import consecutive_ratio
from uqkd.llm import Prompts, Sampling, Testbed, open_teacher
from uqkd.llm.models.revision import model_revision
from uqkd.llm.synthetic.questions import answer_ids, first_words, uncertain_prompts
from uqkd.llm.synthetic.testbed import MAX_TOKENS
from uqkd.llm.teachers import Request, complete
from uqkd.report import captions, figures
from uqkd.report.answers import Answer, elsewhere, measured
from uqkd.report.page import threshold
from uqkd.run import AtLeastTwo, PositiveInt, Run
from uqkd.run import Options as Base
from uqkd.testbeds.tables import to_array

Array = NDArray[np.float64]
Classes = NDArray[np.int64]

SEEDINGS = {
    "keyed": "one seed per student,\nprompt and response",
    "consecutive": "n = k, students at\nconsecutive seeds",
    "broadcast": "one seed per student\nfor all prompts",
    "engine default": "no seed, a fresh\nengine per student",
}
AXES = ["experiment", "student", "prompt", "response", "answer"]
SESSIONS = 2  # fresh engines; "engine default" makes each of them one student
QUANTITIES = {"per prompt": "one prompt", "prompt average": "average over prompts"}
BAND = 0.1  # what passes lies within this share of the exact variance, and within the family-wise bound of |z|


class Options(Base):
    groups: PositiveInt = 8
    entities: AtLeastTwo = 6
    prompts: AtLeastTwo = 24
    k: AtLeastTwo = 4
    group: AtLeastTwo = 4  # students of one experiment; consecutive seeds share draws within it
    keyed: AtLeastTwo = 56  # experiments with keyed seeds
    broken: AtLeastTwo = 12  # with each of the other seedings
    backend: Literal["vllm", "transformers"] = "vllm"  # transformers: keyed seeds only


PRESETS = {
    "quick": Options(),
    "paper": Options(groups=16, entities=16, prompts=96, keyed=500, broken=100),
    "full": Options(groups=16, entities=16, prompts=96, keyed=2_000, broken=500),
}


def cells(options: Options, folder: str = "", fingerprint: str = "") -> list[dict]:
    """One cell is one engine session; keyed experiments are spread over both."""
    shared = {"data": folder, "data_fingerprint": fingerprint, **options.only("prompts", "k", "group", "backend")}
    found = []
    for session in range(SESSIONS):
        work = [("keyed", len(range(session, options.keyed, SESSIONS)))]
        if options.backend == "vllm":  # the engine's default comes first, while the engine is fresh
            other = ("consecutive", "broadcast")[session]
            work = [("engine default", options.broken), *work, (other, options.broken)]
        found.append({**shared, "session": session, "experiments": work})
    return found


def measure(cell: dict) -> pd.DataFrame:
    """All draws of one engine session: which of the prompt's answers each response is."""
    testbed = Testbed.at(cell["data"])
    prompts = prompts_of(testbed, cell["prompts"])
    teacher = open_teacher(testbed.teacher, backend=cell["backend"], dtype="float32")
    try:
        parts = [drawn(teacher, prompts, cell, seeding, count) for seeding, count in cell["experiments"]]
    finally:
        teacher.close()
    return pd.concat(parts, ignore_index=True)


def prompts_of(testbed: Testbed, count: int) -> Prompts:
    """Questions with several answers, equally spaced over the world."""
    asked = uncertain_prompts(testbed.world, every=1)
    return asked.select(np.unique(np.linspace(0, len(asked) - 1, num=min(count, len(asked)), dtype=int)))


def drawn(teacher: Any, prompts: Prompts, cell: dict, seeding: str, experiments: int) -> pd.DataFrame:
    """One row a response: experiment, student, prompt and response, and the class of the answer."""
    sampling, k, session = Sampling(max_tokens=MAX_TOKENS), cell["k"], cell["session"]
    # Of "engine default" a session is one student, and repeats its prompts for every experiment.
    students = 1 if seeding == "engine default" else cell["group"]
    places = list(np.ndindex(experiments, students, len(prompts), k if seeding == "keyed" else 1))
    ids, key = [teacher.encoder.encode(text) for text in prompts.texts], ("llm seed traps", seeding, session)
    if seeding == "keyed":
        wanted = [Request(ids[p], seeds.seed63(*key, e, s, prompts.ids[p], j)) for e, s, p, j in places]
        answers = [[one] for one in complete(teacher, wanted, sampling)]
    else:
        of_student = student_seeds(seeding, experiments, students, key=key)
        given = [of_student[e][s] for e, s, _, _ in places]
        answers = teacher.complete_with([ids[p] for _, _, p, _ in places], sampling, n=k, seeds=given)
    known, other = [answer_ids(teacher.encoder, own) for own in prompts.answers], max(map(len, prompts.answers))
    rows = [
        (e, s, p, j, known[p].get(tuple(one.token_ids or ()), other))
        for (e, s, p, first), several in zip(places, answers, strict=True)
        for j, one in enumerate(several, start=first)
    ]
    table = pd.DataFrame(rows, columns=AXES).assign(seeding=seeding)
    if seeding == "keyed":
        return table.assign(experiment=table["experiment"] * SESSIONS + session)
    return table.assign(student=session) if seeding == "engine default" else table


def student_seeds(seeding: str, experiments: int, students: int, *, key: tuple) -> list[list[int | None]]:
    """The seed that a student uses for all its requests; each experiment begins somewhere else."""
    if seeding == "engine default":
        return [[None] * students for _ in range(experiments)]
    rng = seeds.generator(*key)
    if seeding == "broadcast":
        return rng.integers(2**31, size=(experiments, students)).tolist()
    first = rng.integers(2**31, size=(experiments, 1))
    return (first + np.arange(students)).tolist()  # the trap: response j of a request is seeded with seed + j


def counted(table: pd.DataFrame) -> dict[str, Classes]:
    """Classes (E, S, P, k) of each seeding."""
    return {str(seeding): to_array(part, AXES[:4], "answer") for seeding, part in table.groupby("seeding", sort=False)}


def understood(seeding: str, quantity: str, students: int, k: int) -> float:
    """The ratio that a seeding must give by its construction; NaN where that depends on the engine's noise."""
    if quantity == "prompt average" and seeding in ("consecutive", "broadcast"):
        return np.nan
    if seeding != "consecutive":
        return 0.0 if seeding == "engine default" else 1.0
    return consecutive_ratio(students, k)


def compared(draws: dict[str, Classes], p: Array, words: Classes) -> pd.DataFrame:
    """Ratio of each measured variance to the exact one, judged alike; experiments are independent, prompts are fixed."""
    limit, rows = threshold(len(draws) * len(QUANTITIES)), []
    for seeding, classes in draws.items():
        experiments, students, prompts, k = classes.shape
        seen, exact = share_variances(classes, words), expected_share_variances(p, words, k)
        about = {"seeding": seeding, "students": experiments * students, "group": students, "prompts": prompts, "k": k}
        for quantity in QUANTITIES:
            values, known = (getattr(of, quantity.replace(" ", "_")) for of in (seen, exact))
            ratio, error = mean_and_error(values / known)
            statement = "T4" if seeding == "keyed" else ""
            row = comparison(statement, quantity, 1.0, ratio, error, variance_of=experiments * students)
            row |= {"exact variance": known, "by construction": understood(seeding, quantity, students, k)}
            far = abs(float(row["z"])) > limit or abs(ratio - 1.0) > BAND
            rows.append({**about, **row, "rejected": far})
    return pd.DataFrame(rows)


EXPECTED: dict[str, Any] = {"marker": "|", "linestyle": "none", "color": "0.3", "ms": 11, "mew": 1.3}
ZERO = 0.05  # where a ratio of exactly zero is drawn on the logarithmic axis


def plot(table: pd.DataFrame) -> Figure:
    figure, axes = figures.panels(1, len(QUANTITIES), height=2.9, sharey=True)
    names = [name for name in SEEDINGS if name in set(table["seeding"])]
    widest = max(4.0, 2.0 * table["simulated"].max())
    good, _, _, bad = figures.colours(4)
    for axis, (quantity, label) in zip(axes[0], QUANTITIES.items(), strict=True):
        axis.axvspan(1 - BAND, 1 + BAND, color="0.88", zorder=0)
        axis.axvline(1.0, color="0.3", linewidth=1.0, zorder=1)
        for place, name in enumerate(names):
            row = table[(table["seeding"] == name) & (table["quantity"] == quantity)].iloc[0]
            _point(axis, place, row, bad if row["rejected"] else good)
        axis.set_xscale("log")
        axis.set_xlim(0.7 * ZERO, widest)
        figures.ticks(axis, "x", [one for one in (0.1, 0.3, 1, 3, 10, 30, 100) if one < widest])
        axis.set(title=label, xlabel="variance between students: measured / exact")
        figures.named_rows(axis, [SEEDINGS[name] for name in names])
        axis.grid(visible=False, axis="y")
    for label, colour in (("passes the check", good), ("rejected by the same check", bad)):
        axes[0, 0].plot([], [], figures.marker_style(colour)["fmt"], color=colour, mfc="white", label=label)
    axes[0, 0].plot([], [], **EXPECTED, label="what the seeding must give")
    note = f"points: draws of the engine {captions.BARS}; band: exact ± {BAND:.0%}"
    figures.legend_below(figure, axes[0, 0], note, columns=3)
    return figure


def _point(axis: Axes, place: int, row: pd.Series, colour: Any) -> None:
    ratio, error, known = row["simulated"], row["standard_error"], row["by construction"]
    if known > 0 and known != 1.0:
        axis.plot(known, place, **EXPECTED, zorder=2)
    if ratio > 0:
        text = captions.plus_minus(ratio, error)
        figures.labelled_point(axis, ratio, place, text, standard_error=error, color=colour)
    else:
        axis.plot(ZERO, place, "<", color=colour, ms=6)
        where: dict[str, Any] = {"xytext": (0, 7), "textcoords": "offset points", "ha": "left", "fontsize": 8}
        axis.annotate("exactly 0", (ZERO, place), color=colour, **where)


def main(options: Options, run: Run) -> None:
    testbed = Testbed.open(run.store.root, groups=options.groups, entities=options.entities)
    draws = counted(run.cells(cells(options, str(testbed.folder), model_revision(testbed.teacher)), measure))
    prompts, ordered = prompts_of(testbed, options.prompts), {name: draws[name] for name in SEEDINGS if name in draws}
    table = compared(ordered, testbed.predict_proba(prompts), first_words(prompts))
    figures.publish(run, plot(table), table=table, caption=caption(table), answer=answer(table), group="llm", place=210)


def answer(table: pd.DataFrame) -> Answer | None:
    """What each seeding measures of the variance of one prompt, and one seed for all prompts of their average."""
    asked = {name: (name, "per prompt") for name in SEEDINGS} | {"broadcast": ("broadcast", "prompt average")}
    rows = table.set_index(["seeding", "quantity"], drop=False)
    numbers = {name.partition(" ")[0]: elsewhere.estimate(rows[rows.index == where]) for name, where in asked.items()}
    failing = set(table.loc[table["rejected"], "seeding"])
    right = "which the check rejects" if "keyed" in failing else "as it should"
    sentence = "only " if set(SEEDINGS) - failing == {"keyed"} else ""
    sentence += f"one seed per response measures {{keyed}} of the exact variance between students, {right}"
    if set(SEEDINGS) <= set(table["seeding"]):
        sentence += "; consecutive seeds measure {consecutive}, no seed {engine}, and one seed for all prompts makes "
        sentence += "their average vary {broadcast} times as much as it should"
    return measured.stated(sentence, numbers)


def caption(table: pd.DataFrame) -> str:
    first, rows = table.iloc[0], table.set_index(["seeding", "quantity"])
    text = f"{first['prompts']} prompts, k = {first['k']} responses, experiments of {first['group']} students. Multiples of the "
    text += "exact variance of one prompt, and of the average over prompts"
    for name in table["seeding"].unique():
        one, average = (captions.simulated(rows.loc[(name, quantity)]) for quantity in QUANTITIES)
        text += f"; {name} {one} and {average}"
    return text + "."
