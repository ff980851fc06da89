"""What can be said where a difference never varied: a bound from how often it could have, exact and one-sided."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from uqkd.checking.arrays import Array

ROUNDING = 1e-12  # sums of some thousand float64 terms in another order differ by less


@dataclass(frozen=True)
class Bound:
    """Limits and p-value where every value is the same; made by `unvaried`.

    Attributes
    ----------
    units : int
        Independent trials.
    share : float
        The largest share of other values that so many trials leave possible at the level.
    low, high, p_value : float
        Of the mean; NaN where values have no greatest one.
    """

    units: int
    share: float
    low: float
    high: float
    p_value: float


def is_constant(table: Array, scale: float) -> bool:
    """Whether all values are one value, up to the rounding of numbers as large as `scale`.

    Examples
    --------
    >>> is_constant(np.array([[0.1 + 0.2, 0.3]]), 1.0), is_constant(np.array([[3e-15, 4e-15]]), 4e-15)
    (True, False)
    """
    return bool((np.abs(table - table.flat[0]) <= ROUNDING * scale).all())


def unvaried(value: float, units: int, *, limit: float, level: float) -> Bound:
    """Limits of a mean of which only one value was ever seen.

    Parameters
    ----------
    value : float
        What every trial showed.
    units : int
        Independent trials. Of students and prompts that are both samples, the smaller number: that many cells can be picked of
        which no two share a student or a prompt, and where all of a student's answers go together no more can be had.
    limit : float
        Largest size that a value can have; infinite where there is none.
    level : float
        Of the bound on the share; the limits are on both sides of the value only where both are possible.

    Returns
    -------
    Bound

    Notes
    -----
    Other values than the one that n independent trials showed have a chance π of at most 1 − (1 − level)^(1/n), about 3/n at .95
    (the rule of three, exactly), since (1 − π)^n is the chance of seeing none. The mean then lies within π of the largest
    values. The p-value is two-sided, of a mean of zero: n trials that all show c have a chance of at most (w/(w + |c|))^n then,
    w the limit; for c = w that is the sign test.

    Examples
    --------
    >>> bound = unvaried(0.0, 100, limit=1.0, level=0.95)
    >>> round(bound.high, 4), bound.p_value
    (0.0295, 1.0)
    >>> round(unvaried(1.0, 6, limit=1.0, level=0.95).p_value, 5)  # the sign test, 2/2^6
    0.03125
    """
    share = -math.expm1(math.log1p(-level) / units)
    if not math.isfinite(limit):
        return Bound(units, share, math.nan, math.nan, 1.0 if value == 0.0 else math.nan)
    low, high = ((1.0 - share) * value + share * sign * limit for sign in (-1.0, 1.0))
    p_value = 1.0 if value == 0.0 else min(1.0, 2.0 * (limit / (limit + abs(value))) ** units)
    return Bound(units, share, low, high, p_value)
