"""Negative log-likelihood of the true class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, finite, shaped
from uqkd.checking.probabilities import checked_probabilities

WHAT = "negative log-likelihood"
NEEDS = ("labels",)
LIMIT = math.inf


def values(data: Any, labels: Any, teacher: Any = None) -> Array:
    """Nats at each student and prompt of probabilities (S, P, C); infinite ones are refused.

    Examples
    --------
    >>> values([[[0.5, 0.5]]], [0]).round(4)
    array([[0.6931]])
    """
    array, truth = checked_probabilities(shaped("probs", data, "S P C", need={"C": 2}), labels)
    with np.errstate(divide="ignore"):
        return finite("negative log-likelihood", -np.log(array[..., np.arange(truth.size), truth]))
