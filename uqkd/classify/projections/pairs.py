"""Targets of mixed inputs: at least a part of the mass goes to the two classes that were mixed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from uqkd.classify.projections.probabilities import SMALLEST, Rows, refuse
from uqkd.errors import DataError, OptionError


def project_pairs(probs: Any, first: Any, second: Any, share: Any, *, floor: Any) -> Any:
    """Nearest distribution, in KL, that gives a mixed input's two classes their part of `floor`.

    ``min KL(q‖p)`` subject to q[first] >= floor·share and q[second] >= floor·(1 − share), so that the other classes hold
    at most 1 − floor. Where both classes are one, its bound is `floor`. In closed form: a class below its bound is
    lifted to it and all others shrink in proportion.

    Parameters
    ----------
    probs : (P, C) float
        The teacher's class probabilities of the mixed inputs; rows sum to one.
    first, second : (P,) int
        Classes of the two inputs that were mixed.
    share : float or (P,) float
        Part of the first input in the mixture, in [0, 1].
    floor : float or (P,) float
        Least mass of both classes together, in [0, 1]: 0 gives `probs`, 1 the mixed labels.

    Returns
    -------
    (P, C) float64
        The kind of `probs`.

    Raises
    ------
    OptionError
        `share` or `floor` outside [0, 1]; names the first row.
    DataError
        A class that must hold mass and has probability zero: no distribution at a finite KL gives it any.
    ShapeError, NotFiniteError
        Not probabilities, labels or bounds of these shapes.

    Notes
    -----
    The projection of `uqkd.classify.project_groups` with two groups bounded from below.

    Examples
    --------
    >>> project_pairs([[0.125, 0.375, 0.5]], [0], [1], 0.5, floor=0.5)
    array([[0.25      , 0.32142857, 0.42857143]])
    >>> project_pairs([[0.125, 0.375, 0.5]], [0], [1], 0.75, floor=1.0)
    array([[0.75, 0.25, 0.  ]])
    """
    rows = Rows.of(probs)
    one, two = rows.labels(first, "first")[:, None], rows.labels(second, "second")[:, None]
    shares, floors = rows.bound("share", share)[:, None], rows.bound("floor", floor)[:, None]
    for name, value in (("share", shares), ("floor", floors)):
        bad = ((value < 0) | (value > 1))[:, 0]
        refuse(bad, OptionError, f"{name} leaves [0, 1] in {{row}}", "It is a part of the whole.")
    same = one == two
    least_one = torch.where(same, floors, floors * shares)
    least_two = torch.where(same, 0.0, floors * (1.0 - shares))
    p_one, p_two = rows.probs.gather(1, one), rows.probs.gather(1, two)
    bad = ((p_one < SMALLEST) & (least_one > 0)) | ((p_two < SMALLEST) & (least_two > 0))
    refuse(
        bad[:, 0],
        DataError,
        "project_pairs cannot give mass to a mixed class whose probability is zero in {row}",
        "Pass probabilities that are positive for the mixed classes, such as a softmax in float64.",
    )
    low_one, low_two = p_one < least_one, p_two < least_two
    low_two |= low_one & ~same & (p_two * _shrunk(1.0 - least_one, 1.0 - p_one) < least_two)
    low_one |= low_two & ~same & (p_one * _shrunk(1.0 - least_two, 1.0 - p_two) < least_one)
    return rows.back(_lifted(rows.probs, one, two, least_one=least_one, least_two=least_two, low=(low_one, low_two)))


def _shrunk(left: Tensor, held: Tensor) -> Tensor:
    """What the classes outside are multiplied by, so that what they held becomes what is left."""
    return torch.where(held > 0, left / held.clamp_min(SMALLEST), 0.0)


def _lifted(
    probs: Tensor, one: Tensor, two: Tensor, *, least_one: Tensor, least_two: Tensor, low: tuple[Tensor, Tensor]
) -> Tensor:
    """Rows with the low classes at their bounds and the others scaled to what is left."""
    pinned = torch.zeros_like(probs, dtype=torch.bool).scatter_(1, two, low[1])
    pinned.scatter_(1, one, low[0])  # last: where both are one class, the first bound is the one that counts
    others = torch.where(pinned, 0.0, probs)
    left = 1.0 - torch.where(low[0], least_one, 0.0) - torch.where(low[1], least_two, 0.0)
    scaled = others * _shrunk(left.clamp_min(0.0), others.sum(1, keepdim=True))
    scaled = torch.where(low[0] | low[1], scaled, probs)
    bounds = torch.zeros_like(probs).scatter_add_(1, one, torch.where(low[0], least_one, 0.0))
    bounds.scatter_add_(1, two, torch.where(low[1], least_two, 0.0))
    return torch.where(pinned, bounds, scaled)
