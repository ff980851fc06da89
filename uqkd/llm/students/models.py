"""Where trained students are: together in one stacked model, or each for itself in memory or in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts import Prompts
from uqkd.llm.students.networks.initializer import Initializer, Parameters, saved
from uqkd.llm.synthetic.exact import answer_probabilities
from uqkd.stacked import Stacked

Array = NDArray[np.float64]


class Models(Protocol):
    """All students that were trained, the failed ones at their last finite parameters."""

    def alone(self, s: int) -> Any:
        """Student s as a transformers model (with PEFT adapters where it was trained with them)."""

    def predict_proba(self, encoder: Encoder, prompts: Prompts, *, temperature: float) -> Array:
        """(S, P, C + 1); see `answer_probabilities`."""


@dataclass(frozen=True)
class Together:
    """Students in one stacked model."""

    stacked: Stacked

    def alone(self, s: int) -> Any:
        """See `Models.alone`."""
        return self.stacked.student(s).model

    def predict_proba(self, encoder: Encoder, prompts: Prompts, *, temperature: float) -> Array:
        """See `Models.probabilities`."""
        return answer_probabilities(self.stacked, encoder, prompts, temperature=temperature)


@dataclass(frozen=True)
class Apart:
    """Students one by one: trained parameters in memory, or the folder in which a student was saved.

    Attributes
    ----------
    initializer : Initializer
    places : sequence of S dicts or paths
    """

    initializer: Initializer
    places: Sequence[Parameters | Path]

    def alone(self, s: int) -> Any:
        """See `Models.alone`."""
        place = self.places[s]
        return saved(place) if isinstance(place, Path) else self.initializer.alone(place).model

    def predict_proba(self, encoder: Encoder, prompts: Prompts, *, temperature: float) -> Array:
        """See `Models.probabilities`."""
        every = range(len(self.places))
        return np.concatenate(
            [answer_probabilities(self.alone(s), encoder, prompts, temperature=temperature) for s in every]
        )
