"""Predictions of each row by a network that has not seen it, as they are and at the temperature that fits the labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uqkd.classify.crossfit import OutOfFold
from uqkd.classify.targets.methods import Target
from uqkd.targets import weigh

Array = NDArray[np.float64]


def unseen(probs: Array, *, folds: OutOfFold) -> Array:
    """Of the folds."""
    return weigh(folds.probabilities, "soft").probabilities[0]


def unseen_softened(probs: Array, *, calibrated: Array) -> Array:
    """Of the folds, at that temperature."""
    return weigh(calibrated, "soft").probabilities[0]


TARGETS = (
    Target("out of fold", unseen, needs=("folds",)),
    Target("out of fold, temperature", unseen_softened, needs=("calibrated",)),
)
