"""Straight lines through measured variances whose errors are known or estimated: data, least squares, intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special

from uqkd.checking.arrays import Array, same_shape, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import DataError, ShapeError, VarianceError
from uqkd.estimators.averaging.boundary import allowed
from uqkd.estimators.intervals.level import normal_half_width
from uqkd.estimators.intervals.mean_squares import Interval


@dataclass(frozen=True)
class Line:
    """Two coefficients and how well the line fits; made by `weighted_line` and `estimated_line`.

    Attributes
    ----------
    coef, covariance : (2,) and (2, 2) float
    dof : float
        Behind the standard errors: infinite where the covariance was known.
    chi2, chi2_dof, p_value
        Lack of fit.
    """

    coef: Array
    covariance: Array
    dof: float
    chi2: float
    chi2_dof: int
    p_value: float | None


def law_data(k: Any, variance: Any, standard_error: Any) -> tuple[Array, Array, Array]:
    """k, variances and standard errors, checked: one shape (n,), k and errors positive, two different k."""
    count, value = raisable("k", shaped("k", k, "n")), raisable("variance", shaped("variance", variance, "n"))
    error = raisable("standard_error", shaped("standard_error", standard_error, "n"))
    same_shape("variance", value, "k", count)
    same_shape("standard_error", error, "k", count)
    different_k(count)
    positive("standard_error", error)
    return count, value, error


def different_k(count: Array) -> None:
    """Raise unless all k are positive and at least two of them differ."""
    if count.min() <= 0:
        raise DataError(f"k must be positive; got {count.min():g} at index {int(count.argmin())}.")
    if np.unique(count).size < 2:
        raise ShapeError(f"a law in k needs at least two different k; got only k = {count[0]:g}.")


def positive(name: str, value: Array) -> None:
    """Raise `VarianceError` unless all are positive."""
    if value.min() <= 0:
        raise VarianceError(f"{name} must be positive; got {value.min():g} at index {int(value.argmin())}.")


def covariance_of(covariance: Any, points: int) -> Array:
    """A covariance (n, n), symmetric and positive definite, or a typed error."""
    matrix = shaped("covariance", covariance, "n n")
    if matrix.shape != (points, points):
        raise ShapeError(f"covariance needs shape (n, n) with n={points} values of k; got {matrix.shape}.")
    positive("the diagonal of covariance", np.diag(matrix))
    root = np.sqrt(np.diag(matrix))
    correlation = matrix / root[:, None] / root
    # as in `blue`: n eps, times 8 for the Cholesky, is what rounding leaves of an eigenvalue that is zero
    if np.abs(correlation - correlation.T).max() > 1e-10:
        raise VarianceError("covariance is not symmetric.")
    return matrix


def definite(matrix: Array, what: str) -> Array:
    """The Cholesky factor of a covariance, or `VarianceError` where it is singular up to rounding."""
    root = np.sqrt(np.diag(matrix))
    correlation = matrix / root[:, None] / root
    least = float(np.linalg.eigvalsh(correlation).min())
    if least <= 8 * len(matrix) * np.finfo(float).eps:
        raise VarianceError(
            f"covariance is not positive definite (least eigenvalue of its correlations {least:.3g}). {what}"
        )
    return np.asarray(np.linalg.cholesky(matrix))


def weighted_line(design: Array, value: Array, error: Array) -> Line:
    """By QR of the design scaled by known standard errors (n,), or by the Cholesky factor (n, n) of a known covariance."""

    def white(array: Array) -> Array:
        return np.asarray((array.T / error).T if error.ndim == 1 else np.linalg.solve(error, array), dtype=np.float64)

    q, r = np.linalg.qr(white(design))
    coef = np.linalg.solve(r, q.T @ white(value))
    root = np.linalg.solve(r, np.eye(2))
    residual = white(value - design @ coef)
    chi2, dof = float(residual @ residual), value.size - 2
    p_value = float(special.chdtrc(dof, chi2)) if dof > 0 else None
    return Line(coef, root @ root.T, np.inf, chi2, dof, p_value)


def estimated_line(design: Array, value: Array, covariance: Array, dof: float) -> Line:
    """With a covariance that was estimated from `dof` degrees of freedom.

    Where the n − 2 directions off the line take up half of them at most: generalised least squares, its covariance times
    (1 + T²/dof)·dof/(dof − n + 2), Student's t at dof − n + 2 (Rao 1959, exact for normal errors and a Wishart covariance).
    Otherwise least squares with weights k (between those of errors that are alike at every k and of errors that fall as 1/k;
    weights estimated from few students would undercover), their covariance as estimated, and Student's t at dof, exact too. T²
    of the residuals is Hotelling's, for which dof >= n − 2.
    """
    directions = value.size - 2
    off = np.linalg.qr(design, mode="complete")[0][:, 2:]
    squared = np.nan
    p_value = None
    if 0 < directions <= dof:
        factor = definite(off.T @ covariance @ off, "Give the covariance of more students, or fewer values of k.")
        residual = np.linalg.solve(factor, off.T @ value)
        squared = float(residual @ residual)
        left = dof - directions + 1
        p_value = float(special.fdtrc(directions, left, squared * left / (directions * dof)))
    if directions and 2 * directions > dof:
        weights = weighted_line(design, value, np.sqrt(design[:, 1]))
        scaled = design / design[:, 1:]
        spread = weights.covariance @ scaled.T @ covariance @ scaled @ weights.covariance
        return Line(weights.coef, spread, dof, squared, directions, p_value)
    found = weighted_line(design, value, definite(covariance, "Give that of more students, or fewer values of k."))
    grown = (1.0 + (squared / dof if directions else 0.0)) * dof / (dof - directions)
    return Line(
        found.coef, found.covariance * grown, dof - directions, squared if directions else 0.0, directions, p_value
    )


def line_interval(line: Line, which: int, level: float, method: str) -> Interval:
    """Of the floor (0) or the slope (1), which are variances: values at least zero, by inversion of the test.

    The statistic is the squared distance of a value from the estimate less that of the best value, in standard errors; how
    large it may be near zero says `allowed`, so that the interval of an estimate below zero is short but never empty.
    """
    estimate, error = float(line.coef[which]), float(np.sqrt(line.covariance[which, which]))
    at = estimate / error

    def beyond(value: float) -> float:
        return (at - value) ** 2 - min(at, 0.0) ** 2 - allowed(value, level, line.dof)

    best, far = max(at, 0.0), allowed(float("inf"), level, line.dof) ** 0.5
    low, high = at - far, at + far  # values at least `far` from zero are bounded as if there were no zero
    if low < far:
        low = float(optimize.brentq(beyond, 0.0, best)) if best > 0.0 and beyond(0.0) > 0.0 else 0.0
    if high < far:
        high = float(optimize.brentq(beyond, 0.0, far))
    return Interval(np.float64(best * error), np.float64(low * error), np.float64(high * error), level, method)


def normal_interval(estimate: float, standard_error: float, level: float, method: str) -> Interval:
    """Estimate and normal limits."""
    reach = float(normal_half_width(standard_error, level=level))
    return Interval(np.float64(estimate), np.float64(estimate - reach), np.float64(estimate + reach), level, method)
