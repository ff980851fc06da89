"""Groups of classes, near the label and known wrong: their bounds, checked, and distributions p^b that are held to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uqkd.classify.projections.probabilities import SLACK, SMALLEST, Rows, refuse
from uqkd.classify.projections.roots import Level
from uqkd.errors import DataError, OptionError

PIECE = 65536  # probabilities worked on at once, 512 KiB, so that scratch stays in a core's cache
ABSENT = -1e200  # log share of a group without support; finite, so that a difference of two is no NaN


@dataclass(frozen=True)
class Masses:
    """Masses (3, n) of the groups near, wrong and rest, and which of the two bounds hold them, (n,) bool each."""

    mass: Tensor
    near: Tensor
    wrong: Tensor


def masses(share: Tensor, least: Tensor, most: Tensor) -> Masses:
    """Masses of the groups from the logarithms (3, n) of what they hold of p^b, up to one constant a row.

    Parameters
    ----------
    share : (3, n) float
        Groups near, wrong and rest.
    least, most : (n,) float
        Bounds from `canonical`.

    Returns
    -------
    Masses

    Examples
    --------
    >>> held = masses(torch.log(torch.tensor([[0.5], [0.25], [0.25]])), torch.tensor([0.6]), torch.tensor([0.3]))
    >>> held.mass[:, 0], held.near, held.wrong
    (tensor([0.6000, 0.2000, 0.2000]), tensor([True]), tensor([False]))
    """
    weights = (share - share.amax(0)).exp_()
    free, over_rest = weights / weights.sum(0), share[:2] - share[2]
    (near_left, wrong_left), (from_near, from_wrong) = torch.sigmoid(over_rest), torch.sigmoid(-over_rest)
    over, under = free[1] > most, free[0] < least
    only_wrong = over & ((1.0 - most) * near_left >= least)
    only_near = under & ~only_wrong & ((1.0 - least) * wrong_left <= most)
    both = (over | under) & ~only_wrong & ~only_near
    near, wrong = only_near | both, only_wrong | both
    left = 1.0 - torch.where(near, least, 0.0) - torch.where(wrong, most, 0.0)
    remains = torch.where(only_wrong, left * from_near, torch.where(only_near, left * from_wrong, free[2]))
    mass = [
        torch.where(near, least, torch.where(wrong, left * near_left, free[0])),
        torch.where(wrong, most, torch.where(near, left * wrong_left, free[1])),
        torch.where(both, left.clamp_min(0.0), remains),
    ]
    return Masses(torch.stack(mass), near, wrong)


def max_entropy(counts: Tensor, near_min: Tensor, wrong_max: Tensor) -> Tensor:
    """Largest entropy (n,) of distributions over `counts` (3, n) classes near, wrong and rest within the bounds.

    Examples
    --------
    >>> max_entropy(torch.tensor([[1], [0], [3]]), torch.tensor([0.5]).double(), torch.tensor([1.0]).double()).exp()
    tensor([3.4641], dtype=torch.float64)
    """
    empty, size = counts == 0, counts.clamp_min(1).to(near_min.dtype).log()
    held = masses(torch.where(empty, ABSENT, size), *canonical(empty, near_min, wrong_max)).mass
    return (held * size - torch.special.xlogy(held, held)).sum(0)


def canonical(empty: Tensor, near_min: Tensor, wrong_max: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds for `masses`: where there is no rest, q(W) <= wrong_max is q(N) >= 1 − wrong_max, said by `near_min`.

    Bounds that groups without support miss by rounding only are none.
    """
    both = empty[2] & ~empty[0]
    near_min = torch.where(both, torch.maximum(near_min, 1.0 - wrong_max), near_min)
    return torch.where(empty[0], 0.0, near_min), torch.where(empty[2], torch.inf, wrong_max)


@dataclass(frozen=True)
class Trouble:
    """Rows (P,) bool whose bounds cannot be met, why, and what to do."""

    bad: Tensor
    seen: str
    remedy: str


