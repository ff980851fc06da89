"""The power of p at which a family of distributions reaches an entropy: one safeguarded Newton root a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

EXACT = 1e-12  # nats: about a hundred times the rounding of an entropy of 150 classes
SHARPEST = 2.0**30  # a power that would separate probabilities equal to 1e-9: such classes count as tied
STEPS = 200  # Newton needs about 5; a bisection of [0, 2^30] down to rounding needs 90


@dataclass(frozen=True)
class Level:
    """Entropy (n,) of a family at some powers, in nats, and its derivative by the power (n,)."""

    value: Tensor
    slope: Tensor


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
    """Powers at which the entropies are `target`, by Newton on the logarithm of the entropy inside a bracket.

    The logarithm, because far out an entropy falls like exp(-b·gap). Rows that have arrived are dropped.

    Parameters
    ----------
    family : Family
        n rows.
    target : (n,) float64
        Nats; must lie between the entropies at `low` and `high`.
    start : Level
        Of the family at power 1, where every row begins.
    low, high : (n,) float64
        Brackets of the power; `high` may be infinite.

    Returns
    -------
    Root
        Not reached where the entropy stays above `target` up to `SHARPEST`.
    """
    rows = torch.arange(len(target), device=target.device)
    power, level = torch.ones_like(target), start
    found = Root(torch.ones_like(target), torch.ones_like(target, dtype=torch.bool))
    for step in range(STEPS):
        above = level.value > target
        low, high = torch.where(above, power, low), torch.where(above, high, power)
        found.power[rows] = power
        found.reached[rows] = level.value <= target + EXACT
        going = (level.value - target).abs() > EXACT
        going &= (high - low > 2e-16 * high) & (low < SHARPEST)
        kept = going.nonzero().squeeze(1)
        if len(kept) == 0:
            break
        if len(kept) < len(rows):
            family, rows, level = family.take(kept), rows[kept], Level(level.value[kept], level.slope[kept])
            target, low, high, power = target[kept], low[kept], high[kept], power[kept]
        power = _next(power, level, target, low=low, high=high, bisect=step % 8 == 7)
        level = family.level(power)
    return found


def _next(power: Tensor, level: Level, target: Tensor, *, low: Tensor, high: Tensor, bisect: bool) -> Tensor:
    open_end = high.isinf()
    furthest = torch.where(open_end, (8.0 * power).clamp_max(SHARPEST), high)
    middle = torch.where(open_end, furthest, 0.5 * (low + high))
    if bisect:  # so that a kink between two cases cannot hold Newton up for ever
        return middle
    newton = power + (target.clamp_min(0.1 * EXACT) / level.value).log() * level.value / level.slope
    return torch.where((newton > low) & (newton < furthest), newton, middle)
