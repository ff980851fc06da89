"""Where cells are measured: in this process, in local worker processes, or as Ray tasks.

Every way runs `perform` on the same `Task`, and `perform` commits the unit itself, so that nothing finished is lost
when the parent dies. Outcomes come back as plain values, in the order in which they finish.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

from uqkd import seeds
from uqkd.errors import OptionError, ProvenanceError, SeedReuseError, UqkdError, WorkerError, missing_library, one_of
from uqkd.run.cluster import connect
from uqkd.run.provenance.fingerprint import method_fingerprint
from uqkd.run.study import load_study
from uqkd.store import Inputs, Store

EXECUTORS = ("local", "ray")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_AHEAD = 4  # tasks handed out per worker: enough to keep it busy, few enough to stop quickly
_KILLED = "a worker process was killed (out of memory, or by hand)"
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_ORPHAN_CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class Task:
    """One cell to measure: plain values only, so that any process can take it."""

    file: Path
    function: str
    root: str
    inputs: Inputs
    cell: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a task: the seed keys it used, or why it failed."""

    key: str
    uses: Mapping[bytes, tuple[tuple[Any, ...], str]] = field(default_factory=dict, hash=False)
    error: str = ""
    seed_reuse: bool = False


def perform(task: Task) -> Outcome:
    """Measure one cell, watch its seed keys, commit its table. A failure of the cell is an outcome, not an error."""
    try:
        measure = getattr(load_study(task.file).module, task.function)
        if method_fingerprint(task.file, task.function) != task.inputs.method:
            raise ProvenanceError(f"{task.file.name} changed while it ran; run it again with the code as it is now")
        with seeds.ledger() as used:
            table = measure(dict(task.cell))
        if not hasattr(table, "columns"):
            raise TypeError(f"{task.function}() returned a {type(table).__name__}; it must return a pandas.DataFrame")
        _store(task.root).commit(task.inputs, table, seeds=used.uses, check_twins=False)
    except Exception as failure:
        problem = _without_its_library(task, failure)
        reason = f"{type(problem).__name__}{_place_in(task.file, problem)}: {problem}"
        return Outcome(key=task.inputs.key, error=reason, seed_reuse=isinstance(problem, SeedReuseError))
    return Outcome(key=task.inputs.key, uses=used.uses)


def _without_its_library(task: Task, problem: Exception) -> Exception:
    """The error that says which extra to install, where that is the problem; otherwise the problem itself."""
    missing = missing_library(f"{task.function}()", problem) if isinstance(problem, ModuleNotFoundError) else None
    return missing or problem


def _place_in(file: Path, problem: Exception) -> str:
    """Where in the study's own file an unforeseen error arose; uqkd's own errors say enough without it."""
    if isinstance(problem, UqkdError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(problem.__traceback__) if frame.filename == str(file)]
    return f" ({file.name}:{lines[-1]})" if lines else ""


@lru_cache(maxsize=8)
def _store(root: str) -> Store:
    return Store(root, create="://" in root)  # a local root that vanished must not come back empty


class Executor(Protocol):
    """A way to get tasks done."""

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Each task's outcome, in the order in which they finish."""
        ...

    def close(self, *, now: bool = False) -> None:
        """Let the workers go; `now` stops them in the middle of their work."""
        ...


class Inline:
    """In this process, one after the other, with one thread as in the workers, so that results are the same bits."""

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Each task's outcome, in order."""
        from threadpoolctl import threadpool_limits

        with _environment(_ONE_THREAD), threadpool_limits(1):
            yield from map(perform, tasks)

    def close(self, *, now: bool = False) -> None:
        """Nothing to let go."""


