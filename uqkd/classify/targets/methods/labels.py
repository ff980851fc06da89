"""The labels themselves, and smoothed ones: baselines without a teacher."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from uqkd.classify.targets.methods import Target
from uqkd.classify.targets.weighted import smooth_labels

Array = NDArray[np.float64]

SMOOTHING = 0.1  # as Szegedy et al. (2016)


def smoothed(probs: Array, *, labels: NDArray[np.int64], amount: float) -> Array:
    """Label smoothing over the classes of the teacher."""
    return smooth_labels(labels, probs.shape[1], amount).probabilities[0]


TARGETS = (
    Target("labels", partial(smoothed, amount=0.0), needs=("labels",)),
    Target("label smoothing", partial(smoothed, amount=SMOOTHING), needs=("labels",)),
)
