"""A teacher whose engines are elsewhere: requests are handed out to them, answers come back as they are ready."""

from __future__ import annotations

import inspect
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from uqkd.errors import OptionError
from uqkd.llm.requests import Answers, Request
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.opening import backend_module, open_teacher
from uqkd.llm.teachers.responding import Responding
from uqkd.llm.teachers.teacher import Teacher

AT_ONCE = 2048  # requests handed to an engine together, at most
_PART_SECONDS = 1.0  # between two parts of answers that an engine sends back
_ABOUT = "about"  # the unit that is answered by what the engine is

Part = list[tuple[int, Any]]


class Pool(Protocol):
    """What hands out units to engines: `uqkd.run.actors.Actors`."""

    def results(self, units: Iterable[Any], *, at_once: int = 1) -> Generator[tuple[int, Any], None, None]:
        """The number of each unit and its result, as they come."""

    def close(self) -> None:
        """Let the engines go."""


def from_anywhere(model: str) -> str:
    """A model's name, or its folder as it is called whatever the working directory is.

    Examples
    --------
    >>> from_anywhere("somebody/a-model")
    'somebody/a-model'
    """
    return str(Path(model).absolute()) if Path(model).exists() else model


@dataclass(frozen=True)
class Drawing:
    """Makes an engine where it is to run: the teacher of `open_teacher`, asked with units of (request, sampling).

    Attributes
    ----------
    teacher : str
        Folder or name of the model, the same wherever an engine is.
    options : dict
        Of `open_teacher`.

    Raises
    ------
    OptionError
        A backend whose engine is a server, which many can ask from one place.
    """

    teacher: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        backend = self.options.get("backend", "vllm")
        if "url" in inspect.signature(backend_module(backend).open_backend).parameters:
            raise OptionError(
                f"backend {backend!r} asks a server, whose engines are where it runs; leave executor out, and ask it with "
                "more requests at a time (concurrency)."
            )
        object.__setattr__(self, "teacher", from_anywhere(self.teacher))

    def __call__(self) -> DrawingEngine:
        """Open the teacher."""
        return DrawingEngine(open_teacher(self.teacher, **self.options))


class DrawingEngine:
    """Draws what it is handed; see `Drawing`."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def __call__(self, units: list[Any]) -> Iterator[Part]:
        """Answers in parts, those that came before a failure too."""
        if units == [_ABOUT]:
            yield [(0, (self._teacher.about, self._teacher.encoder))]
            return
        come: Part = []
        since = time.monotonic()
        try:
            for answer in self._teacher.stream((request for request, _ in units), units[0][1]):
                come.append(answer)
                if time.monotonic() - since > _PART_SECONDS:
                    yield come
                    come, since = [], time.monotonic()
        except Exception:
            yield come
            raise
        yield come


class DistributedTeacher(Responding):
    """A teacher in several engines. Each response depends on its own seed, so which engine draws it decides its rounding alone.

    Parameters
    ----------
    pool : Pool
        Of engines made by `Drawing`.
    at_once : int
        Requests handed to an engine together, at most.
    """

    def __init__(self, pool: Pool, *, at_once: int = AT_ONCE) -> None:
        self._pool, self._at_once = pool, at_once
        [(_, (self.about, self.encoder))] = pool.results([_ABOUT])

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """See `Teacher.stream`."""
        yield from self._pool.results(((one, sampling) for one in requests), at_once=self._at_once)

    def close(self) -> None:
        """See `Teacher.close`."""
        self._pool.close()
