"""Linear replicates, every response really drawn, against scikit-learn and against drawing the noise alone."""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from bench.measuring import Row, paired, seconds
from uqkd import seeds
from uqkd.estimators import Moments
from uqkd.linear import Design, Teacher, distill, weigh

ROWS, WIDTH, TEST = 404, 13, 102  # the published shape: 404 training rows, 13 columns with the intercept
REPLICATES, LOOPED, WORKERS = 51_200, 200, 2


def problem() -> tuple[np.ndarray, np.ndarray, Teacher]:
    """Training and test design and a teacher of the published shape."""
    generator = seeds.generator("bench", "linear", shared=True)
    X = np.column_stack([np.ones(ROWS), generator.standard_normal((ROWS, WIDTH - 1))])
    X_test = np.column_stack([np.ones(TEST), generator.standard_normal((TEST, WIDTH - 1))])
    return X, X_test, Teacher(generator.standard_normal(WIDTH), 0.5)


def one_chunk(X: np.ndarray, X_test: np.ndarray, teacher: Teacher, design: Design, chunk: int, size: int) -> Moments:
    """What a study does with one chunk of replicates: respond, weigh, distil, predict, measure."""
    responses = teacher.respond(X, 1, students=size, key=("bench", chunk))
    students = distill(design, weigh(responses, "single"))
    return Moments.about(teacher.predict_mean(X_test)).add(students.predict_mean(X_test))


def ours(replicates: int, *, worker: int = 0, workers: int = 1) -> Moments:
    """AtLeastTwo through the whole pipeline, chunk by chunk; of several workers each takes every n-th chunk."""
    X, X_test, teacher = problem()
    design = Design.of(X)
    total = Moments.about(teacher.predict_mean(X_test))
    for chunk, size in seeds.chunks(replicates, values=ROWS):
        if chunk % workers == worker:
            total = total.merge(one_chunk(X, X_test, teacher, design, chunk, size))
    return total


def noise_alone(replicates: int, *, worker: int = 0, workers: int = 1) -> None:
    """The floor: the same normal numbers from the same keys, and nothing else."""
    for chunk, size in seeds.chunks(replicates, values=ROWS):
        if chunk % workers == worker:
            seeds.generator("bench", chunk).standard_normal(out=np.empty((size, ROWS)))


def one_thread() -> None:
    """What the runner does in its workers: one thread for linear algebra, since every core has a worker."""
    threadpool_limits(1)


def spread(work: Callable[..., Any], replicates: int, pool: ProcessPoolExecutor, workers: int) -> list[Any]:
    """The same work over worker processes, as the runner spreads cells."""
    futures = [pool.submit(work, replicates, worker=worker, workers=workers) for worker in range(workers)]
    return [future.result() for future in futures]


def scikit_learn(replicates: int) -> None:
    """A loop of fits: draw the noisy responses, fit, predict the test rows."""
    X, X_test, teacher = problem()
    mean, noise_sd = teacher.predict_mean(X), np.sqrt(teacher.noise_var)
    generator = seeds.generator("bench", "scikit-learn", shared=True)
    for _ in range(replicates):
        fitted = LinearRegression(fit_intercept=False).fit(X, mean + noise_sd * generator.standard_normal(ROWS))
        fitted.predict(X_test)


def published_table() -> float:
    """Seconds for the published table on diabetes: 15 noise levels × 1,000 replicates, by the study's own code."""
    from uqkd.run import load_study

    study = load_study("teacher_noise")
    cells = study.module.cells(study.module.Options(data=("diabetes",)))

    def table() -> None:
        for cell in cells:
            study.module.measure(cell)

    return seconds(table)


def peak_memory(replicates: int) -> float:
    """Peak resident MiB of a fresh process that runs so many replicates."""
    code = f"from bench import linear; linear.ours({replicates}); print(linear.resident())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(out.stdout)


def resident() -> float:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def replicate_rows() -> list[Row]:
    """One core, then the worker processes of this machine."""
    found, per, loop = [], 1e6 / REPLICATES, partial(scikit_learn, LOOPED)
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn"), initializer=one_thread) as pool:
        for workers in (1, WORKERS):
            many = workers > 1
            mine = partial(spread, ours, REPLICATES, pool, workers) if many else partial(ours, REPLICATES)
            noise = (
                partial(spread, noise_alone, REPLICATES, pool, workers) if many else partial(noise_alone, REPLICATES)
            )
            own, against, ratio = paired(mine, loop)
            ratio *= REPLICATES / LOOPED
            name = f"linear replicates {ROWS}×{WIDTH}, {workers} worker{'s' * many}"
            us = f"{own * per:.2f} µs", f"scikit-learn loop {against / LOOPED * 1e6:.0f} µs"
            found.append(Row(name, *us, ratio, "≥ 150×" if many else "(one core)", ratio >= 150 or not many))
            floor, own, ratio = paired(noise, mine)
            us = f"{own * per:.2f} µs", f"noise alone {floor * per:.2f} µs"
            found.append(Row("  the same", *us, ratio, "≤ 1.6×", ratio <= 1.6))
    return found


def rows() -> list[Row]:
    """The linear part of the bench."""
    with threadpool_limits(1):
        found = replicate_rows()
        table = published_table()
        found.append(Row("published table, 15 levels × 1,000", f"{table:.3f} s", "", table, "< 0.5 s", table < 0.5))
        short, long = seconds(lambda: ours(REPLICATES)), seconds(lambda: ours(10 * REPLICATES), rounds=3)
        growth = long / short
        times = f"{long:.3f} s", f"{short:.3f} s"
        found.append(Row("time, ten times the replicates", *times, growth, "≤ 11×", growth <= 11))
    small, large = peak_memory(REPLICATES), peak_memory(10 * REPLICATES)
    memory = f"{large:.1f} MiB", f"{small:.1f} MiB"
    found.append(Row("memory, ten times the replicates", *memory, large / small, "≤ 1.02×", large / small <= 1.02))
    return found
