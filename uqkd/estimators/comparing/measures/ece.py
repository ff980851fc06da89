"""Expected calibration error, fifteen bins of equal width."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, shaped
from uqkd.checking.probabilities import checked_probabilities

WHAT = "calibration error"
NEEDS = ("labels",)
LIMIT = math.inf  # a bin is shared by prompts
BINS = 15  # as in `expected_calibration_error`


def values(data: Any, labels: Any, teacher: Any = None) -> Array:
    """Confidence less accuracy at each student and prompt, with the sign of its bin: the mean is the student's ECE exactly.

    Notes
    -----
    What an ECE changes by where one prompt changes, as long as no bin changes its sign: the linear part. Where bins are calibrated, the
    ECE of few prompts is too large (see `expected_calibration_error`), and as much so for either method: compare at one P.

    Examples
    --------
    >>> values([[[0.8, 0.2], [0.8, 0.2]]], [0, 1]).round(2)
    array([[-0.2,  0.8]])
    """
    array, truth = checked_probabilities(shaped("probs", data, "S P C", need={"C": 2}), labels)
    gap = array.max(axis=-1) - (array.argmax(axis=-1) == truth)
    inner = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
    bins = np.searchsorted(inner, array.max(axis=-1), side="left") + BINS * np.arange(len(array))[:, None]
    sums = np.bincount(bins.ravel(), gap.ravel(), minlength=BINS * len(array))
    return np.asarray(np.where(sums < 0, -1.0, 1.0)[bins] * gap)
