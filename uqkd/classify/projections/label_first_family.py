"""Distributions p^b whose label is held ahead of every rival: which rivals are pooled, and the entropy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from uqkd.classify.projections.probabilities import SMALLEST
from uqkd.classify.projections.roots import Level

ROOT_STEPS = 60  # Newton on a concave function that falls at least at rate 1: about 5 are needed


@dataclass(frozen=True)
class Pool:
    """The distribution of each row, (n,) each: q_k = min(scale·p_k^b, top), q_label = top + margin.

    Attributes
    ----------
    count : int64
        Rivals held at `top`; 0 where the margin does not bind, and then q = scale·p^b.
    scale, log_top : float64
        `scale` is per p^b of probabilities divided by the largest of the row.
    """

    count: Tensor
    scale: Tensor
    log_top: Tensor


@dataclass(frozen=True)
class LabelFirst:
    """Rows of log p, the rivals in rising order.

    Attributes
    ----------
    label : (n,) float64
        log p of the label, less the largest log p of the row.
    rivals : (n, C − 1) float64
        The same of the others; 0 where p is zero.
    free : (n, C − 1) float64
        1 where p is not zero and, if `count` is known, the rival is not pooled.
    above : (n, C − 1) float64
        Sum of the larger rivals' logs.
    margin : (n,) float64
        In [0, 1).
    count : (n,) int64 or None
        Rivals pooled at every power, which no margin leaves unchanged; None where some row has a margin.
    """

    label: Tensor
    rivals: Tensor
    free: Tensor
    above: Tensor
    margin: Tensor
    count: Tensor | None = None

    @classmethod
    def of(cls, logs: Tensor, label: Tensor, margin: Tensor) -> LabelFirst:
        """Rows (n, C) of log p less its largest, −inf where p is zero; labels (n, 1) of positive probability."""
        rivals = rising(logs.scatter(1, label, -torch.inf))[:, 1:]
        possible = rivals > -torch.inf
        rivals = torch.where(possible, rivals, 0.0)
        above = rivals.flip(1).cumsum(1).flip(1) - rivals  # the sums from above: the largest logs, near 0, come first
        family = cls(logs.gather(1, label)[:, 0], rivals, possible.to(rivals.dtype), above, margin)
        if bool((margin > 0).any()):
            return family
        count = ((family._lifted() < rivals) & possible).sum(1)
        return replace(family, free=family.free * family._unpooled(count), count=count)

    def take(self, rows: Tensor) -> LabelFirst:
        """The same of some rows."""
        label, rivals, free = self.label[rows], self.rivals[rows], self.free[rows]
        count = None if self.count is None else self.count[rows]
        return LabelFirst(label, rivals, free, self.above[rows], self.margin[rows], count)

    def pool(self, power: Tensor) -> Pool:
        """The distribution at powers (n,)."""
        count, weights = self._rest(power)
        return self._pool(power, count, weights.sum(1))

    def _rest(self, power: Tensor) -> tuple[Tensor, Tensor]:
        """How many rivals exceed the common top, (n,), and p^b of the others, (n, C − 1)."""
        weights = torch.mul(power[:, None], self.rivals).exp_().mul_(self.free)
        if self.count is not None:
            return self.count, weights
        margin, larger = self.margin[:, None], self._larger()
        lifted = torch.mul(power[:, None], self._lifted()).exp_()  # the label, were this rival's the top
        behind = lifted * (1.0 - margin) < weights * (1.0 + margin * larger) + margin * weights.cumsum(1)
        count = behind.sum(1)
        return count, weights.mul_(self._unpooled(count))

    def _larger(self) -> Tensor:
        """How many rivals rank before each, (C − 1,)."""
        return torch.arange(self.rivals.shape[1] - 1, -1, -1, dtype=self.rivals.dtype, device=self.rivals.device)

    def _lifted(self) -> Tensor:
        """log of the label's probability, without margin, if those of it and of the larger rivals were equal to each's."""
        return torch.addcmul(self.label[:, None] + self.above, self._larger(), self.rivals, value=-1.0)

    def _unpooled(self, count: Tensor) -> Tensor:
        return self._larger() >= count[:, None]

    def _pool(self, power: Tensor, count: Tensor, left: Tensor) -> Pool:
        """The distribution with so many rivals pooled; the others' p^b sum to `left`."""
        log_ratio = self._top(power * (self.label + self._inside(count)), count, left)
        own, pooled = torch.exp(power * self.label), count > 0
        ratio = log_ratio.exp()
        label = torch.where(
            pooled, (ratio * (1.0 + self.margin * count) + self.margin * left) / (1.0 - self.margin), own
        )
        scale = 1.0 / (label + left + torch.where(pooled, count * ratio, 0.0))
        return Pool(count, scale, torch.where(pooled, log_ratio + scale.log(), 0.0))

    def _top(self, product: Tensor, count: Tensor, left: Tensor) -> Tensor:
        """log(top/scale): the root x of (1 − m)·exp(product − count·x) = (1 + m·count)·exp(x) + m·left."""
        m = self.margin
        x = (product + torch.log1p(-m) - torch.log1p(m * count)) / (count + 1.0)  # exact where m·left = 0
        for _ in range(ROOT_STEPS):
            pooled, rest = (1.0 + m * count) * x.exp(), m * left
            miss = product + torch.log1p(-m) - count * x - (pooled + rest).clamp_min(SMALLEST).log()
            step = miss / (count + pooled / (pooled + rest).clamp_min(SMALLEST)).clamp_min(0.5)
            step = torch.where(count > 0, step, 0.0)
            x = x + step
            if not bool((step.abs() > 4e-16 * (1.0 + x.abs())).any()):
                break
        return x

    def level(self, power: Tensor) -> Level:
        """Entropy and its derivative by the power."""
        count, weights = self._rest(power)
        left = weights.sum(1)
        pool = self._pool(power, count, left)
        free = count == 0
        own = free.to(left.dtype)  # p^b of a label that leads by itself: it is the largest, and its log is 0
        moments = [left + own, torch.linalg.vecdot(weights, self.rivals)]
        moments.append(torch.linalg.vecdot(weights.mul_(self.rivals), self.rivals))
        mass, first, second = (moment * pool.scale for moment in moments)
        log_scale, top = pool.scale.log(), pool.log_top.exp()
        label = torch.where(free, 0.0, top + self.margin)
        log_label = label.clamp_min(SMALLEST).log()
        pooled = torch.where(free, 0.0, count * top)
        value = -(label * log_label + pooled * pool.log_top) - (mass * log_scale + power * first)
        inside = self.label + self._inside(count)
        safe = top.clamp_min(SMALLEST)
        pull = torch.where(free, 0.0, (count + top / label.clamp_min(SMALLEST)) / ((count + 1.0) * safe))
        lift = torch.where(free, -first / mass, -(inside + pull * first) / (count + 1.0 + pull * mass))  # dlog scale/db
        top_slope = torch.where(free, 0.0, -(lift * mass + first) / (count + 1.0))
        slope = -top_slope * (log_label + count * pool.log_top)
        slope = slope - (lift * log_scale * mass + (lift * power + log_scale) * first + power * second)
        return Level(power, value, slope)

    def _inside(self, count: Tensor) -> Tensor:
        """Sum of the logs of the pooled rivals."""
        last = (self.rivals.shape[1] - 1 - count)[:, None]
        whole = self.above[:, :1] + self.rivals[:, :1]
        return torch.where(last >= 0, self.above.gather(1, last.clamp_min(0)), whole)[:, 0]


def max_entropy_label_first(classes: Tensor, margin: Tensor) -> Tensor:
    """Largest entropy (n,) of distributions over so many classes of which one leads every other by a margin.

    Examples
    --------
    >>> max_entropy_label_first(torch.tensor([3]), torch.tensor([0.4])).round(decimals=4)  # of .6, .2 and .2
    tensor([0.9503])
    """
    top = (1.0 - margin) / classes
    return -torch.special.xlogy(top + margin, top + margin) - (classes - 1) * torch.special.xlogy(top, top)


def rising(values: Tensor) -> Tensor:
    """Each row in rising order."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1))  # ten times as fast as torch.sort, which ranks too
    return values.sort(dim=1).values
