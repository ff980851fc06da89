"""Intervals for means over students and prompts of numbers that each student has at each prompt, such as pseudo-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import Array, confidence_level, shaped
from uqkd.checking.variation import raisable
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.prompt_means.interval import prompt_codes
from uqkd.estimators.intervals.prompt_means.limits import LARGEST_LOG, few_draws, prompt_variance
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
    [2.67, 0.0, 10.51]
    """
    students, prompts = table.shape[-2:]
    value, noise, beside = table.mean(axis=(-2, -1)), np.zeros(table.shape[:-2]), np.zeros(table.shape[:-2])
    if students > 1:
        part = within_part(StudentSpread(np.zeros((*table.shape, 1)), table, np.inf))
        unit = np.where(value > 0, value, 1.0) ** 2
        noise, beside = part.relative * unit, part.beside * unit
    cells = max((students - 1) * (prompts - 1), 1)
    square = few_draws(max(students, 2), level) ** 2 * beside + few_draws(cells + 1, level) ** 2 * noise
    if groups is not None:
        of_prompt = table.var(axis=-2, ddof=1).mean(axis=-1) / students if students > 1 else 0.0 * value
        shared = np.maximum(of_prompt - beside - noise, 0.0) / (prompts - 1.0)
        extra = prompt_variance(table.mean(axis=-2), shared, groups)
        square = square + few_draws(int(groups.max()) + 1, level) ** 2 * extra
    reach = np.sqrt(square)
    low, high = value - reach, value + reach
    if positive:
        scale = np.where(value > 0, value, 1.0)
        low = np.where(value > 0, np.maximum(low, 0.0), low)
        high = np.where(value > 0, scale * np.exp(np.minimum(reach / scale, LARGEST_LOG)), high)
    return value, low, high


def table_interval(
    table: ArrayLike,
    *,
    level: float = LEVEL,
    prompts: str = "random",
    groups: ArrayLike | None = None,
    positive: bool = False,
) -> Interval:
    """Interval for the mean over students and prompts of numbers that each student has at each prompt.

    Parameters
    ----------
    table : (S, P) float
        Of students alike in distribution, such as pseudo-values of a variance or an entropy; one student is taken as given.
    level : float
        Nominal coverage.
    prompts : {"random", "fixed"}
        Whether the prompts are a sample of those that are meant, or all of them.
    groups : (P,) array_like, optional
        Topic of each prompt: prompts of a topic count as one draw. Of random prompts only.
    positive : bool
        The truth cannot be negative, as a variance or an entropy: the upper limit is on the logarithmic scale.

    Returns
    -------
    Interval
        NaN limits where nothing varies, and nothing can be said from it.

    Raises
    ------
    OptionError
        An unknown kind of prompts, or groups of fixed prompts.
    ShapeError
        Not two axes; random prompts, but a single prompt or group; groups of another length.
    NotFiniteError
        Any NaN or infinity.

    Notes
    -----
    Students have S − 1 degrees of freedom, cells (S − 1)(P − 1), random prompts P − 1; the t quantile of the first and the last
    times √((n + 1)/(n − 1)), as few draws hide how skewed they are.

    Examples
    --------
    >>> found = table_interval([[1.0, 2.0], [3.0, 4.0], [2.0, 4.0]], prompts="fixed")
    >>> round(float(found.low), 2), round(float(found.high), 2)
    (-0.99, 6.32)
    """
    values = raisable("table", shaped("table", table, "S P"))
    level = confidence_level(level)
    codes = prompt_codes(values.shape[1], prompts, groups)
    found = table_limits(values, level=level, groups=codes, positive=positive)
    estimate, low, high = (float(x) for x in found)
    note = "Student's t of students, cells and random prompts; skewness of few is allowed for"
    if not low < high:
        low, high, note = np.nan, np.nan, "nothing varies: nothing to find an interval from"
    return Interval(estimate, low, high, level, f"two-way, {prompts} prompts", note)
