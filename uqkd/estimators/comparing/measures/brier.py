"""Squared distance of class probabilities from the true class (Brier 1950)."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, shaped
from uqkd.checking.probabilities import checked_probabilities

WHAT = "Brier score"
NEEDS = ("labels",)
LIMIT = 2.0


def values(data: Any, labels: Any, teacher: Any = None) -> Array:
    """Summed over classes, at each student and prompt of probabilities (S, P, C); their mean is `brier_score`.

    Examples
    --------
    >>> values([[[0.5, 0.5]]], [0])
    array([[0.5]])
    """
    array, truth = checked_probabilities(shaped("probs", data, "S P C", need={"C": 2}), labels)
    return np.asarray(((array - np.eye(array.shape[-1])[truth]) ** 2).sum(axis=-1))
