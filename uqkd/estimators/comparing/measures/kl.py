"""Kullback–Leibler divergence from the teacher's class probabilities."""

from __future__ import annotations

import math
from typing import Any

from uqkd.checking.arrays import Array, finite, shaped
from uqkd.errors import ShapeError
from uqkd.estimators.variance.categorical import kl_divergence

WHAT = "divergence from the teacher"
NEEDS = ("teacher",)
LIMIT = math.inf


def values(data: Any, labels: Any, teacher: Any) -> Array:
    """KL(teacher‖student) at each student and prompt, nats, of probabilities (S, P, C) and (P, C); infinite ones are refused.

    Examples
    --------
    >>> values([[[0.25, 0.75]]], None, [[0.5, 0.5]]).round(4)
    array([[0.1438]])
    """
    ours, theirs = shaped("probs", data, "S P C", need={"C": 2}), shaped("teacher", teacher, "P C")
    if theirs.shape != ours.shape[1:]:
        raise ShapeError(f"teacher needs (P, C) = {ours.shape[1:]}; got {theirs.shape}.")
    return finite("divergence from the teacher", kl_divergence(theirs, ours))
