"""What intervals of calibration errors cover: points drawn from finite populations, whose error is known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators.calibration.binned import bin_of
from uqkd.estimators.calibration.uncertainty.binned_error import unbiased_square
from uqkd.estimators.calibration.uncertainty.binned_gaps import binned_gaps
from uqkd.estimators.calibration.uncertainty.classwise import classwise_form
from uqkd.estimators.calibration.uncertainty.kernel import kernel_form
from uqkd.estimators.calibration.uncertainty.limits import NORMS, debiased_error, error_limits
from uqkd.estimators.intervals.level import LEVEL
from uqkd.seeds import generator

Array = NDArray[np.float64]

ROWS = 20_000  # of a population
BINS, BANDWIDTH = 15, 0.1  # the estimators' own
SCALE = {2: 1.5, 100: 4.0}  # of normal logits, by classes: confidences spread over what is possible
POINTS = (200, 2_000)
ERRORS = (0.0, 0.05)
SHAPES = ("over", "under", "wave", "fifth")  # of miscalibration: which confidences are wrong, and in which direction
EXPERIMENTS = {"ece": 10_000, "rms": 10_000, "kernel": 2_000, "classwise": 2_000}  # the last two take matrices of each
LARGEST = ("classwise", 2_000, 100)  # a cell whose experiments take half a second: a tenth of them
SHAPES_OF = {"ece": SHAPES, "rms": SHAPES, "kernel": ("over", "under", "fifth"), "classwise": ("over", "under")}
VALUES = 2**21  # numbers of a chunk of experiments, 16 MiB


@dataclass(frozen=True)
class Population:
    """Claimed and true class probabilities of `ROWS` rows, and for the predicted class."""

    probs: Array
    true_probs: Array
    confidence: Array
    right: Array


@cache
def logits(classes: int) -> Array:
    """Logits of the rows of every population with as many classes."""
    drawn = generator("coverage", "calibration", classes, shared=True).normal(size=(ROWS, classes))
    return np.asarray(SCALE[classes] * drawn)


def softmax(values: Array) -> Array:
    """Class probabilities of logits (P, C)."""
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def population(classes: int, shape: str, strength: float, *, every: int = 1) -> Population:
    """Rows whose claimed probabilities are wrong by as much.

    Parameters
    ----------
    classes : int
    shape : {"over", "under", "wave", "fifth"}
        True logits that are smaller or larger by the share `strength`; an accuracy that is above and below confidence in turn, by
        `strength`; one that is below it by `strength` for the most confident fifth alone.
    strength : float
        In [0, 1); 0 is calibrated.
    every : int
        Take every so manyth row.
    """
    scores = logits(classes)[::every]
    probs = softmax(scores)
    confidence, chosen = probs.max(axis=1), probs.argmax(axis=1)
    if shape in ("over", "under"):
        true_probs = softmax(scores * (1.0 + (strength if shape == "under" else -strength)))
        return Population(probs, true_probs, confidence, true_probs[np.arange(len(scores)), chosen])
    if shape == "wave":
        shift = strength * np.sign(np.sin(40.0 * confidence))
    else:
        shift = -strength * (confidence >= np.quantile(confidence, 0.8))
    return Population(probs, probs, confidence, np.clip(confidence + shift, 0.0, 1.0))


def true_error(rows: Population, measure: str) -> float:
    """The estimand of a measure over the population, from the true probabilities; it shares `bin_of` with the estimators."""
    if measure == "kernel":
        cell = np.minimum((rows.confidence * 1_000).astype(int), 999)  # a thousandth is a hundredth of the bandwidth
        count, summed = np.bincount(cell, minlength=1_000), np.bincount(cell, rows.confidence - rows.right, 1_000)
        near = np.exp(-(((np.arange(1_000)[:, None] - np.arange(1_000)) / 1_000 / BANDWIDTH) ** 2) / 2.0)
        return float(np.sqrt((summed @ near @ summed) / (count @ near @ count)))
    if measure == "classwise":
        gap, values = (rows.probs - rows.true_probs).T, rows.probs.T
    else:
        gap, values = (rows.confidence - rows.right)[None], rows.confidence[None]
    index = bin_of(values, bins=BINS, binning="equal_width")
    total = 0.0
    for held, apart in zip(index, gap, strict=True):
        points, away = np.bincount(held, minlength=BINS), np.bincount(held, apart, BINS)
        total += np.abs(away).sum() if measure == "ece" else (away**2 / np.maximum(points, 1)).sum()
    size = len(rows.confidence)
    return float(total / size if measure == "ece" else np.sqrt(total / size / len(index)))


def with_error(classes: int, shape: str, measure: str, error: float) -> Population:
    """The population of a shape whose error is near `error`: its strength by bisection over every eighth row."""
    low, high = 0.0, 0.95
    for _ in range(12 if error else 0):
        middle = (low + high) / 2.0
        if true_error(population(classes, shape, middle, every=8), measure) < error:
            low = middle
        else:
            high = middle
    return population(classes, shape, low if error else 0.0)


Found = tuple[Array, Array, Array, Array]  # plug-in, debiased, low, high of each experiment


def binned(confidence: Array, correct: Array, norm: str) -> Found:
    """Binned errors of (experiments, points) confidences and whether they were right."""
    index = bin_of(confidence, bins=BINS, binning="equal_width") + np.arange(len(confidence))[:, None] * BINS
    weights = (np.ones_like(confidence), confidence, confidence**2, correct)
    cells = len(confidence) * BINS
    sums = [np.asarray(np.bincount(index.ravel(), w.ravel(), cells), dtype=float).reshape(-1, BINS) for w in weights]
    gaps = binned_gaps(*sums)
    debiased = debiased_error(gaps) if norm == "l1" else np.sqrt(np.maximum(unbiased_square(gaps), 0.0))
    return gaps.plug_in(NORMS[norm]) ** (1.0 / NORMS[norm]), debiased, *error_limits(gaps, norm=norm, level=LEVEL)


def smooth(confidence: Array, correct: Array) -> Found:
    """Kernel errors of (experiments, points)."""
    form = kernel_form(confidence, correct, BANDWIDTH)
    debiased = np.sqrt(np.maximum(form.unbiased_square(confidence.shape[1]), 0.0))
    return np.sqrt(form.square), debiased, *form.limits(LEVEL)


def classwise(probs: Array, true_probs: Array, chance: Array) -> Found:
    """Classwise errors of (experiments, points, classes), labels drawn where `chance` (experiments, points) falls."""
    found = []
    for claimed, true, uniform in zip(probs, true_probs, chance, strict=True):
        labels = (uniform[:, None] > np.cumsum(true, axis=1)[:, :-1]).sum(axis=1)
        form = classwise_form(claimed, labels, bins=BINS, binning="equal_width")
        square = max(float(form.unbiased_square(len(labels))), 0.0)
        found.append([np.sqrt(form.square), np.sqrt(square), *form.limits(LEVEL)])
    plug_in, debiased, low, high = np.array(found).T
    return plug_in, debiased, low, high


def experiment(rows: Population, measure: str, points: int, *, size: int, draw: np.random.Generator) -> Found:
    """`size` samples of as many points from a population, measured."""
    picked, chance = draw.integers(ROWS, size=(size, points)), draw.random((size, points))
    if measure == "classwise":
        return classwise(rows.probs[picked], rows.true_probs[picked], chance)
    confidence, correct = rows.confidence[picked], (chance < rows.right[picked]).astype(float)
    if measure == "kernel":
        return smooth(confidence, correct)
    return binned(confidence, correct, "l1" if measure == "ece" else "l2")


def cell(measure: str, points: int, classes: int, *, shape: str, error: float, experiments: int) -> dict[str, object]:
    """One row: how often the interval holds the population's error."""
    rows = with_error(classes, shape, measure, error)
    truth = true_error(rows, measure) if error else 0.0
    wide = {"ece": 4, "rms": 4, "kernel": 40, "classwise": 3 * classes}[measure]
    step = max(1, VALUES // (wide * points))
    found: list[Found] = []
    for start in range(0, experiments, step):
        size = min(step, experiments - start)
        draw = generator("coverage", "calibration", measure, points, classes, shape, error, start, shared=True)
        found.append(experiment(rows, measure, points, size=size, draw=draw))
    plug_in, debiased, low, high = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return {
        "measure": measure,
        "points": points,
        "classes": classes,
        "shape": shape if error else "calibrated",
        "true_error": truth,
        "nominal": LEVEL,
        "covered": float(((low <= truth) & (truth <= high)).mean()),
        "experiments": experiments,
        "median_width": float(np.median(high - low)),
        "above": float((low > truth).mean()),
        "below": float((high < truth).mean()),
        "plug_in_mean": float(plug_in.mean()),
        "debiased_mean": float(debiased.mean()),
    }


def cells() -> Iterator[tuple[str, int, int, str, float]]:
    """Measure, points, classes, shape and error of every row; a classwise error of .05 is more than 100 classes can have."""
    for measure, shapes in SHAPES_OF.items():
        for points in POINTS:
            for classes in SCALE:
                for error in ERRORS:
                    size = 0.005 if measure == "classwise" and classes == 100 and error else error
                    for shape in shapes if error else shapes[:1]:
                        yield measure, points, classes, shape, size


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """Every cell of the table; with as many experiments in each, or those of `EXPERIMENTS`.

    Examples
    --------
    >>> sorted({measure for measure, *_ in cells()})
    ['classwise', 'ece', 'kernel', 'rms']
    """
    found = []
    for measure, points, classes, shape, error in cells():
        usual = EXPERIMENTS[measure] // (10 if (measure, points, classes) == LARGEST else 1)
        found.append(cell(measure, points, classes, shape=shape, error=error, experiments=experiments or usual))
    return found
