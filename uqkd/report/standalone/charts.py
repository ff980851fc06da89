"""Small charts as vectors inside the page, in the colours of its text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _LEFT, _RIGHT, _ROW = 520, 140, 20, 30  # units of the picture


@dataclass(frozen=True)
class Point:
    """An estimate with its interval, placed on the picture; made by `intervals`."""

    label: str
    said: str
    y: float
    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class IntervalChart:
    """Estimates below one another on one axis.

    Attributes
    ----------
    points : tuple of Point
    ticks : tuple of (float, str)
        Places of the axis' marks and what stands there.
    width, height, left : float
    alt : str
        What is seen, in words.
    """

    points: tuple[Point, ...]
    ticks: tuple[tuple[float, str], ...]
    width: int
    height: int
    left: int
    alt: str


def intervals(rows: Sequence[tuple[str, float, float | None, float | None]], *, of: str) -> IntervalChart | None:
    """A chart of estimates with intervals; None where there are none.

    Parameters
    ----------
    rows : sequence of (label, estimate, low, high)
    of : str
        What they are of, for those who do not see it.

    Examples
    --------
    >>> chart = intervals([("intra", 0.5, 0.25, 1.0)], of="Variances")
    >>> [text for _, text in chart.ticks], chart.alt
    (['0', '0.2', '0.4', '0.6', '0.8', '1'], 'Variances: intra 0.500, from 0.250 to 1.000.')
    """
    if not rows:
        return None
    every = [value for row in rows for value in row[1:] if value is not None]
    ticks = _ticks(min(0.0, *every), max(0.0, *every))
    first, reach = ticks[0], (ticks[-1] - ticks[0]) or 1.0

    def place(value: float | None) -> float | None:
        return None if value is None else round(_LEFT + (value - first) / reach * (_WIDTH - _LEFT - _RIGHT), 1)

    points, words = [], []
    for n, (label, value, low, high) in enumerate(rows):
        limits = "" if low is None or high is None else f", from {low:.3f} to {high:.3f}"
        words.append(f"{label} {value:.3f}{limits}")
        points.append(Point(label, words[-1], (n + 0.7) * _ROW, place(value) or 0.0, place(low), place(high)))
    marks = tuple((place(value) or 0.0, f"{value:g}") for value in ticks)
    return IntervalChart(
        tuple(points), marks, _WIDTH, int((len(rows) + 1.2) * _ROW), _LEFT, f"{of}: {'; '.join(words)}."
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that hold all between them, at most six steps."""
    reach = max(high - low, 1e-9)
    unit = 10.0 ** math.floor(math.log10(reach / 5.0))
    step = next(unit * m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if reach / (unit * m) <= 5.0)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(start, max(end, start + 1) + 1)]
