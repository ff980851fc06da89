"""Responses with weights: what students of any layer are trained on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import numpy_of
from uqkd.checking.probabilities import distributions, normalised
from uqkd.errors import DataError, FewResponsesWarning, OptionError, ShapeError, VarianceError, one_of
from uqkd.estimators.weighting.exact_variance import blend_variance
from uqkd.estimators.weighting.graybill_deal import FEW_RESPONSES
from uqkd.estimators.weighting.shrinkage import shrink_variances

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Targets:
    """Weighted responses: what each student is trained on; made by `weigh`.

    Attributes
    ----------
    values : (S, P) float
        The weighted mean of the responses (and of a second source), the label of a least-squares student.
    responses : (S, P, k) float
        The responses themselves, so that their spread is never lost.
    weights : float or (P,) or (S, P) float
        Weight on the mean of the teacher's responses; the second source has the rest. 1 where there is none.
    method : str
    """

    values: Array
    responses: Array
    weights: Array
    method: str

    @property
    def spread(self) -> Array:
        """(S, P) mean squared deviation of the responses about their target value (division by k).

        The mean over k responses of (response − m)² is (value − m)² + spread wherever the value is their mean: all that
        a Gaussian head needs to know of them.

        Examples
        --------
        >>> weigh(np.array([[[1.0, 3.0]]])).spread
        array([[1.]])
        """
        return np.asarray(((self.responses - self.values[..., None]) ** 2).mean(axis=-1))


def weigh(
    responses: Array,
    method: str = "average",
    *,
    source: Array | None = None,
    source_var: ArrayLike | None = None,
    response_var: ArrayLike | None = None,
) -> Targets:
    """Turn k responses per prompt into weighted responses.

    Parameters
    ----------
    responses : (S, P, k) float
    method : str
        "single": the first response. "average": the mean of k ("multi", weight 1/k each, trains the same least-squares
        coefficients). "oracle": the published variant, which blends in the teacher's noise-free mean with weights from
        the variance (ddof 0) of *one* response. "known": inverse-variance weights from known variances. "estimated":
        from each prompt's own sample variance (ddof 1). "shrunk": the same after empirical-Bayes shrinkage over prompts.
    source : (P,) or (S, P) float
        Second source, needed by the last four: predictions of an independent student, or for "oracle" the mean.
    source_var : float or (P,) or (S, P) float
        Its variance.
    response_var : float
        Known variance of one response, for "known".

    Returns
    -------
    Targets

    Notes
    -----
    T6, T7: the weight on the mean of k responses is k·source_var/(response_var + k·source_var).

    Examples
    --------
    >>> responses = np.array([[[1.0, 3.0]]])
    >>> weigh(responses).values
    array([[2.]])
    >>> weigh(responses, "known", source=np.array([4.0]), source_var=1.0, response_var=2.0).values
    array([[3.]])
    """
    one_of("method", method, ["single", "average", "multi", "oracle", "known", "estimated", "shrunk"])
    k = responses.shape[-1]
    if method == "single":
        return Targets(responses[..., 0], responses[..., :1], np.ones(()), method)
    mean = responses @ np.full(k, 1.0 / k)
    if method in ("average", "multi"):
        return Targets(mean, responses, np.ones(()), method)
    if source is None or source_var is None:
        raise OptionError(f"method {method!r} combines two sources; pass source and source_var.")
    second = _positive("source_var", source_var)
    if method == "oracle":
        first = _positive("the sample variance of the responses", sample_variance(responses, ddof=0))
    elif method == "known":
        first = _positive("response_var", response_var) / k
    else:
        first = _positive("the sample variance of the responses", sample_variance(responses, ddof=1))
        if method == "estimated" and k < FEW_RESPONSES:
            warnings.warn(_few(k), FewResponsesWarning, stacklevel=2)
        if method == "shrunk":
            first = np.stack([shrink_variances(row, k - 1).variance for row in first])
        first = first / k
    weights = second / (first + second)
    return Targets(weights * mean + (1.0 - weights) * source, responses, weights, method)


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


@dataclass(frozen=True)
class ClassTargets:
    """Weighted class labels: what each classifier is trained on; made by `weigh_labels` or `weigh_probabilities`.

    Attributes
    ----------
    probabilities : (S, P, C) float
        Target distribution of the cross-entropy; each sums to one.
    labels : (S, P, k) int or None
        The sampled labels behind it; None where the teacher's distribution itself was used.
    method : str
        "single", "multi", "soft" or "hard".
    """

    probabilities: Array
    labels: Labels | None
    method: str


def weigh_labels(labels: ArrayLike, classes: int, method: str = "multi") -> ClassTargets:
    """Turn k sampled class labels per prompt into target distributions.

    Parameters
    ----------
    labels : (S, P, k) int
        Of 0 ... classes − 1.
    classes : int
        C.
    method : {"multi", "single"}
        "multi": weight 1/k on each label, so the share of each class among them. "single": the first label alone.

    Returns
    -------
    ClassTargets

    Raises
    ------
    ShapeError
        Not three axes, or an empty one.
    DataError
        A label that is no whole number in 0 ... classes − 1; names the first.

    Notes
    -----
    T4. Labels need no second source: an average of one-hot rows is a distribution already.

    Examples
    --------
    >>> weigh_labels([[[2, 0]]], 3).probabilities
    array([[[0.5, 0. , 0.5]]])
    >>> weigh_labels([[[2, 0]]], 3, "single").probabilities
    array([[[0., 0., 1.]]])
    """
    one_of("method", method, ["multi", "single"])
    drawn = _labels(labels, classes)
    kept = drawn[..., :1] if method == "single" else drawn
    students, prompts, k = kept.shape
    place = np.arange(students * prompts).reshape(students, prompts, 1) * classes + kept
    counts = np.bincount(place.ravel(), minlength=students * prompts * classes)
    return ClassTargets(counts.reshape(students, prompts, classes) / k, kept, method)


def weigh_probabilities(probabilities: ArrayLike, method: str = "soft", *, students: int = 1) -> ClassTargets:
    """The teacher's own distributions as targets, the same for every student.

    Parameters
    ----------
    probabilities : (P, C) float
        The teacher's; rows that are off a sum of one by the rounding of their precision are brought to it.
    method : {"soft", "hard"}
        "soft": as they are. "hard": all weight on the likeliest class (the first of equal ones).
    students : int
        S.

    Returns
    -------
    ClassTargets
        `.probabilities` is one array seen S times: it takes the memory of one student and is read-only.

    Examples
    --------
    >>> weigh_probabilities([[0.2, 0.8]], "hard", students=2).probabilities
    array([[[0., 1.]],
    <BLANKLINE>
           [[0., 1.]]])
    """
    one_of("method", method, ["soft", "hard"])
    target = normalised(distributions("probabilities", probabilities))
    if target.ndim != 2 or students < 1:
        raise ShapeError(
            f"weigh_probabilities needs (P, C) and students >= 1; got shape {target.shape} and students={students}."
        )
    if method == "hard":
        target = np.eye(target.shape[1])[target.argmax(axis=1)]
    return ClassTargets(np.broadcast_to(target, (students, *target.shape)), None, method)


def _labels(labels: ArrayLike, classes: int) -> Labels:
    array = np.asarray(numpy_of(labels))
    if array.ndim != 3 or array.size == 0:
        raise ShapeError(f"labels needs axes (S, P, k), none of them empty; got shape {array.shape}.")
    if classes < 2:
        raise OptionError(f"classes must be at least 2; got {classes}.")
    if array.dtype.kind not in "iu":
        raise DataError(
            f"labels must be whole numbers 0 ... {classes - 1}; got dtype {array.dtype}. Encode them first."
        )
    wrong = (array < 0) | (array >= classes)
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), array.shape))
        raise DataError(f"labels must lie in 0 ... {classes - 1}; got {array[place]} at index {place}.")
    return array.astype(np.int64, copy=False)
