"""Students trained in groups, each group where there is room for it: every student becomes what it would become among all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.models.configuration import saved_dtype
from uqkd.llm.models.revision import check_model
from uqkd.llm.responses import TextTargets
from uqkd.llm.students.training.job import Job
from uqkd.llm.students.training.resuming import Keep
from uqkd.llm.students.training.ways_to_train import Compute
from uqkd.llm.teachers.distributed import Pool
from uqkd.stacked import Training

_COPIES = 4  # of the parameters: themselves, their gradient, and two moments


@dataclass(frozen=True)
class Trained:
    """What became of S students whose parameters are in their folders: `Students` without models.

    Attributes
    ----------
    failed_at : (S,) int
        The step at which a student diverged; -1 for those kept.
    loss : (S,) float
        At each student's last step, in nats a learnt token.
    engine : str
    notes : tuple of str
    """

    failed_at: NDArray[np.int64]
    loss: NDArray[np.float64]
    engine: str
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> NDArray[np.int64]:
        """Numbers of the students that did not diverge."""
        return np.flatnonzero(self.failed_at < 0)


@dataclass(frozen=True)
class Distilling:
    """Makes an engine where it is to run: it takes groups of students and trains each.

    Attributes
    ----------
    targets : TextTargets
        Of all students.
    compute : tuple
        Of `Compute`, which looks for a GPU where it is made.
    options : dict
        Of `Job.of`, for all of them; `keep` is a folder that all engines see.
    """

    targets: TextTargets
    compute: tuple[Any, ...]
    options: dict[str, Any]

    def __call__(self) -> Callable[[list[range]], Iterator[list[tuple[int, Any]]]]:
        """The engine."""
        return self._groups

    def _groups(self, units: list[range]) -> Iterator[list[tuple[int, Any]]]:
        compute = Compute(*self.compute)
        for place, group in enumerate(units):
            _, training, notes = Job.of(self.targets, **self.options, compute=compute, group=group).run()
            yield [(place, (training, notes))]


def training_bytes(student: str, *, adapters: bool = False) -> int:
    """Memory that a student's parameters, gradients and optimiser take while it is trained; of one with adapters, its base."""
    path = check_model(student)
    saved = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    size = 2 if "16" in saved_dtype(path) else 4  # bytes of a number; it is trained in float32
    return saved * 4 // size * (1 if adapters else _COPIES)


def groups_of(students: int, workers: int) -> list[range]:
    """Students in a row for each worker, as many for each as can be.

    Examples
    --------
    >>> groups_of(5, 2), groups_of(1, 4)
    ([range(0, 3), range(3, 5)], [range(0, 1)])
    """
    parts = np.array_split(np.arange(students), min(students, workers))
    edges = np.cumsum([0, *map(len, parts)]).tolist()
    return [range(start, stop) for start, stop in pairwise(edges)]


def train_in_groups(
    pool: Pool,
    groups: Sequence[range],
    *,
    keep: Keep,
    exclude_failed: bool = False,
    progress: Callable[[int], None] = lambda _students: None,
) -> Trained:
    """Train all students; those that are there already are kept, one under way goes on from its checkpoint.

    Parameters
    ----------
    pool : Pool
        Of engines made by `Distilling`.
    groups : sequence of range
        All students, in their order.
    keep : Keep
        Where they are.
    exclude_failed : bool
        See `distill`.
    progress : callable, optional
        Told how many students came, after each group.

    Raises
    ------
    DivergedError
        Names the students that diverged, and when.
    """
    come: dict[int, tuple[Training, tuple[str, ...]]] = {}
    for place, result in pool.results(groups):
        come[place] = result
        progress(len(groups[place]))
    every = [come[place] for place in range(len(groups))]
    loss, failed_at, made = (
        np.concatenate([getattr(training, name) for training, _ in every])
        for name in ("loss", "failed_at", "stopped_at")
    )
    engine = every[0][0].engine
    Training(loss, failed_at, made, engine).refuse_failed(exclude_failed=exclude_failed, stacklevel=3)
    keep.clear()
    return Trained(failed_at, loss, engine, tuple(dict.fromkeys(note for _, notes in every for note in notes)))