class LocalPool:
    """Worker processes of this machine. They start once and serve every run of a command.

    Parameters
    ----------
    workers : int
        Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Each task's outcome. After a worker was killed the rest is done by one worker; `WorkerError` if it is killed too."""
        queue, unfinished = iter(tasks), dict[Future[Outcome], Task]()
        try:
            yield from self._by(self.workers, queue, unfinished)
        except BrokenProcessPool:
            self.close(now=True)
            rest = chain(list(unfinished.values()), queue)
            print(f"note: {_KILLED}; going on with one worker", file=sys.stderr, flush=True)
        else:
            return
        try:
            yield from self._by(1, rest, {})
        except BrokenProcessPool:
            raise WorkerError(_KILLED) from None
        finally:
            self.close(now=True)

    def _by(self, workers: int, queue: Iterator[Task], unfinished: dict[Future[Outcome], Task]) -> Iterator[Outcome]:
        """Outcomes by so many processes; `unfinished` holds what was handed out and has not come back."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(os.getpid(), threading.current_thread() is threading.main_thread()),
            )
        while True:
            with _environment(_ONE_THREAD), _interrupts_held():
                for task in islice(queue, workers * _AHEAD - len(unfinished)):
                    unfinished[_handed_out(self._pool, task)] = task
            if not unfinished:
                return
            for future in wait(unfinished, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                del unfinished[future]
                yield outcome

    def close(self, *, now: bool = False) -> None:
        """Let the workers finish and go, or kill them."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if now:
            for process in list((pool._processes or {}).values()):  # public only from Python 3.14: kill_workers()
                process.kill()
        pool.shutdown(wait=True, cancel_futures=True)


class RayTasks:
    """Ray core tasks, on a cluster that is already connected or on this machine.

    Parameters
    ----------
    workers : int
        Tasks at a time.
    address : str, optional
        See `connect`.

    Raises
    ------
    OptionError
        Ray is not installed, or no cluster answers.
    """

    def __init__(self, workers: int, *, address: str | None = None) -> None:
        self.workers = workers
        self._cluster = connect(workers, address=address)
        self._ray = ray = self._cluster.ray
        remote = ray.remote(num_cpus=1, max_retries=0, runtime_env={"env_vars": _ONE_THREAD})
        self._perform = remote(perform)

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Each task's outcome; `WorkerError` if a worker is killed."""
        queue, running = iter(tasks), list[Any]()
        while True:
            running += [self._perform.remote(task) for task in islice(queue, self.workers * _AHEAD - len(running))]
            if not running:
                return
            finished, running = self._ray.wait(running)
            for reference in finished:
                try:
                    yield self._ray.get(reference)
                except self._ray.exceptions.RayError as problem:
                    reason = str(problem).strip().splitlines()[0]
                    raise WorkerError(f"a Ray worker was lost ({type(problem).__name__}: {reason})") from None

    def close(self, *, now: bool = False) -> None:
        """Disconnect, if this executor connected."""
        self._cluster.close()


def make_executor(name: str, workers: int, *, address: str | None = None) -> Executor:
    """The executor of that name.

    Examples
    --------
    >>> type(make_executor("local", 1)).__name__
    'Inline'
    >>> make_executor("lokal", 1)
    Traceback (most recent call last):
    uqkd.errors.OptionError: executor got 'lokal'; did you mean 'local'? Valid: 'local', 'ray'.
    """
    if workers < 1:
        raise OptionError(f"workers must be at least 1; got {workers}.")
    if one_of("executor", name, EXECUTORS) == "ray":
        return RayTasks(workers, address=address)
    if address is not None:
        raise OptionError(f"address got {address!r}, which is of a Ray cluster; say executor='ray' too.")
    return LocalPool(workers) if workers > 1 else Inline()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that children inherit and libraries read when they load; put the old values back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers are started: they inherit the mask, so it never reaches them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handed_out(pool: ProcessPoolExecutor, task: Task) -> Future[Outcome]:
    """A pool that has just broken takes no task: one that cannot be handed out counts as handed out and lost."""
    try:
        return pool.submit(perform, task)
    except BrokenProcessPool as problem:
        lost: Future[Outcome] = Future()
        lost.set_exception(problem)
        return lost


def _start_worker(parent: int, dies_with_thread: bool) -> None:
    """Leave Ctrl-C to the parent, and die when it dies, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux" and dies_with_thread:  # the signal comes when the parent's *thread* ends
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_SECONDS)
    os._exit(1)
