"""What a training needs of a place where its state is kept, to go on from there after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Checkpoint(Protocol):
    """Where a training keeps its state."""

    def due(self) -> bool:
        """Whether it is time to write one."""

    def save(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Write the state; the one before is kept until this one is there."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last state that was written, None if there is none."""
