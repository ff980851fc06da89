"""Split conformal prediction sets: classes that hold the true one with a chance that no model assumption enters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import Array, confidence_level, float_or_array
from uqkd.checking.probabilities import class_labels, class_probabilities, named_labels
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.proportions import proportion_interval

SCORES = ("lac", "aps")
_ROUNDING = 1e-9  # of (n + 1) · level: a rank that is whole up to rounding is not moved up


@dataclass(frozen=True)
class ConformalSets:
    """Prediction sets of one classifier or of S students; made by `conformal_sets`.

    Attributes
    ----------
    sets : (P, C) or (S, P, C) bool array
        Classes in each set.
    threshold : float, (C,), (S,) or (S, C) array
        Largest score inside; infinite where there are too few calibration points to leave anything out.
    level : float
        Least chance to hold the true class.
    score : str
    """

    sets: NDArray[np.bool_]
    threshold: Any
    level: float
    score: str

    @property
    def size(self) -> Any:
        """Mean number of classes in a set, a float or (S,)."""
        return float_or_array(self.sets.sum(axis=-1).mean(axis=-1))

    def coverage(self, labels: Any) -> Interval:
        """Share of sets that hold the true class, with its interval for this very calibration part; floats or (S,)."""
        held = self._held(labels)
        return proportion_interval(held.sum(axis=-1), held.shape[-1])

    def class_coverage(self, labels: Any) -> Array:
        """Share of sets that hold the true class, among the points of each class, (C,) or (S, C); NaN for a class without any."""
        held, truth = self._held(labels), np.asarray(labels)
        member = np.eye(self.sets.shape[-1])[truth]
        count = member.sum(axis=0)
        return np.asarray(np.where(count > 0, held @ member / np.where(count > 0, count, 1.0), np.nan))

    def _held(self, labels: Any) -> Any:
        truth = class_labels(labels, self.sets.shape[-2], self.sets.shape[-1])
        return self.sets[..., np.arange(truth.size), truth]


def conformal_sets(
    probabilities: Any,
    calibration_probabilities: Any,
    calibration_labels: Any,
    *,
    level: float = LEVEL,
    score: str = "lac",
    per_class: bool = False,
    generator: np.random.Generator | None = None,
) -> ConformalSets:
    """Sets of classes that hold the true one with a chance of at least `level`, whatever the classifier.

    Parameters
    ----------
    probabilities : (P, C) or (S, P, C) array_like
        Class probabilities of the points to be predicted.
    calibration_probabilities : (Q, C) or (S, Q, C) array_like
        Of the same students, on points that are exchangeable with those and were not trained on.
    calibration_labels : (Q,) integers
        Their true classes.
    level : float
        Chance that a set holds its true class, over calibration parts and points.
    score : {"lac", "aps"}
        What makes a class odd: 1 − its probability (smallest sets on average); or the probability of all classes at least as
        probable, itself included (sets that grow where the classifier is unsure; of few classes give a `generator`).
    per_class : bool
        A threshold for each class, so that the chance holds for the points of each class; needs more calibration points.
    generator : numpy.random.Generator, optional
        With "aps": a class's own probability counts by a uniform share, as published, which makes the chance exact. Without it
        every least probable class scores 1, and where that is the true one for more than 1 − level of points (as with three
        classes and a weak classifier) sets hold all classes. From `uqkd.seeds.generator`.

    Returns
    -------
    ConformalSets
        Per student.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        Probabilities or labels that are none, or students or classes that differ between the parts.
    OptionError
        Unknown score, a level outside (0, 1), a generator without "aps".

    Notes
    -----
    Vovk, Gammerman & Shafer (2005); Sadinle, Lei & Wasserman (2019) for "lac"; Romano, Sesia & Candès (2020) for "aps". The
    threshold is the ⌈(Q + 1) · level⌉-th smallest calibration score, so that without ties the chance is ⌈(Q + 1) · level⌉/(Q + 1).

    Examples
    --------
    >>> calibration = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]  # of class 0: scores .1, .2, .6
    >>> found = conformal_sets([[0.7, 0.3], [0.1, 0.9]], calibration, [0, 0, 0], level=0.75)
    >>> found.sets, float(found.threshold)
    (array([[ True, False],
           [False,  True]]), 0.6)
    >>> found.coverage([0, 0]).estimate, found.size
    (np.float64(0.5), 1.0)
    """
    one_of("score", score, SCORES)
    if generator is not None and score != "aps":
        raise OptionError(f"a generator belongs to score='aps', which alone draws; got score={score!r}.")
    given = class_probabilities("probabilities", probabilities)
    held = class_probabilities("calibration_probabilities", calibration_probabilities)
    truth = named_labels("calibration_labels", calibration_labels, held.shape[-2], held.shape[-1])
    if given.shape[:-2] != held.shape[:-2] or given.shape[-1] != held.shape[-1]:
        raise ShapeError(
            f"probabilities and calibration_probabilities need the same students and classes; got shapes {given.shape} and "
            f"{held.shape}."
        )
    confidence_level(level)
    seen = _scores(held, score, generator)[..., np.arange(truth.size), truth]
    if per_class:
        own = [_threshold(seen[..., truth == c], level) for c in range(held.shape[-1])]
        threshold = np.stack(own, axis=-1)
        limit = threshold[..., None, :]
    else:
        threshold = _threshold(seen, level)
        limit = threshold[..., None, None]
    return ConformalSets(_scores(given, score, generator) <= limit, threshold[()], level, score)


def _threshold(scores: Array, level: float) -> Array:
    """The ⌈(Q + 1) · level⌉-th smallest score, infinite where that is more than there are."""
    rank = int(np.ceil((scores.shape[-1] + 1) * level - _ROUNDING))
    if rank > scores.shape[-1]:
        return np.full(scores.shape[:-1], np.inf)
    return np.asarray(np.partition(scores, rank - 1, axis=-1)[..., rank - 1])


def _scores(probs: Array, score: str, generator: np.random.Generator | None) -> Array:
    """How odd each class of each point is, shaped like `probs`."""
    if score == "lac":
        return 1.0 - probs
    order = np.argsort(-probs, axis=-1, kind="stable")
    sorted_probs = np.take_along_axis(probs, order, axis=-1)
    share = 1.0 if generator is None else generator.random((*probs.shape[:-1], 1))
    reached = np.cumsum(sorted_probs, axis=-1) - (1.0 - share) * sorted_probs
    found = np.empty_like(probs)
    np.put_along_axis(found, order, reached, axis=-1)
    return found
