"""Ray actors that each own one engine, and units of work handed out to them, a bounded number at a time."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from uqkd.errors import OptionError, UqkdError, WorkerError
from uqkd.run.cluster import Machine, connect, usable_cores

Parts = Iterator[list[tuple[int, Any]]]  # (place of a unit among those given, its result), as they come
Engine = Callable[[list[Any]], Parts]

_PIECES = 2  # handed to an actor at a time: one that it works on, and the next
_SHARES = 4  # pieces that each actor gets of what is left: the last ones are small, so that all end together
_LOSSES = 3  # engines in a row that are lost before any gives a result: the work itself kills them
_SMALLEST = 64  # a piece is at least this part of the largest one
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(eq=False)
class _Piece:
    """Units that an actor was given, by their numbers, and those that it has not answered."""

    actor: int
    numbers: list[int]
    left: dict[int, Any]


class Actors:
    """Engines in actors of a Ray cluster.

    An actor that dies, or whose engine does, is replaced; what it had not answered is handed out again. Units are taken from
    their source as actors ask for work, so that a million need no memory.

    Parameters
    ----------
    make : callable
        Makes an engine, in the actor. It is pickled. An engine takes a list of units and gives their results in parts.
    workers : int, optional
        Actors; one for each GPU, or for each machine where there is none, if not given.
    address : str, optional
        See `connect`.
    gpu : bool
        Each actor gets a GPU, where the cluster has any.
    memory : int
        Bytes that an engine needs beside a GPU; machines that have no room for it get none.
    what : str
        What messages call the units.
    say : callable
        Told when an actor is lost.

    Raises
    ------
    OptionError
        No cluster, or one with fewer GPUs, or less room, than so many engines need.
    """

    def __init__(
        self,
        make: Callable[[], Engine],
        *,
        workers: int | None = None,
        address: str | None = None,
        gpu: bool = False,
        memory: int = 0,
        what: str = "units",
        say: Callable[[str], None] = lambda line: print(f"note: {line}", file=sys.stderr, flush=True),
    ) -> None:
        if workers is not None and workers < 1:
            raise OptionError(f"workers must be at least 1; got {workers}.")
        self._make, self._say, self._what = make, say, what
        self._cluster = connect(None if workers is None else max(workers, usable_cores()), address=address)
        gpus = self._cluster.gpus() if gpu else 0
        self.workers = workers or gpus or len(self._cluster.machines())
        self._options = _placing(self.workers, self._cluster.machines(), gpus, memory=memory)
        self._actors: list[Any] = []
        self._losses = 0

    def results(self, units: Iterable[Any], *, at_once: int = 1) -> Generator[tuple[int, Any], None, None]:
        """The number of each unit and its result, as they come; every unit once.

        Parameters
        ----------
        units : iterable
            Values that can be pickled.
        at_once : int
            Units handed out together, at most.

        Raises
        ------
        UqkdError
            An engine's own error. `WorkerError` if engines die one after another before any gives a result.
        """
        queue, running = _Queue(units, self.workers, at_once), dict[Any, _Piece]()
        while True:
            self._hand_out(queue, running)
            if not running:
                return
            for stream in self._cluster.ray.wait(list(running), num_returns=1)[0]:
                if stream in running:
                    yield from self._part(stream, queue, running)

    def close(self) -> None:
        """Let the actors and their engines go, in the middle of their work too."""
        actors, self._actors = self._actors, []
        if self._cluster.ray.is_initialized():
            for actor in actors:
                self._cluster.ray.kill(actor)
        self._cluster.close()

    def _hand_out(self, queue: _Queue, running: dict[Any, _Piece]) -> None:
        """Give every actor the pieces that it may have; actors start when there is work for them."""
        for turn in range(_PIECES):
            for number in range(self.workers):
                busy = sum(piece.actor == number for piece in running.values())
                if busy > turn or not (units := queue.take()):
                    continue
                if number == len(self._actors):
                    self._actors.append(self._start())
                work = self._actors[number].work.options(num_returns="streaming")
                running[work.remote(list(units.values()))] = _Piece(number, list(units), units)

    def _start(self) -> Any:
        return self._cluster.ray.remote(_Actor).options(**self._options).remote(self._make)

    def _part(self, stream: Any, queue: _Queue, running: dict[Any, _Piece]) -> Iterator[tuple[int, Any]]:
        """What has come of a piece."""
        ray, piece = self._cluster.ray, running[stream]
        part, problem = list[tuple[int, Any]](), None
        try:
            part, problem = ray.get(next(stream))
        except StopIteration:
            del running[stream]
            if piece.left:
                raise WorkerError(
                    f"an engine left {len(piece.left)} of {len(piece.numbers)} units unanswered"
                ) from None
        except ray.exceptions.RayTaskError as error:
            raise WorkerError(f"a worker failed with {str(error).strip().splitlines()[-1].rstrip('.')}") from error
        except ray.exceptions.RayError as error:
            problem = WorkerError(f"killed, by hand or out of memory ({type(error).__name__})")
        for place, result in part:
            self._losses = 0
            number = piece.numbers[place]
            del piece.left[number]
            yield number, result
        if isinstance(problem, WorkerError):
            self._replace(piece.actor, problem, queue, running)
        elif problem is not None:
            raise problem

    def _replace(self, actor: int, problem: WorkerError, queue: _Queue, running: dict[Any, _Piece]) -> None:
        """Start another actor, and hand out again what this one had not answered."""
        self._losses += 1
        if self._losses >= _LOSSES:
            raise WorkerError(f"{_LOSSES} engines in a row were lost before one gave a result: {problem}")
        self._cluster.ray.kill(self._actors[actor])
        self._actors[actor] = self._start()
        lost = {stream: piece for stream, piece in running.items() if piece.actor == actor}
        begun = len(next(iter(lost.values())).left)  # of two pieces it worked on the first
        for stream in lost:
            del running[stream]
        queue.give_back({number: unit for piece in lost.values() for number, unit in piece.left.items()})
        self._say(
            f"a worker was lost: {problem}; another one starts, {begun} {self._what} that it had begun are done again"
        )


class _Queue:
    """Units with their numbers, in pieces: large ones at first, smaller ones when the end is in sight."""

    def __init__(self, units: Iterable[Any], workers: int, at_once: int) -> None:
        self._source = enumerate(units)
        self._shares, self._at_once = _SHARES * workers, at_once
        self._ahead: deque[tuple[int, Any]] = deque()

    def take(self) -> dict[int, Any]:
        """The next piece; empty where nothing is left. Which units it has depends on nothing but those taken before."""
        self._ahead.extend(islice(self._source, max(0, self._shares * self._at_once - len(self._ahead))))
        share = math.ceil(len(self._ahead) / self._shares)
        size = min(max(share, self._at_once // _SMALLEST, 1), self._at_once, len(self._ahead))
        return dict(self._ahead.popleft() for _ in range(size))

    def give_back(self, units: dict[int, Any]) -> None:
        """Take back what was not answered; it is handed out next."""
        self._ahead.extendleft(reversed(units.items()))


class _Actor:
    """In a process of its own: makes its engine when it is first asked. Errors that are meant for people come back as values."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make
        self._engine: Engine | None = None

    def work(self, units: list[Any]) -> Iterator[tuple[list[tuple[int, Any]], UqkdError | None]]:
        """Results in parts, each with None; at the end an error, if there was one."""
        try:
            self._engine = self._engine or self._make()
            for part in self._engine(units):
                yield part, None
        except UqkdError as problem:
            yield [], problem


