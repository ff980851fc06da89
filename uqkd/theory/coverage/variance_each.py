"""Variances of each prompt: between students, within them, and their sum, by `variance_interval`.

Students' effects are normal, t with five degrees of freedom, exponential or lognormal, of variance 1, as much as within; or
"unequal": normal, with a variance within that differs between students, gamma with one degree of freedom (mean 1); or "beta": 0/1
answers of students whose chance is Beta(.1, .1). `covered` is of the interval that stretches for such data and `chosen` of the
default, which does so where all prompts together show them; `normal_theory` is of the modified large sample interval, chi-square
for the variance within. Means over prompts have a table of their own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators import LEVEL, variance_interval
from uqkd.seeds import generator

Array = NDArray[np.float64]

BY = ("quantity", "data", "S")
STUDENTS, RESPONSES = (3, 5, 10, 30), (2, 8)
DATA = ("normal", "t5", "exponential", "lognormal", "unequal", "beta")
EXPERIMENTS = 10_000  # a cell: prompts, each with students of its own


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """Cells of the table.

    Examples
    --------
    >>> [row["covered"] > 0.9 for row in rows(200)[:3]]
    [True, True, True]
    """
    return [
        row
        for data in DATA
        for students in STUDENTS
        for responses in RESPONSES
        for row in cells(data, students, responses, experiments=experiments or EXPERIMENTS)
    ]


def draws_of(data: str, students: int, responses: int, *, experiments: int) -> tuple[Array, float, float]:
    """Draws (S, E, R), and the variances between and within that they have.

    Examples
    --------
    >>> draws, inter, intra = draws_of("unequal", 3, 2, experiments=5)
    >>> draws.shape, inter, intra
    ((3, 5, 2), 1.0, 1.0)
    """
    rng, shape = generator("coverage", "variance_each", data, students, responses), (students, experiments, 1)
    noise = rng.standard_normal((students, experiments, responses))
    if data == "beta":
        chance = rng.beta(0.1, 0.1, shape)
        return (rng.random(noise.shape) < chance).astype(np.float64), 0.25 / 1.2, 0.25 - 0.25 / 1.2
    if data == "unequal":
        return rng.standard_normal(shape) + np.sqrt(rng.gamma(0.5, 2.0, shape)) * noise, 1.0, 1.0
    effects = {
        "normal": lambda: rng.standard_normal(shape),
        "t5": lambda: rng.standard_t(5, shape) * np.sqrt(3.0 / 5.0),
        "exponential": lambda: rng.standard_exponential(shape) - 1.0,
        "lognormal": lambda: (rng.lognormal(size=shape) - np.exp(0.5)) / np.sqrt((np.e - 1.0) * np.e),
    }[data]()
    return effects + noise, 1.0, 1.0


def cells(data: str, students: int, responses: int, *, experiments: int) -> list[dict[str, object]]:
    """The three quantities of one kind of data and size."""
    draws, inter, intra = draws_of(data, students, responses, experiments=experiments)
    found = []
    for quantity, truth in (("inter", inter), ("intra", intra), ("total", inter + intra)):
        stretched, chosen, normal = (
            variance_interval(draws, component=quantity, method=method) for method in ("stretched", None, "mls")
        )
        covered = [float(np.mean(interval.covers(truth))) for interval in (stretched, chosen, normal)]
        widths = [float(np.median(interval.high - interval.low)) for interval in (stretched, normal)]
        found.append({
            "quantity": quantity, "data": data, "S": students, "R": responses,
            "nominal": LEVEL, "covered": covered[0], "experiments": experiments, "median_width": widths[0],
            "chosen": covered[1], "normal_theory": covered[2], "normal_width": widths[1],
        })  # fmt: skip
    return found
