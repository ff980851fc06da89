"""The power of p at which a family of distributions reaches an entropy: one safeguarded root a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

EXACT = 1e-12  # nats: about a hundred times the rounding of an entropy of 150 classes
SHARPEST = 2.0**30  # a power that would separate probabilities equal to 1e-9: such classes count as tied
STEPS = 200  # about 5 are needed; a bisection of [0, 2^30] down to rounding needs 90


@dataclass(frozen=True)
class Level:
    """Entropy (n,) of a family at some powers (n,), in nats, and its derivative by the power (n,)."""

    power: Tensor
    value: Tensor
    slope: Tensor

    def take(self, rows: Tensor) -> Level:
        """The same of some rows."""
        return Level(self.power[rows], self.value[rows], self.slope[rows])


@dataclass(frozen=True)
class Root:
    """Power (n,) of each row, and whether the entropy is reached there (n,)."""

    power: Tensor
    reached: Tensor


F = TypeVar("F", bound="Family")


class Family(Protocol):
    """One distribution per row and power b >= 0, whose entropy does not rise with b."""

    def take(self: F, rows: Tensor) -> F:
        """The same family of some rows."""

    def level(self, power: Tensor) -> Level:
        """Entropy at the powers (n,)."""


def power_of_entropy(family: Family, target: Tensor, start: Level, *, low: Tensor, high: Tensor) -> Root:
    """Powers at which the entropies are `target`, by inverse cubic interpolation inside a bracket.

    Through the logarithms of the last two entropies and their derivatives (order 2.7; Newton has 2), since far out an
    entropy falls like exp(−b·gap). Rows that have arrived are dropped.

    Parameters
    ----------
    family : Family
        n rows.
    target : (n,) float64
        Nats; must not exceed the entropies at `low`.
    start : Level
        Of the family where the search begins, in the bracket.
    low, high : (n,) float64
        Brackets of the power; `high` may be infinite.

    Returns
    -------
    Root
        Not reached where the entropy stays above `target` up to `SHARPEST`.
    """
    rows = torch.arange(len(target), device=target.device)
    found = Root(torch.ones_like(target), torch.ones_like(target, dtype=torch.bool))
    before, level = start, start
    for step in range(STEPS):
        above = level.value > target
        low, high = torch.where(above, level.power, low), torch.where(above, high, level.power)
        found.power[rows] = level.power
        found.reached[rows] = level.value <= target + EXACT
        going = (level.value - target).abs() > EXACT
        going &= (low < SHARPEST) & ((high - low > 2e-16 * high) | high.isinf())
        kept = going.nonzero().squeeze(1)
        if len(kept) == 0:
            break
        if len(kept) < len(rows):
            family, rows, level, before = family.take(kept), rows[kept], level.take(kept), before.take(kept)
            target, low, high = target[kept], low[kept], high[kept]
        bisect = step > 12 and step % 4 == 3  # so that a kink between two cases cannot hold the others up for ever
        power = _next(before, level, target, low=low, high=high, bisect=bisect)
        before, level = level, family.level(power)
    return found


def _next(before: Level, level: Level, target: Tensor, *, low: Tensor, high: Tensor, bisect: bool) -> Tensor:
    """Inverse cubic interpolation where it stays in the bracket, else Newton, else the middle."""
    open_end = high.isinf()
    furthest = torch.where(open_end, (8.0 * level.power).clamp_max(SHARPEST), high)
    power = torch.where(open_end, furthest, 0.5 * (low + high))
    if bisect:
        return power
    here, wanted = level.value.log(), target.clamp_min(0.1 * EXACT).log()
    per_log = level.value / level.slope  # db/dlog H
    cubic = _inverse_cubic(before, level, wanted, per_log)
    for tried in (level.power + (wanted - here) * per_log, cubic):
        power = torch.where((tried > low) & (tried < furthest), tried, power)
    return power


def _inverse_cubic(before: Level, level: Level, wanted: Tensor, per_log: Tensor) -> Tensor:
    """Power as the cubic in log H through two levels and their derivatives; NaN where they are one."""
    start, here = before.value.log(), level.value.log()
    width = here - start
    part = (wanted - start) / width
    left = 1.0 - part
    value = before.power * (1.0 + 2.0 * part) * left**2 + level.power * part**2 * (3.0 - 2.0 * part)
    slopes = before.value / before.slope * left - per_log * part
    return value + width * part * left * slopes
