"""What teachers and students make of mixed rows: the claims of mixup-KD as numbers, student by student."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.checking.probabilities import class_labels
from uqkd.classify.arguments import checked_key
from uqkd.classify.classifiers import Classifiers
from uqkd.classify.mixup import Mixing, Pairs, mix
from uqkd.classify.teacher import Teacher
from uqkd.errors import OptionError
from uqkd.estimators import (
    entropy,
    entropy_excess,
    feature_linearity,
    kl_divergence,
    linear_cka,
    nonlinearity,
    off_pair_mass,
)

Array = NDArray[np.float64]

ROUNDING = 1e-12  # probabilities below it count as it: a softmax that underflows is not an infinite divergence


@dataclass(frozen=True)
class MixupMeasures:
    """Measures of S classifiers on the same mixed rows, means over pairs, in nats where divergences; made by `measure_mixup`.

    Attributes
    ----------
    nonlinearity : (S,) float
        KL(λ·p(x_i) + (1 − λ)·p(x_j) ‖ p(x~)): 0 for a classifier that is linear between rows.
    off_pair_mass : (S,) float
        1 − p(y_i|x~) − p(y_j|x~).
    entropy_excess : (S,) float
        Entropy on mixed rows beyond that of the mixed labels.
    entropy : (S,) float
        Entropy on mixed rows.
    feature_linearity : (S,) float
        Of what the last linear layer gets, 1 for features that are linear between rows.
    per_pair : (S, P) float
        Non-linearity of each pair, for bins of λ.
    share : (P,) float
        λ of each pair.
    """

    nonlinearity: Array
    off_pair_mass: Array
    entropy_excess: Array
    entropy: Array
    feature_linearity: Array
    per_pair: Array
    share: Array

    def per_student(self) -> dict[str, Array]:
        """Every measure by name, (S,)."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("per_pair", "share")}


@dataclass(frozen=True)
class AgainstTeacher:
    """How far S students are from their teacher; made by `against_teacher`.

    Attributes
    ----------
    kl_real, kl_mixed : (S,) float
        KL(teacher ‖ student) on rows and on mixed rows, nats.
    cka_real, cka_mixed : (S,) float
        Linear CKA of their features with the teacher's, unbiased.
    """

    kl_real: Array
    kl_mixed: Array
    cka_real: Array
    cka_mixed: Array

    def per_student(self) -> dict[str, Array]:
        """Every measure by name, (S,)."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class MixedRows:
    """Pairs of rows and what is mixed of them; made by `mixed_rows`.

    Attributes
    ----------
    X, mixed : (P, ...) float
    labels : (P,) int
        Of the first rows.
    share : (P,) float
    partner : (P,) int
    """

    X: NDArray[Any]
    mixed: NDArray[Any]
    labels: NDArray[np.int64]
    share: Array
    partner: NDArray[np.int64]


def mixed_rows(
    X: ArrayLike, labels: ArrayLike, *, classes: int, key: tuple[Any, ...], mixing: Mixing | None = None
) -> MixedRows:
    """Mix every row with another one at random: λ uniform if not said otherwise.

    Parameters
    ----------
    X : (P, ...) float
        Rows, such as training rows.
    labels : (P,) int
    classes : int
    key : tuple
        Names the stream.
    mixing : Mixing, optional

    Examples
    --------
    >>> found = mixed_rows(np.eye(3), [0, 1, 2], classes=3, key=("doc",))
    >>> found.mixed.sum(axis=1).round(9)
    array([1., 1., 1.])
    """
    rows = np.asarray(X)
    truth = class_labels(labels, len(rows), classes)
    if len(rows) < 2:
        raise OptionError(f"mixing needs two rows; got {len(rows)}.")
    drawn = (mixing or Mixing()).draw(1, len(rows), seeds.generator(*checked_key(key), "pairs", shared=True))
    pairs = Pairs(drawn.share[0], drawn.partner[0])
    return MixedRows(rows, mix(rows, pairs).astype(rows.dtype), truth, pairs.share, pairs.partner)


def measure_mixup(classifiers: Classifiers | Teacher, rows: MixedRows) -> MixupMeasures:
    """Linearity, confusion and geometry of S classifiers (one for a teacher) between pairs of rows."""
    real, mixed = student_probabilities(classifiers, rows.X), student_probabilities(classifiers, rows.mixed)
    ours, theirs = rows.labels, rows.labels[rows.partner]
    found = nonlinearity(mixed, real, real[:, rows.partner], rows.share, least=ROUNDING)
    features, blended = _features(classifiers, rows.X), _features(classifiers, rows.mixed)
    straight = [
        feature_linearity(b, f, f[rows.partner], rows.share) for f, b in zip(features, blended, strict=True)
    ]  # fmt: skip
    return MixupMeasures(
        nonlinearity=found.mean(axis=1),
        off_pair_mass=off_pair_mass(mixed, ours, theirs).mean(axis=1),
        entropy_excess=entropy_excess(mixed, rows.share, ours, theirs).mean(axis=1),
        entropy=entropy(mixed).mean(axis=1),
        feature_linearity=np.array(straight),
        per_pair=found,
        share=rows.share,
    )


def against_teacher(students: Classifiers, teacher: Teacher, rows: MixedRows) -> AgainstTeacher:
    """Divergence and likeness of S students and their teacher, on rows and on mixed rows."""

    def apart(X: NDArray[Any]) -> Array:
        return np.asarray(
            kl_divergence(teacher.predict_proba(X), students.predict_proba(X), least=ROUNDING).mean(axis=1)
        )

    def alike(X: NDArray[Any]) -> Array:
        of_teacher = teacher.features(X)
        return np.array([linear_cka(f, of_teacher, debiased=True) for f in students.features(X)])

    return AgainstTeacher(apart(rows.X), apart(rows.mixed), alike(rows.X), alike(rows.mixed))


def _asked(asked: Any) -> Any:
    if not callable(getattr(asked, "predict_proba", None)):
        raise OptionError(
            f"Classifiers or a Teacher are asked here; got {type(asked).__name__}. Make a Teacher of a module with Teacher.of; "
            "probabilities are measured by uqkd.estimators.summarise_classifier."
        )
    return asked


def student_probabilities(asked: Classifiers | Teacher, X: NDArray[Any]) -> Array:
    """Class probabilities (S, P, C) of S classifiers; S is 1 for a teacher."""
    found = _asked(asked).predict_proba(X)
    return found[None] if isinstance(asked, Teacher) else found


def _features(asked: Classifiers | Teacher, X: NDArray[Any]) -> Array:
    found = _asked(asked).features(X)
    return found[None] if isinstance(asked, Teacher) else found
