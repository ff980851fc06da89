"""Numbers with weights: the mean of k responses, alone or blended with a second source by inverse variance (T6, T7)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uqkd.checking.arrays import finite, numpy_of
from uqkd.checking.variation import varying
from uqkd.errors import DataError, FewResponsesWarning, ShapeError, VarianceError
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
    responses = _numbers(responses)
    k = responses.shape[-1]
    if method == "single":
        return NumberTargets(finite("responses", responses[..., 0]), responses[..., :1], np.ones(()), method)
    mean = responses @ np.full(k, 1.0 / k)
    if not np.isfinite(mean).all():  # seen in the mean, which is k times less to look at
        finite("responses", responses)
        raise DataError("responses are so large that their mean leaves float64. Use another unit.")
    if method not in BLENDING:
        return NumberTargets(mean, responses, np.ones(()), method)
    other = _positive("second_var", second_var)
    if method == "oracle":
        first = _varying_variance(responses, ddof=0)
    elif method == "known":
        first = _positive("response_var", response_var) / k
    else:
        first = _varying_variance(responses, ddof=1)
        if method == "estimated" and k < FEW_RESPONSES:
            warnings.warn(_few(k), FewResponsesWarning, stacklevel=3)
        if method == "shrunk":
            first = np.stack(
                [shrink_variances(row, k - 1).expected_variance for row in first]
            )  # infinite: all on the second
        first = first / k
    weights = other / (first + other)
    blended = weights * mean + (1.0 - weights) * finite("second", second)
    return NumberTargets(blended, responses, weights, method)


def _numbers(responses: Any) -> Array:
    """Responses (S, P, k) as floating numbers; whether they are finite shows in their mean."""
    array = np.asarray(numpy_of(responses, "responses"))
    if array.dtype.kind != "f":
        array = finite("responses", array)
    if array.ndim != 3 or array.size == 0:
        raise ShapeError(f"responses needs axes (S, P, k), none of them empty; got shape {array.shape}.")
    return array


def _varying_variance(responses: Array, *, ddof: int) -> Array:
    found = sample_variance(responses, ddof=ddof)
    varying("responses", responses)
    return found


def _few(k: int) -> str:
    cost = 2 * blend_variance([1.0], k)[0]
    return (
        f"weights from the sample variance of k={k} responses (fewer than {FEW_RESPONSES}): beside a source of equal, known "
        f"variance the mean squared error is {cost:.3g} times that of the best weights. Compare method='average', or use "
        "'shrunk'."
    )


def _positive(name: str, value: ArrayLike | None) -> Array:
    array = finite(name, value) if value is not None else np.full((), np.nan)
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
