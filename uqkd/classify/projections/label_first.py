"""Nearest class probabilities that put the label first, in KL and in squared error: exact."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from uqkd.classify.projections.label_first_family import LabelFirst, max_entropy_label_first, rising
from uqkd.classify.projections.probabilities import SLACK, SMALLEST, Rows, entropy, refuse
from uqkd.classify.projections.roots import power_of_entropy
from uqkd.errors import DataError, OptionError, UqkdError

BLOCK = 2**18  # probabilities solved at once, 2 MiB


@dataclass(frozen=True)
class LabelProjection:
    """Projected probabilities and what held them.

    Attributes
    ----------
    probs : (P, C) float64
        q_k = min(c·p_k^power, t) for the rivals, t + margin for the label.
    power : (P,) float64
        Below 1 where `entropy_min` binds, else 1.
    label_active, entropy_active : (P,) bool
        Which bounds bind.
    pooled : (P,) int64
        Rivals that the label's margin holds down, all at the same probability t.
    """

    probs: Any
    power: Any
    label_active: Any
    entropy_active: Any
    pooled: Any


def project_label_first(probs: Any, labels: Any, *, margin: Any = 0.0, entropy_min: Any = None) -> Any:
    """Nearest distribution, in KL, whose label leads every other class by a margin, with enough entropy.

    ``min KL(q‖p)`` subject to q[label] >= q[k] + margin for all other k, and H(q) >= entropy_min.

    Parameters
    ----------
    probs : (P, C) float
        The teacher's class probabilities p; rows sum to one. Classes of probability zero keep it.
    labels : (P,) int
        True classes.
    margin : float or (P,) float
        In [0, 1]; 0 lets the label share the first place.
    entropy_min : float or (P,) float, optional
        Nats; no bound where None.

    Returns
    -------
    (P, C) float64
        The kind of `probs`; each row meets its bounds to 1e-9.

    Raises
    ------
    OptionError
        `margin` outside [0, 1]; names the first row.
    DataError
        Not probabilities, a label of probability zero, or an entropy that the margin does not allow; names the first row.
    ShapeError, NotFiniteError
        Arguments of other shapes; NaN or infinity.

    Notes
    -----
    Label and offending rivals move to where the rivals share one value; without margin and entropy bound that is their
    geometric mean. If the true posterior meets the bounds, the expected log-loss of q is lower than that of p by at least
    KL(q‖p).

    Examples
    --------
    >>> project_label_first([[0.125, 0.5, 0.375]], [0]).round(4)
    array([[0.3333, 0.3333, 0.3333]])
    >>> project_label_first([[0.125, 0.5, 0.375]], [2], margin=0.25).round(4)
    array([[0.1216, 0.3142, 0.5642]])
    """
    return label_first_projection(probs, labels, margin=margin, entropy_min=entropy_min).probs


def label_first_projection(probs: Any, labels: Any, *, margin: Any = 0.0, entropy_min: Any = None) -> LabelProjection:
    """The same as `project_label_first`, with the power of p and the bounds that bind.

    Parameters
    ----------
    probs, labels, margin, entropy_min
        As `project_label_first`.

    Returns
    -------
    LabelProjection

    Raises
    ------
    OptionError, DataError, ShapeError, NotFiniteError
        As `project_label_first`.

    Examples
    --------
    >>> label_first_projection([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], [0, 0]).pooled
    array([1, 0])
    """
    rows = Rows.of(probs)
    label, lead = rows.labels(labels)[:, None], _margin(rows, margin)
    least = None if entropy_min is None else rows.bound("entropy_min", entropy_min)
    _refuse(rows.probs, label, lead, least)
    points, classes = rows.probs.shape
    size = max(1, BLOCK // classes) if rows.probs.device.type == "cpu" else points
    found, parts = torch.empty_like(rows.probs), []
    for begin in range(0, points, size):
        at = slice(begin, begin + size)
        part = rows.probs[at], label[at], lead[at]
        parts.append(_project(*part, None if least is None else least[at], out=found[at]))
    whole = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(_Part)}
    seen = "the projection misses its bounds by more than 1e-9 in {row}"
    remedy = "This is a fault of the solver, not of the data: report it with that row and its bounds."
    refuse(whole["missed"], UqkdError, seen, remedy)
    return LabelProjection(
        probs=rows.back(found),
        power=rows.back(whole["power"]),
        label_active=rows.back(whole["pooled"] > 0),
        entropy_active=rows.back(whole["power"] != 1.0),
        pooled=rows.back(whole["pooled"]),
    )


@dataclass(frozen=True)
class _Part:
    """Powers, pooled rivals and misses of some rows, (n,) each."""

    power: Tensor
    pooled: Tensor
    missed: Tensor


def _project(probs: Tensor, label: Tensor, margin: Tensor, least: Tensor | None, *, out: Tensor) -> _Part:
    """Write the answers (n, C) of some rows: those that miss a bound are solved."""
    out.copy_(probs)
    power, pooled = torch.ones_like(margin), torch.zeros_like(label[:, 0])
    work = ~_meets(out, label, margin, least, slack=0.0)
    rows = work.nonzero().squeeze(1)
    if len(rows):
        part = probs[rows], label[rows], margin[rows]
        out[rows], power[rows], pooled[rows] = _solve(*part, None if least is None else least[rows])
    good = _meets(out, label, margin, least, slack=SLACK) & ((out.sum(1) - 1.0).abs() <= SLACK)
    return _Part(power, pooled, ~good)


def _solve(probs: Tensor, label: Tensor, margin: Tensor, least: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Answers (n, C), powers (n,) and pooled rivals (n,) of rows that miss a bound."""
    whole = margin == 1.0  # leaves the label alone: no power of p, but its limit
    scaled = probs / probs.amax(1, keepdim=True)
    logs = torch.where(probs >= SMALLEST, scaled.log_(), -torch.inf)
    family = LabelFirst.of(logs, label, torch.where(whole, 0.0, margin))
    power = torch.ones_like(margin)
    if least is not None:
        start = family.level(power)
        target = torch.where(whole, start.value, torch.maximum(start.value, least))
        power = power_of_entropy(family, target, start, low=torch.zeros_like(power), high=power).power
    pool = family.pool(power)
    found = torch.addcmul(pool.scale.log()[:, None], power[:, None], logs).exp_()
    held = pool.count > 0
    top = torch.where(held, pool.log_top.exp(), torch.inf)[:, None]
    own = torch.where(held[:, None], top + margin[:, None], found.gather(1, label))
    found = torch.minimum(found, top, out=found).scatter_(1, label, own)
    if bool(whole.any()):
        found[whole] = torch.zeros_like(found[whole]).scatter_(1, label[whole], 1.0)
    rivals = logs.isfinite().sum(1) - 1
    return found, power, torch.where(whole, rivals, pool.count)


