"""The nearest distribution within what is known of a row: its neighbourhood, the classes known to be wrong, its entropy."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from uqkd.classify.projections.projection import project_groups
from uqkd.classify.targets.evidence import Evidence
from uqkd.classify.targets.methods import Target

Array = NDArray[np.float64]


def within(probs: Array, *, evidence: Evidence, with_entropy: bool) -> Array:
    """Within the bounds on both groups of classes, and with at least that entropy."""
    projected: Array = project_groups(
        probs, evidence.near, evidence.wrong, near_min=evidence.near_min, wrong_max=evidence.wrong_max,
        entropy_min=evidence.entropy_min if with_entropy else None,
    )  # fmt: skip
    return projected


TARGETS = (
    Target("groups", partial(within, with_entropy=False), needs=("evidence",), projection="groups"),
    Target("groups, entropy", partial(within, with_entropy=True), needs=("evidence",), projection="groups_entropy"),
)
