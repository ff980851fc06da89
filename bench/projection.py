"""Exact projections of 150 class probabilities, against SciPy's SLSQP row by row."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize

from bench.measuring import Row, seconds
from uqkd import seeds
from uqkd.classify.projections.label_first import project_label_first
from uqkd.classify.projections.projection import project_groups

ROWS, CLASSES, LOOPED = 20_000, 150, 3  # CLINC150's classes; SLSQP needs seconds a row
NEAR, WRONG = 0.04, 0.5  # parts of the classes near the label and known wrong


def problem() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Peaked probabilities, groups whose bounds bind in most rows, and an entropy that binds in all."""
    generator = seeds.generator("bench", "projection", shared=True)
    logits = 3.0 * generator.standard_normal((ROWS, CLASSES))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    near = generator.random((ROWS, CLASSES)) < NEAR
    near[np.arange(ROWS), generator.integers(CLASSES, size=ROWS)] = True
    wrong = (generator.random((ROWS, CLASSES)) < WRONG) & ~near
    bounds = {"near_min": np.maximum((p * near).sum(axis=1), 0.3), "wrong_max": 0.7 * (p * wrong).sum(axis=1)}
    return p, {
        "near": near,
        "wrong": wrong,
        **bounds,
        "entropy_min": entropies(project_groups(p, near, wrong, **bounds)) + 0.5,
    }


def entropies(q: np.ndarray) -> np.ndarray:
    """Shannon entropies of rows, in nats."""
    return -(q * np.log(np.maximum(q, 1e-300))).sum(axis=1)


def slsqp(p: np.ndarray, masks: np.ndarray, least: np.ndarray, entropy_min: float) -> np.ndarray:
    """One row by the general solver, with analytic gradients, from p itself."""

    def logs(q: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(q, 1e-30))

    found = minimize(
        lambda q: ((q * (logs(q) - np.log(p))).sum(), logs(q) - np.log(p) + 1),
        p,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(p),
        constraints=[
            {"type": "eq", "fun": lambda q: np.array([q.sum() - 1]), "jac": lambda q: np.ones((1, len(q)))},
            {"type": "ineq", "fun": lambda q: masks @ q - least, "jac": lambda q: masks},
            {
                "type": "ineq",
                "fun": lambda q: np.array([-(q * logs(q)).sum() - entropy_min]),
                "jac": lambda q: -(logs(q) + 1)[None],
            },
        ],
        options={"ftol": 1e-9, "maxiter": 200},
    )
    return np.asarray(found.x)


def slsqp_seconds(p: np.ndarray, asked: dict[str, np.ndarray]) -> float:
    """Seconds a row of the general solver, over the first rows."""
    start = time.perf_counter()
    for row in range(LOOPED):
        masks = np.stack([asked["near"][row], -1.0 * asked["wrong"][row]])
        least = np.array([asked["near_min"][row], -asked["wrong_max"][row]])
        slsqp(p[row], masks, least, float(asked["entropy_min"][row]))
    return (time.perf_counter() - start) / LOOPED


def rows() -> list[Row]:
    """The projection part of the bench."""
    p, asked = problem()
    plain = {name: value for name, value in asked.items() if name != "entropy_min"}
    labels = seeds.generator("bench", "projection labels", shared=True).integers(CLASSES, size=ROWS)
    least = entropies(project_label_first(p, labels)) + 0.3
    works = {
        "groups": partial(project_groups, p, **plain),
        "groups and entropy": partial(project_groups, p, **asked),
        "label first": partial(project_label_first, p, labels),
        "label first and entropy": partial(project_label_first, p, labels, entropy_min=least),
    }
    found, threads, micro = [], torch.get_num_threads(), {}
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        for name, work in works.items():
            micro[name] = seconds(work) / ROWS * 1e6
            judged = count == threads
            goal = "≤ 10 µs" if judged else "(no goal)"
            what = f"{name}, {CLASSES} classes, {count} thread{'s' * (count > 1)}"
            found.append(Row(what, f"{micro[name]:.2f} µs", "", micro[name], goal, micro[name] <= 10 or not judged))
    theirs = slsqp_seconds(p, asked) * 1e6
    ratio, ours = theirs / micro["groups and entropy"], f"{micro['groups and entropy']:.2f} µs"
    found.append(Row("  groups and entropy", ours, f"SLSQP {theirs:.0f} µs", ratio, "≥ 1000×", ratio >= 1000))
    return found
