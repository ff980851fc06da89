"""Linear empirical-Bayes shrinkage of many estimates towards their mean, from repeated halves of the same draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import shaped
from uqkd.errors import ShapeError

Array = NDArray[np.float64]


def shrink_towards_mean(estimates: ArrayLike, first: ArrayLike | None = None, second: ArrayLike | None = None) -> Array:
    """Unbiased estimates of P quantities, each drawn towards their mean by as much as their noise asks for.

    No distribution is assumed, and estimates may be zero or negative, which logarithms (`shrink_variances`) do not allow.

    Parameters
    ----------
    estimates : (P,) float
    first, second : (n, P) float, optional
        Unbiased estimates of the same quantities from disjoint halves of the draws, split in n ways. Without them there
        is nothing to tell spread from noise by, and all P are given the mean.

    Returns
    -------
    (P,) float
        mean + b·(estimate − mean), b = Cov(first, second)/Var(estimates) over the P, held to [0, 1]. Not clipped at 0.

    Raises
    ------
    ShapeError
        Not one axis, or halves of another shape.

    Notes
    -----
    Derived here. Let estimate = truth + noise with mean-zero noise. Over prompts Var(estimate) = Var(truth) + E[noise²],
    and the best linear predictor of the truth has slope Var(truth)/Var(estimate). Halves share the truth and no draws,
    so their covariance over prompts is Var(truth), without bias.

    Examples
    --------
    >>> shrink_towards_mean([0.0, 1.0, 2.0]).tolist()
    [1.0, 1.0, 1.0]
    >>> shrink_towards_mean([0.0, 1.0, 2.0], [[1.0, 1.0, 1.5]], [[0.0, 1.0, 2.0]]).tolist()
    [0.75, 1.0, 1.25]
    """
    value = shaped("estimates", estimates, "P")
    mean = float(value.mean())
    if first is None or second is None or len(value) < 2:
        return np.full(value.shape, mean)
    halves = [shaped(name, half, "n P") for name, half in (("first", first), ("second", second))]
    if halves[0].shape != halves[1].shape or halves[0].shape[1] != len(value):
        raise ShapeError(
            f"first and second need axes (n, P={len(value)}), the same; got {halves[0].shape} and {halves[1].shape}."
        )
    spread = float(value.var(ddof=1))
    centred = [half - half.mean(axis=1, keepdims=True) for half in halves]
    shared = float((centred[0] * centred[1]).sum(axis=1).mean()) / (len(value) - 1)
    slope = min(max(shared / spread, 0.0), 1.0) if spread > 0 else 0.0
    return np.asarray(mean + slope * (value - mean))
