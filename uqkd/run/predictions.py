"""How long a run will take and what it will cost, from a measured pilot; kept beside what then happened."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.store import Store
from uqkd.store.units import canonical_json, content_hash

FILE = "predictions.jsonl"

clock = time.monotonic  # seconds of the pilot, and of the run that it is held against


@dataclass(frozen=True)
class Prediction:
    """What a run will take; made from a pilot.

    Attributes
    ----------
    what : str
        What is counted: cells, responses, steps, answers.
    count : int
        How many are missing.
    measured : int
        How many the pilot measured.
    before_s : float
        Seconds until the first of them begins: libraries, models, workers.
    each_s : float
        Seconds of one, of one worker.
    workers : int
        At a time.
    bytes : float
        That the run will store.
    tokens : float, optional
        That it will draw or train on.
    error : float
        Standard error of the seconds as a share of them, where what was measured varies; 0 where it does not.

    Examples
    --------
    >>> made = Prediction("cells", 3600, 5, before_s=2.0, each_s=4.0, workers=2, bytes=7.2e6)
    >>> made.seconds, made.money(1.5)
    (7202.0, 6.001666666666667)
    >>> print("\\n".join(made.lines(1.5)))
    3,600 cells are missing; 5 were measured: 4 s and 2 kB each, and 2 s before the first
    predicted: 2.00 hours on 2 workers (4.00 hours of a worker), 7.2 MB; 6.00 at 1.5 an hour of a worker
    """

    what: str
    count: int
    measured: int
    before_s: float
    each_s: float
    workers: int
    bytes: float
    tokens: float | None = None
    error: float = 0.0

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.before_s + self.each_s * self.count / self.workers if self.count else 0.0

    def money(self, price_hour: float) -> float:
        """What the workers cost at a price for an hour of each."""
        return price_hour * self.seconds * self.workers / 3600

    def lines(self, price_hour: float | None = None) -> list[str]:
        """What people read."""
        if not self.count:
            return [f"no {self.what} are missing: nothing to measure"]
        each = f"{_time(self.each_s)} and {_bytes(self.bytes / self.count)}"
        if self.tokens is not None:
            each += f" and {self.tokens / self.count:.3g} tokens"
        each += " each"
        spread = f" ± {self.error:.0%}" if self.error else ""
        of_workers = f" on {self.workers} workers ({_hours(self.seconds * self.workers)} of a worker)"
        total = (
            f"predicted: {_hours(self.seconds)}{spread}{of_workers if self.workers > 1 else ''}, {_bytes(self.bytes)}"
        )
        if self.tokens is not None:
            total += f", {self.tokens:,.0f} tokens"
        if price_hour is not None:
            total += f"; {self.money(price_hour):.2f} at {price_hour:g} an hour of a worker"
        return [
            f"{self.count:,} {self.what} are missing; {self.measured:,} were measured: {each}, and "
            f"{_time(self.before_s)} before the first",
            total,
        ]

    def keep(self, store: Store, key: str) -> None:
        """Write it beside the results; `happened` adds what came of it."""
        row = {"key": key, "what": self.what, "count": self.count, "predicted_s": self.seconds}
        _append(
            store, {**row, "predicted_bytes": round(self.bytes), "workers": self.workers, "measured": self.measured}
        )


def affine(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """What a batch costs by itself, and each of its rows more, from (rows, cost) of a small one and a large one.

    Examples
    --------
    >>> affine([(4, 9.0), (16, 15.0)]), affine([(4, 9.0), (16, 8.0)])
    ((7.0, 0.5), (0.0, 0.5))
    """
    (few, low), (many, high) = points[0], points[-1]
    slope = (high - low) / (many - few) if many > few else 0.0
    own = low - slope * few
    return (own, slope) if slope > 0 and own > 0 else (0.0, high / many)


def spread_of(values: Sequence[float], count: int) -> float:
    """Standard error of the mean of some of `count` values, evenly spaced in an order, as a share of it: by their differences.

    Examples
    --------
    >>> spread_of([1.0, 1.0], 9), spread_of([1.0, 3.0], 2), round(spread_of([1.0, 3.0], 2000), 2)
    (0.0, 0.0, 0.5)
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2 or mean <= 0:
        return 0.0
    variance = float(np.mean(np.diff(values) ** 2)) / 2
    return math.sqrt(variance / n * max(0.0, 1 - n / count)) / mean


def key_of(**decides: Any) -> str:
    """What a prediction and the run that it is of have in common.

    Examples
    --------
    >>> key_of(study="a") == key_of(study="a"), key_of(study="a") == key_of(study="b")
    (True, False)
    """
    return content_hash(canonical_json(decides, name="prediction").encode())[:16]


def rows(store: Store) -> list[dict[str, Any]]:
    """Predictions and what happened, in the order in which they were written."""
    try:
        text = store.folder.read(FILE).decode("utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def happened(store: Store, key: str, *, count: int, seconds: float) -> str:
    """Write what became of a run that was predicted; a line on it, empty where it was not or where it did another part.

    Examples
    --------
    >>> store = Store("memory://happened-doc")
    >>> happened(store, "a", count=10, seconds=3.0)
    ''
    >>> Prediction("cells", 10, 2, 1.0, 0.4, 1, 500.0).keep(store, "a")
    >>> happened(store, "a", count=10, seconds=4.0), rows(store)[-1]["happened_s"]
    ('predicted 5 s, took 4 s (-20 %)', 4.0)
    """
    known = [row for row in rows(store) if row["key"] == key and row["count"] == count and "predicted_s" in row]
    if not known or not count:
        return ""
    predicted = known[-1]["predicted_s"]
    _append(store, {"key": key, "count": count, "happened_s": seconds, "ratio": seconds / predicted})
    return f"predicted {_time(predicted)}, took {_time(seconds)} ({(seconds / predicted - 1) * 100:+.0f} %)"


def _append(store: Store, row: dict[str, Any]) -> None:
    lines = [json.dumps(one) + "\n" for one in [*rows(store), row]]
    store.write_bytes(FILE, "".join(lines).encode())


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else _hours(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} hours" if seconds >= 360 else f"{seconds:.3g} s"


def _bytes(count: float) -> str:
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:.0f} bytes"
