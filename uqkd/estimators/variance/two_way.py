"""Means over a table of students × prompts, both of them samples, and their standard errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import finite, known_or_nan
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError, VarianceError


def two_way_standard_error(values: ArrayLike) -> float:
    """Standard error of the grand mean of a students × prompts table when both are samples.

    Var(mean) = v_students/S + v_prompts/P + v_both/(SP), estimated without bias from the two-way analysis of
    variance as (MS_students + MS_prompts − MS_both)/(SP). Where that falls below MS_both/(SP), the smallest
    value that non-negative components allow, the latter is returned.

    Parameters
    ----------
    values : (S, P) float
        One number per student and prompt; S = 1 or P = 1 leaves the other way only.

    Returns
    -------
    float
        Units of `values`. NaN where there is a single value.

    Notes
    -----
    T10, T11; Searle, Casella & McCulloch (1992), two-way crossed random effects; Owen (2007).

    Examples
    --------
    >>> round(two_way_standard_error([[1.0, 2.0], [3.0, 4.0]]), 4)
    1.118
    """
    table = raisable("values", known_or_nan("values", values))
    if table.ndim != 2:
        raise ShapeError(f"two_way_standard_error needs axes (S, P); got shape {table.shape}.")
    students, prompts = table.shape
    ms_rows, ms_columns, ms_both = mean_squares(table)
    if students == 1 or prompts == 1:
        one_way = ms_columns if students == 1 else ms_rows
        return float(np.sqrt(one_way / (students * prompts)))
    return float(np.sqrt(max(ms_rows + ms_columns - ms_both, ms_both) / (students * prompts)))


def mean_squares(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean squares of students, of prompts and of both together of a table (S, P); NaN where there is one only.

    Examples
    --------
    >>> mean_squares(np.array([[1.0, 2.0], [3.0, 4.0]]))
    (4.0, 1.0, 0.0)
    """
    students, prompts = table.shape
    grand = table.mean()
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    ms_rows = prompts * ((rows - grand) ** 2).sum() / (students - 1) if students > 1 else np.nan
    ms_columns = students * ((columns - grand) ** 2).sum() / (prompts - 1) if prompts > 1 else np.nan
    both = ((table - rows - columns + grand) ** 2).sum()
    ms_both = both / ((students - 1) * (prompts - 1)) if students > 1 and prompts > 1 else np.nan
    return float(ms_rows), float(ms_columns), float(ms_both)


def two_way_mean(values: ArrayLike) -> tuple[float, float]:
    """Mean over students and prompts (S, P), and its standard error; see `two_way_standard_error`.

    Examples
    --------
    >>> two_way_mean([[1.0, 2.0], [3.0, 4.0]])[0]
    2.5
    """
    return float(known_or_nan("values", values).mean()), two_way_standard_error(values)


def share_of(values: ArrayLike, whole: ArrayLike) -> tuple[float, float]:
    """Mean over students and prompts as a share of the mean of what there is to share, and its standard error.

    Parameters
    ----------
    values : (S, P) float
        One number per student and prompt, such as a student's intra-student variance.
    whole : (P,) float
        What it is a share of, known for each prompt, such as the teacher's variance. Its mean must be positive.

    Returns
    -------
    share, standard_error : float
        A ratio of means, so that a prompt counts by what there is to share; students and prompts are both samples.

    Raises
    ------
    VarianceError
        Nothing to share.

    Examples
    --------
    >>> share, error = share_of([[0.5, 1.0], [0.7, 1.4]], [1.0, 2.0])
    >>> round(share, 3), round(error, 3)
    (0.6, 0.094)
    """
    table, of = (raisable(*x) for x in (("values", known_or_nan("values", values)), ("whole", finite("whole", whole))))
    if table.ndim != 2 or of.shape != table.shape[1:]:
        raise ShapeError(f"share_of needs values (S, P) and whole (P,); got shapes {table.shape} and {of.shape}.")
    unit = float(of.mean())
    if not unit > 0:
        raise VarianceError(f"share_of has nothing to share: the mean of whole is {unit:g}, and must be positive.")
    share = float(table.mean()) / unit
    return share, two_way_standard_error(table - share * of) / unit


def ratio_values(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    """Numbers per student and prompt whose mean is a ratio of means and whose spread is that ratio's, to first order.

    With them a ratio, or the difference of two of them, has its interval as any mean has.

    Parameters
    ----------
    part, whole : (S, P) float, or what is broadcast to it
        The mean of `whole` must be positive.

    Returns
    -------
    (S, P) float
        r + (part − r·whole)/mean(whole), r = mean(part)/mean(whole).

    Raises
    ------
    VarianceError
        Nothing to divide by.

    Examples
    --------
    >>> ratio_values([[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [2.0, 2.0]]).mean()
    np.float64(0.5)
    """
    of, among = np.broadcast_arrays(*(known_or_nan(*x) for x in (("part", part), ("whole", whole))))
    unit = float(among.mean())
    if not unit > 0:
        raise VarianceError(
            f"ratio_values has nothing to divide by: the mean of whole is {unit:g}, and must be positive."
        )
    ratio = float(of.mean()) / unit
    return np.asarray(ratio + (of - ratio * among) / unit)
