"""Combining sources by estimated variances (Graybill-Deal, T7), with what it costs said beside."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, shaped
from uqkd.checking.variation import raisable, varying
from uqkd.errors import FewResponsesWarning, ShapeError, VarianceError, one_of
from uqkd.estimators.weighting.exact_variance import claimed_variance_expected, plug_in_cost
from uqkd.estimators.weighting.precision import Combination, blue, inverse_variance_weight
from uqkd.estimators.weighting.shrinkage import finite_variance, shrink_variances

__all__ = ["Combination", "EstimatedCombination", "blue", "graybill_deal", "inverse_variance_weight"]

FEW_RESPONSES = 16  # below, plug-in weights of two equal sources cost more than 1/16 of the best MSE: (k + 1) / k


@dataclass(frozen=True)
class EstimatedCombination(Combination):
    """Combination by estimated variances; made by `graybill_deal`.

    Attributes
    ----------
    value, weights, plain, plain_variance, mse, plain_mse
        As in `Combination`.
    variance : float or (P,) array
        Estimate of the true variance, estimated weights taken into account.
    claimed_variance : float or (P,) array
        1 / Σ (kᵢ / vᵢ), what plug-in weights claim of vᵢ = sᵢ², the shrunk or the pooled variance; too small.
    """

    claimed_variance: Any


def graybill_deal(samples: Sequence[Any], *, variances: str = "own") -> EstimatedCombination:
    """Inverse-variance combination of sample means whose variances are estimated from the same samples.

    Parameters
    ----------
    samples : sequence of m arrays, each (k_i,) or (P, k_i)
        Independent responses of each source, k_i >= 2, m >= 2.
    variances : {"own", "shrunk", "pooled"}
        The variance behind each weight: of the prompt itself; shrunk over prompts (`shrink_variances`, per source);
        averaged over prompts. The last two need the axis P.

    Returns
    -------
    EstimatedCombination
        `.value`, `.weights`, the honest `.variance`, `.claimed_variance`, `.plain` and its variance; scalars or (P,).

    Raises
    ------
    ShapeError
        Fewer than two sources, shapes that do not fit, or no axis P where one is needed.
    VarianceError
        k_i = 1; responses of one prompt that do not vary, up to rounding (pooled: at no prompt); or, with "shrunk", a
        posterior whose expected variance is infinite (k_i = 2 and unlike prompts).
    OptionError
        Unknown `variances`.

    Warns
    -----
    FewResponsesWarning
        Fewer than 16 responses (or as many degrees of freedom, less one) behind a weight; names the MSE factor against
        the best weights for equal variances.

    Notes
    -----
    T7; Graybill & Deal (1959), unbiased. Honest variance: Meier (1953), claimed · (1 + 4 Σ uᵢ(1 − uᵢ) / νᵢ), good to
    first order in 1 / ν: with equal variances it states 83, 90, 95, 98 % of the truth at k = 2, 3, 5, 10 for two
    sources, and 23, 46, 73, 92 % for five. With "shrunk" weight and variance rest on E[σ² | s²]: given the sample variances
    no other weights have a smaller expected squared error, and 1 / Σ (kᵢ / E[σᵢ² | s²]) is that error but for the prior's
    own: of two sources, k = 3 and a prior worth 6, it is 92, 98 and 100 % of the truth with 20, 50 and 200 prompts, of five 85,
    93 and 97 % (tests/estimators/weighting/test_stated_variance.py). For given true variances `graybill_deal_variance` is exact.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     both = graybill_deal([[1.0, 3.0, 2.0], [4.0, 8.0, 6.0]])
    >>> both.value.round(1), both.weights, both.claimed_variance.round(3), both.variance.round(3)
    (np.float64(2.8), array([0.8, 0.2]), np.float64(0.267), np.float64(0.437))
    >>> float(both.plain)
    4.0
    """
    one_of("variances", variances, ("own", "shrunk", "pooled"))
    arrays = _samples(samples)
    sizes = np.array([a.shape[-1] for a in arrays], dtype=float)
    means = np.stack([a.mean(axis=-1) for a in arrays])
    own = np.stack([a.var(axis=-1, ddof=1) for a in arrays])
    if variances != "pooled" or own.ndim == 1:
        for i, array in enumerate(arrays):
            varying(f"samples[{i}]", array)
    column = sizes.reshape((-1,) + (1,) * (own.ndim - 1))
    used, dof, claimed = _used_variances(own, sizes, variances)
    _warn_if_few(dof)
    known = inverse_variance_weight(means, used / column)
    honest = known.variance
    if variances != "shrunk":
        honest = honest * (1.0 + 4.0 * (known.weights * (1.0 - known.weights) / dof).sum(axis=0))
    plain_variance = (own / column).sum(axis=0) / len(arrays) ** 2
    return EstimatedCombination(
        known.value, known.weights, honest, known.plain, plain_variance, honest, plain_variance,
        1.0 / (column / claimed).sum(axis=0),
    )  # fmt: skip


def _samples(samples: Sequence[Any]) -> list[Array]:
    if len(samples) < 2:
        raise ShapeError(f"samples needs m >= 2 sources; got {len(samples)}.")
    arrays = [
        raisable(f"samples[{i}]", shaped(f"samples[{i}]", sample, "k", "P k")) for i, sample in enumerate(samples)
    ]
    for i, array in enumerate(arrays):
        if array.shape[:-1] != arrays[0].shape[:-1]:
            raise ShapeError(f"samples[{i}] has shape {array.shape} beside samples[0] {arrays[0].shape}; P must agree.")
        if array.shape[-1] < 2:
            raise VarianceError(
                f"samples[{i}] has one response (k=1): its variance cannot be estimated. Draw k >= 2, or use "
                "inverse_variance_weight with a known variance, or the plain average."
            )
    return arrays


def _used_variances(own: Array, sizes: Array, variances: str) -> tuple[Array, Array, Array]:
    """Variance of one response behind each weight, its degrees of freedom, and the variance claimed; in the shape of `own`."""
    dof = np.broadcast_to((sizes - 1.0).reshape((-1,) + (1,) * (own.ndim - 1)), own.shape)
    if variances == "own":
        return own, dof, own
    if own.ndim != 2:
        raise ShapeError(f"variances={variances!r} needs samples (P, k_i) of several prompts; got one prompt.")
    if variances == "pooled":
        pooled = np.broadcast_to(own.mean(axis=1, keepdims=True), own.shape)
        return pooled, dof * own.shape[1], pooled
    shrunk = [shrink_variances(row, size - 1.0) for row, size in zip(own, sizes, strict=True)]
    expected = np.stack([finite_variance(f"samples[{i}]", s) for i, s in enumerate(shrunk)])
    return expected, np.stack([s.dof for s in shrunk]), np.stack([s.variance for s in shrunk])


def _warn_if_few(dof: Array) -> None:
    behind = dof.reshape(len(dof), -1).min(axis=1) + 1.0
    if behind.min() >= FEW_RESPONSES:
        return
    sizes = tuple(float(k) for k in np.minimum(behind, 1e4))
    cost = plug_in_cost(sizes)
    share = claimed_variance_expected(sizes, np.ones(len(sizes))) / (cost / sum(sizes))
    warnings.warn(
        f"variances behind the weights rest on {behind.min():.3g} responses (fewer than {FEW_RESPONSES}): with equal "
        f"true variances the mean squared error is {cost:.3g} times that of the best weights (and of the plain "
        f"average), and the claimed variance {share:.2g} of the true one. Compare .plain, or use variances='shrunk'.",
        FewResponsesWarning,
        stacklevel=3,
    )
