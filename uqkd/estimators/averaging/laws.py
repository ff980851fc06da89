"""Laws by which variance falls with the number k of responses averaged: floor + slope / k, and a power of k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, confidence_level, finite, same_shape, shaped
from uqkd.errors import DataError, ShapeError, VarianceError
from uqkd.estimators.intervals.level import LEVEL, normal_half_width
from uqkd.estimators.intervals.mean_squares import Interval

_MAX_ROUNDS = 500  # reweighting converges linearly at about the relative error of the fit; 500 is never reached in use


@dataclass(frozen=True)
class AveragingLaw:
    """Fit of V(k) = floor + slope / k; made by `fit_averaging_law`.

    Attributes
    ----------
    floor, slope : float
        Variance that no k removes, and variance of a single response that averaging removes.
    floor_se, slope_se : float
        Standard errors.
    floor_interval, slope_interval : Interval
        Two-sided, normal.
    covariance : (2, 2) array
        Of (floor, slope).
    chi2, dof : float, int
        Lack-of-fit statistic and its degrees of freedom, n − 2.
    p_value : float or None
        Chance of a larger `chi2` if the law holds; None when dof is 0.
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


@dataclass(frozen=True)
class PowerLaw:
    """Fit of V(k) = scale · k^exponent; made by `fit_power_law`.

    Attributes
    ----------
    exponent, scale : float
        Minus one where averaging is perfect; `scale` is V(1).
    exponent_se : float
        Standard error of the exponent.
    exponent_interval, scale_interval : Interval
        Two-sided; the scale's is normal in the logarithm.
    chi2, dof, p_value : float, int, float or None
        Lack of fit, as in `AveragingLaw`.
    """

    exponent: float
    scale: float
    exponent_se: float
    exponent_interval: Interval
    scale_interval: Interval
    chi2: float
    dof: int
    p_value: float | None


def fit_averaging_law(
    k: Any, variance: Any, standard_error: Any, *, proportional: bool = False, level: float = LEVEL
) -> AveragingLaw:
    """Floor and slope of V(k) = floor + slope / k, by weighted least squares with known standard errors.

    Parameters
    ----------
    k : (n,) array_like
        Responses averaged; positive, at least two different values.
    variance : (n,) array_like
        Measured variance at each k; independent of each other. May be negative (unbiased estimates are not clipped).
    standard_error : (n,) array_like
        Standard error of each, known; positive.
    proportional : bool
        The standard errors are proportional to the true value, as those of variance estimates are
        (``se = variance * sqrt(2 / dof)``). Then small estimates carry small standard errors and plain weights pull
        the fit down; the weights are computed from the fitted values instead, and iterated. Needs positive variances.
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
        A standard error or (with `proportional`) a variance that is not positive.
    DataError
        k not positive, or the reweighting does not settle on positive fitted values.

    Notes
    -----
    T1 (floor = teacher's own error, 0 between students) and T8 (floor = initialisation). The intervals are exact for
    normal errors with known standard errors; with `proportional`, asymptotic in the degrees of freedom of the variances
    (quasi-likelihood with variance function V², McCullagh & Nelder 1989, ch. 9). Not clipped at zero.

    Examples
    --------
    >>> law = fit_averaging_law([1, 2, 4], [3.0, 2.0, 1.5], [0.1, 0.1, 0.1])
    >>> round(law.floor, 12), round(law.slope, 12), round(law.chi2, 12), round(law.p_value, 6)
    (1.0, 2.0, 0.0, 1.0)
    """
    count, value, error = _law_data(k, variance, standard_error)
    level = confidence_level(level)
    design = np.column_stack([np.ones_like(count), 1.0 / count])
    if proportional:
        error = _settled_errors(design, value, error)
    fit = _weighted_line(design, value, error)
    (floor, slope), (floor_se, slope_se) = fit.coef.tolist(), np.sqrt(np.diag(fit.covariance)).tolist()
    method = "weighted least squares, iterated weights" if proportional else "weighted least squares"
    return AveragingLaw(
        floor, slope, floor_se, slope_se,
        _normal_interval(floor, floor_se, level, method), _normal_interval(slope, slope_se, level, method),
        fit.covariance, fit.chi2, fit.dof, fit.p_value,
    )  # fmt: skip


