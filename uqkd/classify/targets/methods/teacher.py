"""The teacher's distributions as they are, softened, and with its uncertainty shaped (DUS)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uqkd.classify.targets.methods import Target
from uqkd.classify.targets.weighted import soften
from uqkd.targets import weigh

Array = NDArray[np.float64]


def unchanged(probs: Array) -> Array:
    """Brought to sums of one."""
    return weigh(probs, "soft").probabilities[0]


def softened(probs: Array, *, temperature: float) -> Array:
    """At that temperature."""
    return unchanged(soften(probs, temperature))


TARGETS = (
    Target("teacher", unchanged),
    Target("teacher, temperature", softened, needs=("temperature",)),
    Target("DUS", unchanged, begins="shaped_probabilities"),
)
