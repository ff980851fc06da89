"""The law by which variance falls with the number k of responses averaged: floor + slope / k."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, confidence_level, finite
from uqkd.errors import OptionError
from uqkd.estimators.averaging import gamma
from uqkd.estimators.averaging.lines import (
    covariance_of,
    definite,
    estimated_line,
    law_data,
    line_interval,
    positive,
    weighted_line,
)
from uqkd.estimators.averaging.power import PowerLaw, fit_power_law
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval

__all__ = ["AveragingLaw", "PowerLaw", "fit_averaging_law", "fit_power_law"]

_FEW = "Nested k with few students: give their means to averaging_law_of."


@dataclass(frozen=True)
class AveragingLaw:
    """Fit of V(k) = floor + slope / k; made by `fit_averaging_law` and `averaging_law_of`.

    Attributes
    ----------
    floor, slope : float
        Variance that no k removes, and variance of a single response that averaging removes. Not clipped: an unbiased
        estimate of a floor of zero falls below it half the time.
    floor_se, slope_se : float
        Standard errors.
    floor_interval, slope_interval : Interval
        Two-sided, of values that are not negative: where the data show no floor it begins at 0. Their `estimate` is the best
        value that is not negative.
    covariance : (2, 2) array
        Of (floor, slope).
    chi2, dof : float, int
        Lack-of-fit statistic and its degrees of freedom, n − 2.
    p_value : float or None
        Chance of a larger `chi2` if the law holds; None when dof is 0, or when too few students lie behind a covariance.
    """

    floor: float
    slope: float
    floor_se: float
    slope_se: float
    floor_interval: Interval
    slope_interval: Interval
    covariance: Array
    chi2: float
    dof: int
    p_value: float | None

    def predict(self, k: Any) -> Array:
        """V(k) of the fit, for any k > 0."""
        return np.asarray(self.floor + self.slope / finite("k", k))


def fit_averaging_law(
    k: Any,
    variance: Any,
    standard_error: Any = None,
    covariance: Any = None,
    *,
    covariance_dof: float = float("inf"),
    proportional: bool = False,
    level: float = LEVEL,
) -> AveragingLaw:
    """Floor and slope of V(k) = floor + slope / k, by least squares with known errors, or by likelihood.

    Parameters
    ----------
    k : (n,) array_like
        Responses averaged; positive, at least two different values.
    variance : (n,) array_like
        Measured variance at each k. May be negative (unbiased estimates are not clipped).
    standard_error : (n,) array_like
        Standard error of each; positive. The variances are then taken to be independent, each k measured on students and
        responses of its own. Where k = 8 contains the responses of k = 4, or the same students begin at every k, they are
        not: use `averaging_law_of`, or give their covariance instead.
    covariance : (n, n) array_like
        Of the variances, in place of standard errors.
    covariance_dof : float
        Degrees of freedom behind the covariance, S − 1 where it comes from S students; infinite where it is known.
    proportional : bool
        The standard errors are proportional to the true value, as those of variance estimates are
        (``se = variance * sqrt(2 / dof)``): each variance is taken for a mean square of 2·(variance/se)² degrees of freedom.
        Needs positive variances.
    level : float
        Of the intervals.

    Returns
    -------
    AveragingLaw
        Floor and slope with standard errors, intervals and lack of fit. Squared units of the responses.

    Raises
    ------
    ShapeError
        Lengths differ, or fewer than two different k.
    VarianceError
        A standard error or (with `proportional`) a variance that is not positive, or a covariance that is none.
    OptionError
        Both or neither of standard errors and covariance, or `proportional` with a covariance.
    DataError
        k not positive.

    Notes
    -----
    T1 (floor = teacher's own error, 0 between students) and T8 (floor = initialisation). Known errors: exact for normal
    ones. A covariance from few students: Rao (1959) and Hotelling's T². With `proportional`: gamma likelihood with identity
    link (McCullagh & Nelder 1989, ch. 8), likelihood ratios divided by their mean under few degrees of freedom.

    Examples
    --------
    >>> law = fit_averaging_law([1, 2, 4], [3.0, 2.0, 1.5], [0.1, 0.1, 0.1])
    >>> round(law.floor, 12), round(law.slope, 12), round(law.chi2, 12), round(law.p_value, 6)
    (1.0, 2.0, 0.0, 1.0)
    """
    level = confidence_level(level)
    if (standard_error is None) == (covariance is None):
        raise OptionError("fit_averaging_law needs standard_error= or covariance=, one of the two.")
    if covariance is None:
        count, value, error = law_data(k, variance, standard_error)
        if proportional:
            positive("variance", value)
            squares = gamma.MeanSquares(value, 2.0 * (value / error) ** 2, _design(count))
            return law_of(squares, level)
        return _of_line(weighted_line(_design(count), value, error), level, "weighted least squares")
    if proportional:
        raise OptionError("proportional=True takes standard errors; a covariance is taken as it is.")
    if not covariance_dof >= 1:
        raise OptionError(f"covariance_dof must be at least 1; got {covariance_dof}.")
    matrix = covariance_of(covariance, np.size(finite("k", k)))
    count, value, _ = law_data(k, variance, np.sqrt(np.diag(matrix)))
    if np.isinf(covariance_dof):
        line = weighted_line(_design(count), value, definite(matrix, _FEW))
    else:
        line = estimated_line(_design(count), value, matrix, float(covariance_dof))
    return _of_line(line, level, "generalised least squares")


def law_of(squares: gamma.MeanSquares, level: float) -> AveragingLaw:
    """The law behind independent mean squares that have floor·g + slope·h for expectation.

    Examples
    --------
    >>> law = law_of(gamma.MeanSquares(np.array([2.0, 3.0]), np.array([9.0, 9.0]), np.array([[0.0, 1.0], [1.0, 0.5]])), 0.95)
    >>> round(law.floor, 12), round(law.slope, 12)
    (2.0, 2.0)
    """
    unit = float(squares.value.mean())  # so that squares of variances stay within float64
    scaled = replace(squares, value=squares.value / unit)
    coef = gamma.fitted(scaled)
    scaled = scaled.at(coef)
    parts = [gamma.profile(scaled, coef, which) for which in (0, 1)]
    floor, slope = (_times(part.interval(level), unit) for part in parts)
    chi2, dof, p_value = gamma.lack_of_fit(scaled, coef)
    covariance = gamma.covariance(scaled, coef) * unit**2
    return AveragingLaw(
        float(coef[0]) * unit, float(coef[1]) * unit, parts[0].standard_error * unit, parts[1].standard_error * unit,
        floor, slope, covariance, chi2, dof, p_value,
    )  # fmt: skip


def _times(interval: Interval, unit: float) -> Interval:
    return replace(interval, estimate=interval.estimate * unit, low=interval.low * unit, high=interval.high * unit)


def _of_line(line: Any, level: float, method: str) -> AveragingLaw:
    (floor, slope), (floor_se, slope_se) = line.coef.tolist(), np.sqrt(np.diag(line.covariance)).tolist()
    return AveragingLaw(
        floor, slope, floor_se, slope_se,
        line_interval(line, 0, level, method), line_interval(line, 1, level, method),
        line.covariance, line.chi2, line.chi2_dof, line.p_value,
    )  # fmt: skip


def _design(count: Array) -> Array:
    return np.column_stack([np.ones_like(count), 1.0 / count])
