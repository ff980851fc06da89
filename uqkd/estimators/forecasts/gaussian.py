"""Students that report a mean and a variance, scored against the numbers that came: CRPS, log score, intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, finite, float_or_array, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import DataError, ShapeError
from uqkd.estimators.intervals.level import LEVEL, normal_quantile, tails

_ROOT_PI = float(np.sqrt(np.pi))


def gaussian_crps(means: Any, variances: Any, observed: Any) -> Array:
    """Continuous ranked probability score of Gaussian predictions, each in closed form.

    Parameters
    ----------
    means : (P,) or (S, P) array_like
        Predicted means, any unit.
    variances : array_like
        Predicted variances, shaped like `means`; 0 is a point.
    observed : (P,) array_like
        What came, in the unit of the means.

    Returns
    -------
    array like `means`
        Unit of `observed`, at least 0, lower is better; the distance |observed − mean| where the variance is 0.

    Raises
    ------
    ShapeError, NotFiniteError
        Axes that do not fit, nothing at all, NaN.
    DataError
        A negative variance.

    Notes
    -----
    Gneiting & Raftery (2007), equation 21: σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π], z = (observed − mean)/σ. Average over prompts.

    Examples
    --------
    >>> gaussian_crps([0.0, 0.0], [1.0, 0.0], [0.0, 0.5]).round(6)  # (√2 − 1)/√π, and a distance
    array([0.233695, 0.5     ])
    """
    mean, variance, came = _gaussians(means, variances, observed)
    sd = np.sqrt(variance)
    return _mean_distance(came - mean, sd) - sd / _ROOT_PI


def gaussian_mixture_crps(means: Any, variances: Any, observed: Any) -> Array:
    """Continuous ranked probability score of the mixture of S Gaussian students, in closed form.

    Parameters
    ----------
    means, variances : (S, P) array_like
        Of each student.
    observed : (P,) array_like

    Returns
    -------
    (P,) array
        Unit of `observed`; never above the mean of the students' own scores.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `gaussian_crps`; or means that are not (S, P).

    Notes
    -----
    Grimit et al. (2006): E|X − y| − E|X − X'|/2, X and X' of the mixture; the difference of two Gaussians is Gaussian.

    Examples
    --------
    >>> gaussian_mixture_crps([[-1.0], [1.0]], [[0.0], [0.0]], [0.0])  # 1 − 1/2
    array([0.5])
    """
    mean, variance, came = _gaussians(means, variances, observed)
    if mean.ndim != 2:
        raise ShapeError(f"gaussian_mixture_crps needs means (S, P) of its students; got shape {mean.shape}.")
    near = _mean_distance(came - mean, np.sqrt(variance)).mean(axis=0)
    apart = np.zeros_like(near)
    for one, own in zip(mean, variance, strict=True):  # one student against all, so that memory stays (S, P)
        apart += _mean_distance(mean - one, np.sqrt(variance + own)).mean(axis=0)
    return np.asarray(near - apart / (2.0 * len(mean)))


def gaussian_log_score(means: Any, variances: Any, observed: Any) -> Array:
    """Negative log density of Gaussian predictions at what came.

    Parameters
    ----------
    means, variances, observed
        As in `gaussian_crps`, variances above 0.

    Returns
    -------
    array like `means`
        Nats, lower is better.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `gaussian_crps`; a variance of 0 has no density.

    Examples
    --------
    >>> gaussian_log_score([0.0], [1.0], [1.0]).round(6)  # (log 2π + 1)/2
    array([1.418939])
    """
    mean, variance, came = _gaussians(means, variances, observed)
    if not (variance > 0.0).all():
        raise DataError("gaussian_log_score needs variances above 0; got 0. Score points by gaussian_crps.")
    return np.asarray((np.log(2.0 * np.pi * variance) + (came - mean) ** 2 / variance) / 2.0)


def gaussian_interval(means: Any, variances: Any, *, level: float = LEVEL) -> tuple[Array, Array]:
    """Central prediction interval of Gaussian predictions.

    Parameters
    ----------
    means, variances : (P,) or (S, P) array_like
    level : float
        Share of the distribution inside.

    Returns
    -------
    low, high : arrays like `means`

    Examples
    --------
    >>> low, high = gaussian_interval([1.0], [4.0], level=0.5)
    >>> low.round(3), high.round(3)
    (array([-0.349]), array([2.349]))
    """
    mean = shaped("means", means, "P", "S P")
    mean, variance, _ = _gaussians(mean, variances, np.zeros(mean.shape[-1]))
    reach = normal_quantile(level) * np.sqrt(variance)
    return mean - reach, mean + reach


def interval_score(low: Any, high: Any, observed: Any, *, level: float = LEVEL) -> Array:
    """Winkler's score of prediction intervals: width, and 2/(1 − level) times the distance by which they miss.

    Parameters
    ----------
    low, high : (P,) or (S, P) array_like
        Limits of central intervals at `level`.
    observed : (P,) array_like
        What came.
    level : float
        Nominal coverage.

    Returns
    -------
    array like `low`
        Unit of `observed`, lower is better: best on average for the quantiles (1 ∓ level)/2.

    Raises
    ------
    ShapeError, NotFiniteError
        As in `gaussian_crps`.
    DataError
        A lower limit above its upper one.

    Notes
    -----
    Winkler (1972); Gneiting & Raftery (2007), equation 43.

    Examples
    --------
    >>> interval_score([0.0, 0.0], [2.0, 2.0], [1.0, 3.0], level=0.5)  # 2, and 2 + 4 · 1
    array([2., 6.])
    """
    below, above, came = _limits(low, high, observed)
    beyond = np.maximum(below - came, 0.0) + np.maximum(came - above, 0.0)
    return np.asarray(above - below + beyond / tails(level)[0])


def interval_coverage(low: Any, high: Any, observed: Any) -> float | Array:
    """Share of prediction intervals that hold what came; limits are inside.

    Parameters
    ----------
    low, high : (P,) or (S, P) array_like
    observed : (P,) array_like

    Returns
    -------
    float or (S,) array
        In [0, 1]; compare it with the level, by `proportion_interval` where the prompts are independent.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `interval_score`.

    Examples
    --------
    >>> interval_coverage([0.0, 0.0], [2.0, 2.0], [1.0, 3.0])
    0.5
    """
    below, above, came = _limits(low, high, observed)
    return float_or_array(((below <= came) & (came <= above)).mean(axis=-1))


def _mean_distance(shift: Array, sd: Array) -> Array:
    """E|N(shift, sd²)|."""
    ratio = np.abs(shift) / np.where(sd > 0.0, sd, 1.0)
    folded = sd * np.sqrt(2.0 / np.pi) * np.exp(-(ratio**2) / 2.0) + np.abs(shift) * special.erf(ratio / np.sqrt(2.0))
    return np.asarray(np.where(sd > 0.0, folded, np.abs(shift)))


def _gaussians(means: Any, variances: Any, observed: Any) -> tuple[Array, Array, Array]:
    mean, variance = raisable("means", shaped("means", means, "P", "S P")), finite("variances", variances)
    if variance.shape != mean.shape:
        raise ShapeError(f"variances needs the shape of means, {mean.shape}; got {variance.shape}.")
    if variance.min() < 0.0:
        raise DataError(
            f"variances must not be negative; got {variance.min():g}. Pass variances, not their logarithms."
        )
    return mean, variance, _observed(observed, mean.shape[-1])


def _limits(low: Any, high: Any, observed: Any) -> tuple[Array, Array, Array]:
    below, above = shaped("low", low, "P", "S P"), finite("high", high)
    if above.shape != below.shape:
        raise ShapeError(f"high needs the shape of low, {below.shape}; got {above.shape}.")
    if (below > above).any():
        raise DataError("low must not exceed high; got a lower limit above its upper one. Pass low first.")
    return below, above, _observed(observed, below.shape[-1])


def _observed(observed: Any, prompts: int) -> Array:
    came = raisable("observed", shaped("observed", observed, "P"))
    if came.size != prompts:
        raise ShapeError(f"observed needs one number for each of {prompts} prompts; got {came.size}.")
    return came
