"""Nearest class probabilities that hold groups of classes and the entropy to bounds: exact, one root a row."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from uqkd.classify.projections.groups import GroupBounds, Groups, Space, pieces
from uqkd.classify.projections.probabilities import SLACK, Rows, entropy, first, refuse
from uqkd.classify.projections.roots import Root, power_of_entropy
from uqkd.errors import DataError, UqkdError, UqkdWarning, one_of

BLOCK = 2**19  # probabilities solved at once: 4 MiB of logs and 12 MiB of groups


@dataclass(frozen=True)
class Projection:
    """Projected probabilities and what held them.

    Attributes
    ----------
    probs : (P, C) float64
        q ∝ p^power · exp(mu·1{near} − nu·1{wrong}).
    power : (P,) float64
        Below 1 where `entropy_min` binds, above 1 where `entropy_max` does, else 1.
    near_active, wrong_active, entropy_active : (P,) bool
        Which bounds bind.
    """

    probs: Any
    power: Any
    near_active: Any
    wrong_active: Any
    entropy_active: Any


def project_groups(
    probs: Any,
    near: Any,
    wrong: Any,
    *,
    near_min: Any,
    wrong_max: Any,
    entropy_min: Any = None,
    entropy_max: Any = None,
    unreachable: str = "error",
) -> Any:
    """Nearest distribution, in KL, with enough mass near the label, little on wrong classes and a bounded entropy.

    ``min KL(q‖p)`` subject to q(near) >= near_min, q(wrong) <= wrong_max, entropy_min <= H(q) <= entropy_max. The answer
    is exact and unique, though an upper bound on the entropy makes the set of answers non-convex
    (`uqkd.classify.duality_gap` certifies it).

    Parameters
    ----------
    probs : (P, C) float
        The teacher's class probabilities p; rows sum to one. Classes of probability zero keep it.
    near, wrong : (P, C) bool
        Classes near the label and classes known wrong; no class is both.
    near_min, wrong_max : float or (P,) float
        Least mass of `near` and largest mass of `wrong`.
    entropy_min, entropy_max : float or (P,) float, optional
        Nats; no bound where None.
    unreachable : {"error", "drop"}
        What becomes of rows where no power of p falls to `entropy_max`, since the most probable classes tie or since what
        the groups must hold has more entropy: an error that names the first, or a projection without that bound and a
        `UqkdWarning` that counts them.

    Returns
    -------
    (P, C) float64
        The kind of `probs`; each row meets its bounds to 1e-9.

    Raises
    ------
    OptionError
        Bounds outside their range, or entropy_min > entropy_max; names the first row.
    DataError
        Not probabilities, groups that overlap, or bounds that a row cannot meet; names the first row.
    ShapeError, NotFiniteError
        Arguments of other shapes; NaN or infinity.

    Notes
    -----
    q ∝ p^b · exp(mu·1{near} − nu·1{wrong}): an entropy bound is a temperature 1/b of its own for each row. The problem is
    stated, and called intractable, in arXiv 2602.12687. If the true posterior meets the bounds other than `entropy_max`,
    the expected log-loss of q is lower than that of p by at least KL(q‖p).

    Examples
    --------
    >>> near, wrong = [[True, False, False]], [[False, False, True]]
    >>> project_groups([[0.25, 0.25, 0.5]], near, wrong, near_min=0.5, wrong_max=0.25)
    array([[0.5 , 0.25, 0.25]])
    >>> project_groups([[0.1, 0.1, 0.8]], near, wrong, near_min=0.0, wrong_max=1.0, entropy_min=0.9).round(4)
    array([[0.1788, 0.1788, 0.6423]])
    """
    bounds = {"near_min": near_min, "wrong_max": wrong_max, "entropy_min": entropy_min, "entropy_max": entropy_max}
    return group_projection(probs, near, wrong, **bounds, unreachable=unreachable).probs


def group_projection(
    probs: Any,
    near: Any,
    wrong: Any,
    *,
    near_min: Any,
    wrong_max: Any,
    entropy_min: Any = None,
    entropy_max: Any = None,
    unreachable: str = "error",
) -> Projection:
    """The same as `project_groups`, with the power of p and the bounds that bind.

    Parameters
    ----------
    probs, near, wrong, near_min, wrong_max, entropy_min, entropy_max, unreachable
        As `project_groups`.

    Returns
    -------
    Projection

    Raises
    ------
    OptionError, DataError, ShapeError, NotFiniteError
        As `project_groups`.

    Examples
    --------
    >>> near, wrong = [[True, False, False]], [[False, False, True]]
    >>> found = group_projection([[0.1, 0.1, 0.8]], near, wrong, near_min=0.0, wrong_max=1.0, entropy_min=0.9)
    >>> found.power.round(4), found.entropy_active, found.near_active
    (array([0.6149]), array([ True]), array([False]))
    """
    one_of("unreachable", unreachable, ("error", "drop"))
    rows = Rows.of(probs)
    asked = {"near_min": near_min, "wrong_max": wrong_max, "entropy_min": entropy_min, "entropy_max": entropy_max}
    bounds = GroupBounds.of(rows, near, wrong, **asked)
    points, classes = rows.probs.shape
    size = max(1, BLOCK // classes) if rows.probs.device.type == "cpu" else points
    parts, found, space = [], torch.empty_like(rows.probs), Space.of(min(size, points), rows.probs)
    for begin in range(0, points, size):
        at = slice(begin, begin + size)
        part = bounds.chunk(at)
        limits = {"near_min": part.near_min, "wrong_max": part.wrong_max}
        groups = Groups.of(rows.probs[at], part.near, part.wrong, **limits, space=space)
        if any(bool(trouble.bad.any()) for trouble in part.troubles(groups.counts())):
            bounds.refuse_groups(rows.probs)  # of all rows: the first, and how many
        parts.append(_project(rows.probs[at], groups, part, out=found[at]))
    whole = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(_Part)}
    _tell(**{name: whole.pop(name) for name in ("missed", "unreached")}, unreachable=unreachable)
    return Projection(rows.back(found), **{name: rows.back(value) for name, value in whole.items()})


@dataclass(frozen=True)
class _Part:
    """What is known of some rows, (n,) each."""

    power: Tensor
    near_active: Tensor
    wrong_active: Tensor
    entropy_active: Tensor
    missed: Tensor
    unreached: Tensor


def _project(probs: Tensor, groups: Groups, bounds: GroupBounds, *, out: Tensor) -> _Part:
    root = _powers(groups, bounds)
    power = torch.where(root.reached, root.power, 1.0)
    held = groups.distribution(power, out=out)
    same = (power == 1.0) & ~held.near & ~held.wrong  # to the bit, not only to the rounding of exp(log p)
    out[same] = probs[same]
    return _Part(power, held.near, held.wrong, power != 1.0, _missed(out, groups, bounds, root.reached), ~root.reached)


def _powers(groups: Groups, bounds: GroupBounds) -> Root:
    """Power of each row: 1 where the entropy is within its bounds there."""
    one = torch.ones_like(bounds.near_min)
    found = Root(one, torch.ones_like(one, dtype=torch.bool))
    if bounds.entropy_min is None and bounds.entropy_max is None:
        return found
    start = groups.level(one)
    least = torch.full_like(one, -torch.inf) if bounds.entropy_min is None else bounds.entropy_min
    most = torch.full_like(one, torch.inf) if bounds.entropy_max is None else bounds.entropy_max
    flat, sharp = start.value < least, start.value > most
    rows = (flat | sharp).nonzero().squeeze(1)
    if len(rows):
        target, low = torch.where(flat, least, most)[rows], torch.where(flat, 0.0, one)[rows]
        high = torch.where(flat, one, torch.inf)[rows]
        begin = start.take(rows)
        root = power_of_entropy(groups.take(rows), target, begin, low=low, high=high)
        found.power[rows], found.reached[rows] = root.power, root.reached
    return found


def _missed(found: Tensor, groups: Groups, bounds: GroupBounds, reached: Tensor) -> Tensor:
    """Rows (n,) of the answer that miss a bound by more than rounding, seen from the probabilities alone."""
    mass, value = torch.empty(len(found), 3, dtype=found.dtype, device=found.device), torch.zeros_like(bounds.near_min)
    for at in pieces(found):
        mass[at] = torch.bmm(found[at, None], groups.member[at].transpose(1, 2))[:, 0]
        if bounds.entropy_min is not None or bounds.entropy_max is not None:
            value[at] = entropy(found[at])
    good = (mass.sum(1) - 1.0).abs() <= SLACK
    good &= (mass[:, 0] >= bounds.near_min - SLACK) & (mass[:, 1] <= bounds.wrong_max + SLACK)
    if bounds.entropy_min is not None:
        good &= value >= bounds.entropy_min - SLACK
    if bounds.entropy_max is not None:
        good &= (value <= bounds.entropy_max + SLACK) | ~reached
    return ~good


def _tell(*, missed: Tensor, unreached: Tensor, unreachable: str) -> None:
    """Errors and warnings about rows that have no answer."""
    refuse(
        missed,
        UqkdError,
        "the projection misses its bounds by more than 1e-9 in {row}",
        "This is a fault of the solver, not of the data: report it with that row and its bounds.",
    )
    seen = "no power of p has an entropy as low as entropy_max, for tied classes or for what the groups must hold, in"
    if unreachable == "error":
        remedy = 'Pass unreachable="drop" to project such rows without entropy_max, or raise it there.'
        refuse(unreached, DataError, f"{seen} {{row}}", remedy)
    elif bool(unreached.any()):
        text = f"{seen} {int(unreached.sum())} of {len(unreached)} rows, the first {first(unreached)}"
        warnings.warn(f"{text}; they are projected without it.", UqkdWarning, stacklevel=4)
