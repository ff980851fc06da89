"""Intervals for means over students and prompts of numbers that each student has at each prompt, such as pseudo-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import Array
from uqkd.estimators.intervals.prompt_means.limits import few_draws, prompt_variance
from uqkd.estimators.intervals.prompt_means.spread import StudentSpread, within_part


def table_limits(
    table: Array, *, level: float, groups: NDArray[np.intp] | None, positive: bool
) -> tuple[Array, Array, Array]:
    """Mean of a table (..., S, P) and its limits; no groups: fixed prompts.

    Students count as S − 1 degrees of freedom, cells as (S − 1)(P − 1), prompts as P − 1. Of what cannot be negative, such as an
    entropy or a variance, the upper limit is on the logarithmic scale, as the estimate is skewed.

    Examples
    --------
    >>> found = table_limits(np.array([[1.0, 2.0], [3.0, 4.0], [2.0, 4.0]]), level=0.95, groups=None, positive=True)
    >>> [float(x.round(2)) for x in found]
    [2.67, 0.0, 35.06]
    """
    students = table.shape[-2]
    none = StudentSpread(np.zeros((*table.shape, 1)), table, np.inf)
    part = within_part(none)
    value = part.value
    cells = part.relative * np.where(value > 0, value, 1.0) ** 2  # as within_part made it relative
    beside = part.beside * np.where(value > 0, value, 1.0) ** 2
    reach = few_draws(max(students, 2), level) * np.sqrt(beside + cells / max(table.shape[-1] - 1, 1))
    reach = np.hypot(reach, few_draws((students - 1) * max(table.shape[-1] - 1, 1) + 1, level) * np.sqrt(cells))
    if groups is not None:
        at_prompt = table.mean(axis=-2)
        own = table.var(axis=-2, ddof=1).mean(axis=-1) / students / (table.shape[-1] - 1.0)
        shared = np.maximum(own - (beside + cells) / (table.shape[-1] - 1.0), 0.0)
        reach = np.hypot(
            reach, few_draws(int(groups.max()) + 1, level) * np.sqrt(prompt_variance(at_prompt, shared, groups))
        )
    low, high = value - reach, value + reach
    if positive:
        scale = np.where(value > 0, value, 1.0)
        low = np.where(value > 0, np.maximum(low, 0.0), low)
        high = np.where(value > 0, scale * np.exp(np.minimum(reach / scale, 25.0)), high)
    return value, low, high
