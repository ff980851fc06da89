"""Tidy tables of students: a row each, means over them with standard errors, and the teacher's own number beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray


def tidy(numbers: Mapping[str, NDArray[np.float64]], **about: Any) -> list[dict[str, Any]]:
    """One row per student and measure, with what they are about: a tidy table's rows.

    Examples
    --------
    >>> tidy({"accuracy": np.array([0.5, 1.0])}, method="KD")[1]
    {'method': 'KD', 'student': 1, 'measure': 'accuracy', 'value': 1.0}
    """
    return [
        {**about, "student": s, "measure": name, "value": float(value)}
        for name, values in numbers.items()
        for s, value in enumerate(values)
    ]


def over_students(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean and standard error over students of every measure, and the teacher's own number.

    Parameters
    ----------
    table : DataFrame
        Columns `by`, "who" ("student" or "teacher"), "student", "measure", "value".
    by : sequence of str
        What tells settings apart; "measure" comes last by itself.

    Returns
    -------
    DataFrame
        `by`, measure, value, students, standard_error, of_teacher (NaN where there is none).

    Examples
    --------
    >>> rows = [("student", 0, 1.0), ("student", 1, 3.0), ("teacher", 0, 5.0)]
    >>> table = pd.DataFrame([{"T": 2, "who": w, "student": s, "measure": "nll", "value": v} for w, s, v in rows])
    >>> over_students(table, ["T"]).iloc[0].to_dict()
    {'T': 2, 'measure': 'nll', 'value': 2.0, 'students': 2, 'standard_error': 1.0, 'of_teacher': 5.0}
    """
    keys = [*by, "measure"]
    students = table[table["who"] == "student"].groupby(keys, sort=False)["value"]
    found = students.agg(value="mean", students="count", standard_error="sem").reset_index()
    teachers = table[table["who"] == "teacher"].groupby(keys, sort=False)["value"].first().rename("of_teacher")
    return found.merge(teachers.reset_index(), on=keys, how="left")


def signs(difference: ArrayLike, half_width: ArrayLike) -> NDArray[np.str_]:
    """Whether differences lie beyond their intervals.

    Students that agree to the digit say nothing about how far others would: an interval without width decides nothing.

    Parameters
    ----------
    difference, half_width : float arrays
        Of one shape; NaN where unknown.

    Returns
    -------
    str array
        "above", "below" or "undecided".

    Examples
    --------
    >>> signs([0.3, -0.3, 0.1, 0.3], [0.2, 0.2, 0.2, 0.0]).tolist()
    ['above', 'below', 'undecided', 'undecided']
    """
    apart, reach = np.asarray(difference, dtype=np.float64), np.asarray(half_width, dtype=np.float64)
    known = reach > 0
    return np.select([known & (apart > reach), known & (apart < -reach)], ["above", "below"], "undecided")
