"""Distributions p^b whose classes near the label and classes known wrong are held to bounds: masses and entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from uqkd.classify.probabilities import SMALLEST
from uqkd.classify.roots import Level

ABSENT = -1e200  # log share of a group without support; finite, so that a difference of two is no NaN


@dataclass(frozen=True)
class Masses:
    """Masses (n, 3) of the groups near, wrong and rest, and which of the two bounds hold them, (n,) bool each."""

    mass: Tensor
    near: Tensor
    wrong: Tensor


def masses(share: Tensor, least: Tensor, most: Tensor) -> Masses:
    """Masses of the groups from the logarithms (n, 3) of what they hold of p^b, up to one constant a row.

    Examples
    --------
    >>> held = masses(torch.log(torch.tensor([[0.5, 0.25, 0.25]])), torch.tensor([0.6]), torch.tensor([0.3]))
    >>> held.mass, held.near, held.wrong
    (tensor([[0.6000, 0.2000, 0.2000]]), tensor([True]), tensor([False]))
    """
    free, over_rest = torch.softmax(share, 1), share[:, :2] - share[:, 2:]
    (near_left, wrong_left), rest = torch.sigmoid(over_rest).T, torch.sigmoid(-over_rest)
    over, under = free[:, 1] > most, free[:, 0] < least
    only_wrong = over & ((1.0 - most) * near_left >= least)
    only_near = under & ~only_wrong & ((1.0 - least) * wrong_left <= most)
    both = (over | under) & ~only_wrong & ~only_near
    near, wrong = only_near | both, only_wrong | both
    left = 1.0 - torch.where(near, least, 0.0) - torch.where(wrong, most, 0.0)
    remains = torch.where(only_wrong, left * rest[:, 0], torch.where(only_near, left * rest[:, 1], free[:, 2]))
    mass = [
        torch.where(near, least, torch.where(wrong, left * near_left, free[:, 0])),
        torch.where(wrong, most, torch.where(near, left * wrong_left, free[:, 1])),
        torch.where(both, left.clamp_min(0.0), remains),
    ]
    return Masses(torch.stack(mass, 1), near, wrong)


def flattest(counts: Tensor, near_min: Tensor, wrong_max: Tensor) -> Tensor:
    """Largest entropy (P,) of distributions over `counts` (P, 3) classes near, wrong and rest within the bounds.

    Examples
    --------
    >>> flattest(torch.tensor([[1, 0, 3]]), torch.tensor([0.5]).double(), torch.tensor([1.0]).double()).exp()
    tensor([3.4641], dtype=torch.float64)
    """
    empty, size = counts == 0, counts.clamp_min(1).to(near_min.dtype).log()
    held = masses(torch.where(empty, ABSENT, size), *_said_once(empty, near_min, wrong_max)).mass
    return (held * size - torch.special.xlogy(held, held)).sum(1)


def _said_once(empty: Tensor, near_min: Tensor, wrong_max: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds for the masses: where there is no rest, q(W) <= wrong_max is q(N) >= 1 − wrong_max, said by `near_min`."""
    both = empty[:, 2] & ~empty[:, 0]
    near_min = torch.where(both, torch.maximum(near_min, 1.0 - wrong_max), near_min)
    return near_min, torch.where(empty[:, 2], torch.inf, wrong_max)


