"""Students of several teachers: means and differences whose intervals are for other teachers and for other students.

Teachers are trained anew, from other starts and in other orders, and each has its own students: the mean over the students of
one teacher is one draw. What the draws differ by is due to both, so that their spread, with Student's t, is all that an interval
needs. Methods are compared teacher by teacher, and their students begin alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from uqkd.estimators import LEVEL, half_width
from uqkd.stacked import SeedDesign
from uqkd.targets import ClassTargets
from uqkd.testbeds.tables import signs

NARROW, WIDE = 0.90, 0.99  # levels about LEVEL, at which counts of what is decided have their limits


def alike(students: int, methods: int = 1) -> SeedDesign:
    """Seeds of the students of several methods: student s of each begins alike and sees the same batches, in every cell too.

    Examples
    --------
    >>> alike(2, methods=3).order
    array([0, 1, 0, 1, 0, 1])
    """
    level = np.tile(np.arange(students), methods)
    return SeedDesign(level, level, level, recurring=("responses", "initialisation", "order"))


def side_by_side(targets: Sequence[ClassTargets], students: int) -> ClassTargets:
    """Targets of several methods for one pass of training: those of the first for so many students, then of the second.

    Parameters
    ----------
    targets : sequence of ClassTargets
        Of one student, seen alike by all, or of each.
    students : int
        S, of each method.

    Examples
    --------
    >>> one = ClassTargets(np.array([[[0.5, 0.5]]]), None, "a")
    >>> side_by_side([one, one], 3).probabilities.shape
    (6, 1, 2)
    """
    each = [np.broadcast_to(one.probabilities, (students, *one.probabilities.shape[1:])) for one in targets]
    return ClassTargets(np.concatenate(each), None, "all")


def by_teacher(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Of every teacher: the mean over its students of every measure, and its own number.

    Parameters
    ----------
    table : DataFrame
        Columns `by`, "replicate" (which teacher), "who" ("student" or "teacher"), "student", "measure", "value".
    by : sequence of str
        What tells settings apart; "measure" comes last by itself.

    Returns
    -------
    DataFrame
        `by`, measure, replicate, value, students, of_teacher (NaN where there is none).

    Examples
    --------
    >>> rows = [(0, "student", 0, 1.0), (0, "student", 1, 3.0), (0, "teacher", 0, 5.0)]
    >>> table = pd.DataFrame([{"replicate": r, "who": w, "student": s, "measure": "nll", "value": v} for r, w, s, v in rows])
    >>> by_teacher(table, []).iloc[0].to_dict()
    {'measure': 'nll', 'replicate': 0, 'value': 2.0, 'students': 2, 'of_teacher': 5.0}
    """
    keys = [*by, "measure", "replicate"]
    students = table[table["who"] == "student"].groupby(keys, sort=False)["value"]
    found = students.agg(value="mean", students="count").reset_index()
    teachers = table[table["who"] == "teacher"].groupby(keys, sort=False)["value"].first().rename("of_teacher")
    return found.merge(teachers.reset_index(), on=keys, how="left")


def most_frequent(values: pd.Series) -> Any:
    """The value that most rows have, as the setting that most teachers choose.

    Examples
    --------
    >>> most_frequent(pd.Series(["soft", "hard", "soft"]))
    'soft'
    """
    return values.mode().iloc[0]


