"""Squared distance from the teacher: of distributions over classes, or of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, numpy_of, shaped
from uqkd.checking.probabilities import distributions
from uqkd.errors import ShapeError
from uqkd.estimators.answers.distance import squared_distance

WHAT = "squared distance from the teacher"
NEEDS = ("teacher",)
LIMIT = math.inf


def values(data: Any, labels: Any, teacher: Any) -> Array:
    """Distance of each student from the teacher at each prompt.

    Parameters
    ----------
    data : (S, P, R) int, (S, P, C) float or (S, P, R) float
        Answers as class labels, class probabilities, or draws of numbers.
    teacher : (P, k) int, (P, C) float or (P,) float
        Draws that no student was trained on; class probabilities; the mean of each prompt. It says what `data` is.

    Notes
    -----
    Unbiased of draws, so that single values may be negative (T4): the noise of R draws is taken off.

    Examples
    --------
    >>> values([[[0.5, 0.5]]], None, [[1.0, 0.0]])
    array([[0.5]])
    >>> values([[[1.0, 3.0]]], None, [0.0])  # 2² − 2/2
    array([[3.]])
    """
    if np.asarray(numpy_of(data)).dtype.kind in "iu":
        return squared_distance(data, teacher=teacher).per_student
    theirs = shaped("teacher", teacher, "P", "P C")
    need = {"R": 2} if theirs.ndim == 1 else {"C": 2}
    ours = shaped("draws" if theirs.ndim == 1 else "probs", data, "S P R" if theirs.ndim == 1 else "S P C", need=need)
    if theirs.shape != ours.shape[1 : 1 + theirs.ndim]:
        raise ShapeError(
            f"teacher has shape {theirs.shape} and the students {ours.shape}; prompts and classes must agree."
        )
    if theirs.ndim == 1:
        return np.asarray((ours.mean(axis=2) - theirs) ** 2 - ours.var(axis=2, ddof=1) / ours.shape[2])
    return np.asarray(((distributions("probs", ours) - distributions("teacher", theirs)) ** 2).sum(axis=-1))
