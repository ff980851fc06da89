"""Two methods compared (`compare`): `covered` is how often the interval of a difference holds the true one, `rejected` how often
zero is outside of it. Where nothing differs (effect 0) the two are one less the other, and `rejected` is the size of the test: 5
% is promised.

Effects of a method: "students" are students who differ alike at all prompts, "cells" at each prompt for itself, "mixed" half of
both; in all, prompts suit either method a little more. Variables of the two methods' students correlate by `correlation`: their
seeds are one. The unpaired test sees students of other seeds. "unequal": the variance between students of the second method is
twice that of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from uqkd import seeds
from uqkd.checking.arrays import Array
from uqkd.estimators import LEVEL, compare

EXPERIMENTS = 10_000  # 5 % has a standard error of .22 points
BY = ("measure", "data", "effects", "paired", "S")  # how the page gathers the cells
STUDENTS, PROMPTS, RESPONSES, CLASSES = (3, 5, 10, 30), (5, 20, 100), 4, 3
EFFECTS = {"students": 1.0, "cells": 0.0, "mixed": 0.5}
CORRELATION = 0.7
DIFFERENCES = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.1)  # in standard deviations of a student's score
PROMPT_BY_METHOD = 0.05  # variance of what a prompt does to one method, beside 1 of the students
_SPAN = np.sqrt(5.0 / 3.0)  # standard deviation of t with five degrees of freedom


@dataclass(frozen=True)
class Cell:
    """One set of experiments.

    Attributes
    ----------
    measure, data, effects : str
    paired : bool
    S, P : int
    correlation, effect : float
        Of the two methods' students; true difference, first less second.
    """

    measure: str
    data: str
    effects: str
    paired: bool
    S: int
    P: int
    correlation: float
    effect: float


def cells() -> Iterator[Cell]:
    """All cells: sizes of scores, sizes of other measures, powers."""
    for students in STUDENTS:
        for prompts in PROMPTS:
            size: dict[str, Any] = {"S": students, "P": prompts, "correlation": CORRELATION, "effect": 0.0}
            for effects in EFFECTS:
                for measure, data in (("score", "normal"), ("score", "t5"), ("accuracy", "binary")):
                    yield Cell(measure, data, effects, paired=True, **size)
                yield Cell("score", "normal", effects, paired=False, **size)
                yield Cell("inter", "normal", effects, paired=True, **size)
            yield Cell("intra", "normal", "mixed", paired=True, **size)
            for effects in ("mixed", "students"):
                yield Cell("inter", "unequal", effects, paired=True, **size)
            for measure in ("accuracy", "ece"):
                for data in ("calibrated", "overconfident"):
                    yield Cell(measure, data, "mixed", paired=True, **size)
    for students in (5, 10, 30):
        for effect in DIFFERENCES:
            for paired in (True, False):
                size = {"S": students, "P": 100, "correlation": CORRELATION, "effect": effect}
                yield Cell("score", "normal", "students", paired=paired, **size)


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """One row for each cell.

    Examples
    --------
    >>> rows(2)[0]["measure"], sorted(set(rows(2)[0]) - set(Cell.__dataclass_fields__))
    ('score', ['covered', 'experiments', 'median_width', 'nominal', 'rejected'])
    """
    return [simulated(cell, experiments or EXPERIMENTS) for cell in cells()]


def simulated(cell: Cell, experiments: int, judge: Callable[..., Any] = compare) -> dict[str, object]:
    """How often a test covers the truth and rejects zero in one cell.

    Parameters
    ----------
    cell : Cell
    experiments : int
    judge : callable
        `compare`, or a wrong version of it.
    """
    generator = seeds.generator("coverage", "comparing", *(str(value) for value in asdict(cell).values()))
    truth = true_difference(cell)
    found = []
    for _ in range(experiments):
        first, second, options = drawn(cell, generator)
        one = judge(first, second, measure=cell.measure, paired=cell.paired, **options)
        found.append((one.low, one.high, one.p_value))
    low, high, p_value = np.array(found).T
    with np.errstate(invalid="ignore"):
        covered = (low <= truth) & (truth <= high) | np.isnan(low)
    return {
        **asdict(cell), "nominal": LEVEL, "covered": float(covered.mean()), "experiments": experiments,
        "median_width": float(np.nanmedian(high - low)) if np.isfinite(high - low).any() else np.nan,
        "rejected": float((p_value < 1.0 - LEVEL).mean()),
    }  # fmt: skip


def true_difference(cell: Cell) -> float:
    """First less second."""
    return -1.0 if cell.data == "unequal" else cell.effect


def drawn(cell: Cell, generator: np.random.Generator) -> tuple[Any, Any, dict[str, Any]]:
    """Data of both methods, and what the measure needs."""
    if cell.data in ("calibrated", "overconfident"):
        return _classified(cell, generator)
    first, second = _scores(cell, generator)
    if cell.data == "binary":
        return (first > -0.5) * 1, (second > -0.5) * 1, {"labels": np.ones(cell.P, dtype=int)}
    if cell.measure == "score":
        return first + cell.effect, second, {}
    if cell.data == "unequal":
        second = np.sqrt(2.0) * second
    noise = generator.standard_normal((2, cell.S, cell.P, RESPONSES))
    return first[..., None] + noise[0], second[..., None] + noise[1], {}


def _scores(cell: Cell, generator: np.random.Generator) -> tuple[Array, Array]:
    """(S, P) scores of both methods, of variance 1 between students; what a prompt does to either is beside it."""
    common = EFFECTS[cell.effects]
    shared = cell.correlation if cell.paired else 0.0

    def pair(shape: tuple[int, int]) -> Array:
        both, own = _effects(cell, generator, (1, *shape)), _effects(cell, generator, (2, *shape))
        return np.sqrt(shared) * both + np.sqrt(1.0 - shared) * own

    found = np.sqrt(common) * pair((cell.S, 1)) + np.sqrt(1.0 - common) * pair((cell.S, cell.P))
    if cell.measure in ("score", "accuracy"):
        found = found + np.sqrt(PROMPT_BY_METHOD) * _effects(cell, generator, (2, 1, cell.P))
        found = found + 2.0 * generator.standard_normal((1, 1, cell.P))  # prompts differ, for both methods alike
    return found[0], found[1]


def _effects(cell: Cell, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    if cell.data == "t5":
        return np.asarray(generator.standard_t(5, shape) / _SPAN)
    return np.asarray(generator.standard_normal(shape))


def _classified(cell: Cell, generator: np.random.Generator) -> tuple[Array, Array, dict[str, Any]]:
    """Students who see the true logits through noise, in part one for both methods; overconfident ones sharpen what they see."""
    truth = 1.5 * generator.standard_normal((cell.P, CLASSES))
    chances = _softmax(truth)
    labels = (generator.random((cell.P, 1)) > np.cumsum(chances, axis=-1)).sum(axis=-1)
    shared, own = (generator.standard_normal((n, cell.S, cell.P, CLASSES)) for n in (1, 2))
    noise = np.sqrt(cell.correlation) * shared + np.sqrt(1.0 - cell.correlation) * own
    seen = truth + 0.5 * noise + 0.3 * generator.standard_normal((2, cell.S, 1, CLASSES))
    probs = _softmax(2.0 * seen if cell.data == "overconfident" else seen)
    return probs[0], probs[1], {"labels": np.minimum(labels, CLASSES - 1)}


def _softmax(logits: Array) -> Array:
    found = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(found / found.sum(axis=-1, keepdims=True))
