"""Expected calibration error, fifteen bins of equal width."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, shaped
from uqkd.checking.probabilities import checked_probabilities

WHAT = "calibration error"
NEEDS = ("labels",)
LIMIT = math.inf  # a bin is shared by prompts
BINS = 15  # as in `expected_calibration_error`
TINY = np.finfo(np.float64).tiny  # of bins whose confidence is 1: any gap is beyond chance


def values(data: Any, labels: Any, teacher: Any = None) -> Array:
    """What each prompt contributes to a student's ECE: their mean is the ECE exactly.

    Notes
    -----
    A prompt moves the ECE by its confidence less accuracy, with the sign of the gap of its bin. Where a bin may be calibrated
    that sign is noise: in its place stands 2Φ(z) − 1, z the bin's gap in standard errors of a calibrated one. Of |x|, x normal
    about 0, that has 1/3 of the variance of x, and |x| has 1 − 2/π = .363 of it; with signs the whole would be taken. The ECE of
    few prompts is too large (see `expected_calibration_error`), and as much so for either method: compare at one P.

    Examples
    --------
    >>> values([[[0.8, 0.2], [0.8, 0.2]]], [0, 1]).round(3)  # a gap of .6 for two, 1.06 standard errors: weight .711
    array([[-0.056,  0.656]])
    """
    array, truth = checked_probabilities(shaped("probs", data, "S P C", need={"C": 2}), labels)
    confidence = array.max(axis=-1)
    gap = confidence - (array.argmax(axis=-1) == truth)
    inner = np.linspace(0.0, 1.0, BINS + 1)[1:-1]
    bins = np.searchsorted(inner, confidence, side="left") + BINS * np.arange(len(array))[:, None]
    sums, spread = (
        np.bincount(bins.ravel(), part.ravel(), minlength=BINS * len(array))
        for part in (gap, confidence * (1.0 - confidence))
    )
    weight = special.erf(sums / np.sqrt(np.maximum(2.0 * spread, TINY)))[bins]
    error = np.abs(sums).reshape(len(array), BINS).sum(axis=1, keepdims=True) / truth.size
    moved = weight * gap
    return np.asarray(moved - moved.mean(axis=1, keepdims=True) + error)
