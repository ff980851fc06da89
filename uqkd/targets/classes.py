"""Class labels with weights, and a teacher's distributions over classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uqkd.checking.arrays import numpy_of
from uqkd.checking.probabilities import distributions, normalised
from uqkd.errors import DataError, OptionError, ShapeError, VarianceError
from uqkd.estimators import gini, gini_from_draws
from uqkd.targets.family import Array, ClassTargets, Labels

METHODS = ("single", "multi", "precision")
OF_DISTRIBUTIONS = ("soft", "hard")


def weighted_labels(labels: ArrayLike, method: str, *, classes: int, second: Any = None) -> ClassTargets:
    """`weigh` of labels (S, P, k)."""
    drawn = _labels(labels, classes)
    if method == "precision":
        return _precision(drawn, second, classes)
    kept = drawn[..., :1] if method == "single" else drawn
    return ClassTargets(_shares(kept, classes), kept, method)


def weighted_distributions(probabilities: ArrayLike, method: str, *, students: int) -> ClassTargets:
    """`weigh` of distributions (P, C): one array seen S times, which takes the memory of one student and is read-only."""
    target = normalised(distributions("responses", probabilities))
    if target.ndim != 2 or students < 1:
        raise ShapeError(
            f"method {method!r} needs distributions (P, C) and students >= 1; got shape {target.shape} and "
            f"students={students}."
        )
    if method == "hard":
        target = np.eye(target.shape[1])[target.argmax(axis=1)]
    return ClassTargets(np.broadcast_to(target, (students, *target.shape)), None, method)


def _shares(kept: Labels, classes: int) -> Array:
    """(S, P, C) share of each class among labels (S, P, k)."""
    students, prompts, k = kept.shape
    place = np.arange(students * prompts).reshape(students, prompts, 1) * classes + kept
    counts = np.bincount(place.ravel(), minlength=students * prompts * classes)
    return np.asarray(counts.reshape(students, prompts, classes) / k)


def _precision(drawn: Labels, second: Any, classes: int) -> ClassTargets:
    """Shares of k labels blended with an independent source, weighted by the inverse of their squared errors (T6).

    The shares of k labels have the squared error G/k, G the chance that two answers of the teacher differ. Rows on which
    all k agree by chance must not be taken for certain, so a row's G is the source's own, times one factor that makes the
    average that of the labels, which is unbiased. The source's squared error, its bias included, is
    E‖shares − second‖² − E[G]/k, the same for every row; below zero it counts as zero.
    """
    other = distributions("second", second)
    if other.ndim != 2 or drawn.shape[1] != len(other) or other.shape[1] != classes:
        raise ShapeError(
            f"method 'precision' needs labels (S, P, k) and second (P, C={classes}) of the same prompts; got {drawn.shape} and "
            f"{other.shape}."
        )
    k = drawn.shape[2]
    if k < 2:
        raise VarianceError(
            "weights by inverse variance need k >= 2 labels per prompt; got k=1. Draw more, or use 'single'."
        )
    shares = _shares(drawn, classes)
    spread = gini_from_draws(drawn).mean(axis=1, keepdims=True) / k
    uncertainty = gini(other)
    own = spread * uncertainty / max(float(uncertainty.mean()), np.finfo(float).tiny)
    error = np.maximum(((shares - other) ** 2).sum(axis=-1).mean(axis=1, keepdims=True) - spread, 0.0)
    weight = np.divide(error, own + error, out=np.ones_like(own), where=own + error > 0)[..., None]
    return ClassTargets(weight * shares + (1.0 - weight) * other, drawn, "precision")


def _labels(labels: ArrayLike, classes: int) -> Labels:
    array = np.asarray(numpy_of(labels, "labels"))
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
