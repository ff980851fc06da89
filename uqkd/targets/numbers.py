"""Numbers with weights: the mean of k responses, alone or blended with a second source by inverse variance (T6, T7)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from uqkd.errors import FewResponsesWarning, VarianceError
from uqkd.estimators.weighting.exact_variance import blend_variance
from uqkd.estimators.weighting.graybill_deal import FEW_RESPONSES
from uqkd.estimators.weighting.shrinkage import shrink_variances
from uqkd.targets.family import Array, NumberTargets

BLENDING = ("oracle", "known", "estimated", "shrunk")
METHODS = ("single", "multi", "average", *BLENDING)


def weighted_numbers(
    responses: Array,
    method: str,
    *,
    second: ArrayLike | None = None,
    second_var: ArrayLike | None = None,
    response_var: ArrayLike | None = None,
) -> NumberTargets:
    """`weigh` of responses (S, P, k)."""
    k = responses.shape[-1]
    if method == "single":
        return NumberTargets(responses[..., 0], responses[..., :1], np.ones(()), method)
    mean = responses @ np.full(k, 1.0 / k)
    if method not in BLENDING:
        return NumberTargets(mean, responses, np.ones(()), method)
    other = _positive("second_var", second_var)
    if method == "oracle":
        first = _positive("the sample variance of the responses", sample_variance(responses, ddof=0))
    elif method == "known":
        first = _positive("response_var", response_var) / k
    else:
        first = _positive("the sample variance of the responses", sample_variance(responses, ddof=1))
        if method == "estimated" and k < FEW_RESPONSES:
            warnings.warn(_few(k), FewResponsesWarning, stacklevel=3)
        if method == "shrunk":
            first = np.stack([shrink_variances(row, k - 1).variance for row in first])
        first = first / k
    weights = other / (first + other)
    return NumberTargets(weights * mean + (1.0 - weights) * np.asarray(second), responses, weights, method)


def _few(k: int) -> str:
    cost = 2 * blend_variance([1.0], k)[0]
    return (
        f"weights from the sample variance of k={k} responses (fewer than {FEW_RESPONSES}): beside a source of equal, known "
        f"variance the mean squared error is {cost:.3g} times that of the best weights. Compare method='average', or use "
        "'shrunk'."
    )


def _positive(name: str, value: ArrayLike | None) -> Array:
    array = np.asarray(value if value is not None else np.nan, dtype=np.float64)
    if not (array > 0).all():
        raise VarianceError(f"{name} must be given and positive to weigh by inverse variance; got {array.min()}.")
    return array


def sample_variance(responses: Array, *, ddof: int) -> Array:
    """Variance (S, P) of the k responses (S, P, k) to each prompt; refuses k = 1.

    Examples
    --------
    >>> sample_variance(np.array([[[1.0, 3.0]]]), ddof=1)
    array([[2.]])
    """
    if responses.shape[-1] < 2:
        raise VarianceError(
            "estimated inverse-variance weights need k >= 2 responses per prompt; got k=1. Draw more responses, pass "
            "known variances, or use method='average'."
        )
    return np.asarray(responses.var(axis=-1, ddof=ddof))
