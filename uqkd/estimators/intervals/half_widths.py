"""Half-widths of intervals for means over few students: Student's t, and Welch's for differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import confidence_level, known_or_nan
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError
from uqkd.estimators.intervals.level import LEVEL

Array = NDArray[np.float64]


def mean_and_error(values: ArrayLike) -> tuple[float, float]:
    """Mean of independent numbers, and its standard error from their spread.

    Parameters
    ----------
    values : (n,) float
        At least two; a NaN gives NaN.

    Returns
    -------
    mean, standard_error : float

    Raises
    ------
    ShapeError
        Fewer than two numbers, or not one axis.

    Examples
    --------
    >>> mean_and_error([1.0, 3.0, 5.0, 7.0])
    (4.0, 1.2909944487358056)
    """
    sample = raisable("values", known_or_nan("values", values))
    if sample.ndim != 1 or sample.size < 2:
        raise ShapeError(f"mean_and_error needs one axis of at least two values; got shape {sample.shape}.")
    return float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(sample.size))


def half_width(standard_error: ArrayLike, count: ArrayLike, *, level: float = LEVEL) -> Array:
    """Half-width of the interval for a mean over `count` students: t quantile times standard error.

    Parameters
    ----------
    standard_error : float or array_like
        Of the mean, from the spread of the students; NaN gives NaN.
    count : int or array_like
        Students behind it.
    level : float
        Coverage, exact for normal students.

    Returns
    -------
    float array
        Units of the standard error; NaN where fewer than two students leave the spread unknown.

    Examples
    --------
    >>> half_width(1.0, [2, 6, 1000]).round(2)
    array([12.71,  2.57,  1.96])
    """
    counts, error = known_or_nan("count", count), known_or_nan("standard_error", standard_error)
    return np.asarray(_quantile(counts - 1.0, level) * error)


def difference_half_width(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], *, level: float = LEVEL
) -> Array:
    """Half-width of the interval for the difference of two means over independent students.

    Parameters
    ----------
    first, second : (standard error, count)
        Of either mean.
    level : float

    Returns
    -------
    float array
        0 where neither mean has any spread, NaN where a side has fewer than two students.

    Notes
    -----
    Welch (1947): √(a² + b²) times the t quantile at (a² + b²)²/(a⁴/(n − 1) + b⁴/(m − 1)) degrees of freedom.

    Examples
    --------
    >>> float(difference_half_width((1.0, 6), (1.0, 6)).round(2)), float(difference_half_width((1.0, 6), (0.0, 6)).round(2))
    (3.15, 2.57)
    """
    (a, n), (b, m) = (tuple(known_or_nan("a side", x) for x in side) for side in (first, second))
    square = a**2 + b**2
    spread = a**4 / np.maximum(n - 1.0, 1.0) + b**4 / np.maximum(m - 1.0, 1.0)
    dof = np.divide(square**2, spread, out=np.ones_like(square + spread), where=spread > 0)
    return np.asarray(_quantile(np.where((n < 2) | (m < 2), np.nan, dof), level) * np.sqrt(square))


def _quantile(dof: Array, level: float) -> Array:
    """t quantile; NaN at no degrees of freedom."""
    known = np.where(dof > 0, dof, np.nan)
    return np.asarray(special.stdtrit(known, 0.5 + confidence_level(level) / 2.0))