def _placing(workers: int, machines: list[Machine], gpus: int, *, memory: int = 0) -> dict[str, Any]:
    """Options of each actor: a GPU where there is one; of the cores as many as all actors can have, its threads.

    Examples
    --------
    >>> placing = _placing(3, [Machine(4, 2**33), Machine(4, 2**33)], 0, memory=2**31)
    >>> placing["num_cpus"], placing["memory"], placing["runtime_env"]["env_vars"]["OMP_NUM_THREADS"]
    (2, 2147483648, '2')
    >>> _placing(3, [Machine(4, 2**33)], 0, memory=2**32)
    Traceback (most recent call last):
    uqkd.errors.OptionError: workers got 3, each with 4.3 GB of memory, and the cluster has room for 2; ask for fewer.
    """
    if gpus and workers > gpus:
        raise OptionError(f"workers got {workers}, and the cluster has {gpus} GPUs, one for each; ask for fewer.")

    def room(cores: int) -> int:
        fitting = (min(one.cores // cores, one.memory // memory if memory else workers) for one in machines)
        return int(sum(fitting))

    most = max(one.cores for one in machines)
    cores = next((n for n in range(most, 0, -1) if room(n) >= workers), 0)
    if not cores:
        each = f", each with {memory / 1e9:.1f} GB of memory," if memory else ""
        raise OptionError(f"workers got {workers}{each} and the cluster has room for {room(1)}; ask for fewer.")
    return {
        "num_cpus": cores,
        "num_gpus": 1 if gpus else 0,
        "memory": memory or None,
        "max_restarts": 0,
        "max_task_retries": 0,
        "runtime_env": {"env_vars": dict.fromkeys(_THREADS, str(cores))},
    }
