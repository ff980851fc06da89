"""Energy distance between what students say, and between them and their teacher, from draws and without bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from uqkd.checking.arrays import Array, shaped
from uqkd.checking.arrays import draws as checked_draws
from uqkd.errors import ShapeError
from uqkd.estimators.variance.two_way import two_way_standard_error


@dataclass(frozen=True)
class EnergyDistance:
    """Squared energy distance per prompt, in the unit of the draws; made by `energy_distance`.

    Attributes
    ----------
    squared : (P,) float
        2 E‖X − Y‖ − E‖X − X′‖ − E‖Y − Y′‖: the mean over pairs of students, or over students and the teacher. Unbiased: 0 on
        average for equal distributions, and negative as often; do not clip it before averaging.
    per_student : (S, P) float
        Jackknife pseudo-values whose mean is `squared`; NaN between two students. To a teacher each student's own distance.
    """

    squared: Array
    per_student: Array

    @property
    def root(self) -> Array:
        """√squared, 0 where that is negative: the distance itself, biased as every root of an estimate."""
        return np.sqrt(np.maximum(self.squared, 0.0))

    @property
    def mean(self) -> tuple[float, float]:
        """Squared distance averaged over prompts, and its standard error over students and prompts."""
        return float(self.squared.mean()), two_way_standard_error(self.per_student)


def energy_distance(draws: ArrayLike, teacher: ArrayLike | None = None) -> EnergyDistance:
    """Squared energy distance between the distributions of students, or between students and their teacher.

    0 if and only if the distributions are equal, whatever they differ in: not means or variances alone. Of texts, give the
    vectors of an embedding.

    Parameters
    ----------
    draws : (S, P, R) or (S, P, R, D) float
        Response r of student s to prompt p, R >= 2; S >= 2 without a teacher.
    teacher : (P, k) or (P, k, D) float, optional
        Draws of the teacher that no student was trained on, k >= 2.

    Returns
    -------
    EnergyDistance

    Raises
    ------
    ShapeError
        Too few students or responses, or a teacher of other prompts or dimensions.
    NotFiniteError
        Any NaN or inf; names the first.

    Notes
    -----
    Székely & Rizzo (2013), as a U-statistic: pairs of different draws only. `scipy.stats.energy_distance` of one dimension is
    the root of the V-statistic, in which a draw is paired with itself too: its square is larger by E‖X − X′‖/R + E‖Y − Y′‖/k,
    so that students of one distribution seem to differ. With the square ‖·‖²/2 in place of ‖·‖ the mean over pairs of students
    would be 2·`decompose_variance(draws).inter`.

    Examples
    --------
    >>> energy_distance([[[0.0, 2.0]], [[1.0, 5.0]]]).squared  # 2·(1 + 5 + 1 + 3)/4 − 2 − 4
    array([-1.])
    >>> energy_distance([[[0.0, 2.0]]], teacher=[[1.0, 5.0]]).per_student
    array([[-1.]])
    """
    array = checked_draws("energy_distance", draws, need_students=2 if teacher is None else 1)
    deep = array if array.ndim == 4 else array[..., None]
    if teacher is None:
        return _between(deep)
    theirs = shaped("teacher", teacher, "P k", "P k D", need={"k": 2})
    theirs = theirs if theirs.ndim == 3 else theirs[..., None]
    if theirs.shape[0] != deep.shape[1] or theirs.shape[2] != deep.shape[3]:
        raise ShapeError(
            f"teacher needs P={deep.shape[1]} prompts and D={deep.shape[3]} dimensions, as the draws have; got P={theirs.shape[0]} "
            f"and D={theirs.shape[2]}."
        )
    per_student = np.array(
        [
            [2.0 * cdist(x, y).mean() - own_distance(x) - own_distance(y) for x, y in zip(one, theirs, strict=True)]
            for one in deep
        ]
    )
    return EnergyDistance(per_student.mean(axis=0), per_student)


def own_distance(sample: NDArray[np.float64]) -> float:
    """E‖X − X′‖ from pairs of different draws (n, D).

    Examples
    --------
    >>> own_distance(np.array([[0.0], [2.0], [4.0]]))  # 2, 4, 2
    2.6666666666666665
    """
    n = len(sample)
    return float(cdist(sample, sample).sum()) / (n * (n - 1))


def _between(deep: Array) -> EnergyDistance:
    students, prompts = deep.shape[:2]
    squared, pseudo = np.empty(prompts), np.empty((students, prompts))
    for p in range(prompts):
        apart = _mean_distances(deep[:, p])
        own = np.diag(apart)
        pairs = 2.0 * apart - own[:, None] - own[None, :]
        np.fill_diagonal(pairs, 0.0)
        of_student, all_pairs = pairs.sum(axis=1), pairs.sum()
        squared[p] = all_pairs / (students * (students - 1))
        if students > 2:
            without = (all_pairs - 2.0 * of_student) / ((students - 1) * (students - 2))
            pseudo[:, p] = students * squared[p] - (students - 1) * without
        else:
            pseudo[:, p] = np.nan
    return EnergyDistance(squared, pseudo)


def _mean_distances(sample: Array) -> Array:
    """Mean distance (S, S) between draws (S, R, D) of two students; of one student's own, between different draws."""
    students, responses, _ = sample.shape
    flat = sample.reshape(students * responses, -1)
    found = np.array([cdist(one, flat).reshape(responses, students, responses).sum(axis=(0, 2)) for one in sample])
    count = np.full((students, students), float(responses**2))
    np.fill_diagonal(count, responses * (responses - 1.0))
    return np.asarray(found / count)
