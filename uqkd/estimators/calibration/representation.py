"""How alike two representations are, and how linear one is between two inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, float_or_array, same_shape, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError, VarianceError
from uqkd.estimators.calibration.linearity import mixing_shares


def linear_cka(features: Any, other: Any, *, debiased: bool = False) -> float:
    """Alikeness of two representations of the same points, whatever their rotation and scale: linear CKA.

    ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖) with centred features and Frobenius norms.

    Parameters
    ----------
    features : (P, D) array_like
        Features of P points in one network; P >= 2.
    other : (P, E) array_like
        Features of the same points, in the same order, in another.
    debiased : bool
        Use the unbiased estimate of each of the three inner products; P >= 4.

    Returns
    -------
    float
        In [0, 1], 1 for equal up to rotation, scale and shift. Debiased: in [-1, 1], about 0 for unrelated features.

    Raises
    ------
    ShapeError, NotFiniteError
        Not (P, D), points that differ in number, too few of them, NaN.
    VarianceError
        Features that are the same at every point.

    Notes
    -----
    Kornblith et al. (2019). The plain value is biased upwards where P is not far above D and E: unrelated Gaussian features
    score about √(DE) / √((D + P)(E + P)). Debiased: HSIC₁ of Song et al. (2012), as Nguyen et al. (2021) use it; a ratio of
    unbiased terms. With centred features and squared lengths a, b of their rows it is, up to a factor that cancels,
    ‖XᵀY‖² − n/(n−2) Σ ab + Σa Σb / ((n−1)(n−2)).

    Examples
    --------
    >>> linear_cka([[1.0], [2.0], [4.0]], [[-2.0, 5.0], [-4.0, 5.0], [-8.0, 5.0]])
    1.0
    >>> round(linear_cka([[1.0], [-1.0], [0.0]], [[1.0], [1.0], [-2.0]]), 12)
    0.0
    """
    least = 4 if debiased else 2
    x, y = _centred("features", features, least), _centred("other", other, least)
    if len(x) != len(y):
        raise ShapeError(f"features and other need the same points; got P={len(x)} and P={len(y)}.")
    cross, own, others = _inner_products(x, y)
    if debiased:
        a, b = (x**2).sum(axis=1), (y**2).sum(axis=1)
        cross, own, others = _unbiased(cross, a, b), _unbiased(own, a, a), _unbiased(others, b, b)
        # features have length one over all points, so the terms of the sums are at most one: less is their rounding
        if min(own, others) <= 1e-13:
            raise VarianceError(
                f"linear_cka finds no variance beyond the bias of P={len(x)} points, so there is nothing to compare. "
                "Use more points."
            )
    return float(cross / np.sqrt(own * others))


def feature_linearity(mixed: Any, first: Any, second: Any, share: Any) -> float | Array:
    """How well the representation of a mixed input is the mixture of the two representations, as an R².

    1 − Σ ‖f(x~) − m‖² / Σ ‖m − m̄‖², with m = λ f(x_i) + (1 − λ) f(x_j) for each pair and m̄ their mean over pairs.

    Parameters
    ----------
    mixed : (P, D) or (S, P, D) array_like
        Features at x~ = λ x_i + (1 − λ) x_j.
    first, second : array_like of the shape of `mixed`
        Features at x_i and at x_j.
    share : float or (P,) array_like
        λ, the share of the first input, in [0, 1].

    Returns
    -------
    float or (S,) array
        At most 1, reached by a linear representation; 0 where features are as far from the mixtures as the mixtures are
        from their mean; no lower bound. Unchanged by rotation, scale and shift of the features.

    Raises
    ------
    ShapeError, NotFiniteError
        Shapes that differ, nothing at all, NaN.
    DataError
        Shares outside [0, 1].
    VarianceError
        Mixtures that are the same for every pair.

    Notes
    -----
    The scale is the spread of the mixtures, not of f(x~), which a network that sends mixed inputs far away could
    inflate. Both sums run over pairs and dimensions: dimensions of large variance count most, as in `linear_cka`.

    Examples
    --------
    >>> feature_linearity([[1.0], [4.0]], [[0.0], [2.0]], [[2.0], [4.0]], 0.5)  # mixtures 1 and 3: 1 − 1 / 2
    0.5
    """
    at, left, right = (
        raisable(name, shaped(name, value, "P D", "S P D"))
        for name, value in (("mixed", mixed), ("first", first), ("second", second))
    )
    same_shape("first", left, "mixed", at)
    same_shape("second", right, "mixed", at)
    weight = mixing_shares(share, at.shape[-2])[:, None]
    mixture = weight * left + (1.0 - weight) * right
    spread = _spread(mixture)
    off = ((at - mixture) ** 2).sum(axis=(-2, -1))
    scale = (spread**2).sum(axis=(-2, -1))
    if np.min(scale) == 0.0:
        raise VarianceError(_no_spread(left, right, scale))
    return float_or_array(1.0 - off / scale)


def _no_spread(first: Array, second: Array, scale: Array) -> str:
    """Why the mixtures of pairs have no spread."""
    student, who = int(np.argmin(scale)), ""
    if first.ndim == 3:
        first, second, who = first[student], second[student], f" of student {student}"
    if not _spread(np.concatenate([first, second])).any():
        return (
            f"the features{who} are the same at all rows, so their mixtures are too: the rows are equal, or the network is "
            "dead. Bring other rows, or train it better."
        )
    return f"the mixtures{who} are the same for every pair: no spread to compare with. Use more pairs."


def _spread(array: Array) -> Array:
    """Distances from the mean over points; zero in dimensions that vary by rounding only."""
    centred = array - array.mean(axis=-2, keepdims=True)
    points = array.shape[-2]
    # a mean of P equal numbers is off by less than P roundings of their size
    rounding = points * np.finfo(np.float64).eps * np.abs(array).max(axis=-2, keepdims=True)
    return np.where(np.abs(centred).max(axis=-2, keepdims=True) <= rounding, 0.0, centred)


def _centred(name: str, value: Any, least: int) -> Array:
    """Features around their mean, of Frobenius norm one: their squares neither overflow nor vanish."""
    array = shaped(name, value, "P D", need={"P": least})
    size = float(np.abs(array).max())
    spread = _spread(array / size) if size > 0.0 else array
    norm = float(np.linalg.norm(spread))
    if norm == 0.0:
        raise VarianceError(f"{name} is the same at all {len(array)} points, so it is alike to nothing. Other layer?")
    return np.asarray(spread / norm)


def _inner_products(x: Array, y: Array) -> tuple[float, float, float]:
    """‖XᵀY‖², ‖XᵀX‖² and ‖YᵀY‖², over features or over points, whichever takes fewer multiplications."""
    (points, d), e = x.shape, y.shape[1]
    if points * (d + e) < d * d + d * e + e * e:
        k, m = x @ x.T, y @ y.T
        return float((k * m).sum()), float((k * k).sum()), float((m * m).sum())
    cross, own, other = (left.T @ right for left, right in ((x, y), (x, x), (y, y)))
    return float((cross**2).sum()), float((own**2).sum()), float((other**2).sum())


def _unbiased(inner: float, a: Array, b: Array) -> float:
    n = len(a)
    return float(inner - n / (n - 2) * (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)))