@dataclass(frozen=True)
class GroupBounds:
    """Checked bounds of a projection: masks (P, C), the others (P,); no bound on the entropy is None."""

    near: Tensor
    wrong: Tensor
    near_min: Tensor
    wrong_max: Tensor
    entropy_min: Tensor | None
    entropy_max: Tensor | None

    @classmethod
    def of(
        cls, rows: Rows, near: Any, wrong: Any, *, near_min: Any, wrong_max: Any, entropy_min: Any, entropy_max: Any
    ) -> GroupBounds:
        """Bounds of these rows, or an error that names the first row they do not fit."""
        bounds = cls(
            rows.mask("near", near),
            rows.mask("wrong", wrong),
            rows.bound("near_min", near_min),
            rows.bound("wrong_max", wrong_max),
            None if entropy_min is None else rows.bound("entropy_min", entropy_min),
            None if entropy_max is None else rows.bound("entropy_max", entropy_max),
        )
        bounds.refuse_ranges()
        if bool((bounds.near & bounds.wrong).any()):
            remedy = "A class is near the label, wrong, or neither."
            bad = (bounds.near & bounds.wrong).any(1)
            refuse(bad, DataError, "near and wrong share a class in {row}", remedy)
        return bounds

    def refuse_ranges(self) -> None:
        """Refuse bounds that no distribution meets."""
        seen = "a group's mass lies in [0, 1], but {row} asks for"
        bad = (self.near_min < 0) | (self.near_min > 1)
        refuse(bad, OptionError, f"{seen} a near_min outside it", "Pass a probability.")
        refuse(self.wrong_max < 0, OptionError, f"{seen} a negative wrong_max", "Pass a probability.")
        if self.entropy_max is not None:
            seen, remedy = "entropy_max is negative in {row}", "An entropy is at least 0."
            refuse(self.entropy_max < 0, OptionError, seen, remedy)
        if self.entropy_max is not None and self.entropy_min is not None:
            seen, remedy = "entropy_min exceeds entropy_max in {row}", "Order them, or leave one out."
            refuse(self.entropy_min > self.entropy_max, OptionError, seen, remedy)

    def troubles(self, counts: Tensor) -> list[Trouble]:
        """What groups of so many classes with support, (3, P) for near, wrong and rest, cannot hold."""
        near, _, rest = counts
        found = [
            Trouble(
                (near == 0) & (self.near_min > SLACK),
                "near holds no class of positive probability, but near_min asks for mass there, in {row}",
                "Mark classes that the teacher holds possible, or pass near_min=0 there.",
            ),
            Trouble(
                (near + rest == 0) & (self.wrong_max < 1 - SLACK),
                "wrong holds every class of positive probability, but wrong_max is below 1, in {row}",
                "Mark fewer classes as wrong, or pass wrong_max=1 there.",
            ),
        ]
        if self.entropy_min is not None:
            most = max_entropy(counts, self.near_min, self.wrong_max)
            seen = "entropy_min exceeds what the groups and the classes of positive probability allow in {row}"
            remedy = "Lower it there, or loosen near_min and wrong_max."
            found.append(Trouble(self.entropy_min > most + SLACK, seen, remedy))
        return found

    def refuse_groups(self, probs: Tensor) -> None:
        """Raise the error of the first row whose groups cannot hold what is asked of them."""
        support = probs >= SMALLEST
        near, wrong = (support & self.near).sum(1), (support & self.wrong).sum(1)
        for trouble in self.troubles(torch.stack([near, wrong, support.sum(1) - near - wrong])):
            refuse(trouble.bad, DataError, trouble.seen, trouble.remedy)

    def chunk(self, at: slice) -> GroupBounds:
        """The bounds of some rows."""
        parts: dict[str, Any] = {name: None if value is None else value[at] for name, value in vars(self).items()}
        return GroupBounds(**parts)


@dataclass(frozen=True)
class Space:
    """Memory for blocks of rows and for pieces of them, so that no block and no step allocates any.

    Attributes
    ----------
    logs, member : (n, C) and (n, 3, C) float64
        For a block.
    piece_logs, piece_member, terms : (w, C), (w, 3, C) and (3, w, C) float64
        For a piece.
    """

    logs: Tensor
    member: Tensor
    piece_logs: Tensor
    piece_member: Tensor
    terms: Tensor

    @classmethod
    def of(cls, rows: int, probs: Tensor) -> Space:
        """Space for blocks of so many rows of `probs`."""
        classes, width = probs.shape[1], pieces(probs, rows)[0].stop
        shapes = (rows,), (rows, 3), (width,), (width, 3), (3, width)
        return cls(*(probs.new_empty(*shape, classes) for shape in shapes))


