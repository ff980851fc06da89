"""Linear replicates, every response really drawn, against scikit-learn and against drawing the noise alone."""

from __future__ import annotations

import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.linear_model import LinearRegression
from threadpoolctl import threadpool_limits

from bench.measuring import Row, paired, seconds
from uqkd import seeds
from uqkd.estimators import Moments
from uqkd.linear import Design, Teacher, distill, weigh

ROWS, WIDTH, TEST = 404, 13, 102  # the published shape: 404 training rows, 13 columns with the intercept
REPLICATES, LOOPED = 12_800, 200


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
    return Moments.about(teacher.mean(X_test)).add(students.means(X_test))


def ours(replicates: int, *, threads: int = 1) -> Moments:
    """Replicates through the whole pipeline, chunk by chunk."""
    X, X_test, teacher = problem()
    design = Design.of(X)
    total = Moments.about(teacher.mean(X_test))
    if threads == 1:
        for chunk, size in seeds.chunks(replicates):
            total = total.merge(one_chunk(X, X_test, teacher, design, chunk, size))
        return total
    with ThreadPoolExecutor(threads) as pool:
        for part in pool.map(lambda c: one_chunk(X, X_test, teacher, design, *c), seeds.chunks(replicates)):
            total = total.merge(part)
    return total


def noise_alone(replicates: int, *, threads: int = 1) -> None:
    """The floor: the same normal numbers, into one buffer that is reused, and nothing else."""

    def draw(chunk: tuple[int, int]) -> None:
        index, size = chunk
        seeds.generator("bench", index).standard_normal(out=np.empty((size, ROWS)))

    if threads == 1:
        for chunk in seeds.chunks(replicates):
            draw(chunk)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw, seeds.chunks(replicates)))


def scikit_learn(replicates: int) -> None:
    """A loop of fits: draw the noisy responses, fit, predict the test rows."""
    X, X_test, teacher = problem()
    mean, noise_sd = teacher.mean(X), np.sqrt(teacher.noise_var)
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


def rows() -> list[Row]:
    """The linear part of the bench."""
    found = []
    with threadpool_limits(1):
        for threads in (1, 2):
            per = 1e6 / REPLICATES
            mine, loop, ratio = paired(lambda t=threads: ours(REPLICATES, threads=t), lambda: scikit_learn(LOOPED))
            ratio *= REPLICATES / LOOPED
            name = f"linear replicates {ROWS}×{WIDTH}, {threads} thread{'s' * (threads > 1)}"
            goal = "≥ 150×" if threads == 2 else "(one core)"
            us = f"{mine * per:.2f} µs", f"scikit-learn loop {loop / LOOPED * 1e6:.0f} µs"
            found.append(Row(name, *us, ratio, goal, ratio >= 150 or threads == 1))
            noise, mine, ratio = paired(
                lambda t=threads: noise_alone(REPLICATES, threads=t), lambda t=threads: ours(REPLICATES, threads=t)
            )
            us = f"{mine * per:.2f} µs", f"noise alone {noise * per:.2f} µs"
            found.append(Row("  the same", *us, ratio, "≤ 1.6×", ratio <= 1.6))
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
