"""Coverage and bias of distances from raters: intervals of `distance_to_raters` over texts, few raters to many."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators.answers.raters import RaterDistance, distance_to_raters, entropy_bias
from uqkd.estimators.intervals.half_widths import half_width
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.variance.categorical import kl_divergence

Array = NDArray[np.float64]

EXPERIMENTS = 10_000
RATERS, CLASSES, TEXTS = (5, 20, 99), (2, 5), (20, 100)
POPULATION = 2_000  # texts that are drawn from, with replacement, so that the truth is a finite mean
SHARPER = 1.5  # power by which the classifier is surer than the raters
FLOOR = 0.02  # and the mass that it spreads over all classes
ROWS = 100_000  # texts of experiments that are computed at a time
ESTIMATES = ("kl", "kl_plugin", "squared", "squared_plugin", "difference of kl")


def population(classes: int) -> tuple[Array, Array, Array]:
    """Distributions of raters (from divided to nearly sure), of a classifier that is too sure, and of one that spreads evenly."""
    rng = seeds.generator("coverage", "ratings", "population", classes, shared=True)
    raters = rng.dirichlet(np.full(classes, 0.7), size=POPULATION)
    sharp = raters**SHARPER
    asked = (1 - FLOOR) * sharp / sharp.sum(axis=1, keepdims=True) + FLOOR / classes
    return raters, asked, np.full(raters.shape, 1.0 / classes)


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """One row for each number of raters, of classes and of texts, and each estimate.

    Parameters
    ----------
    experiments : int, optional
        10,000 if not given.

    Returns
    -------
    list of dict
        raters, classes, texts, estimate; nominal, covered, experiments, median_width; truth, bias and its
        standard_error, and the bias that theory expects (NaN: none is stated).

    Examples
    --------
    >>> found = rows(40)
    >>> len(found), sorted(found[0])[:3]
    (60, ['bias', 'classes', 'covered'])
    """
    count = EXPERIMENTS if experiments is None else experiments
    cells = product(RATERS, CLASSES, TEXTS)
    return [row for raters, classes, texts in cells for row in cell(raters, classes, texts, experiments=count)]


def cell(raters: int, classes: int, texts: int, *, experiments: int) -> list[dict[str, object]]:
    """The rows of one cell: intervals of Student's t over texts."""
    p, asked, even = population(classes)
    means, errors = simulated((p, asked, even), (raters, texts), experiments=experiments)
    reach = half_width(errors, texts)
    kl, against = float(kl_divergence(p, asked).mean()), float(kl_divergence(p, even).mean())
    square = float(((p - asked) ** 2).sum(axis=1).mean())
    truths = {"kl": kl, "kl_plugin": kl, "squared": square, "squared_plugin": square, "difference of kl": kl - against}
    left = {
        "kl": float(entropy_bias(p, raters).mean()),
        "squared_plugin": float((1 - (p**2).sum(axis=1)).mean()) / raters,
    }
    left |= {"squared": 0.0, "difference of kl": 0.0}
    found: list[dict[str, object]] = []
    for name, mean, half in zip(ESTIMATES, means.T, reach.T, strict=True):
        off = mean - truths[name]
        found.append(
            {
                "raters": raters, "classes": classes, "texts": texts, "estimate": name, "nominal": LEVEL,
                "covered": float((np.abs(off) <= half).mean()), "experiments": experiments,
                "median_width": float(np.median(2 * half)), "truth": truths[name], "bias": float(off.mean()),
                "expected_bias": left.get(name, np.nan),
                "standard_error": float(off.std(ddof=1) / np.sqrt(experiments)),
            }
        )  # fmt: skip
    return found


def simulated(
    distributions: tuple[Array, Array, Array], size: tuple[int, int], *, experiments: int
) -> tuple[Array, Array]:
    """Means over texts and their standard errors, (experiments, estimates) each."""
    (p, asked, even), (raters, texts) = distributions, size
    at_once = max(1, ROWS // texts)
    means, errors = [], []
    for chunk, first in enumerate(range(0, experiments, at_once)):
        some = min(at_once, experiments - first)
        rng = seeds.generator("coverage", "ratings", raters, p.shape[1], texts, chunk, shared=True)
        drawn = rng.integers(len(p), size=some * texts)
        counts = rng.multinomial(raters, p[drawn])
        values = estimates(distance_to_raters(asked[drawn], counts), distance_to_raters(even[drawn], counts))
        table = values.reshape(len(ESTIMATES), some, texts)
        means.append(table.mean(axis=2).T)
        errors.append(table.std(axis=2, ddof=1).T / np.sqrt(texts))
    return np.concatenate(means), np.concatenate(errors)


def estimates(found: RaterDistance, other: RaterDistance) -> Array:
    """The values of `ESTIMATES` at each text, (estimates, P)."""
    return np.stack([found.kl, found.kl_plugin, found.squared, found.squared_plugin, found.kl - other.kl])
