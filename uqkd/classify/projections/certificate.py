"""How far projected probabilities are from the best ones at most: lower bounds on KL(q‖p) that hold for every rival q.

For any b > 0 and multipliers, let r ∝ p^b · exp(multipliers of the linear bounds), normalised by Z. Then for every q

    KL(q‖p) = (1/b − 1)·H(q) + (1/b)·[KL(q‖r) + multipliers·(linear forms of q) − log Z],

and with KL(q‖r) >= 0 (Gibbs) and the bounds that q must meet, the right side is at least a number that does not depend on
q: the entropy's bound from below counts where b < 1, the one from above where b > 1, which is why the non-convex one is
covered. b and the multipliers are read off the projected probabilities, never taken from the solver.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from uqkd.classify.projections.groups import GroupBounds, max_entropy
from uqkd.classify.projections.label_first_family import max_entropy_label_first
from uqkd.classify.projections.probabilities import SLACK, SMALLEST, Rows, entropy

INFINITE_MULTIPLIER = 80.0  # a multiplier that stands for infinity: exp(−80) is below the rounding of any sum here


def duality_gap(
    probs: Any,
    projected: Any,
    near: Any,
    wrong: Any,
    *,
    near_min: Any,
    wrong_max: Any,
    entropy_min: Any = None,
    entropy_max: Any = None,
) -> Any:
    """By how much KL(projected‖probs) may exceed the least one possible, at most; zero certifies `project_groups`.

    Parameters
    ----------
    probs, near, wrong, near_min, wrong_max, entropy_min, entropy_max
        As `project_groups`.
    projected : (P, C) float
        What is claimed to be the projection.

    Returns
    -------
    (P,) float64
        Nats; not negative but for rounding, which grows like 1/b as b falls to 0. Infinite where a bound is missed by
        more than 1e-9, or where mass was given to a class of probability zero. Where `entropy_min` is within 1e-9 of the
        largest entropy possible, only the max_entropy distribution is left, and one that meets the bounds has gap 0.

    Raises
    ------
    OptionError, DataError, ShapeError, NotFiniteError
        As `project_groups`.

    Notes
    -----
    Zero is reached by the unique minimiser only, the non-convex upper bound on the entropy included.

    Examples
    --------
    >>> near, wrong = [[True, False, False]], [[False, False, True]]
    >>> bounds = {"near_min": 0.5, "wrong_max": 0.25}
    >>> duality_gap([[0.25, 0.25, 0.5]], [[0.5, 0.25, 0.25]], near, wrong, **bounds).round(9) + 0.0
    array([0.])
    >>> duality_gap([[0.25, 0.25, 0.5]], [[0.5, 0.3, 0.2]], near, wrong, **bounds).round(4)
    array([0.0769])
    """
    rows, claimed = Rows.of(probs), Rows.of(projected, "projected").probs
    limits = {"near_min": near_min, "wrong_max": wrong_max, "entropy_min": entropy_min, "entropy_max": entropy_max}
    bounds = GroupBounds.of(rows, near, wrong, **limits)
    bounds.refuse_groups(rows.probs)
    member = torch.stack([bounds.near, bounds.wrong, ~(bounds.near | bounds.wrong)]) & (rows.probs >= SMALLEST)
    mass = (member * claimed).sum(2)
    touched = mass[0] <= bounds.near_min + SLACK, mass[1] >= bounds.wrong_max - SLACK
    gaps = []
    for near_counts, wrong_counts in product((True, False), repeat=2):  # a bound that is touched need not bind
        held = touched[0] & near_counts, touched[1] & wrong_counts
        gaps.append(_group_gap(rows.probs, claimed, bounds, member=member, held=held))
    gap = torch.stack(gaps).amin(0)
    if bounds.entropy_min is not None:
        only = bounds.entropy_min >= max_entropy(member.sum(2), bounds.near_min, bounds.wrong_max) - SLACK
        gap = torch.where(only & gap.isfinite(), 0.0, gap)
    bad = (mass[0] < bounds.near_min - SLACK) | (mass[1] > bounds.wrong_max + SLACK)
    return rows.back(torch.where(bad, torch.inf, gap))


def _group_gap(
    probs: Tensor, claimed: Tensor, bounds: GroupBounds, *, member: Tensor, held: tuple[Tensor, Tensor]
) -> Tensor:
    """Gap by the multipliers of the bounds that are said to bind, (P,) bool each; any choice gives a valid one."""
    near, wrong = (group & binds[:, None] for group, binds in zip(member, held, strict=False))
    free = member.any(0) & ~near & ~wrong
    log_p, log_q = probs.clamp_min(SMALLEST).log(), claimed.clamp_min(SMALLEST).log()
    slope = _slope(log_p, log_q, claimed, [near, wrong, free])
    power = _allowed(slope, bounds.entropy_min is not None, bounds.entropy_max is not None)
    raised = power[:, None] * log_p
    levels = [_mean(log_q - raised, claimed * block) for block in (near, wrong, free)]
    sums = [torch.logsumexp(torch.where(block, raised, -torch.inf), 1) for block in (near, wrong, free)]
    lift = torch.where(
        (claimed * free).sum(1) > 0, levels[0] - levels[2], INFINITE_MULTIPLIER + (sums[2] - sums[0]).relu()
    )
    others = torch.maximum(sums[0], sums[2])
    press = torch.where(
        (claimed * wrong).sum(1) > 0, levels[2] - levels[1], INFINITE_MULTIPLIER + (sums[1] - others).relu()
    )
    mu = torch.where(near.any(1), lift, 0.0).clamp_min(0.0)
    nu = torch.where(wrong.any(1), press, 0.0).clamp_min(0.0)
    norm = torch.logsumexp(torch.stack([sums[0] + mu, sums[1] - nu, sums[2]]), 0)
    linear = mu * bounds.near_min - nu * bounds.wrong_max - norm
    return _gap(probs, claimed, power, linear, low=bounds.entropy_min, high=bounds.entropy_max)


def label_first_gap(probs: Any, projected: Any, labels: Any, *, margin: Any = 0.0, entropy_min: Any = None) -> Any:
    """By how much KL(projected‖probs) may exceed the least one possible, at most; zero certifies `project_label_first`.

    Parameters
    ----------
    probs, labels, margin, entropy_min
        As `project_label_first`.
    projected : (P, C) float
        What is claimed to be the projection.

    Returns
    -------
    (P,) float64
        As `duality_gap`.

    Raises
    ------
    DataError, ShapeError, NotFiniteError
        As `project_label_first`.

    Examples
    --------
    >>> label_first_gap([[0.25, 0.5, 0.25]], [[0.3694, 0.3694, 0.2612]], [0]).round(6) + 0.0
    array([0.])
    >>> label_first_gap([[0.25, 0.5, 0.25]], [[0.375, 0.375, 0.25]], [0]).round(6)
    array([0.000408])
    """
    rows, claimed = Rows.of(probs), Rows.of(projected, "projected").probs
    label, lead = rows.labels(labels)[:, None], rows.bound("margin", margin)
    least = None if entropy_min is None else rows.bound("entropy_min", entropy_min)
    rival = torch.ones_like(claimed, dtype=torch.bool).scatter_(1, label, False)
    ahead = claimed.gather(1, label) - claimed
    pool = rival & (rows.probs >= SMALLEST) & (ahead <= lead[:, None] + SLACK)
    tied = (pool | ~rival) & pool.any(1, keepdim=True)
    log_p, log_q = rows.probs.clamp_min(SMALLEST).log(), claimed.clamp_min(SMALLEST).log()
    flat_p, flat_q = (torch.where(tied, _mean(x, tied)[:, None], x) for x in (log_p, log_q))
    power = _allowed(_slope(flat_p, flat_q, claimed, [torch.ones_like(rival)]), least is not None, False)[:, None]
    log_scale = _mean(flat_q - power * flat_p, claimed)[:, None]  # multipliers cancel in the mean of label and pool
    forced = INFINITE_MULTIPLIER + (log_p - log_p.gather(1, label)).relu()
    pulls = torch.where(claimed > 0, (log_scale + power * log_p - log_q).clamp_min(0.0), forced) * pool
    total = pulls.sum(1)
    exponents = (power * log_p - pulls).scatter_add(1, label, total[:, None])
    norm = torch.logsumexp(torch.where(rows.probs >= SMALLEST, exponents, -torch.inf), 1)
    gap = _gap(rows.probs, claimed, power[:, 0], lead * total - norm, low=least, high=None)
    if least is not None:
        only = least >= max_entropy_label_first((rows.probs >= SMALLEST).sum(1), lead) - SLACK
        gap = torch.where(only & gap.isfinite(), 0.0, gap)
    return rows.back(torch.where((rival & (ahead < lead[:, None] - SLACK)).any(1), torch.inf, gap))


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of each row; 0 where all weights are."""
    return (values * weights).sum(1) / weights.sum(1).clamp_min(SMALLEST)


