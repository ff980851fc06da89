"""The power of k by which variance falls: V(k) = scale · k^exponent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import confidence_level
from uqkd.estimators.averaging.lines import law_data, normal_interval, positive, weighted_line
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval


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
    count, value, error = law_data(k, variance, standard_error)
    level = confidence_level(level)
    positive("variance", value)
    relative_se = error / value
    design = np.column_stack([np.ones_like(count), np.log(count)])
    fit = weighted_line(design, np.log(value) + relative_se**2 / 2.0, relative_se)
    (intercept, exponent), (intercept_se, exponent_se) = fit.coef.tolist(), np.sqrt(np.diag(fit.covariance)).tolist()
    method = "weighted least squares in logarithms"
    logs = normal_interval(intercept, intercept_se, level, method)
    scale = Interval(np.exp(logs.estimate), np.exp(logs.low), np.exp(logs.high), level, method)
    return PowerLaw(
        exponent, float(scale.estimate), exponent_se,
        normal_interval(exponent, exponent_se, level, method), scale, fit.chi2, fit.chi2_dof, fit.p_value,
    )  # fmt: skip
