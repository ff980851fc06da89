"""How far students are from what they should say, and how much of its spread they kept, from draws (T4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import DataError, ShapeError
from uqkd.estimators.answers.agreement import (
    agreement_with,
    cross_agreement,
    decompose_agreement,
    gini_from_draws,
    known_distribution,
)
from uqkd.estimators.answers.counting import answers
from uqkd.estimators.variance.two_way import share_of, two_way_standard_error

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeanDistance:
    """A squared distance averaged over prompts; made by `SquaredDistance.mean`.

    Attributes
    ----------
    mean_square, mean_square_se : float
        Mean over students of ‖q_s − p‖², and its two-way standard error.
    bias_square, bias_square_se : float
        ‖E q_s − p‖², and its standard error; NaN where S = 2.
    """

    mean_square: float
    mean_square_se: float
    bias_square: float
    bias_square_se: float


@dataclass(frozen=True)
class SquaredDistance:
    """Distance of students from what they should say, ‖q_s − p‖², and its two parts; made by `squared_distance`.

    Attributes
    ----------
    mean_square : (P,) float
        Mean over students of ‖q_s − p‖². Unbiased; may be negative where the truth is near zero.
    bias_square : (P,) float
        Of the students' common distribution, ‖E q_s − p‖²: what averaging students does not remove.
    inter : (P,) float
        Their difference, the inter-student variance.
    per_student, per_student_bias : (S, P) float
        Pseudo-values for standard errors; NaN for the bias where S = 2. The standard error of the bias is safe: up to √2
        too large where the bias is small beside the inter-student variance, which a jackknife counts twice.
    """

    mean_square: Array
    bias_square: Array
    inter: Array
    per_student: Array
    per_student_bias: Array

    @property
    def mean(self) -> MeanDistance:
        """Averages over prompts, with standard errors over students and prompts."""
        return MeanDistance(
            float(self.mean_square.mean()),
            two_way_standard_error(self.per_student),
            float(self.bias_square.mean()),
            two_way_standard_error(self.per_student_bias),
        )


def squared_distance(
    draws: ArrayLike, *, teacher: ArrayLike | None = None, probs: ArrayLike | None = None
) -> SquaredDistance:
    """‖q_s − p‖² between students and a teacher, from draws on both sides or from a known p.

    Parameters
    ----------
    draws : (S, P, R) int
        S >= 2, R >= 2.
    teacher : (P, k) int
        Draws of the teacher, independent of the students' (not those they were trained on); k >= 2.
    probs : (P, C) float
        Instead of them: the distribution itself; draws in 0 ... C − 1, others lie outside its support.

    Returns
    -------
    SquaredDistance

    Raises
    ------
    ShapeError, DataError
        Shapes that do not fit; both or neither of `teacher` and `probs`.

    Notes
    -----
    T4. ‖q − p‖² = Σ q² − 2 Σ q·p + Σ p², each from agreements.

    Examples
    --------
    Two students that say one thing each of a fair coin: on average right, each off by ½.

    >>> parts = squared_distance([[[0, 0]], [[1, 1]]], probs=[[0.5, 0.5]])
    >>> parts.mean_square, parts.bias_square, parts.inter
    (array([0.5]), array([-0.5]), array([1.]))
    """
    parts = decompose_agreement(draws)
    array = answers("draws", draws, "S P R")
    if (teacher is None) == (probs is None):
        raise DataError("squared_distance needs either teacher=, draws of it, or probs=, its distribution; pass one.")
    if probs is not None:
        cross = agreement_with(array, probs)
        own = (known_distribution(probs, draws) ** 2).sum(axis=-1)
    else:
        theirs = answers("teacher", teacher, "P k", need=(1, 2))
        if len(theirs) != array.shape[1]:
            raise ShapeError(f"teacher needs P={array.shape[1]} rows, one for each prompt; got shape {theirs.shape}.")
        cross, own = cross_agreement(array, theirs), 1.0 - gini_from_draws(theirs)
    per_student = 1.0 - parts.per_student_intra - 2.0 * cross + own
    mean_square = per_student.mean(axis=0)
    return SquaredDistance(
        mean_square, mean_square - parts.inter, parts.inter, per_student, per_student - parts.per_student_inter
    )


def conservation_from_draws(
    draws: ArrayLike, *, teacher: ArrayLike | None = None, probs: ArrayLike | None = None
) -> tuple[float, float]:
    """κ = (intra + inter)/G_p over prompts, and its standard error: 1 for students that are right on average (T4).

    Parameters
    ----------
    draws, teacher, probs
        As in `squared_distance`.

    Returns
    -------
    kappa, standard_error : float
        A ratio of means over prompts, so that a certain teacher is no trouble. NaN standard error where S = 2.

    Raises
    ------
    VarianceError
        The teacher is certain of every prompt.

    Examples
    --------
    >>> kappa, error = conservation_from_draws([[[0, 0]], [[1, 1]], [[0, 1]]], probs=[[0.5, 0.5]])
    >>> round(kappa, 3)
    1.333
    """
    parts = decompose_agreement(draws)
    if (teacher is None) == (probs is None):
        raise DataError("conservation_from_draws needs either teacher=, draws of it, or probs=; pass one.")
    if probs is not None:
        spread = 1.0 - (known_distribution(probs, draws) ** 2).sum(axis=-1)
    else:
        spread = gini_from_draws(answers("teacher", teacher, "P k", need=(1, 2)))
    kappa, _ = share_of(parts.total[None], spread)
    table = parts.per_student_inter + parts.per_student_intra
    error = two_way_standard_error(table - kappa * spread) / float(spread.mean())
    return kappa, error
