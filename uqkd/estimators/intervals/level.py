"""The level of every interval: figures, tables and texts take it from here, so that changing it here changes all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import confidence_level

LEVEL = 0.95  # nominal coverage, wherever nothing else is asked for


def tails(level: float = LEVEL) -> tuple[float, float]:
    """Probabilities below and up to which equal tails are cut off.

    Examples
    --------
    >>> tails(0.9)
    (0.05, 0.95)
    """
    outside = round((1.0 - confidence_level(level)) / 2.0, 12)  # .025, not .02500000000000002
    return outside, 1.0 - outside


def normal_quantile(level: float = LEVEL) -> float:
    """Standard errors from the estimate to either end of a normal interval.

    Examples
    --------
    >>> round(normal_quantile(0.9), 6)
    1.644854
    """
    return float(special.ndtri(0.5 + confidence_level(level) / 2.0))


def normal_half_width(standard_error: ArrayLike, *, level: float = LEVEL) -> NDArray[np.float64]:
    """Half-width of the interval of an estimate that is normal with a known standard error.

    Parameters
    ----------
    standard_error : float or array_like
        NaN gives NaN. From the spread of a few students take `half_width`, which is wider.
    level : float
        Coverage.

    Returns
    -------
    float array
        Units of the standard error.

    Examples
    --------
    >>> normal_half_width([1.0, 2.0], level=0.9).round(3)
    array([1.645, 3.29 ])
    """
    return np.asarray(normal_quantile(level) * np.asarray(standard_error, dtype=np.float64))


def percent(level: float = LEVEL) -> str:
    """The level as text says it.

    Examples
    --------
    >>> percent(0.9), percent(0.999)
    ('90 %', '99.9 %')
    """
    return f"{100.0 * confidence_level(level):.6g} %"
