"""Progress of a run: a bar on a terminal, a few plain lines elsewhere, nothing for what takes under two seconds."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

_QUIET_SECONDS = 2.0
_LINES = 10  # as many plain lines as a long run writes, at most


class Progress:
    """Counts finished units on stderr.

    Examples
    --------
    >>> with Progress("demo", total=2, done=1) as progress:
    ...     progress.advance()
    >>> progress.done
    2
    """

    def __init__(self, name: str, *, total: int, done: int = 0, what: str = "units") -> None:
        self.name, self.what = name, what
        self.total = total
        self.done = done
        self._started = time.monotonic()
        self._lines = 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def advance(self) -> None:
        """One more unit is committed."""
        self.done += 1
        if time.monotonic() - self._started < _QUIET_SECONDS:
            return
        if sys.stderr.isatty():
            self._draw()
        elif self.done * _LINES // self.total > self._lines:
            self._lines = self.done * _LINES // self.total
            seconds = time.monotonic() - self._started
            print(f"{self.name}: {self.done} of {self.total} {self.what}, {seconds:.0f} s", file=sys.stderr, flush=True)

    def _draw(self) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.add_task(self.name, total=self.total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self.done)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