def fit_power_law(k: Any, variance: Any, standard_error: Any, *, level: float = LEVEL) -> PowerLaw:
    """Exponent of V(k) = scale · k^exponent, by weighted least squares in logarithms.

    Parameters
    ----------
    k : (n,) array_like
        Responses averaged; positive, at least two different values.
    variance : (n,) array_like
        Measured variance at each k; positive, independent of each other.
    standard_error : (n,) array_like
        Standard error of each; positive.
    level : float
        Of the intervals.

    Returns
    -------
    PowerLaw
        Exponent (no unit) and scale (squared units of the responses), with intervals and lack of fit.

    Raises
    ------
    ShapeError, DataError
        As `fit_averaging_law`.
    VarianceError
        A variance or a standard error that is not positive.

    Notes
    -----
    T1 gives exponent −1 between students; a floor (T8) bends the curve, which shows as lack of fit and as an exponent
    nearer zero. The logarithm of an estimate with relative standard error r is low by r²/2 on average; that is
    added back.

    Examples
    --------
    >>> law = fit_power_law([1, 2, 4], [3.0, 1.5, 0.75], [0.03, 0.015, 0.0075])
    >>> round(law.exponent, 12), round(law.scale, 3)
    (-1.0, 3.0)
    """
    count, value, error = _law_data(k, variance, standard_error)
    level = confidence_level(level)
    _positive("variance", value)
    relative_se = error / value
    design = np.column_stack([np.ones_like(count), np.log(count)])
    fit = _weighted_line(design, np.log(value) + relative_se**2 / 2.0, relative_se)
    (intercept, exponent), (intercept_se, exponent_se) = fit.coef.tolist(), np.sqrt(np.diag(fit.covariance)).tolist()
    method = "weighted least squares in logarithms"
    logs = _normal_interval(intercept, intercept_se, level, method)
    scale = Interval(np.exp(logs.estimate), np.exp(logs.low), np.exp(logs.high), level, method)
    return PowerLaw(
        exponent, float(scale.estimate), exponent_se,
        _normal_interval(exponent, exponent_se, level, method), scale, fit.chi2, fit.dof, fit.p_value,
    )  # fmt: skip


@dataclass(frozen=True)
class _Line:
    coef: Array
    covariance: Array
    chi2: float
    dof: int
    p_value: float | None


def _law_data(k: Any, variance: Any, standard_error: Any) -> tuple[Array, Array, Array]:
    count, value = shaped("k", k, "n"), shaped("variance", variance, "n")
    error = shaped("standard_error", standard_error, "n")
    same_shape("variance", value, "k", count)
    same_shape("standard_error", error, "k", count)
    if count.min() <= 0:
        raise DataError(f"k must be positive; got {count.min():g} at index {int(count.argmin())}.")
    if np.unique(count).size < 2:
        raise ShapeError(f"a law in k needs at least two different k; got only k = {count[0]:g}.")
    _positive("standard_error", error)
    return count, value, error


def _positive(name: str, value: Array) -> None:
    if value.min() <= 0:
        raise VarianceError(f"{name} must be positive; got {value.min():g} at index {int(value.argmin())}.")


def _weighted_line(design: Array, value: Array, error: Array) -> _Line:
    """Two coefficients with known standard errors, by QR of the scaled design."""
    q, r = np.linalg.qr(design / error[:, None])
    coef = np.linalg.solve(r, q.T @ (value / error))
    root = np.linalg.solve(r, np.eye(2))
    residual = (value - design @ coef) / error
    chi2, dof = float(residual @ residual), value.size - 2
    p_value = float(special.chdtrc(dof, chi2)) if dof > 0 else None
    return _Line(coef, root @ root.T, chi2, dof, p_value)


def _settled_errors(design: Array, value: Array, error: Array) -> Array:
    """Standard errors proportional to the fitted value, iterated until the fit stands still."""
    _positive("variance", value)
    relative_se = error / value
    # The start weighs by relative error and 1/k alone, so no estimate chooses its own weight.
    fitted = np.full_like(value, np.exp(np.mean(np.log(value))))
    for _ in range(_MAX_ROUNDS):
        new = design @ _weighted_line(design, value, relative_se * fitted).coef
        if new.min() <= 0:
            raise VarianceError(
                f"the fitted variance is {new.min():g} at index {int(new.argmin())}; standard errors proportional "
                "to it make no sense. Use proportional=False or measure at more values of k."
            )
        if np.all(np.abs(new - fitted) <= 1e-13 * new):
            return np.asarray(relative_se * new)
        fitted = new
    raise DataError(f"the weights did not settle in {_MAX_ROUNDS} rounds; use proportional=False.")


def _normal_interval(estimate: float, standard_error: float, level: float, method: str) -> Interval:
    reach = float(normal_half_width(standard_error, level=level))
    return Interval(np.float64(estimate), np.float64(estimate - reach), np.float64(estimate + reach), level, method)
