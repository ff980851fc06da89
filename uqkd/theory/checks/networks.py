"""Checks of trained networks: the floor and the slope of T8, by networks that the engine really trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.mlp import Recipe, SeedDesign, distill
from uqkd.targets import weigh
from uqkd.theory.checks.check import Check, Key, Simulation
from uqkd.theory.statements import networks as theory

Array = NDArray[np.float64]

ROWS, FEATURES, K, NOISE_VAR, LR, STEPS = 24, 3, 3, 1.7, 0.05, 12
BLOCK = 2_000  # students distilled at a time, so that memory stays flat


def _rows(count: int, name: str) -> Array:
    mix = np.array([[1.0, 0.6, 0.0], [0.0, 1.0, 0.4], [0.0, 0.0, 1.0]])
    return seeds.generator("checks", "networks", name, shared=True).standard_normal((count, FEATURES)) @ mix


X, POINT = _rows(ROWS, "train"), _rows(1, "test")
ANSWERS = X @ np.array([-1.0, 2.0, 0.25]) + 0.5  # the teacher's noise-free answers


def _students(
    *, k: int = K, noise_var: float = NOISE_VAR, freeze: tuple[str, ...] = (), steps: int = STEPS
) -> Simulation:
    """Answers at the point of networks without a hidden layer, all trained by the engine."""
    recipe = Recipe(steps=steps, optimiser="sgd", lr=LR)

    def simulate(n: int, key: Key) -> Array:
        found = []
        for first in range(0, n, BLOCK):
            size = min(BLOCK, n - first)
            seed_design = SeedDesign.independent(size, first=first, freeze=freeze)
            noise = seeds.generator(*key, "noise", first).standard_normal((size, ROWS, k))
            if "responses" in freeze:
                noise = np.broadcast_to(noise[:1], noise.shape)
            targets = weigh(ANSWERS[:, None] + np.sqrt(noise_var) * noise)
            students = distill(
                X, targets, hidden=(), recipe=recipe, seed_design=seed_design, key=key, engine="auto", dtype="float64"
            )
            found.append(students.predict_mean(POINT)[:, 0])
        return np.concatenate(found)

    return simulate


def all_checks() -> list[Check]:
    """T8: floor and slope, apart and together."""
    about = theory.gradient_descent(X, POINT, lr=LR, steps=STEPS)
    begin = theory.default_initial_var(FEATURES)
    floor, slope = float(about.floor(begin)[0]), float(about.slope(NOISE_VAR)[0])
    settled = theory.gradient_descent(X, POINT, lr=LR, steps=100_000)
    least_squares = float(settled.slope(NOISE_VAR)[0])  # T1: σ_T²·h(x)
    wrong: dict[str, Mapping[str, Any]] = {
        "both": {
            "forgets the initialisation": slope / K,
            "forgets k": floor + slope,
            "averaging shrinks the floor too": (floor + slope) / K,
            "least squares instead of training": least_squares / K,
        },
        "floor": {
            "forgets that training forgets": float((np.append(POINT[0], 1.0) ** 2).sum() * begin),
            "initial weights of variance 1/fan_in": 3 * floor,
        },
        "slope": {"least squares instead of training": least_squares / K, "forgets k": slope},
    }
    free = _students()
    return [
        Check(
            "T8",
            "inter-student variance of networks",
            floor + slope / K,
            free,
            "variance",
            wrong["both"],
            {
                "same responses for all": _students(freeze=("responses",)),
                "trained three times as long": _students(steps=3 * STEPS),
            },
        ),
        Check(
            "T8",
            "floor: noise-free labels",
            floor,
            _students(noise_var=0.0),
            "variance",
            wrong["floor"],
            {"same initialisation for all": _students(noise_var=0.0, freeze=("initialisation",))},
        ),
        Check(
            "T8",
            "slope: same initialisation",
            slope / K,
            _students(freeze=("initialisation",)),
            "variance",
            wrong["slope"],
            {"own initialisations": free},
        ),
    ]
