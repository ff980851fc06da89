"""Means over an incomplete table of students × prompts, both of them samples, and their standard errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.estimators.variance.two_way import two_way_standard_error

Array = NDArray[np.float64]


def prompt_weighted_mean(table: ArrayLike) -> Array:
    """Mean over the students that are there, prompt by prompt; NaN where there is none.

    Examples
    --------
    >>> prompt_weighted_mean([[1.0, 2.0], [3.0, np.nan]])
    array([2., 2.])
    """
    values = np.asarray(table, dtype=np.float64)
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def incomplete_error(table: ArrayLike, *, random: bool = True) -> float:
    """Standard error of a mean over prompts of means over the students that are there.

    Parameters
    ----------
    table : (S, P) float
        NaN where a student has no value for a prompt.
    random : bool
        Prompts are a sample too; otherwise all that are meant.

    Returns
    -------
    float
        With weights w = 1/(P·S_p): v_students Σ_s w_s.² + v_prompts/P + v_both Σ w², the components without bias by
        Henderson's method 3, and not below v_both Σ w². Of a complete table exactly `two_way_standard_error`. NaN where too
        little is there to know them.

    Notes
    -----
    T10, T11; Henderson (1953); Searle, Casella & McCulloch (1992), §5.5: of a connected table of N values,
    E[R(students | prompts)] = (N − P)·v_students + (S − 1)·v_both, and so with prompts.

    Examples
    --------
    >>> round(incomplete_error([[1.0, 2.0], [3.0, 4.0]]), 4)
    1.118
    >>> round(incomplete_error([[1.0, 2.0, 1.0], [3.0, 4.0, 2.0], [2.0, 5.0, np.nan]]), 4)
    0.8206
    """
    values = np.asarray(table, dtype=np.float64)
    there = ~np.isnan(values)
    values, there = _used(values, there)
    if not values.size:
        return float("nan")
    if there.all() and random:
        return two_way_standard_error(values)
    students, prompts = values.shape
    count, of_prompt, of_student = int(there.sum()), there.sum(axis=0), there.sum(axis=1)
    if students > 1 and prompts == 1:
        return float(values.std(ddof=1) / np.sqrt(students))
    dof = count - students - prompts + 1
    if dof <= 0:
        return float("nan")
    filled = np.where(there, values, 0.0)
    within_prompts = np.where(there, values - filled.sum(axis=0) / of_prompt, 0.0)
    within_students = np.where(there, values - (filled.sum(axis=1) / of_student)[:, None], 0.0)
    gram = np.diag(of_student.astype(np.float64)) - (there / of_prompt) @ there.T.astype(np.float64)
    score = within_prompts.sum(axis=1)
    reduction = float(score[1:] @ np.linalg.lstsq(gram[1:, 1:], score[1:], rcond=None)[0])  # R(students | prompts)
    rest = max(float((within_prompts**2).sum()) - reduction, 0.0)
    both = rest / dof
    of_students = (reduction - (students - 1) * both) / (count - prompts)
    of_prompts = (float((within_students**2).sum()) - rest - (prompts - 1) * both) / (count - students)
    weight = there / (prompts * of_prompt)
    own = both * float((weight**2).sum())
    square = of_students * float((weight.sum(axis=1) ** 2).sum()) + random * of_prompts / prompts + own
    return float(np.sqrt(max(square, own)))


def _used(values: Array, there: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """Without students and prompts that have no value."""
    rows, columns = there.any(axis=1), there.any(axis=0)
    if rows.all() and columns.all():  # as they lie, so that sums are those of a complete table to the bit
        return values, there
    return values[rows][:, columns], there[rows][:, columns]
