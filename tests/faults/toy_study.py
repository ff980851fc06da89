"""How far do means of keyed draws stray from their expectation?

A small study with the whole life of a real one: options, cells, keyed randomness, a table and a drawing. The fault
tests run it as a user would, and damage what it leaves behind.
"""

import time

import numpy as np
import pandas as pd

from uqkd import run, seeds


class Options(run.Options):
    """Sizes of the toy study."""

    cells: int = 20
    draws: int = 1000
    pause_s: float = 0.0  # a stand-in for work, so that a signal has something to interrupt
    fail_at: int | None = None
    share_seed: bool = False


PRESETS = {"quick": Options(), "paper": Options(draws=10_000), "full": Options(cells=40, draws=10_000)}


def cells(options):
    common = options.model_dump(exclude={"cells", "fail_at"})
    return [{"cell": i, "fail": i == options.fail_at, **common} for i in range(options.cells)]


def measure(cell):
    time.sleep(cell["pause_s"])
    if cell["fail"]:
        raise ValueError("this cell was told to fail")
    name = 0 if cell["share_seed"] else cell["cell"]
    draws = seeds.generator("toy", name, cell["draws"]).normal(size=(cell["draws"], 4))
    gram = np.linalg.eigvalsh(draws.T @ draws)  # through BLAS and LAPACK, whose bits depend on their threads
    return pd.DataFrame({"cell": cell["cell"], "mean": draws.mean(axis=0), "eigenvalue": gram})


def plot(run, table):
    run.store.write_bytes("toy_study/table.csv", table.to_csv(index=False).encode())


def main(options, run):
    table = run.cells(cells(options), measure)
    plot(run, table)
