"""Timing and the table of the bench."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the bench: what was measured, against what, the ratio or figure, and the goal."""

    what: str
    ours: str
    against: str
    figure: float
    goal: str
    met: bool


def seconds(work: Callable[[], object], *, rounds: int = 5) -> float:
    """Median wall time of a call over some rounds, after one that is not counted."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def paired(first: Callable[[], object], second: Callable[[], object], *, rounds: int = 7) -> tuple[float, float, float]:
    """Median seconds of two calls run in turn (A B A B …), and the median of the ratios second/first pair by pair."""
    first()
    second()
    ones, twos = [], []
    for _ in range(rounds):
        for work, times in ((first, ones), (second, twos)):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    ratio = statistics.median(two / one for one, two in zip(ones, twos, strict=True))
    return statistics.median(ones), statistics.median(twos), ratio


def show(rows: list[Row], part: str) -> None:
    """Print the rows of a part as an aligned table, at once: the next part takes minutes."""
    head = (part, "uqkd", "against", "figure", "goal", "met")
    cells = [(r.what, r.ours, r.against, f"{r.figure:.3g}", r.goal, "yes" if r.met else "NO") for r in rows]
    widths = [max(len(line[i]) for line in [head, *cells]) for i in range(len(head))]
    for line in [head, tuple("-" * w for w in widths), *cells]:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip(), flush=True)