@dataclass(frozen=True)
class Groups:
    """Rows of log p, cut into the groups near, wrong and rest.

    Attributes
    ----------
    logs : (n, C) float64
        log p less the largest of its own group.
    member : (n, 3, C) float64
        1 where a class with support belongs to the group.
    top : (n, 3) float64
        Largest log p of each group.
    empty : (n, 3) bool
        Groups without support.
    near_min, wrong_max : (n,) float64
        Bounds; where there is no rest, `near_min` says both.
    space : (n, 3, C) float64
        Scratch, so that no step allocates.
    """

    logs: Tensor
    member: Tensor
    top: Tensor
    empty: Tensor
    near_min: Tensor
    wrong_max: Tensor
    space: Tensor

    @classmethod
    def of(cls, probs: Tensor, near: Tensor, wrong: Tensor, *, near_min: Tensor, wrong_max: Tensor) -> Groups:
        """Cut rows (n, C) into groups; the bounds must be feasible."""
        member = torch.empty(len(probs), 3, probs.shape[1], dtype=probs.dtype, device=probs.device)
        space = torch.empty_like(member)
        support = probs >= SMALLEST
        for group, mask in enumerate((near, wrong, ~(near | wrong))):
            member[:, group] = mask & support
        largest = torch.mul(member, probs[:, None], out=space).amax(2)
        empty = largest == 0
        top = torch.where(empty, 0.0, largest.clamp_min(SMALLEST).log())
        logs = probs.clamp_min(SMALLEST).log_()
        logs -= torch.bmm(top[:, None], member)[:, 0]
        return cls(logs, member, top, empty, *_said_once(empty, near_min, wrong_max), space)

    def take(self, rows: Tensor) -> Groups:
        """The same of some rows."""
        return Groups(
            self.logs[rows],
            self.member[rows],
            self.top[rows],
            self.empty[rows],
            self.near_min[rows],
            self.wrong_max[rows],
            self.space[: len(rows)],
        )

    def share(self, power: Tensor, sums: Tensor) -> Tensor:
        """Logarithms of what the groups hold of p^b, (n, 3)."""
        held = power[:, None] * self.top + sums.clamp_min(SMALLEST).log()
        return torch.where(self.empty, ABSENT, held)

    def level(self, power: Tensor) -> Level:
        """Entropy and its derivative by the power."""
        return self._level(power, self._moments(power))

    def _moments(self, power: Tensor) -> Tensor:
        """Sums of p^b, p^b·log p and p^b·log² p over each group, (n, 3 moments, 3 groups)."""
        weights = torch.mul(self.logs, power[:, None], out=self.space[:, 0]).exp_()
        torch.mul(weights, self.logs, out=self.space[:, 1])
        torch.mul(self.space[:, 1], self.logs, out=self.space[:, 2])
        return torch.bmm(self.space, self.member.transpose(1, 2))

    def _level(self, power: Tensor, moments: Tensor) -> Level:
        sums = moments[:, 0].clamp_min(SMALLEST)
        held = masses(self.share(power, sums), self.near_min, self.wrong_max)
        mean, square = moments[:, 1] / sums, moments[:, 2] / sums
        within = torch.where(self.empty, 0.0, sums.log() - power[:, None] * mean)
        value = (held.mass * within - torch.special.xlogy(held.mass, held.mass)).sum(1)
        free = held.mass.clone()  # groups that no bound holds trade mass with each other: one block
        free[:, 0].masked_fill_(held.near, 0.0)
        free[:, 1].masked_fill_(held.wrong, 0.0)
        centre = mean + self.top
        block = free.sum(1, keepdim=True).clamp_min(SMALLEST)
        spread = free * (centre - (free * centre).sum(1, keepdim=True) / block).square()
        spread += held.mass * (square - mean.square()).clamp_min(0.0)
        return Level(value, -power * spread.sum(1))

    def distribution(self, power: Tensor) -> tuple[Tensor, Masses]:
        """The distributions (n, C), in scratch that the next call overwrites, and their masses."""
        weights = torch.mul(self.logs, power[:, None], out=self.space[:, 0]).exp_()
        sums = torch.bmm(weights[:, None], self.member.transpose(1, 2))[:, 0]
        held = masses(self.share(power, sums), self.near_min, self.wrong_max)
        factor = torch.where(self.empty, 0.0, held.mass / sums.clamp_min(SMALLEST))
        return weights.mul_(torch.bmm(factor[:, None], self.member)[:, 0]), held