def _meets(probs: Tensor, label: Tensor, margin: Tensor, least: Tensor | None, *, slack: float) -> Tensor:
    """Rows (n,) whose label leads, and whose entropy is, as much as asked."""
    good = _lead(probs, label) >= margin - slack
    return good if least is None else good & (entropy(probs) >= least - slack)


def project_label_first_l2(probs: Any, labels: Any, *, margin: Any = 0.0) -> Any:
    """Nearest distribution, in squared error, whose label leads every other class by a margin.

    Parameters
    ----------
    probs : (P, C) float
        The teacher's class probabilities; rows sum to one.
    labels : (P,) int
        True classes; they may have probability zero.
    margin : float or (P,) float
        In [0, 1].

    Returns
    -------
    (P, C) float64
        The kind of `probs`: offending rivals at t, the label at t + margin, the rest unchanged.

    Raises
    ------
    OptionError
        `margin` outside [0, 1]; names the first row.
    ShapeError, DataError, NotFiniteError
        Not probabilities, or labels that are no classes.

    Notes
    -----
    t = (p_label − margin + sum of the j largest rivals)/(1 + j), with the smallest j whose t is no less than the next rival.

    Examples
    --------
    >>> project_label_first_l2([[0.125, 0.5, 0.375]], [2], margin=0.125)
    array([[0.125, 0.375, 0.5  ]])
    """
    rows = Rows.of(probs)
    label, lead = rows.labels(labels)[:, None], _margin(rows, margin)
    own = rows.probs.gather(1, label)
    rivals = rising(rows.probs.scatter(1, label, -1.0))[:, 1:].flip(1)
    count = torch.arange(1, rivals.shape[1] + 1, dtype=rivals.dtype, device=rivals.device)
    tops = (own - lead[:, None] + rivals.cumsum(1)) / (1.0 + count)
    following = torch.cat([rivals[:, 1:], torch.full_like(own, -torch.inf)], 1)
    top = tops.gather(1, (tops >= following).to(torch.int8).argmax(1, keepdim=True)).clamp_min(0.0)
    found = torch.minimum(rows.probs, top).scatter_(1, label, top + lead[:, None])
    return rows.back(torch.where((_lead(rows.probs, label) < lead)[:, None], found, rows.probs))


def _margin(rows: Rows, margin: Any) -> Tensor:
    value = rows.bound("margin", margin)
    refuse(
        (value < 0) | (value > 1), OptionError, "margin leaves [0, 1] in {row}", "It is a difference of probabilities."
    )
    return value


def _lead(probs: Tensor, label: Tensor) -> Tensor:
    """By how much the label leads the largest rival, (n,)."""
    return probs.gather(1, label)[:, 0] - probs.scatter(1, label, -1.0).amax(1)


def _refuse(probs: Tensor, label: Tensor, margin: Tensor, least: Tensor | None) -> None:
    absent = probs.gather(1, label)[:, 0] < SMALLEST
    seen = "the label has probability zero, so that no distribution at a finite KL puts it first, in {row}"
    refuse(absent, DataError, seen, "Pass a softmax in float64, or use project_label_first_l2.")
    if least is not None:
        most = max_entropy_label_first((probs >= SMALLEST).sum(1), margin)
        seen = "entropy_min exceeds what the margin and the classes of positive probability allow in {row}"
        refuse(least > most + SLACK, DataError, seen, "Lower one of them there.")
