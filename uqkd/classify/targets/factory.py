"""One teacher, its shaped version and its out-of-fold predictions: what all targets that CUD's claims compare are made of."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.classify.arguments import checked_key
from uqkd.classify.crossfit import OutOfFold, out_of_fold
from uqkd.classify.networks.plain import Factory
from uqkd.classify.targets.evidence import Evidence, evidence_from
from uqkd.classify.targets.methods import Target, all_targets
from uqkd.classify.targets.objectives import Shaping
from uqkd.classify.targets.weighted import changed_rows, numbers
from uqkd.classify.teacher import Teacher
from uqkd.errors import DataError, UqkdWarning, one_of
from uqkd.stacked import Recipe
from uqkd.targets import ClassTargets

Array = NDArray[np.float64]

SHAPING_FRACTION = 3  # shaping takes a third of the teacher's steps at a third of its rate: it goes on from there


@dataclass(frozen=True)
class TargetFactory:
    """What one teacher and its relatives say about their training rows; made by `fit`.

    The temperature, and the evidence that rests on it, are fitted when a method first needs them.

    Attributes
    ----------
    teacher, shaped : Teacher
        As fitted by cross-entropy, and with its uncertainty shaped (DUS).
    probabilities, shaped_probabilities : (P, C) float
        Of both, at the rows that they were trained on.
    folds : OutOfFold
    labels : (P,) int
    """

    teacher: Teacher
    shaped: Teacher
    probabilities: Array
    shaped_probabilities: Array
    folds: OutOfFold
    labels: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        labels: ArrayLike,
        *,
        classes: int,
        factory: Factory,
        recipe: Recipe,
        key: tuple[Any, ...],
        shaping: Shaping | None = None,
    ) -> TargetFactory:
        """Train the teacher, shape a copy of it, and train its folds; equal keys give equal views wherever they are made."""
        key = checked_key(key)
        teacher = Teacher.fit(X, labels, classes=classes, factory=factory, recipe=recipe, key=(*key, "teacher"))
        gentle = replace(
            recipe, steps=max(1, recipe.steps // SHAPING_FRACTION), lr=recipe.lr / SHAPING_FRACTION,
            warmup=recipe.warmup // SHAPING_FRACTION,
        )  # fmt: skip
        shaped = teacher.shaped(X, labels, shaping=shaping or Shaping(), recipe=gentle, key=key)
        folds = out_of_fold(X, labels, classes=classes, factory=factory, recipe=recipe, key=key)
        truth = np.asarray(labels, dtype=np.int64)
        return cls(
            teacher=teacher,
            shaped=shaped,
            probabilities=teacher.predict_proba(X),
            shaped_probabilities=shaped.predict_proba(X),
            folds=folds,
            labels=truth,
        )

    @cached_property
    def temperature(self) -> float:
        """That fits the labels best out of fold; 1, with one `UqkdWarning` that says why, where none does."""
        try:
            return float(self.folds.temperature(self.labels).temperature)
        except DataError as error:  # the labels were checked by training: no finite positive minimiser
            warnings.warn(
                f"no temperature fits the out-of-fold predictions; targets that need one are those of temperature 1: {error}",
                UqkdWarning,
                stacklevel=3,
            )
            return 1.0

    @cached_property
    def calibrated(self) -> Array:
        """(P, C) out-of-fold predictions at that temperature."""
        return self.folds.at(self.temperature)

    @cached_property
    def evidence(self) -> Evidence:
        """From the calibrated out-of-fold predictions.

        Raises
        ------
        DataError
            A class without rows.
        """
        return evidence_from(self.calibrated, self.labels)

    def targets(self, method: str, *, students: int = 1) -> ClassTargets:
        """Targets of one of `methods.all_targets()`, the same for S students.

        Raises
        ------
        OptionError
            Unknown method; names the nearest.
        """
        made = self._made(_target(method))
        return ClassTargets(np.broadcast_to(made, (students, *made.shape)), None, method)

    def firing_rate(self, method: str) -> float:
        """Share of the rows that a method changes, of the distributions that it begins with."""
        target = _target(method)
        return float(changed_rows(getattr(self, target.begins), self._made(target)).mean())

    def _made(self, target: Target) -> Array:
        """(P, C) distributions, from those that it begins with and what it needs."""
        return numbers(
            target.make(getattr(self, target.begins), **{need: getattr(self, need) for need in target.needs})
        )


def _target(method: str) -> Target:
    known = all_targets()
    return known[one_of("method", method, known)]
