"""Limits of so many requests, or tokens, a minute: no minute, wherever it begins, holds more."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from uqkd.errors import OptionError

_MINUTE_S = 60.0
_LOOK_S = 1.0  # the longest pause before looking again: an answer shorter than was foreseen makes room earlier


@dataclass
class Taken:
    """What one request took, and when; set `amount` right once it is known."""

    time_s: float
    amount: float


class PerMinute:
    """A sliding window of 60 seconds, in which at most `limit` is taken.

    Stricter than a bucket that fills over the minute, which lets twice its content through in the first one: whichever way a
    server counts its minutes, it sees no more than `limit` in any of them.

    Parameters
    ----------
    limit : float
        A larger amount is let through alone, as it would never fit.
    clock : callable
        Seconds; never goes back.

    Raises
    ------
    OptionError
        A limit below one.

    Examples
    --------
    >>> now = [0.0]
    >>> limit = PerMinute(2, clock=lambda: now[0])
    >>> _ = limit.take()
    >>> now[0] = 10.0
    >>> _ = limit.take()
    >>> limit.wait_s()
    50.0
    >>> now[0] = 60.0
    >>> limit.wait_s()
    0.0
    """

    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 1 <= limit < math.inf:
            raise OptionError(f"a limit a minute must be a number of at least 1; got {limit!r}.")
        self.limit, self._clock = limit, clock
        self._window: deque[Taken] = deque()

    def wait_s(self, amount: float = 1) -> float:
        """Seconds until so much more fits; 0 if it does now."""
        now = self._clock()
        while self._window and self._window[0].time_s + _MINUTE_S <= now:
            self._window.popleft()
        excess = sum(taken.amount for taken in self._window) + min(amount, self.limit) - self.limit
        until = now
        for taken in self._window:
            if excess <= 0:
                break
            excess -= taken.amount
            until = taken.time_s + _MINUTE_S
        return until - now

    def take(self, amount: float = 1) -> Taken:
        """Take so much now, whether it fits or not."""
        self._window.append(Taken(self._clock(), amount))
        return self._window[-1]


class Gate:
    """Coroutines of one event loop that wait for a limit, in the order in which they came; without a limit none waits."""

    def __init__(self, limit: PerMinute | None) -> None:
        self._limit, self._line = limit, asyncio.Lock()

    async def enter(self, amount: float = 1) -> Taken:
        """Wait until so much fits, and take it."""
        if self._limit is None:
            return Taken(0.0, amount)
        async with self._line:
            while (pause := self._limit.wait_s(amount)) > 0:
                await asyncio.sleep(min(pause, _LOOK_S))
            return self._limit.take(amount)
