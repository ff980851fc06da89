"""What methods are compared by: quantities as numbers per student and prompt, from answers whose texts need not be known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uqkd.errors import ShapeError
from uqkd.estimators.answers.agreement import decompose_agreement, gini_from_draws
from uqkd.estimators.comparing.claims import judge_claim
from uqkd.estimators.comparing.differences import compare
from uqkd.estimators.variance.two_way import ratio_values
from uqkd.llm.measuring.errors import Graded, given_by
from uqkd.llm.measuring.tables.coded import marked_of
from uqkd.llm.measuring.tables.sheet import Values

Array = NDArray[np.float64]
Compared = dict[tuple[str, str, int], dict[str, Array]]  # part, method, k: values of each quantity

OF_TEACHER = ("accuracy", "unsupported", "intra")  # the rest compares with its draws, among which its own are
CHANCES = (
    "accuracy",
    "unsupported",
    "repeated",
    "intra",
    "total",
    "empty",
    "length_cut",
)  # of an event that an answer, or a pair of them, shows
COSTS = ("nats", "tokens")
VARIANCES = ("intra", "inter", "total", "kappa")  # skewed where students are few, and so are their intervals
INCOMPLETE = {"empty": "empty", "length_cut": "cut"}  # quantity by the column that counts such answers


def answer_values(students: Graded, teacher: Graded) -> dict[str, Array]:
    """Each quantity as a table (S, P) whose mean is its estimate and whose spread is that of the estimate.

    Parameters
    ----------
    students : Graded
        (S, P, R), S >= 3 (S = 1: variances between students are left out), R >= 2.
    teacher : Graded
        (1, P, k), k >= 2: draws that no student was trained on, their forms numbered as the students'.

    Returns
    -------
    dict of str to (S, P) float
        "intra", "inter", "total": Gini variances. "kappa": total as a share of the teacher's. "accuracy", "unsupported".
        "repeated": share of answers that are unsupported and that the teacher gives too (systematic noise). "shared": the
        same as a share of the unsupported, where there are any.

    Raises
    ------
    ShapeError
        Two students, of which the variance between them has no standard error, or other prompts of the teacher.

    Notes
    -----
    T4, T10. Ratios are linearised (`ratio_values`).

    Examples
    --------
    >>> teacher = Graded(np.array([[[0, 1, 1, 2]]]), np.array([[[True, False, False, False]]]))
    >>> ids, right = np.array([[[0, 0]], [[1, 1]], [[3, 0]]]), np.array([[[True, True]], [[False, False]], [[False, True]]])
    >>> found = answer_values(Graded(ids, right), teacher)
    >>> {name: round(float(table.mean()), 3) for name, table in found.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'accuracy': 0.5, 'unsupported': 0.5, 'repeated': 0.333, 'intra': 0.333, 'inter': 0.5, 'total': 0.833, 'kappa': 1.0,
     'shared': 0.667}
    """
    count, prompts, _ = students.form.shape
    if count == 2 or teacher.form.shape[:2] != (1, prompts):
        raise ShapeError(
            f"answer_values needs S >= 3 students (or one) and a teacher of (1, P={prompts}, k) answers; got S={count} and a "
            f"teacher of {teacher.form.shape}."
        )
    wrong, repeated = students.wrong, given_by(students, teacher)
    found = {"accuracy": students.accuracy(), "unsupported": wrong, "repeated": repeated}
    if count == 1:
        found["intra"] = gini_from_draws(students.form)
    else:
        parts = decompose_agreement(students.form)
        found["intra"], found["inter"] = parts.per_student_intra, parts.per_student_inter
        found["total"] = found["intra"] + found["inter"]
        if (spread := gini_from_draws(teacher.form)).mean() > 0:
            found["kappa"] = ratio_values(found["total"], spread)
    if wrong.any():
        found["shared"] = ratio_values(repeated, wrong)
    return found


def values_of(table: pd.DataFrame) -> Compared:
    """Quantities of several methods, each as numbers per student and prompt; those of the teacher are (1, P).

    Parameters
    ----------
    table : DataFrame
        Numbered answers (see `numbered`) of all methods, one of them "teacher" with k = 0, and columns part, method, k; nats and
        tokens are what given responses cost, NaN where they were not measured; empty and cut count answers, where they are there.

    Returns
    -------
    dict of (part, method, k) to dict of str to (S, P) float
        See `answer_values`; "nats" is in nats a token; "empty" and "length_cut" are shares of answers, beside what they cost.

    Examples
    --------
    >>> rows = {"part": "all", "method": ["teacher", "single"], "k": [0, 1], "student": 0, "prompt": "a", "answers": ["0 1", "1 1"]}
    >>> found = values_of(pd.DataFrame({**rows, "supported": ["10", "00"], "nats": [3.0, 4.0], "tokens": 2.0}))
    >>> found["all", "single", 1]["nats"], found["all", "single", 1]["repeated"]
    (array([[2.]]), array([[1.]]))
    """
    found: Compared = {}
    for part, own in table.groupby("part", sort=False):
        groups: dict[Any, pd.DataFrame] = dict(iter(own.groupby(["method", "k"], sort=False)))
        teacher = marked_of(groups["teacher", 0])
        for (method, k), rows in groups.items():
            values = answer_values(marked_of(rows), teacher)
            if method == "teacher":
                values = {name: values[name] for name in OF_TEACHER}
            values |= _incomplete(rows)
            if rows["nats"].notna().all():
                values["nats"] = ratio_values(*(rows.pivot(index="student", columns="prompt", values=n) for n in COSTS))
            found[str(part), method, k] = values
    return found


def _incomplete(rows: pd.DataFrame) -> dict[str, Array]:
    """Shares (S, P) of answers that are empty, or were cut, as far as the table counts them."""
    found = {}
    for quantity, column in INCOMPLETE.items():
        if column in rows and rows[column].notna().all():
            share = rows.assign(share=rows[column] / [len(answers.split()) for answers in rows["answers"]])
            found[quantity] = share.pivot(index="student", columns="prompt", values="share").to_numpy(dtype=np.float64)
    return found


def beside_undistilled(values: Compared) -> Compared:
    """With what every student's loss on unseen responses is less that of the undistilled one, question by question.

    Examples
    --------
    >>> before, after = {"nats": np.array([[3.0]])}, {"nats": np.array([[1.0]])}
    >>> found = beside_undistilled({("all", "undistilled", 0): before, ("all", "single", 1): after})
    >>> found["all", "single", 1]["nats_more"]
    array([[-2.]])
    """
    before = {part: own["nats"] for (part, method, _), own in values.items() if method == "undistilled"}
    return {
        (part, method, k): {**own, "nats_more": own["nats"] - before[part]} if method != "undistilled" else own
        for (part, method, k), own in values.items()
    }


def summary(values: Compared) -> pd.DataFrame:
    """Every quantity of every method with its standard error and interval, and why where there is none.

    Examples
    --------
    >>> row = summary({("all", "single", 1): {"nats": np.array([[1.0, 2.0, 3.0]])}}).iloc[0]
    >>> round(float(row["estimate"]), 2), round(float(row["low"]), 2), int(row["prompts"])
    (2.0, -0.48, 3)
    """
    rows = []
    for (part, method, k), own in values.items():
        for quantity, table in own.items():
            about = {"part": part, "method": method, "k": k, "quantity": quantity}
            found, size = (
                Values.of(table, chance=quantity in CHANCES, positive=quantity in VARIANCES),
                {"students": len(table), "prompts": table.shape[1]},
            )
            rows.append({**about, **found.columns(), **size, "why": found.why})
    return pd.DataFrame(rows)


def judged(differences: dict[str, Array], **about: str) -> pd.DataFrame:
    """What becomes of a claim that says "lower" and of each of its comparisons; see `uqkd.estimators.judge_claim`.

    Columns more_students, more_prompts and needed (in words) are how many it would take to decide a comparison, if the
    difference that was seen is the true one (`uqkd.estimators.compare`): infinite where the other axis is the bottleneck.

    Examples
    --------
    >>> judged({"multi less single": np.full((4, 3), -1.0) + 0.01 * np.eye(4, 3)}, claim="less")["verdict"].tolist()
    ['holds']
    """
    rows = judge_claim(differences, says="lower").rows()
    every = [compare(one, np.zeros_like(one), comparisons=len(differences)) for one in differences.values()]
    more = [{"more_students": one.more_students, "more_prompts": one.more_prompts} for one in every]
    found = [{**about, **row, **own} for row, own in zip(rows, more, strict=True)]
    return pd.DataFrame([{**row, "needed": needed(row)} for row in found])


def needed(row: dict[str, Any]) -> str:
    """What it would take to decide an open comparison, if the difference that was seen is the true one; empty if that is not known.

    Examples
    --------
    >>> needed({"verdict": "not decided", "more_prompts": 150.0, "more_students": float("inf")})
    ', 150 more questions would decide'
    """
    ways = [(row["more_prompts"], "questions"), (row["more_students"], "students")]
    said = [f"{count:,.0f} more {name}" for count, name in ways if 0 < count < np.inf]
    return f", {' or '.join(said)} would decide" if said and row["verdict"] == "not decided" else ""


def name_of(method: str, k: int) -> str:
    """As figures and tables call a method.

    Examples
    --------
    >>> name_of("multi", 4), name_of("single", 1)
    ('multi 4', 'single')
    """
    return method if method in ("teacher", "undistilled", "single") else f"{method} {k}"
