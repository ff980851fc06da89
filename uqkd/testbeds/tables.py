"""Tidy tables of students: a row each, means over them with standard errors, and the teacher's own number beside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from uqkd.estimators import difference_half_width


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


def students_and_teacher(
    students: Mapping[str, NDArray[np.float64]], teacher: Mapping[str, NDArray[np.float64]], /, **about: Any
) -> pd.DataFrame:
    """A tidy table of students and of their teacher; see `tidy`.

    Examples
    --------
    >>> students_and_teacher({"nll": np.array([1.0])}, {"nll": np.array([0.5])}, T=2)["who"].tolist()
    ['student', 'teacher']
    """
    return pd.DataFrame(tidy(students, **about, who="student") + tidy(teacher, **about, who="teacher"))


def square(table: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """A column of a table with a row for each student and prompt, as (S, P).

    Examples
    --------
    >>> square(pd.DataFrame({"student": [0, 1], "prompt": [0, 0], "nats": [1.0, 2.0]}), "nats")
    array([[1.],
           [2.]])
    """
    return table.pivot(index="student", columns="prompt", values=column).to_numpy()


def to_array(table: pd.DataFrame, axes: Sequence[str], value: str) -> NDArray[np.int64]:
    """A column of whole numbers, not negative, as an array whose axes are numbered in other columns.

    Raises
    ------
    ValueError
        Places without a row.

    Examples
    --------
    >>> to_array(pd.DataFrame({"student": [1, 0], "answer": [7, 9]}), ["student"], "answer")
    array([9, 7])
    """
    places = tuple(table[axis].to_numpy() for axis in axes)
    found = np.full([int(own.max()) + 1 for own in places], -1, dtype=np.int64)
    found[places] = table[value].to_numpy()
    if (found < 0).any():
        raise ValueError(f"{int((found < 0).sum())} of {found.size} rows are missing: {value} by {', '.join(axes)}")
    return found


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


def differences(found: pd.DataFrame, reference: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Each mean less that of a reference with other students.

    Parameters
    ----------
    found, reference : DataFrame
        As from `over_students`: columns value, standard_error, students, and `on`.
    on : sequence of str
        Columns that say which row of the reference belongs to a row; rows without one are left out.

    Returns
    -------
    DataFrame
        Columns of `found`, and difference, half_width of its interval (Welch), and sign (see `signs`).

    Examples
    --------
    >>> rows = {"measure": ["nll"], "standard_error": [0.1], "students": [6]}
    >>> found = differences(pd.DataFrame({**rows, "value": [2.0]}), pd.DataFrame({**rows, "value": [1.0]}), ["measure"])
    >>> found[["difference", "half_width", "sign"]].round(3).to_dict("records")
    [{'difference': 1.0, 'half_width': 0.315, 'sign': 'above'}]
    """
    numbers = ["value", "standard_error", "students"]
    joined = found.merge(reference[[*on, *numbers]], on=list(on), suffixes=("", "_other"))
    joined["difference"] = joined["value"] - joined["value_other"]
    spreads = [(joined[f"standard_error{of}"], joined[f"students{of}"]) for of in ("", "_other")]
    joined["half_width"] = difference_half_width(*spreads)
    joined["sign"] = signs(joined["difference"], joined["half_width"])
    return joined.drop(columns=[f"{name}_other" for name in numbers])


def relative_to(table: pd.DataFrame, keys: Sequence[str], *, method: str) -> pd.DataFrame:
    """Estimates over those of one method with the same keys, and the standard error of a ratio of independent means.

    Parameters
    ----------
    table : DataFrame
        Columns method, simulated, standard_error and the keys.
    keys : sequence of str
        Columns in which an estimate and the one that it is divided by agree.
    method : str
        What is divided by; its own ratio is 1 without error.

    Examples
    --------
    >>> rows = [{"k": 2, "method": m, "simulated": v, "standard_error": 0.1 * v} for m, v in (("average", 2.0), ("other", 1.0))]
    >>> relative_to(pd.DataFrame(rows), ["k"], method="average")[["ratio", "ratio_se"]].round(3).values.tolist()
    [[1.0, 0.0], [0.5, 0.071]]
    """
    plain = table.loc[table["method"] == method, [*keys, "simulated", "standard_error"]]
    joined = table.merge(plain, on=list(keys), how="left", suffixes=("", "_plain"))
    ratio = joined["simulated"] / joined["simulated_plain"]
    own, other = (joined[f"standard_error{end}"] / joined[f"simulated{end}"] for end in ("", "_plain"))
    return joined.assign(ratio=ratio, ratio_se=ratio * np.hypot(own, other) * (joined["method"] != method))
