"""Students asked wherever there is an engine for them: each draws into its own bank there, and its losses come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from uqkd.llm.measuring.answers.drawing import draw_students
from uqkd.llm.measuring.held_out import loss_of_folder
from uqkd.llm.measuring.losses import HeldOut
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.responses import Responses
from uqkd.llm.teachers.distributed import Pool


@dataclass(frozen=True)
class Asking:
    """Makes an engine where it is to run: it takes models as (name, path), lets each answer, and gives its loss.

    Attributes
    ----------
    prompts : Prompts
    draws : int
    root : str
        Of the banks, for all engines the same.
    options : dict
        Of `draw_students`.
    teacher : Responses or None
        Whose loss is wanted.
    prompting : dict
        Of `loss_of_folder`.
    """

    prompts: Prompts
    draws: int
    root: str
    options: dict[str, Any]
    teacher: Responses | None
    prompting: dict[str, Any]

    def __call__(self) -> Callable[[list[tuple[str, str]]], Iterator[list[tuple[int, Any]]]]:
        """The engine."""
        return self._models

    def _models(self, units: list[tuple[str, str]]) -> Iterator[list[tuple[int, Any]]]:
        for place, model in enumerate(units):
            draw_students([model], self.prompts, self.draws, root=self.root, **self.options)
            loss = None if self.teacher is None else loss_of_folder(model[1], self.teacher, **self.prompting)
            yield [(place, loss)]


def ask_elsewhere(
    pool: Pool, models: Sequence[tuple[str, str]], *, progress: Callable[[], None]
) -> list[HeldOut | None]:
    """Let all models answer into their banks; the loss of each, where it is wanted.

    Parameters
    ----------
    pool : Pool
        Of engines made by `Asking`.
    models : sequence of (name, path)
    progress : callable
        Called after each model.
    """
    found: dict[int, HeldOut | None] = {}
    for place, loss in pool.results(models):
        found[place] = loss
        progress()
    return [found[place] for place in range(len(models))]
