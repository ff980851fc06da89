"""Share of answers that are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, numpy_of, shaped
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import ShapeError

WHAT = "accuracy"
NEEDS = ("labels",)
LIMIT = 1.0


def values(data: Any, labels: Any, teacher: Any = None) -> Array:
    """Share of right answers at each student and prompt.

    Parameters
    ----------
    data : (S, P, C) float or (S, P[, R]) int
        Class probabilities, of which the largest counts, or answered classes.
    labels : (P,) int

    Examples
    --------
    >>> values([[[0.9, 0.1], [0.2, 0.8]]], [0, 0])
    array([[1., 0.]])
    >>> values([[[0, 1], [1, 1]]], [0, 1])
    array([[0.5, 1. ]])
    """
    raw = np.asarray(numpy_of(data))
    if raw.dtype.kind not in "iub":
        array, truth = checked_probabilities(shaped("probs", data, "S P C", need={"C": 2}), labels)
        return np.asarray(array.argmax(axis=-1) == truth, dtype=np.float64)
    answers, truth = shaped("answers", data, "S P", "S P R"), np.asarray(numpy_of(labels))
    if truth.shape != answers.shape[1:2]:
        raise ShapeError(f"labels needs shape (P={answers.shape[1]},), one for each prompt; got {truth.shape}.")
    right = answers == truth.reshape(-1, *(1,) * (answers.ndim - 2))
    return np.asarray(right if answers.ndim == 2 else right.mean(axis=-1), dtype=np.float64)
