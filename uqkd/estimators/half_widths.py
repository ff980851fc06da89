"""Half-widths of intervals for means over few students: Student's t, and Welch's for differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.errors import ShapeError
from uqkd.estimators.checking import confidence_level

Array = NDArray[np.float64]


def half_width(standard_error: ArrayLike, count: ArrayLike, *, level: float = 0.95) -> Array:
    """Half-width of the interval for a mean over `count` students: t quantile times standard error.

    Parameters
    ----------
    standard_error : float or array_like
        Of the mean, from the spread of the students; NaN gives NaN.
    count : int or array_like
        Students behind it, at least 2.
    level : float
        Coverage, exact for normal students.

    Returns
    -------
    float array
        Units of the standard error.

    Raises
    ------
    ShapeError
        Fewer than two students.

    Examples
    --------
    >>> half_width(1.0, [2, 6, 1000]).round(2)
    array([12.71,  2.57,  1.96])
    """
    counts = np.asarray(count, dtype=np.float64)
    if (counts < 2).any():
        raise ShapeError(f"an interval for a mean needs two students or more; got {counts.min():g}.")
    return np.asarray(_quantile(counts - 1.0, level) * np.asarray(standard_error, dtype=np.float64))


def difference_half_width(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], *, level: float = 0.95
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
        0 where neither mean has any spread.

    Raises
    ------
    ShapeError
        Fewer than two students on a side.

    Notes
    -----
    Welch (1947): √(a² + b²) times the t quantile at (a² + b²)²/(a⁴/(n − 1) + b⁴/(m − 1)) degrees of freedom.

    Examples
    --------
    >>> float(difference_half_width((1.0, 6), (1.0, 6)).round(2)), float(difference_half_width((1.0, 6), (0.0, 6)).round(2))
    (3.15, 2.57)
    """
    (a, n), (b, m) = (tuple(np.asarray(x, dtype=np.float64) for x in side) for side in (first, second))
    if (n < 2).any() or (m < 2).any():
        raise ShapeError(
            f"an interval for a difference needs two students on each side; got {n.min():g} and {m.min():g}."
        )
    square = a**2 + b**2
    spread = a**4 / (n - 1.0) + b**4 / (m - 1.0)
    dof = np.divide(square**2, spread, out=np.ones_like(square + spread), where=spread > 0)
    return np.asarray(_quantile(dof, level) * np.sqrt(square))


def _quantile(dof: Array, level: float) -> Array:
    return np.asarray(special.stdtrit(dof, 0.5 + confidence_level(level) / 2.0))
