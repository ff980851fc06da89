"""Intervals for a share of independent points, such as an accuracy; at 0 and 100 % a bound, never a point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import Array
from uqkd.errors import DataError, ShapeError, one_of
from uqkd.estimators.intervals.level import LEVEL, normal_quantile, tails
from uqkd.estimators.intervals.mean_squares import Interval

PROPORTION_METHODS = ("mid-p", "clopper-pearson", "wilson")
_HALVINGS = 50  # bisections of [0, 1]: 1e-15

# Exact sums over all numbers of successes, for 499 shares in [.002, .998] and n = 10, 50, 200, 2,000 (level .95).
_NOTES = {
    "mid-p": "independent points; each tail counts half of the observed number: covers .926-.998 at n = 10 to 50, .933-.992 at "
    "200, .943-.969 at 2,000; the extremes where the share is near 0 or 1",
    "clopper-pearson": "independent points; never covers less than its level: .95-.999, on average .984 at n = 10, .961 at 200",
    "wilson": "independent points; score interval: covers .851-.987 at n = 10, .905-.983 at 50, .933-.977 at 200; least where "
    "the share is near 0 or 1",
}


def proportion_interval(
    successes: ArrayLike, trials: ArrayLike, *, level: float = LEVEL, method: str = "mid-p"
) -> Interval:
    """Interval for the share of successes among independent trials.

    Parameters
    ----------
    successes, trials : int or integer array_like
        Of one shape, or one of them for all; 0 <= successes <= trials, trials >= 1.
    level : float
        Nominal coverage.
    method : {"mid-p", "clopper-pearson", "wilson"}
        Exact tails with half of the observed number; exact tails; the score interval.

    Returns
    -------
    Interval
        Shaped like the arguments. With no success the low limit is 0, with nothing else the high one is 1: what is left is a
        bound, by mid-P 1 − (1 − level)^(1/n) away.

    Raises
    ------
    ShapeError, DataError
        Arguments that do not fit; numbers that are not counts.
    OptionError
        Unknown method or level.

    Notes
    -----
    Clopper & Pearson (1934); Lancaster (1961) for mid-P; Wilson (1927).

    Examples
    --------
    >>> found = proportion_interval([0, 45, 50], 50)
    >>> found.low.round(4), found.high.round(4)
    (array([0.    , 0.7922, 0.9418]), array([0.0582, 0.9624, 1.    ]))
    """
    one_of("method", method, PROPORTION_METHODS)
    hits, tried = _counts(successes, trials)
    share = hits / tried
    if method == "wilson":
        low, high = _wilson(share, tried, level)
    elif method == "mid-p":
        low, high = _mid_p(hits, tried, level), 1.0 - _mid_p(tried - hits, tried, level)
    else:
        below = tails(level)[0]
        with np.errstate(invalid="ignore"):  # no beta distribution at either end
            low = np.where(hits > 0, special.betaincinv(hits, tried - hits + 1.0, below), 0.0)
            high = np.where(hits < tried, special.betaincinv(hits + 1.0, tried - hits, 1.0 - below), 1.0)
    return Interval(share[()], np.asarray(low)[()], np.asarray(high)[()], level, method, _NOTES[method])


def _wilson(share: Array, tried: Array, level: float) -> tuple[Array, Array]:
    z = normal_quantile(level)
    middle = (share + z**2 / (2.0 * tried)) / (1.0 + z**2 / tried)
    reach = z * np.sqrt(share * (1.0 - share) / tried + z**2 / (4.0 * tried**2)) / (1.0 + z**2 / tried)
    return (
        np.where(share == 0.0, 0.0, np.maximum(middle - reach, 0.0)),
        np.where(share == 1.0, 1.0, np.minimum(middle + reach, 1.0)),
    )


def _mid_p(hits: Array, tried: Array, level: float) -> Array:
    """Share at which more successes than seen, and half of as many, have the chance of a tail; 0 without a success."""
    below, low, high = tails(level)[0], np.zeros_like(tried), np.ones_like(tried)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        least = np.where(
            hits > 0, special.betainc(np.maximum(hits, 1.0), tried - hits + 1.0, middle), 1.0
        )  # P(X >= hits)
        more = np.where(hits < tried, special.betainc(hits + 1.0, np.maximum(tried - hits, 1.0), middle), 0.0)
        beyond = (least + more) / 2.0
        low, high = np.where(beyond < below, middle, low), np.where(beyond < below, high, middle)
    return np.asarray(np.where(hits > 0, (low + high) / 2.0, 0.0))


def _counts(successes: ArrayLike, trials: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    given: list[Any] = [np.asarray(successes), np.asarray(trials)]
    if any(np.ma.is_masked(array) for array in (successes, trials)) or any(a.dtype.kind not in "iu" for a in given):
        raise DataError(
            f"successes and trials must be counts; got dtypes {given[0].dtype} and {given[1].dtype}. Pass whole numbers."
        )
    try:
        hits, tried = np.broadcast_arrays(*given)
    except ValueError as error:
        raise ShapeError(f"successes {given[0].shape} and trials {given[1].shape} do not fit each other.") from error
    if hits.size == 0 or (tried < 1).any() or (hits < 0).any() or (hits > tried).any():
        raise DataError("each needs 0 <= successes <= trials and at least one trial. Count again.")
    return hits.astype(np.float64), tried.astype(np.float64)
