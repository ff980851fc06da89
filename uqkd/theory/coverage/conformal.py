"""What conformal sets cover: marginally as promised, and class by class, where nothing is promised but by thresholds of its own."""

from __future__ import annotations

import numpy as np

from uqkd.estimators.forecasts.conformal import conformal_sets
from uqkd.seeds import generator
from uqkd.theory.coverage.calibration import Array, softmax

EXPERIMENTS = 10_000
LEVEL_OF_SETS = 0.9
FRESH = 200  # points predicted in each experiment
CLASSES = 5
SCORES = (("lac", False), ("aps", False), ("aps, random", False), ("lac", True))  # score, thresholds by class
POINTS = (50, 500)  # of the calibration part


def draw_points(points: int, draw: np.random.Generator) -> tuple[Array, Array, Array]:
    """Claimed probabilities, true ones and labels: a sharpened classifier that underrates the first class."""
    logits = draw.normal(size=(points, CLASSES))
    claimed, true = softmax(2.0 * logits - np.eye(CLASSES)[0]), softmax(logits)
    return claimed, true, (draw.random(points)[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)


def cell(score: str, points: int, *, per_class: bool, experiments: int) -> dict[str, object]:
    """One row: how often sets hold the true class of fresh points, by its true probability; and of the worst class."""
    held, mass, size = np.zeros((experiments, CLASSES)), np.zeros((experiments, CLASSES)), np.zeros(experiments)
    for k in range(experiments):
        draw = generator("coverage", "conformal", score, points, per_class, k, shared=True)
        claimed, _, labels = draw_points(points, draw)
        fresh, true, _ = draw_points(FRESH, draw)
        random = draw if score == "aps, random" else None
        found = conformal_sets(
            fresh, claimed, labels, level=LEVEL_OF_SETS, score=score[:3], per_class=per_class, generator=random
        )
        held[k], mass[k], size[k] = (found.sets * true).sum(axis=0), true.sum(axis=0), found.size
    return {
        "score": score,
        "thresholds": "by class" if per_class else "one",
        "calibration_points": points,
        "nominal": LEVEL_OF_SETS,
        "covered": float(held.sum() / mass.sum()),
        "experiments": experiments,
        "median_width": float(np.median(size)),
        "covered_worst_class": float((held.sum(axis=0) / mass.sum(axis=0)).min()),
    }


def rows(experiments: int | None = None) -> list[dict[str, object]]:
    """Every cell of the table; widths are classes in a set.

    Examples
    --------
    >>> [row["score"] for row in rows(1)][:3]
    ['lac', 'aps', 'aps, random']
    """
    return [
        cell(score, points, per_class=per_class, experiments=experiments or EXPERIMENTS)
        for points in POINTS
        for score, per_class in SCORES
    ]
