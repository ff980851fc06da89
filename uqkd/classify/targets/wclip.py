"""Wrong-mass clipping: mass moves from the class that a teacher wrongly holds most probable to the label."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from uqkd.checking.arrays import numpy_of
from uqkd.classify.projections.probabilities import Rows
from uqkd.errors import OptionError


def wclip(probs: Any, labels: Any, *, margin: float = 0.7, budget: float = 0.5) -> Any:
    """Move mass from the most probable class to the label where the teacher is wrong (W-Clip).

    Where k* = argmax p is not the label y, d = min(budget·p[k*], margin·(p[k*] − p[y])) moves from k* to y; the other
    classes and the other rows keep their probabilities. The label then holds at least what k* keeps if budget or margin
    is at least 1/2, yet need not come first: a third class may hold more (`project_label_first` puts it first).

    Parameters
    ----------
    probs : (P, C) float
        The teacher's class probabilities; rows sum to one.
    labels : (P,) int or None
        True classes; without them nothing is clipped.
    margin, budget : float
        Parts of the gap to the label and of the wrong class's mass that may move, in [0, 1].

    Returns
    -------
    (P, C) float64
        The kind of `probs`.

    Raises
    ------
    OptionError
        `margin` or `budget` outside [0, 1].
    ShapeError, DataError, NotFiniteError
        Not probabilities, or labels that are no classes.

    Notes
    -----
    arXiv 2602.12687. It is the exact KL projection onto q[y] >= p[y] + d, q[k*] <= p[k*] − d (a test).

    Examples
    --------
    >>> wclip([[0.5, 0.375, 0.125], [0.5, 0.375, 0.125]], [1, 0], margin=0.5)
    array([[0.4375, 0.4375, 0.125 ],
           [0.5   , 0.375 , 0.125 ]])
    """
    margin, budget = _part("margin", margin), _part("budget", budget)
    rows = Rows.of(probs)
    clipped = rows.probs.clone()
    if labels is not None:
        label = rows.labels(labels)[:, None]
        most, where = rows.probs.max(1, keepdim=True)
        held = rows.probs.gather(1, label)
        moved = torch.minimum(budget * most, margin * (most - held))  # zero where the label is the most probable
        clipped.scatter_add_(1, label, moved).scatter_add_(1, where, -moved)
    return rows.back(clipped)


def _part(name: str, value: Any) -> float:
    """A number in [0, 1] of any kind, a tensor's too."""
    number = np.asarray(numpy_of(value))
    if number.ndim or number.dtype.kind not in "iuf" or not 0.0 <= number <= 1.0:
        raise OptionError(f"{name} must be a number in [0, 1]; got {value!r}.")
    return float(number)
