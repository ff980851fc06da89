"""Checks of planning: standard errors of the mean answer and of the inter-student variance, whole designs simulated (T12)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.estimators import decompose_variance
from uqkd.theory.checks.check import Check, Key
from uqkd.theory.statements.planning import inter_variance, mean_variance

Array = NDArray[np.float64]

TRUE = {
    "prompt": 2.0, "teacher": 3.0, "initialisation": 0.7, "prompt:teacher": 4.0, "prompt:initialisation": 1.0, "decoding": 3.0,
}  # fmt: skip
SIZE: dict[str, Any] = {"k": 3, "students": 4, "draws": 2, "prompts": 3}
BLOCK = 20_000  # experiments at a time, so that memory stays flat


def _answers(n: int, key: Key, *, shared: bool = False, same_prompts: bool = False) -> Array:
    """Answers (S, n, P, R) of n experiments, response by response of the teacher.

    `shared` responses are those of all students; the same prompts are asked in all experiments.
    """
    generator = seeds.generator(*key)
    k, S, R, P = SIZE.values()

    def effect(name: str, *shape: int) -> Array:
        return np.asarray(np.sqrt(TRUE[name]) * generator.standard_normal(shape))

    trained = 1 if shared else S
    prompt = seeds.generator("checks", "planning", "prompts", shared=True).standard_normal(P)
    prompts = np.sqrt(TRUE["prompt"]) * prompt if same_prompts else effect("prompt", 1, n, P, 1)[..., 0]
    common = effect("teacher", trained, n, k).mean(axis=2) + effect("initialisation", S, n)
    own = effect("prompt:teacher", trained, n, P, k).mean(axis=3) + effect("prompt:initialisation", S, n, P)
    return np.asarray((prompts + common[:, :, None] + own)[..., None] + effect("decoding", S, n, P, R))


def _mean(n: int, key: Key, **how: bool) -> Array:
    """The mean answer of each experiment."""
    starts = range(0, n, BLOCK)
    return np.concatenate([_answers(min(BLOCK, n - i), (*key, i), **how).mean(axis=(0, 2, 3)) for i in starts])


def _inter(n: int, key: Key, **how: bool) -> Array:
    """The inter-student variance that each experiment reports."""
    found = []
    for first in range(0, n, BLOCK):
        answers = _answers(min(BLOCK, n - first), (*key, first), **how)
        S, count, P, R = answers.shape
        found.append(decompose_variance(answers.reshape(S, count * P, R)).inter.reshape(count, P).mean(axis=1))
    return np.concatenate(found)


def _without(*names: str) -> dict[str, float]:
    return {name: value for name, value in TRUE.items() if name not in names}


def mean_checks() -> list[Check]:
    """The variance of the mean answer of students that share nothing to prompts that are a sample."""
    k, S, R = (SIZE[level] for level in ("k", "students", "draws"))
    right = float(mean_variance(TRUE, **SIZE))
    one_response = float(mean_variance(TRUE, **{**SIZE, "k": 1}))
    all_by_k = {name: value / (1 if name in ("prompt", "decoding") else k) for name, value in TRUE.items()}
    return [
        Check(
            "T12",
            "variance of the mean answer",
            right,
            _mean,
            "variance",
            wrong_theory={
                "forgets the interaction with prompts": float(
                    mean_variance(_without("prompt:teacher", "prompt:initialisation"), **SIZE)
                ),
                "answers of a student count as students": float(mean_variance(TRUE, **{**SIZE, "students": S * R})),
                "k divides every part of a student": float(mean_variance(all_by_k, **{**SIZE, "k": 1})),
                "forgets k": one_response,
            },
            wrong_simulation={
                "one bank for all students": partial(_mean, shared=True),
                "the same prompts every time": partial(_mean, same_prompts=True),
            },
        ),
    ]


def shared_checks() -> list[Check]:
    """The same where the prompts are fixed, or the teacher's responses are those of all students."""
    right = float(mean_variance(TRUE, **SIZE))
    fixed = float(mean_variance(TRUE, **SIZE, fixed_prompts=True))
    together = float(mean_variance(TRUE, **SIZE, shared=["teacher"]))
    return [
        Check(
            "T12",
            "variance of the mean answer to fixed prompts",
            fixed,
            partial(_mean, same_prompts=True),
            "variance",
            wrong_theory={
                "prompts taken for a sample": right,
                "no interaction where prompts are fixed": float(
                    mean_variance(_without("prompt:teacher", "prompt:initialisation"), **SIZE, fixed_prompts=True)
                ),
            },
        ),
        Check(
            "T12",
            "variance of the mean answer of students with one bank",
            together,
            partial(_mean, shared=True),
            "variance",
            wrong_theory={
                "as if each had its own": right,
                "students do not help at all": float(mean_variance(TRUE, **{**SIZE, "students": 1})),
            },
        ),
    ]


def inter_checks() -> list[Check]:
    """The variance of the reported inter-student variance."""
    _, S, _, P = SIZE.values()
    right = float(inter_variance(TRUE, **SIZE))
    alone = float(inter_variance(TRUE, **{**SIZE, "prompts": 1}))
    return [
        Check(
            "T12",
            "variance of the inter-student variance",
            right,
            _inter,
            "variance",
            wrong_theory={
                "prompts counted as independent": alone / P,
                "students alone count": alone,
                "forgets the noise of answers": float(inter_variance(_without("decoding"), **SIZE)),
                "S for S − 1": right * (S - 1) / S,
            },
            wrong_simulation={"one bank for all students": partial(_inter, shared=True)},
            bias=0.1,
        )
    ]


def all_checks() -> list[Check]:
    """Every check of this module."""
    return [*mean_checks(), *shared_checks(), *inter_checks()]