def _slope(log_p: Tensor, log_q: Tensor, weights: Tensor, blocks: list[Tensor]) -> Tensor:
    """Slope of log q against log p within blocks of classes, weighted by q; 1 where log p does not vary there."""
    across, both = torch.zeros_like(weights[:, 0]), torch.zeros_like(weights[:, 0])
    for block in blocks:
        inside = weights * block
        x, y = (values - _mean(values, inside)[:, None] for values in (log_p, log_q))
        across, both = across + (inside * x * x).sum(1), both + (inside * x * y).sum(1)
    return torch.where(across > 1e-20, both / across.clamp_min(1e-20), 1.0)


def _allowed(power: Tensor, below: bool, above: bool) -> Tensor:
    """The power where an entropy bound may bring it about, else 1."""
    power = power.clamp_min(1e-9) if below else power.clamp_min(1.0)
    return power if above else power.clamp_max(1.0)


def _gap(
    probs: Tensor, claimed: Tensor, power: Tensor, linear: Tensor, *, low: Tensor | None, high: Tensor | None
) -> Tensor:
    """KL less its lower bound; infinite where the entropy's bounds are missed or a class without support holds mass."""
    ratio = claimed.clamp_min(SMALLEST).log() - probs.clamp_min(SMALLEST).log()
    value, slack = entropy(claimed), torch.zeros_like(power)
    bad = ((probs < SMALLEST) & (claimed > 0)).any(1)
    if low is not None:
        bad |= value < low - SLACK
        slack = torch.where(power < 1, low, slack)
    if high is not None:
        bad |= value > high + SLACK
        slack = torch.where(power > 1, high, slack)
    gap = (claimed * ratio).sum(1) - (1.0 / power - 1.0) * slack - linear / power
    return torch.where(bad, torch.inf, gap)
