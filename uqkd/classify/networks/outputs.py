"""What the networks of classifiers must give: logits of two classes or more, not probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.probabilities import sum_tolerance
from uqkd.errors import OptionError, ShapeError

Array = NDArray[np.float64]

PROBE_ROWS = 2  # rows that are looked at before training, and first where many are asked about


def checked_logits(found: Array) -> Array:
    """Outputs (S, P, C) as they are, or a typed error for what no softmax may follow.

    Examples
    --------
    >>> checked_logits(np.array([[[2.0, -1.0], [0.5, 0.5]]])).shape
    (1, 2, 2)
    >>> checked_logits(np.array([[[0.75, 0.25], [0.5, 0.5]]]))
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: the network gives probabilities (all in [0, 1], every row sums to one), which a softmax follows ...
    """
    if found.ndim != 3 or found.shape[2] < 2:
        raise ShapeError(
            f"a classifier gives C >= 2 logits a row; this network gives outputs of shape {found.shape[2:] or (1,)} a row. Let its "
            "last layer have one output per class: two, where one logit says yes or no."
        )
    if _are_probabilities(found):
        raise OptionError(
            "the network gives probabilities (all in [0, 1], every row sums to one), which a softmax follows here: they would be "
            "softened twice. Remove the Softmax at its end."
        )
    return found


def _are_probabilities(found: Array) -> bool:
    """Whether at least two rows all lie in [0, 1] and sum to one up to the rounding of single precision.

    Logits are free: the sum of a row that varies by about one is within C · 6e-8 of one by a chance of about as much, and
    all rows must be, of all classifiers. A network that has learnt nothing, whose rows are equal, gives zeros or its bias.
    Two rows show the others: nothing else is computed for logits.
    """
    if found.shape[1] < PROBE_ROWS:
        return False
    allowed = sum_tolerance(np.dtype(np.float32), found.shape[2])
    for rows in (found[:, :PROBE_ROWS], found):
        inside = rows.min() >= 0.0 and rows.max() <= 1.0  # neither of NaN
        if not (inside and np.abs(rows.sum(axis=-1) - 1.0).max() <= allowed):
            return False
    return True


def refuse_classes(found: Array, targets: Any, classes: int) -> None:
    """`ShapeError` where a network was built for another number of classes than its targets (S or 1, P, C or 2C) are of.

    Examples
    --------
    >>> refuse_classes(np.zeros((1, 2, 3)), np.eye(4)[None, :3], 4)
    Traceback (most recent call last):
        ...
    uqkd.errors.ShapeError: the network gives 3 logits a row, but the targets are of 4 classes, of which 3 occur. Build it ...
    """
    given = found.shape[2]
    if given != classes:
        occur = int((np.asarray(targets)[..., -classes:] > 0).any(axis=(0, 1)).sum())
        seen = f", of which {occur} occur" if occur else ""
        raise ShapeError(
            f"the network gives {given} logits a row, but the targets are of {classes} classes{seen}. Build it for {classes} "
            f"classes, or make the targets of {given} (classes={given})."
        )
