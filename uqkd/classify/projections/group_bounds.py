"""Bounds on groups of classes and on the entropy, checked against the rows that they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uqkd.classify.projections.groups import max_entropy
from uqkd.classify.projections.probabilities import SLACK, SMALLEST, Rows, refuse
from uqkd.errors import DataError, OptionError


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
        least, most = self.entropy_min, self.entropy_max
        return GroupBounds(
            self.near[at],
            self.wrong[at],
            self.near_min[at],
            self.wrong_max[at],
            None if least is None else least[at],
            None if most is None else most[at],
        )
