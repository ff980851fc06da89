"""Intervals where responses are missing: `decompose_unbalanced(...).mean.interval`, `reml_components`, and AUROCs of answers.

Students × prompts × 4 responses, each of them missing with the chance that is given, whatever it is. Effects of students are common
to all prompts, or of their own for each, or half of both; prompts are random. Total and inter of REML are sums of its components.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import UnidentifiedWarning
from uqkd.estimators import LEVEL, auroc_values, decompose_unbalanced, reml_components
from uqkd.estimators.comparing.claims import two_way_interval

BY = ("method", "quantity", "effects", "data")
EXPERIMENTS = 10_000
REML_SHARE = 20  # of so many experiments one is fitted by REML, which takes a hundred times as long
RESPONSES = 4
COMMON = {
    "common": 1.0,
    "own": 0.0,
    "mixed": 0.5,
}  # share of the variance between students that is common to all prompts
COMPONENTS = ("inter", "intra", "total")
TRUTH = {"inter": 1.0, "intra": 1.0, "total": 2.0}
Array = NDArray[np.float64]


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """Coverage of every cell; `experiments` a cell, `EXPERIMENTS` if not given.

    Examples
    --------
    >>> found = rows(2)
    >>> sorted({row["method"] for row in found})
    ['auroc', 'decompose_unbalanced', 'reml_components']
    """
    count = EXPERIMENTS if experiments is None else experiments
    return [*_decomposed(count), *_reml(max(count // REML_SHARE, 2)), *_auroc(count)]


def draws_of(
    key: tuple[Any, ...], size: int, shape: tuple[int, int], *, effects: str, data: str, missing: float
) -> Array:
    """(size, S, P, R) with NaN for what is missing; variances 1 between and 1 within."""
    generator, common = seeds.generator("coverage", "unbalanced", *key), COMMON[effects]

    def effect(*of: int) -> Array:
        if data == "t5":
            return generator.standard_t(5, of) * np.sqrt(3 / 5)
        return generator.standard_normal(of)

    between = np.sqrt(common) * effect(size, shape[0], 1, 1) + np.sqrt(1.0 - common) * effect(size, *shape, 1)
    values = between + generator.standard_normal((size, 1, shape[1], 1)) + effect(size, *shape, RESPONSES)
    return np.where(generator.random(values.shape) < missing, np.nan, values)


def _cells() -> Iterator[dict[str, Any]]:
    for data in ("normal", "t5"):
        for effects in COMMON:
            for students in (3, 5, 10):
                for prompts in (5, 20):
                    yield {"S": students, "P": prompts, "missing": 0.4, "effects": effects, "data": data}


def _decomposed(size: int) -> list[dict[str, object]]:
    found = []
    for cell in _cells():
        key = tuple(cell.values())
        shown = {name: cell[name] for name in ("effects", "data", "missing")}
        limits = np.empty((3, size, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnidentifiedWarning)
            for i, draws in enumerate(draws_of(key, size, (cell["S"], cell["P"]), **shown)):
                mean = decompose_unbalanced(draws).mean
                for j, component in enumerate(COMPONENTS):
                    interval = mean.interval(component)
                    limits[j, i] = interval.low, interval.high
        found += [
            _row("decompose_unbalanced", component, cell, limits[j], TRUTH[component])
            for j, component in enumerate(COMPONENTS)
        ]
    return found


def _reml(size: int) -> list[dict[str, object]]:
    """Students and students × prompts as random effects, prompts fixed."""
    found = []
    names = ("student", "student:prompt", "residual")
    for cell in _cells():
        if (cell["effects"], cell["missing"], cell["P"], cell["data"]) != ("mixed", 0.4, 5, "normal"):
            continue
        limits = np.empty((3, size, 2))
        draws = draws_of(("reml", cell["S"]), size, (cell["S"], cell["P"]), effects="mixed", data="normal", missing=0.4)
        for i, one in enumerate(draws):
            s, p, r = np.nonzero(~np.isnan(one))
            parts = reml_components({"student": s, "prompt": p, "value": one[s, p, r]}, names[:2], fixed=["prompt"])
            limits[:, i] = np.stack([parts.low, parts.high], axis=1)
        for j, truth in enumerate((0.5, 0.5, 1.0)):
            found.append(_row("reml_components", names[j], cell, limits[j], truth))
    return found


def _auroc(size: int) -> list[dict[str, object]]:
    """Scores and answers that go together by prompt: an answer is right where ease + noise > 0, its score ease + other noise."""
    found, truth = [], 0.5 + 2.0 / np.pi * np.arcsin(0.5 / np.sqrt(2.0))  # an orthant of normal numbers correlated by ½
    for students in (3, 10):
        for prompts in (20, 100):
            cell = {"S": students, "P": prompts, "missing": 0.0, "effects": "mixed", "data": "normal"}
            limits = np.empty((size, 2))
            for i in range(size):
                values = auroc_values(*_ranked(("auroc", students, prompts, i), students, prompts, RESPONSES))
                interval = two_way_interval(values)
                limits[i] = interval.low, interval.high
            found.append(_row("auroc", "auroc", cell, limits, truth))
    return found


def _ranked(key: tuple[Any, ...], students: int, prompts: int, responses: int) -> tuple[Array, NDArray[np.bool_]]:
    generator = seeds.generator("coverage", "unbalanced", *key)
    hard = generator.standard_normal((1, prompts, 1))
    scores = hard + generator.standard_normal((students, prompts, responses))
    return scores, hard + generator.standard_normal(scores.shape) > 0


def _row(method: str, quantity: str, cell: dict[str, Any], limits: Array, truth: float) -> dict[str, object]:
    low, high = limits.T
    known = ~np.isnan(low) & ~np.isnan(high)
    inside = (low <= truth) & (truth <= high)
    return {
        "method": method, "quantity": quantity, "S": cell["S"], "P": cell["P"], "R": RESPONSES, "missing": cell["missing"],
        "effects": cell["effects"], "data": cell["data"], "nominal": LEVEL, "covered": float(inside[known].mean()),
        "experiments": int(known.sum()), "median_width": float(np.median(high[known] - low[known])),
        "too_low": float((high[known] < truth).mean()), "too_high": float((low[known] > truth).mean()), "truth": truth,
    }  # fmt: skip
