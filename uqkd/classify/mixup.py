"""Mixup in distillation: pairs of rows mixed on the way into a batch, and a teacher asked about what comes of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uqkd import seeds
from uqkd.checking.arrays import finite
from uqkd.classify.arguments import check_type
from uqkd.classify.projections.pairs import project_pairs
from uqkd.classify.targets.objectives import STANDARD_DEVIATION, Temperature, checked_temperature, rescaled
from uqkd.errors import DataError, OptionError, ShapeError, one_of
from uqkd.stacked import Stacked

Array = NDArray[np.float64]

PER = ("sample", "batch")
STEPS = 64  # of which the draws are made at a time: one generator for many steps, memory flat however long training is


@dataclass(frozen=True)
class Pairs:
    """Which rows are mixed, and how much of the first there is; drawn by `Mixing.draw`.

    Attributes
    ----------
    share : (..., B) float
        λ: the mixed row is λ·x_i + (1 − λ)·x_j. 1 where a row stays as it is.
    partner : (..., B) int
        j; i itself where a row stays as it is.
    """

    share: Array
    partner: NDArray[np.int64]


@dataclass(frozen=True)
class Mixing:
    """How the rows of a batch are mixed: λ ~ Beta(alpha, alpha), partners by a random permutation of the batch.

    Attributes
    ----------
    alpha : float
        1 is uniform, as in mixup-KD.
    partial : float
        Chance that a row is mixed at all.
    per : {"sample", "batch"}
        A λ for every row, or one for the whole batch as in the original mixup.

    Notes
    -----
    Zhang et al. (2018); mixup-KD, arXiv 2606.12171.

    Examples
    --------
    >>> drawn = Mixing(per="batch").draw(2, 4, np.random.default_rng(0))
    >>> drawn.share.shape, bool((drawn.share == drawn.share[:, :1]).all()), np.sort(drawn.partner[0])
    ((2, 4), True, array([0, 1, 2, 3]))
    """

    alpha: float = 1.0
    partial: float = 1.0
    per: str = "sample"

    def __post_init__(self) -> None:
        one_of("per", self.per, PER)
        if not 0.0 < self.alpha < float("inf") or not 0.0 <= self.partial <= 1.0:
            raise OptionError(
                f"mixing needs alpha > 0 and partial in [0, 1]; got alpha={self.alpha}, partial={self.partial}."
            )

    def draw(self, steps: int, batch: int, generator: np.random.Generator) -> Pairs:
        """Pairs of each of some steps, (steps, batch)."""
        size = (steps, batch if self.per == "sample" else 1)
        share = np.broadcast_to(generator.beta(self.alpha, self.alpha, size), (steps, batch))
        partner = generator.permuted(np.broadcast_to(np.arange(batch), (steps, batch)), axis=1)
        if self.partial < 1.0:
            kept = generator.random((steps, batch)) >= self.partial
            share, partner = np.where(kept, 1.0, share), np.where(kept, np.arange(batch), partner)
        return Pairs(np.array(share), partner.astype(np.int64))


def mix(X: ArrayLike, pairs: Pairs) -> Array:
    """Mixed rows (P, ...) of rows X (P, ...): λ·x_i + (1 − λ)·x_j.

    Raises
    ------
    DataError
        X holds integers (token ids), which have no average.
    NotFiniteError, ShapeError
        X is not finite, or the pairs are those of other rows.

    Examples
    --------
    >>> mix([[0.0], [8.0]], Pairs(np.array([0.25, 1.0]), np.array([1, 1])))
    array([[6.],
           [8.]])
    """
    rows = np.asarray(X)
    if rows.dtype.kind != "f":
        raise DataError(
            f"mixup averages rows; got {rows.dtype}, which have no average (token ids?). Mix features or images."
        )
    finite("X", rows)
    if not pairs.share.shape == pairs.partner.shape == (len(rows),):
        raise ShapeError(
            f"mix needs one pair per row, (P={len(rows)},); got shares {pairs.share.shape} and partners {pairs.partner.shape}."
        )
    share = pairs.share.reshape(-1, *(1,) * (rows.ndim - 1))
    return np.asarray(share * rows + (1.0 - share) * rows[pairs.partner])


@dataclass
class MixedBatches:
    """A transform of `uqkd.stacked.train` that mixes every batch, each student's by draws of its own.

    Targets come in as label distributions (S, B, C). They leave as the mixed labels, or, with a teacher, as its softened
    answer to the mixed rows beside them, (S, B, 2C): the form that `Distillation` takes.

    Attributes
    ----------
    mixing : Mixing
    levels : (S,) int
        Students of equal level mix alike.
    key : tuple
        Names the streams.
    teacher : Stacked or None
        One network, asked about the mixed rows.
    temperature : float or "std"
        That softens the teacher's answer.
    teacher_temperature : float
        That the teacher answers at; logits are divided by it before anything else.
    floor : float
        c: the teacher's answer is projected so that class i keeps c·λ and class j c·(1 − λ); 0 leaves it, 1 makes it the
        mixed labels. See `project_pairs`.
    """

    mixing: Mixing
    levels: NDArray[np.int64]
    key: tuple[Any, ...]
    teacher: Stacked | None = None
    temperature: Temperature = 1.0
    teacher_temperature: float = 1.0
    floor: float = 0.0
    _drawn: dict[tuple[int, int, int], Pairs] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("mixing", self.mixing, Mixing, "Pass Mixing().")
        if not 0.0 <= self.floor <= 1.0:
            raise OptionError(f"the floor of a pair's classes is a share in [0, 1]; got {self.floor}.")
        if self.floor > 0 and self.teacher is None:
            raise OptionError(f"floor={self.floor} is that of a teacher's answers; it needs a teacher.")
        if checked_temperature(self.temperature) == STANDARD_DEVIATION and self.floor == 1:
            raise OptionError("floor=1 leaves classes of probability 0, which temperature 'std' cannot rescale.")

    @torch.no_grad()
    def __call__(self, step: int, students: NDArray[np.int64], X: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed rows and targets of some students at one step."""
        if not X.is_floating_point():
            raise DataError(f"mixup averages rows; got {X.dtype}, which have no average (token ids?).")
        pairs = [self._pairs(step, int(self.levels[s]), X.shape[1]) for s in students]
        share = torch.as_tensor(np.stack([p.share for p in pairs]), dtype=X.dtype, device=X.device)
        partner = torch.as_tensor(np.stack([p.partner for p in pairs]), device=X.device)
        line = torch.arange(len(X), device=X.device)[:, None]
        part = share.reshape(*share.shape, *(1,) * (X.ndim - 2))
        mixed = part * X + (1.0 - part) * X[line, partner]
        both = share[..., None] * labels + (1.0 - share[..., None]) * labels[line, partner]
        if self.teacher is None:
            return mixed, both
        answer = self.teacher.run_own(mixed.flatten(0, 1)[None])[0].unflatten(0, mixed.shape[:2])
        answer = answer / self.teacher_temperature
        if self.floor > 0:
            first = labels.argmax(-1)
            answer = self._projected(answer, first, first[line, partner], share)
        return mixed, torch.cat([rescaled(answer, self.temperature).softmax(-1), both], -1)

    def _projected(self, logits: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Log-probabilities after the projection, in the precision of the logits."""
        probs = logits.double().softmax(-1).flatten(0, 1)
        found = project_pairs(
            probs, first.flatten(), second.flatten(), share.double().flatten(), floor=self.floor
        )  # fmt: skip
        return found.log().unflatten(0, logits.shape[:2]).to(logits.dtype)

    def _pairs(self, step: int, level: int, batch: int) -> Pairs:
        """Pairs of one step, (B,), out of those of the steps around it."""
        block, within = divmod(step, STEPS)
        place = (level, block, batch)
        if place not in self._drawn:
            if len(self._drawn) >= 2 * len(self.levels):  # of steps gone by
                self._drawn.clear()
            generator = seeds.generator(*self.key, "mixing", level, block, shared=True)
            self._drawn[place] = self.mixing.draw(STEPS, batch, generator)
        drawn = self._drawn[place]
        return Pairs(drawn.share[within], drawn.partner[within])
