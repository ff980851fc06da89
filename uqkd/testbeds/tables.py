"""Tidy tables of students, a row each, and whether differences lie beyond their intervals."""

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
