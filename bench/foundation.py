"""Seeds, the store and the import."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from bench.measuring import Row, seconds
from uqkd import seeds
from uqkd.store import Inputs, Store

KEYS = 50_000
COMMITS = 300


def keyed_seeds() -> list[Row]:
    """Cost of a key, as an integer and as a generator."""
    rows = []
    for name, make in (("seed63", seeds.seed63), ("generator", seeds.generator)):
        count = KEYS if name == "seed63" else KEYS // 5

        def work(make=make, count=count) -> None:
            for i in range(count):
                make("bench", "study", "teacher", i, 3)

        us = seconds(work, rounds=3) / count * 1e6
        rows.append(Row(f"seeds.{name}", f"{us:.1f} µs", "", us, "≤ 15 µs", us <= 15))
    return rows


def commits() -> Row:
    """99th percentile of committing a unit of 200 kB: written, synced, renamed."""
    table = pd.DataFrame(
        {"x": seeds.generator("bench", "store", shared=True).random(25_000)}
    )  # 200 kB that do not compress
    times = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        for i in range(COMMITS):
            start = time.perf_counter()
            store.commit(Inputs("bench", {"i": i}, method="bench"), table, check_twins=False)
            times.append(1e3 * (time.perf_counter() - start))
    p99 = float(np.quantile(times, 0.99))
    return Row(
        "commit of 200 kB, p99", f"{p99:.2f} ms", f"median {statistics.median(times):.2f} ms", p99, "≤ 5 ms", p99 <= 5
    )


def importing() -> Row:
    """`import uqkd` in a fresh process, less the bare interpreter."""
    bare = seconds(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    full = seconds(lambda: subprocess.run([sys.executable, "-c", "import uqkd"], check=True))
    cost = full - bare
    return Row("import uqkd", f"{full:.3f} s", f"bare Python {bare:.3f} s", cost, "< 0.3 s", full < 0.3)


def rows() -> list[Row]:
    """The foundation's part of the bench."""
    return [*keyed_seeds(), commits(), importing()]
