"""What Graybill-Deal weighting really achieves: exact variances by quadrature, for any number of sources."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, same_shape, shaped
from uqkd.errors import ShapeError, VarianceError

_OUTSIDE = 1e-17  # probability cut off at each end; the integrands below are bounded by their values there
_STEP = 0.2  # in logarithms; the trapezoidal rule then errs by about exp(-pi^2 / 0.2) = 4e-22
_FEWEST_NODES = 400  # so that the step stays below 0.2 of a standard deviation for many degrees of freedom


def graybill_deal_variance(sizes: Any, variances: Any) -> float:
    """Exact variance of the Graybill-Deal estimate from independent normal samples.

    Parameters
    ----------
    sizes : (m,) array_like
        Sample sizes kᵢ >= 2, m >= 2.
    variances : (m,) array_like
        True variances σᵢ² of one response of each source, > 0.

    Returns
    -------
    float
        Squared units of the responses; relative error below 1e-8 (`tests/estimators/weighting/test_weighting.py`).

    Raises
    ------
    ShapeError
        Lengths differ, or fewer than two sources.
    VarianceError
        A size below 2 or a variance that is not positive.

    Notes
    -----
    T7. Means and sample variances are independent, so Var = Σ E[uᵢ²] σᵢ² / kᵢ with weights uᵢ = wᵢ / Σ w,
    wᵢ = kᵢ / sᵢ². From 1 / W² = ∫ t exp(−tW) dt follows E[uᵢ²] = ∫ t E[wᵢ² exp(−t wᵢ)] Π E[exp(−t wⱼ)] dt.
    Equal variances and two equal sizes: (k + 1) / (2k) · σ² (Graybill & Deal 1959; Cohen & Sackrowitz 1974).

    Examples
    --------
    >>> round(graybill_deal_variance([5, 5], [1.0, 1.0]) * 5, 10)  # (k + 1) / (2k) for k = 5
    0.6
    """
    size, true = _sources(sizes, variances)
    of_mean = true / size
    scale = float(of_mean.min())
    return scale * float(_squared_weights(tuple(size.tolist()), tuple((of_mean / scale).tolist())) @ (of_mean / scale))


def claimed_variance_expected(sizes: Any, variances: Any) -> float:
    """Mean of the variance 1 / Σ (kᵢ / sᵢ²) that plug-in weights claim, over independent normal samples.

    Parameters
    ----------
    sizes, variances : (m,) array_like
        As in `graybill_deal_variance`.

    Returns
    -------
    float
        Squared units of the responses; always below the true variance.

    Raises
    ------
    ShapeError, VarianceError
        As in `graybill_deal_variance`.

    Notes
    -----
    T7. E[1 / W] = ∫ Π E[exp(−t wⱼ)] dt.

    Examples
    --------
    >>> claimed = claimed_variance_expected([3, 3], [1.0, 1.0])
    >>> round(claimed / graybill_deal_variance([3, 3], [1.0, 1.0]), 3)  # claims half of what is true
    0.5
    """
    size, true = _sources(sizes, variances)
    of_mean = true / size
    scale = float(of_mean.min())
    _, survival, time = _transforms(tuple(size.tolist()), tuple((of_mean / scale).tolist()))
    return scale * float(np.sum(time * survival.prod(axis=0)) * _STEP)


def blend_variance(ratio: Any, k: int) -> Array:
    """Variance of a mean of k responses blended with a source of *known* variance, where only the former is estimated.

    Parameters
    ----------
    ratio : (P,) array_like
        Variance of the known source over that of the mean of k responses, > 0.
    k : int
        Responses behind the sample variance (ddof 1), >= 2.

    Returns
    -------
    (P,) float
        In units of the variance of the mean of k responses; known variances give ratio/(1 + ratio).

    Notes
    -----
    T6, T7. E[w²] + ratio·E[(1−w)²] with w = ratio/(ratio + χ²_{k−1}/(k−1)), for normal responses, by the midpoint rule over
    the quantiles of χ²: the integrand is bounded, so the error is O(1/nodes).

    Examples
    --------
    >>> blend_variance([1.0], 3).round(3)  # 0.5 with known variances
    array([0.615])
    """
    spread, dof = np.asarray(ratio, dtype=np.float64)[:, None], k - 1
    nodes = special.chdtri(dof, 1.0 - (np.arange(4000) + 0.5) / 4000) / dof
    weight = spread / (spread + nodes)
    return np.asarray((weight**2).mean(axis=1) + spread[:, 0] * ((1 - weight) ** 2).mean(axis=1))


def plug_in_cost(sizes: tuple[int, ...] | tuple[float, ...]) -> float:
    """Variance of the Graybill-Deal estimate over that of the best weights, where all variances are equal.

    Parameters
    ----------
    sizes : (m,) tuple
        Sample sizes kᵢ >= 2.

    Returns
    -------
    float
        At least 1; (k + 1) / k for two equal sizes.

    Raises
    ------
    ShapeError, VarianceError
        As in `graybill_deal_variance`.

    Examples
    --------
    >>> round(plug_in_cost((4, 4)), 10)
    1.25
    """
    return graybill_deal_variance(sizes, np.ones(len(sizes))) * float(np.sum(sizes))


def _sources(sizes: Any, variances: Any) -> tuple[Array, Array]:
    size, true = shaped("sizes", sizes, "m", need={"m": 2}), shaped("variances", variances, "m")
    same_shape("variances", true, "sizes", size)
    if size.min() < 2:
        raise VarianceError(f"a variance needs at least 2 responses; got size {size.min():g} at {int(size.argmin())}.")
    if true.min() <= 0:
        raise VarianceError(f"variances must be positive; got {true.min():g} at index {int(true.argmin())}.")
    if size.size > 1000:
        raise ShapeError(f"at most 1000 sources are integrated exactly; got {size.size}.")
    return size, true


@lru_cache(maxsize=256)
def _squared_weights(sizes: tuple[float, ...], mean_variances: tuple[float, ...]) -> Array:
    """E[uᵢ²] of each source."""
    second, survival, time = _transforms(sizes, mean_variances)
    # log-sum instead of dividing the product: a transform may be as small as 1e-300.
    with np.errstate(divide="ignore"):
        logs = np.log(survival)
    out = np.empty(len(sizes))
    for i in range(len(sizes)):
        others = np.exp(np.delete(logs, i, axis=0).sum(axis=0))
        out[i] = np.sum(time * second[i] * others) * _STEP
    out.setflags(write=False)
    return out


def _transforms(sizes: tuple[float, ...], mean_variances: tuple[float, ...]) -> tuple[Array, Array, Array]:
    """t E[w² exp(−tw)], E[exp(−tw)] for each source on a logarithmic grid of t, and that grid.

    w = ν / (v X) with X ~ χ²(ν), ν = k − 1 and v = σ² / k.
    """
    precision, chance = zip(*(_precisions(k - 1.0, v) for k, v in zip(sizes, mean_variances, strict=True)), strict=True)
    # The integrands vanish where t times the total precision is below 1e-19 or above 50.
    start = np.log(1e-19 / sum(w.max() for w in precision))
    stop = np.log(50.0 / max(w.min() for w in precision))
    time = np.exp(np.arange(start, stop, _STEP))
    second, survival = np.empty((len(sizes), time.size)), np.empty((len(sizes), time.size))
    for i, (w, p) in enumerate(zip(precision, chance, strict=True)):
        decay = np.exp(-np.multiply.outer(time, w))
        survival[i] = decay @ p
        second[i] = ((np.multiply.outer(time, w) * w) * decay) @ p
    return second, survival, time


def _precisions(dof: float, mean_variance: float) -> tuple[Array, Array]:
    """Values and probabilities of w = dof / (v X), on a grid even in log X."""
    half = dof / 2.0
    low = np.log(2.0 * special.gammaincinv(half, _OUTSIDE))
    high = np.log(2.0 * special.gammainccinv(half, _OUTSIDE))
    log_x = np.linspace(low, high, max(_FEWEST_NODES, int((high - low) / _STEP)))
    log_density = half * (log_x - np.log(2.0)) - np.exp(log_x) / 2.0 - special.gammaln(half)
    chance = np.exp(log_density)
    return dof / (mean_variance * np.exp(log_x)), chance / chance.sum()
