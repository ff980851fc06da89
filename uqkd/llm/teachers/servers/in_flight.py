"""Many requests under way at the same time, in an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

Ask = Callable[[Any], Awaitable[Any]]

_GRACE_S = 5.0  # for what is under way when nothing more is asked: it may be paid for already
_END_S = 10.0  # for the thread to end once all is cancelled


def in_flight(
    opened: Callable[[], AbstractAsyncContextManager[Ask]],
    requests: Iterable[Any],
    *,
    concurrency: int,
    grace_s: float = _GRACE_S,
) -> Generator[tuple[int, Any], None, None]:
    """The answer to each request as it comes, with the request's place.

    Requests are taken, in the thread of the caller, as there is room for them. After the first exception no more are taken;
    what is answered within `grace_s` is still yielded, and the exception is raised then. Closing the generator cancels what is
    under way, and ends the thread.

    Parameters
    ----------
    opened : callable
        Gives an asynchronous context whose value answers one request.
    requests : iterable
    concurrency : int
        Requests under way at the same time, at most.
    grace_s : float
        Seconds.

    Examples
    --------
    >>> from contextlib import asynccontextmanager
    >>> @asynccontextmanager
    ... async def doubling():
    ...     async def ask(number):
    ...         return 2 * number
    ...     yield ask
    >>> sorted(in_flight(doubling, [5, 7], concurrency=2))
    [(0, 10), (1, 14)]
    """
    waiting, more = enumerate(requests), True
    problem: Exception | None = None
    until: float | None = None
    with _Loop(opened) as loop:
        while True:
            while more and loop.under_way < concurrency:
                pair = next(waiting, None)
                if pair is None:
                    more = False
                else:
                    loop.send(*pair)
            answered = loop.receive(until) if loop.under_way else None
            if answered is None:
                break
            place, answer = answered
            if not isinstance(answer, Exception):
                yield place, answer
            elif problem is None:
                problem, more, until = answer, False, time.monotonic() + grace_s
    if problem is not None:
        raise problem


class _Loop:
    """An event loop in a thread that lives as long as the block."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Ask]]) -> None:
        self.under_way = 0
        self._opened = opened
        self._answers: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._problem: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="uqkd requests", daemon=True)

    def __enter__(self) -> _Loop:
        self._thread.start()
        self._ready.wait()
        if self._problem is not None:
            self._thread.join()
            raise self._problem
        return self

    def __exit__(self, *_what: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_END_S)

    def send(self, place: int, request: Any) -> None:
        self.under_way += 1
        self._loop.call_soon_threadsafe(self._begin, place, request)

    def receive(self, until: float | None) -> tuple[int, Any] | None:
        """The next answer or exception with its place; None if none comes until then."""
        try:
            answered = self._answers.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None
        self.under_way -= 1
        return answered

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._work())
        except BaseException as problem:
            self._problem = problem
        finally:
            self._loop.close()
            self._ready.set()

    async def _work(self) -> None:
        self._stop = asyncio.Event()
        async with self._opened() as ask:
            self._ask = ask
            self._ready.set()
            await self._stop.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, place: int, request: Any) -> None:
        task = self._loop.create_task(self._answer(place, request))
        self._tasks.add(task)  # the loop itself keeps no hold of its tasks
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, place: int, request: Any) -> None:
        try:
            answer = await self._ask(request)
        except Exception as problem:
            answer = problem
        self._answers.put((place, answer))
