"""Combining sources by their precision where variances and covariances are known (T6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, same_shape, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError, VarianceError

SQUARES_VANISH = 2.0**-510  # a bias below it has a square of no digits


@dataclass(frozen=True)
class Combination:
    """Weighted combination of m sources, with the plain average beside it.

    Attributes
    ----------
    value : float or (P,) array
        Combined estimate.
    weights : (m,) or (m, P) array
        Sum to one over the sources; from `blue` they may leave [0, 1].
    variance : float or (P,) array
        Variance of `value`.
    plain, plain_variance : float or (P,) array
        Unweighted average of the sources and its variance.
    mse, plain_mse : float or (P,) array
        Mean squared errors: the variances plus squared bias where biases were given.
    """

    value: Any
    weights: Array
    variance: Any
    plain: Any
    plain_variance: Any
    mse: Any
    plain_mse: Any


def inverse_variance_weight(estimates: Any, variances: Any, *, biases: Any = None) -> Combination:
    """Minimum-variance combination of independent estimates with known variances.

    Parameters
    ----------
    estimates : (m,) or (m, P) array_like
        One estimate per source (and prompt), m >= 2.
    variances : (m,) or (m, P) array_like
        Known variances of these estimates (for a mean of k responses: response variance / k); positive.
    biases : (m,) or (m, P) array_like, optional
        Known biases; the combination then minimises the mean squared error, and weights may leave [0, 1].

    Returns
    -------
    Combination
        Scalars, or (P,) arrays.

    Raises
    ------
    ShapeError, NotFiniteError
        Shapes that do not fit, NaN or infinity.
    VarianceError
        A variance that is not positive. There is no epsilon: a source of variance zero has collapsed, not converged.

    Notes
    -----
    T6. Weights ∝ 1 / σᵢ²; for two sources α = kσ_S² / (σ_T² + kσ_S²). With biases, σᵢ² → σᵢ² + bᵢ², c → bᵢ bⱼ.

    Examples
    --------
    >>> both = inverse_variance_weight([1.0, 4.0], [1.0, 2.0])
    >>> float(both.value), both.weights.round(3), round(float(both.variance), 3), float(both.plain)
    (2.0, array([0.667, 0.333]), 0.667, 2.5)
    """
    value, variance = _sources(estimates, "variances", variances)
    positive("variances", variance)
    if biases is not None:
        return _minimum(value, _diagonal(variance), biases)
    least = variance.min(axis=0)
    relative = least / variance
    weights = relative / relative.sum(axis=0)
    return _unbiased(value, weights, least / relative.sum(axis=0), variance)


def _unbiased(value: Array, weights: Array, combined: Array, variance: Array) -> Combination:
    plain_variance = variance.mean(axis=0) / len(variance)
    return Combination(
        (weights * value).sum(axis=0), weights, combined, value.mean(axis=0), plain_variance, combined, plain_variance
    )


def blue(estimates: Any, covariance: Any, *, biases: Any = None) -> Combination:
    """Best linear unbiased combination of correlated estimates with known covariance.

    Parameters
    ----------
    estimates : (m,) or (m, P) array_like
        One estimate per source (and prompt), m >= 2.
    covariance : (m, m) or (P, m, m) array_like
        Known covariance of the estimates, positive definite; one for all prompts or one each.
    biases : (m,) or (m, P) array_like, optional
        Known biases; the mean squared error is minimised instead of the variance.

    Returns
    -------
    Combination
        Scalars, or (P,) arrays. Weights may leave [0, 1] (T6: when c > min(v_T, σ_S²)).

    Raises
    ------
    ShapeError, NotFiniteError
        Shapes that do not fit, NaN or infinity.
    VarianceError
        A covariance that is not symmetric or not positive definite (two sources that are the same draws, for one).

    Notes
    -----
    T6. w = Σ⁻¹1 / (1ᵀΣ⁻¹1), by Cholesky of the correlation matrix. Sources trained on the very draws they are combined
    with have c = Var S and get weight 0: pass that covariance.

    Examples
    --------
    >>> both = blue([1.0, 4.0], [[1.0, 0.5], [0.5, 2.0]])
    >>> both.weights, float(both.value), round(float(both.variance), 6)
    (array([0.75, 0.25]), 1.75, 0.875)
    """
    value = shaped("estimates", estimates, "m", "m P", need={"m": 2})
    matrix = shaped("covariance", covariance, "m m", "P m m")
    return _minimum(value, matrix, biases)


def _minimum(value: Array, covariance: Array, biases: Any) -> Combination:
    """Weights that minimise wᵀ(Σ + bbᵀ)w subject to Σw = 1, in the axes (P, m) inside."""
    _fit(value, covariance)
    bias = np.zeros_like(value)
    if biases is not None:
        given = shaped("biases", biases, "m", "m P")
        given = np.where(np.abs(given) < SQUARES_VANISH, 0.0, given)  # beside any variance that float64 can hold
        bias = _alongside(value, "biases", raisable("biases", given))
    by_prompt = bias.T if bias.ndim == 2 else bias
    root = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    least = root.min(axis=-1, keepdims=True)
    correlation = covariance / root[..., :, None] / root[..., None, :]
    target = least / root
    solved = _solve(correlation, target)
    best = solved / (target * solved).sum(axis=-1, keepdims=True)  # weights times root / least, without biases
    # Weights sum to one, so wᵀb = b̄ + δᵀc with b̄ the bias of the best weights, c = b − b̄ and δ what the weights move: the
    # minimum of wᵀΣw + (wᵀb)² is at δ = −b̄ Σ⁻¹c/(1 + cᵀΣ⁻¹c), and the bias left is b̄/(1 + cᵀΣ⁻¹c). Only differences of biases
    # enter c, so that large equal ones lose no digits, and no matrix is inverted but Σ.
    shared = target * best
    middle = (shared * by_prompt).sum(axis=-1, keepdims=True)
    apart = (shared[..., None, :] * (by_prompt[..., :, None] - by_prompt[..., None, :])).sum(axis=-1) / root
    pull = _solve(correlation, apart)
    shrink = 1.0 + (apart * pull).sum(axis=-1, keepdims=True)
    scaled = best - (middle / least / shrink) * pull
    weights = target * scaled
    size = least[..., 0] ** 2
    spread = np.einsum("...i,...ij,...j->...", scaled, correlation, scaled) * size
    off = ((middle / shrink)[..., 0]) ** 2
    m = value.shape[0]
    plain_spread = (covariance / m).sum(axis=(-2, -1)) / m
    shape = value.shape[1:]
    return Combination(
        (weights.T * value).sum(axis=0),
        np.broadcast_to(weights.T if weights.ndim == value.ndim else weights[:, None], value.shape).copy(),
        _over(spread, shape), value.mean(axis=0), _over(plain_spread, shape),
        _over(spread + off, shape), _over(plain_spread + by_prompt.mean(axis=-1) ** 2, shape),
    )  # fmt: skip


def _over(array: Any, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(array, shape).copy()[()]


def _solve(matrix: Array, target: Array) -> Array:
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError as error:
        raise VarianceError(
            "covariance is not positive definite, so some combination of the sources would have no variance; "
            "are two sources the same draws? Leave one out."
        ) from error
    shape = np.broadcast_shapes(target.shape, matrix.shape[:-1])  # one matrix may serve all prompts, and one target
    half = np.linalg.solve(factor, np.broadcast_to(target, shape)[..., None])
    return np.linalg.solve(np.swapaxes(factor, -1, -2), half)[..., 0]


def _fit(value: Array, covariance: Array) -> None:
    m = value.shape[0]
    if covariance.shape[-2:] != (m, m):
        raise ShapeError(f"covariance needs shape (m, m) or (P, m, m) with m={m} sources; got {covariance.shape}.")
    if covariance.ndim == 3 and value.shape[1:] != covariance.shape[:1]:
        raise ShapeError(f"covariance has P={covariance.shape[0]} prompts; estimates has shape {value.shape}.")
    diagonal = np.diagonal(covariance, axis1=-2, axis2=-1)
    positive("the diagonal of covariance", diagonal)
    root = np.sqrt(diagonal)
    correlation = covariance / root[..., :, None] / root[..., None, :]
    skew = np.abs(correlation - np.swapaxes(correlation, -1, -2)).max()
    if skew > 1e-10:
        raise VarianceError(f"covariance is not symmetric: its halves differ by {skew:.3g} in units of correlation.")
    # A correlation matrix whose least eigenvalue is within rounding (m eps, times 8 for the Cholesky) of zero is
    # singular for all that float64 can say; two identical sources come out anywhere in that range.
    least = float(np.linalg.eigvalsh(correlation).min())
    if least <= 8 * m * np.finfo(float).eps:
        raise VarianceError(
            f"covariance is not positive definite (least eigenvalue of the correlation matrix {least:.3g}), so some "
            "combination of the sources would have no variance; are two sources the same draws? Leave one out."
        )


def _diagonal(variance: Array) -> Array:
    by_prompt = variance.T if variance.ndim == 2 else variance
    return np.asarray(by_prompt[..., :, None] * np.eye(len(variance)))


def _sources(estimates: Any, name: str, other: Any) -> tuple[Array, Array]:
    value = shaped("estimates", estimates, "m", "m P", need={"m": 2})
    return value, _alongside(value, name, shaped(name, other, "m", "m P"))


def _alongside(value: Array, name: str, other: Array) -> Array:
    """`other` in the shape of the estimates; one number per source serves all prompts."""
    if other.ndim == 1 and value.ndim == 2 and len(other) == len(value):
        other = np.repeat(other[:, None], value.shape[1], axis=1)
    same_shape(name, other, "estimates", value)
    return other


def positive(name: str, array: Array) -> None:
    """Raise `VarianceError` naming the first index unless every entry is positive."""
    if array.min() <= 0:
        index = tuple(int(i) for i in np.unravel_index(int(array.argmin()), array.shape))
        raise VarianceError(
            f"{name} must be positive; got {array.min():g} at index {index}. A source without variance has collapsed "
            "or repeats itself; leave it out or draw more responses (no epsilon is added here)."
        )