@dataclass(frozen=True)
class Groups:
    """Rows of log p, cut into the groups near, wrong and rest.

    Attributes
    ----------
    logs : (N, C) float64
        log p less the largest of its own group.
    member : (N, 3, C) float64
        1 where a class with support belongs to the group.
    rows : (n,) int64 or None
        Which of the N rows are meant; all where None. What follows holds for those only.
    top : (3, n) float64
        Largest log p of each group.
    empty : (3, n) bool
        Groups without support.
    near_min, wrong_max : (n,) float64
        Bounds; where there is no rest, `near_min` says both.
    space : Space
        Shared by all that `take` returns.
    """

    logs: Tensor
    member: Tensor
    rows: Tensor | None
    top: Tensor
    empty: Tensor
    near_min: Tensor
    wrong_max: Tensor
    space: Space

    @classmethod
    def of(
        cls, probs: Tensor, near: Tensor, wrong: Tensor, *, near_min: Tensor, wrong_max: Tensor, space: Space
    ) -> Groups:
        """Cut rows (n, C) into groups, in memory that the next block overwrites; the bounds must be feasible."""
        logs, member = space.logs[: len(probs)], space.member[: len(probs)]
        largest = probs.new_empty(len(probs), 3)
        for at in pieces(probs):
            support, part = probs[at] >= SMALLEST, member[at]
            for group, mask in enumerate((near[at], wrong[at], ~(near[at] | wrong[at]))):
                part[:, group] = mask & support
            largest[at] = torch.mul(part, probs[at, None], out=space.piece_member[: len(part)]).amax(2)
            torch.clamp_min(probs[at], SMALLEST, out=logs[at]).log_()
            logs[at] -= torch.bmm(largest[at].clamp_min(SMALLEST).log()[:, None], part)[:, 0]
        empty = largest.T == 0
        top = torch.where(empty, ABSENT, largest.T.clamp_min(SMALLEST).log())
        return cls(logs, member, None, top, empty, *canonical(empty, near_min, wrong_max), space)

    def take(self, rows: Tensor) -> Groups:
        """The same of some rows, in rising order; nothing of (n, C) is copied."""
        if len(rows) == len(self.near_min):
            return self
        index = rows if self.rows is None else self.rows[rows]
        vectors = self.top[:, rows], self.empty[:, rows], self.near_min[rows], self.wrong_max[rows]
        return Groups(self.logs, self.member, index, *vectors, self.space)

    def counts(self) -> Tensor:
        """How many classes with support each group has, (3, n)."""
        return self.member.sum(2).T

    def level(self, power: Tensor) -> Level:
        """Entropy and its derivative by the power."""
        sums, first, second = self._moments(power)
        held = masses(self.share(power, sums), self.near_min, self.wrong_max)
        mean, square = first / sums, second / sums
        within = sums.log() - power * mean
        value = (held.mass * within - torch.special.xlogy(held.mass, held.mass)).sum(0)
        pinned = torch.stack([held.near, held.wrong, torch.zeros_like(held.near)])
        free = torch.where(pinned, 0.0, held.mass)  # groups that no bound holds trade mass with each other: one block
        centre = torch.where(self.empty, 0.0, mean + self.top)
        between = centre - (free * centre).sum(0) / free.sum(0).clamp_min(SMALLEST)
        spread = free * between.square_() + held.mass * (square - mean.square()).clamp_min_(0.0)
        return Level(power, value, -power * spread.sum(0))

    def share(self, power: Tensor, sums: Tensor) -> Tensor:
        """Logarithms of what the groups hold of p^b, (3, n)."""
        return torch.where(self.empty, ABSENT, power * self.top + sums.log())

    def _moments(self, power: Tensor) -> Tensor:
        """Sums of p^b, p^b·log p and p^b·log² p over each group, (3 moments, 3 groups, n); 1 for an empty one."""
        found = torch.empty(len(power), 3, 3, dtype=power.dtype, device=power.device)
        for at in pieces(self.logs, len(power)):
            logs, member = self.logs[at], self.member[at]
            if self.rows is not None:
                rows = self.rows[at]
                logs = torch.index_select(self.logs, 0, rows, out=self.space.piece_logs[: len(rows)])
                member = torch.index_select(self.member, 0, rows, out=self.space.piece_member[: len(rows)])
            terms = self.space.terms[:, : len(logs)]
            torch.mul(logs, power[at, None], out=terms[0]).exp_()
            torch.mul(terms[0], logs, out=terms[1])
            torch.mul(terms[1], logs, out=terms[2])
            torch.bmm(terms.permute(1, 0, 2), member.transpose(1, 2), out=found[at])
        found = found.permute(1, 2, 0).contiguous()
        found[0].masked_fill_(self.empty, 1.0)
        return found

    def distribution(self, power: Tensor, *, out: Tensor) -> Masses:
        """Write the distributions (n, C) of all rows and return their masses."""
        sums = torch.empty(len(power), 3, dtype=power.dtype, device=power.device)
        for at in pieces(self.logs):
            weights = torch.mul(self.logs[at], power[at, None], out=out[at]).exp_()
            sums[at] = torch.bmm(weights[:, None], self.member[at].transpose(1, 2))[:, 0]
        total = torch.where(self.empty, 1.0, sums.T)
        held = masses(self.share(power, total), self.near_min, self.wrong_max)
        factor = torch.where(self.empty, 0.0, held.mass / total).T.contiguous()
        for at in pieces(self.logs):
            out[at] *= torch.bmm(factor[at, None], self.member[at])[:, 0]
        return held


def pieces(table: Tensor, rows: int | None = None) -> list[slice]:
    """Slices of rows that, with their groups and scratch, stay in a core's cache; one on a GPU."""
    points = len(table) if rows is None else rows
    size = max(1, PIECE // table.shape[1]) if table.device.type == "cpu" else points
    return [slice(begin, min(begin + size, points)) for begin in range(0, points, size)]
