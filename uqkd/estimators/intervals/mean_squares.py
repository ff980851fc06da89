"""Confidence intervals for variances: of one mean square, of a sum or difference of mean squares, of draws.

All of them assume normal effects. What each covers then was computed, not assumed: see `variance_interval`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking import arrays as checking
from uqkd.checking.arrays import Array, confidence_level, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError, VarianceError, one_of
from uqkd.estimators.intervals.large_sample import modified_large_sample, satterthwaite_limits
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.pivotal import pivotal_limits

MEAN_SQUARE_METHODS = ("mls", "generalized", "satterthwaite")
COMPONENTS = ("inter", "intra", "total")

# Percent covered at level 95 % by the number of students from which it holds; derived as said in `_coverage_note`.
_COVERAGE = {
    ("inter", "mls"): {2: (93.2, 95.3), 3: (94.4, 95.4), 4: (94.7, 95.4), 8: (94.9, 95.3)},
    ("inter", "generalized"): {2: (95.0, 96.4), 3: (95.0, 96.1), 5: (95.0, 95.8), 10: (95.0, 95.5)},
    ("total", "mls"): {2: (94.9, 96.9), 3: (94.9, 96.7), 4: (94.9, 96.5), 5: (94.9, 96.3), 8: (94.9, 95.9),
                       10: (94.9, 95.8), 20: (94.9, 95.4)},
    ("total", "generalized"): {2: (94.8, 96.4), 3: (94.8, 96.1), 5: (94.8, 95.9), 10: (94.9, 95.8), 30: (94.9, 95.5)},
}  # fmt: skip


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
    return Interval(value[()], (value * low)[()], (value * high)[()], float(level), "chi-square", "exact, normal data")


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


def variance_interval(
    draws: Any, *, component: str = "inter", method: str | None = None, level: float = LEVEL
) -> Interval:
    """Interval for the inter-student, intra-student or total variance of each prompt.

    Parameters
    ----------
    draws : (S, P, R) array_like
        Response r of student s to prompt p; S >= 2, R >= 2.
    component : {"inter", "intra", "total"}
        Variance between students of their mean response; within a student; their sum.
    method : {"mls", "generalized"}, optional
        As in `mean_square_interval`; default "mls". The intra-student interval is always the exact chi-square.
    level : float
        Nominal coverage.

    Returns
    -------
    Interval
        (P,) arrays in squared units of `draws`. Negative estimates and limits are returned as they are.

    Raises
    ------
    ShapeError
        Not three axes, fewer than two students or responses.
    NotFiniteError
        Any NaN or infinity.
    OptionError
        Unknown component, method or level.

    Notes
    -----
    T10: inter = (MS_between − MS_within) / R, total = MS_between / R + (1 − 1/R) MS_within, one-way random effects,
    normal draws, one within-student variance. At level .95 the default covers 94.4-95.4 %
    of inter-student variances from three students on and 94.9-95.8 % of totals from ten students on, whatever R and the
    ratio inter/intra; with fewer it covers more for totals (up to 96.9 %) and 93.2 % at worst for inter (S = 2, R = 2).
    `.note` carries the range for the S at hand. Not robust against heavy tails (see `chi_square_interval`).

    Examples
    --------
    >>> interval = variance_interval([[[1.0, 3.0]], [[5.0, 7.0]], [[2.0, 2.0]]], component="inter")
    >>> interval.estimate.round(3), interval.low.round(3), interval.high.round(3)
    (array([4.667]), array([-3.822]), array([209.827]))
    """
    array = raisable("draws", shaped("draws", draws, "S P R", need={"S": 2, "R": 2}))
    one_of("component", component, COMPONENTS)
    students, _, responses = array.shape
    means = array.mean(axis=2)
    within = array.var(axis=2, ddof=1).mean(axis=0)
    if component == "intra":
        return chi_square_interval(within, students * (responses - 1), level=level)
    between = responses * means.var(axis=0, ddof=1)
    second = -1.0 / responses if component == "inter" else 1.0 - 1.0 / responses
    interval = mean_square_interval(
        np.stack([between, within]),
        [students - 1, students * (responses - 1)],
        [1.0 / responses, second],
        level=level,
        method=one_of("method", method or "mls", MEAN_SQUARE_METHODS[:2]),
    )
    note = interval.note + _coverage_note(component, interval.method, students)
    return Interval(interval.estimate, interval.low, interval.high, interval.level, interval.method, note)


def _coverage_note(component: str, method: str, students: int) -> str:
    """Coverage at level 95 %, by quadrature over inter/intra from 0.01 to 100 and R = 2, 3, 8, 30."""
    table = _COVERAGE[component, method]
    low, high = table[max(s for s in table if s <= students)]
    return f"; covers {low:.1f}-{high:.1f} % at level 95 % (S = {students}, over all ratios inter/intra and R >= 2)"