def over_teachers(each: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Means over teachers with intervals for other teachers and students.

    Parameters
    ----------
    each : DataFrame
        As from `by_teacher`.
    by : sequence of str

    Returns
    -------
    DataFrame
        `by`, measure, value, teachers, standard_error, half_width, students (of all teachers), of_teacher (their mean).

    Examples
    --------
    >>> each = pd.DataFrame({"measure": "nll", "replicate": [0, 1], "value": [1.0, 3.0], "students": 2, "of_teacher": [5.0, 7.0]})
    >>> over_teachers(each, [])[["value", "teachers", "standard_error", "students", "of_teacher"]].values.tolist()
    [[2.0, 2.0, 1.0, 4.0, 6.0]]
    """
    grouped = each.groupby([*by, "measure"], sort=False)
    found = grouped["value"].agg(value="mean", teachers="count", standard_error="sem")
    found["half_width"] = half_width(found["standard_error"], found["teachers"])
    found["students"], found["of_teacher"] = grouped["students"].sum(), grouped["of_teacher"].mean()
    return found.reset_index()


def less(
    each: pd.DataFrame, reference: pd.DataFrame | str, *, by: Sequence[str], on: Sequence[str] = ()
) -> pd.DataFrame:
    """Differences from a reference, teacher by teacher: their means with intervals.

    Parameters
    ----------
    each : DataFrame
        As from `by_teacher`.
    reference : DataFrame or str
        Rows as those of `each` with the same teachers, or the column of `each` that holds it, as "of_teacher".
    by : sequence of str
        What tells settings apart.
    on : sequence of str
        Columns, beside measure and replicate, that say which row of the reference belongs to a row.

    Returns
    -------
    DataFrame
        `by`, measure, difference, standard_error, teachers, half_width, p (two-sided, of no difference; NaN without spread), sign.

    Examples
    --------
    >>> each = pd.DataFrame({"measure": "nll", "replicate": [0, 1, 2], "value": [1.0, 3.0, 5.0], "of_teacher": [0.0, 2.1, 3.9]})
    >>> less(each, "of_teacher", by=[]).round(3).to_dict("records")
    [{'measure': 'nll', 'difference': 1.0, 'standard_error': 0.058, 'teachers': 3, 'half_width': 0.248, 'p': 0.003, ...}]
    """
    if isinstance(reference, str):
        joined = each.assign(apart=each["value"] - each[reference])
    else:
        keys = [*on, "measure", "replicate"]
        joined = each.merge(reference[[*keys, "value"]], on=keys, suffixes=("", "_other"))
        joined["apart"] = joined["value"] - joined["value_other"]
    grouped = joined.dropna(subset="apart").groupby([*by, "measure"], sort=False)["apart"]
    found = grouped.agg(difference="mean", standard_error="sem", teachers="count").reset_index()
    return decided(found)


def decided(found: pd.DataFrame) -> pd.DataFrame:
    """A table of differences with half_width, p and sign, from their standard errors over few teachers."""
    error, count = found["standard_error"].to_numpy(), found["teachers"].to_numpy()
    spread = np.where(error > 0, error, np.nan)
    p = 2 * stats.t.sf(np.abs(found["difference"]) / spread, np.maximum(count - 1, 1))
    found = found.assign(half_width=half_width(error, count), p=np.where(count > 1, p, np.nan))
    return found.assign(sign=signs(found["difference"], found["half_width"]))


def counted(found: pd.DataFrame, sign: str) -> tuple[int, int, int]:
    """How many differences of a table (see `less`) are decided so, and at the levels `WIDE` and `NARROW`: a count, low, high.

    Another run decides a few of them otherwise; most likely those that one of these levels decides and another does not.

    Examples
    --------
    >>> counted(pd.DataFrame({"difference": [1.0, 1.0, -1.0], "p": [0.04, 0.07, 0.001]}), "above")
    (1, 0, 2)
    """
    own = found["difference"] > 0 if sign == "above" else found["difference"] < 0
    least, level, most = (int((own & beyond(found["p"], at)).sum()) for at in (WIDE, LEVEL, NARROW))
    return level, least, most


def beyond(p: ArrayLike, level: float = LEVEL) -> np.ndarray:
    """Whether a difference is decided at a level; an unknown p decides nothing.

    Examples
    --------
    >>> beyond([0.01, 0.2, np.nan]).tolist()
    [True, False, False]
    """
    return np.asarray(np.asarray(p, dtype=np.float64) <= 1 - level)
