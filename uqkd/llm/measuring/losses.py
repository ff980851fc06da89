"""Losses of students on responses that they were not trained on, as they are measured and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """Losses on a teacher's responses, by prompt; made by `held_out_loss`, several joined by `together`.

    Attributes
    ----------
    students : (S, P) float
        −Σ log p(token) over all tokens of the k responses to a prompt, ends included, in nats.
    tokens : (S, P) float
        How many tokens these are.
    undistilled : (P,) float, optional
        The same of the student before it was distilled.
    note : str
    """

    students: Array
    tokens: Array
    undistilled: Array | None = None
    note: str = ""

    @classmethod
    def concatenate(cls, students: Sequence[HeldOut], undistilled: HeldOut | None = None) -> HeldOut:
        """Of S students each measured alone, and the undistilled one."""
        losses, tokens = (np.concatenate([getattr(one, name) for one in students]) for name in ("students", "tokens"))
        return cls(losses, tokens, None if undistilled is None else undistilled.students[0], students[0].note)
