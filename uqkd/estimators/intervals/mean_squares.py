"""Confidence intervals for variances: of one mean square, of a sum or difference of mean squares, of draws.

All of them assume normal effects. What each covers then was computed, not assumed: see `variance_interval` of each_prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking import arrays as checking
from uqkd.checking.arrays import Array, confidence_level, shaped
from uqkd.errors import ShapeError, VarianceError, one_of
from uqkd.estimators.intervals.large_sample import modified_large_sample, satterthwaite_limits
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.pivotal import pivotal_limits

CHI_SQUARE_NOTE = "exact for independent normal data of one variance; not for heavy tails or unequal variances"
MEAN_SQUARE_METHODS = ("mls", "generalized", "satterthwaite")


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval and what is known about it.

    Attributes
    ----------
    estimate, low, high : float or array
        Point estimate and limits, one shape; returned as they are, negative ones included.
    level : float
        Nominal coverage.
    method : str
        How the limits were found.
    note : str
        Assumptions, and by how much the coverage misses `level` where it does.

    Examples
    --------
    >>> low, high = Interval(np.float64(1.0), np.float64(0.5), np.float64(2.0), 0.95, "chi-square")
    >>> float(low), float(high)
    (0.5, 2.0)
    """

    estimate: Any
    low: Any
    high: Any
    level: float
    method: str
    note: str = ""

    def __iter__(self) -> Iterator[Any]:
        """Yield low, then high."""
        yield self.low
        yield self.high

    def covers(self, truth: Any) -> Any:
        """Whether low <= truth <= high, elementwise."""
        return (np.asarray(self.low) <= truth) & (truth <= np.asarray(self.high))


def chi_square_interval(variance: Any, dof: float, *, level: float = LEVEL) -> Interval:
    """Interval for a variance estimated from `dof` degrees of freedom; exact for normal data.

    Parameters
    ----------
    variance : float or array_like
        Unbiased estimates, not negative.
    dof : float
        Degrees of freedom, > 0.
    level : float
        Nominal coverage.

    Returns
    -------
    Interval
        Shape of `variance`, its units. Equal tails.

    Raises
    ------
    VarianceError
        A negative variance or `dof` not positive.

    Notes
    -----
    dof · s² / σ² is chi-square (Searle, Casella & McCulloch 1992, §3.6). Not robust: with excess kurtosis g the
    variance of s² grows by the factor 1 + g / 2 and no sample size mends that.

    Examples
    --------
    >>> interval = chi_square_interval(1.0, 10)
    >>> round(float(interval.low), 4), round(float(interval.high), 4)
    (0.4882, 3.0798)
    """
    value = checking.finite("variance", variance)
    if value.min() < 0:
        raise VarianceError(f"a mean square cannot be negative; got {value.min():g}.")
    freedom = _degrees(np.atleast_1d(checking.finite("dof", dof)))
    tail = (1.0 - confidence_level(level)) / 2.0
    low, high = freedom / special.chdtri(freedom, tail), freedom / special.chdtri(freedom, 1.0 - tail)
    if value.ndim == 0 and freedom.size == 1:
        low, high = low[0], high[0]
    return Interval(value[()], (value * low)[()], (value * high)[()], float(level), "chi-square", CHI_SQUARE_NOTE)


def _degrees(dof: Array) -> Array:
    if dof.min() <= 0:
        raise VarianceError(f"dof must be positive; got {dof.min():g} at index {int(dof.argmin())}.")
    return dof


def mean_square_interval(
    mean_squares: Any, dof: Any, coefficients: Any, *, level: float = LEVEL, method: str = "mls"
) -> Interval:
    """Interval for a linear combination Σ cᵢ E[MSᵢ] of independent mean squares, signs mixed or not.

    Parameters
    ----------
    mean_squares : (n,) or (n, P) array_like
        Independent mean squares of a balanced design; not negative.
    dof : (n,) array_like
        Their degrees of freedom, > 0.
    coefficients : (n,) array_like
        cᵢ; zeros are left out.
    level : float
        Nominal coverage.
    method : {"mls", "generalized", "satterthwaite"}
        Modified large sample (Graybill & Wang 1980 for equal signs; Ting, Burdick, Graybill, Jeyaratnam & Lu 1990 for
        mixed); generalized pivotal quantity (Weerahandi 1993) by quadrature, for at most three terms; or one
        approximating chi-square, for equal signs only, which undercovers.

    Returns
    -------
    Interval
        Scalar or (P,), in the units of the mean squares. Negative limits are returned as they are.

    Raises
    ------
    ShapeError
        Lengths differ, or more than three terms with "generalized".
    VarianceError
        A negative mean square, a dof that is not positive, or mixed signs with "satterthwaite".
    OptionError
        Unknown method or level.

    Notes
    -----
    Normal effects. What it covers for one-way components: `variance_interval`; `.covers` of other designs was not
    measured.

    Examples
    --------
    >>> interval = mean_square_interval([9.0, 1.0], [9, 10], [0.5, -0.5])
    >>> round(float(interval.low), 3), round(float(interval.estimate), 3), round(float(interval.high), 3)
    (1.477, 4.0, 14.48)
    """
    squares, freedom, weight = _combination(mean_squares, dof, coefficients)
    one_of("method", method, MEAN_SQUARE_METHODS)
    tail = (1.0 - confidence_level(level)) / 2.0
    column = weight.reshape((-1,) + (1,) * (squares.ndim - 1))
    estimate = np.asarray((column * squares).sum(axis=0))
    if weight.size == 1 and weight[0] > 0:
        one = chi_square_interval(squares[0] * weight[0], freedom[0], level=level)
        return Interval(one.estimate, one.low, one.high, one.level, method, one.note)
    note = "normal effects"
    if method == "satterthwaite":
        low, high = satterthwaite_limits(column * squares, freedom, tail)
        note += (
            "; covers 94.1-95.9 % of one-way totals at S = 10, R = 2, but 90.6 % at R = 30 and 69 % at S = 2, R = 30"
        )
    else:
        low, high = modified_large_sample(column * squares, freedom, tail)
        if method == "generalized":
            low, high = pivotal_limits(column * squares, freedom, low, high, tail=tail)
    return Interval(estimate[()], low[()], high[()], float(level), method, note)


def _combination(mean_squares: Any, dof: Any, coefficients: Any) -> tuple[Array, Array, Array]:
    squares = shaped("mean_squares", mean_squares, "n", "n P")
    freedom, weight = _degrees(shaped("dof", dof, "n")), shaped("coefficients", coefficients, "n")
    if not len(squares) == freedom.size == weight.size:
        raise ShapeError(
            f"mean_squares, dof and coefficients need one length; got {len(squares)}, {freedom.size}, {weight.size}."
        )
    if squares.min() < 0:
        raise VarianceError(f"a mean square cannot be negative; got {squares.min():g}.")
    used = weight != 0
    if not used.any():
        raise VarianceError("all coefficients are zero; there is nothing to estimate.")
    return squares[used], freedom[used], weight[used]
