"""Gini variances and distances of answer distributions that are seen through draws only, all without bias.

Answers are whole numbers that say which are equal: of (S, P, R) draws, response r of student s to prompt p. Two draws of
one distribution q agree with probability Σ q², a draw of q and one of p with Σ q·p; pairs of different draws estimate
both without bias, and every quantity here is a sum of such agreements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import DataError, ShapeError
from uqkd.estimators.categorical import distributions
from uqkd.estimators.two_way import share_of, two_way_standard_error
from uqkd.estimators.variance import VarianceDecomposition

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

BLOCK_VALUES = 2**22  # counts held at a time (32 MB)


def decompose_agreement(draws: ArrayLike) -> VarianceDecomposition:
    """Inter- and intra-student Gini variance of sampled answers, per prompt, without bias.

    Parameters
    ----------
    draws : (S, P, R) int
        Equal numbers are equal answers. Needs S >= 2 and R >= 2.

    Returns
    -------
    VarianceDecomposition
        intra = 1 − P(two responses of one student agree), total = 1 − P(responses of two students agree), inter their
        difference; exactly `decompose_variance` of the one-hot rows. `.inter` may be negative: do not clip it.

    Raises
    ------
    ShapeError
        Not three axes, S < 2 or R < 2.
    DataError
        Draws that are not whole numbers.

    Notes
    -----
    T4, T10.

    Examples
    --------
    >>> parts = decompose_agreement([[[7, 7]], [[7, 9]]])
    >>> parts.intra, parts.inter, parts.total
    (array([0.5]), array([0.]), array([0.5]))
    """
    array = answers("draws", draws, "S P R", need=(2, 1, 2))
    responses = array.shape[2]
    within, squared = [], []
    for counts in counted(array):
        of_pairs = (counts**2).sum(axis=-1) - responses
        within.append(1.0 - of_pairs / (responses * (responses - 1)))
        mean = counts / responses
        squared.append(((mean - mean.mean(axis=0)) ** 2).sum(axis=-1))
    own, about = np.concatenate(within, axis=1), np.concatenate(squared, axis=1)
    return from_spreads(own, about, responses)


def from_spreads(within: Array, about: Array, responses: int) -> VarianceDecomposition:
    """Components from each student's own variance and its squared distance from the mean of all students.

    Parameters
    ----------
    within : (S, P) float
        Variance (ddof 1) of a student's R responses.
    about : (S, P) float
        ‖mean response of the student − mean over students‖².
    responses : int
        R.

    Examples
    --------
    >>> from_spreads(np.array([[2.0], [2.0]]), np.array([[4.0], [4.0]]), 2).inter
    array([7.])
    """
    students = len(within)
    of_means = about.sum(axis=0) / (students - 1)
    intra = within.mean(axis=0)
    inter = of_means - intra / responses
    if students > 2:
        pseudo = (students * about - of_means) / (students - 2) - within / responses
    else:
        pseudo = np.full_like(within, np.nan)
    return VarianceDecomposition(inter, intra, inter + intra, pseudo, within)


def gini_from_draws(draws: ArrayLike) -> Array:
    """Gini variance 1 − Σ p² of the distribution behind k draws: 1 − the share of pairs that agree.

    Parameters
    ----------
    draws : (..., k) int
        Needs k >= 2.

    Returns
    -------
    (...) float
        Unbiased; 1 − Σ p̂² of the shares is low by the factor 1 − 1/k.

    Examples
    --------
    >>> gini_from_draws([[4, 4, 5]])
    array([0.66666667])
    """
    array = answers("draws", draws, "... k", need=(2,))
    k = array.shape[-1]
    rows = array.reshape(1, -1, k)
    pairs = np.concatenate([(counts**2).sum(axis=-1) - k for counts in counted(rows)], axis=1)
    return np.asarray((1.0 - pairs / (k * (k - 1))).reshape(array.shape[:-1]))


def cross_agreement(first: ArrayLike, second: ArrayLike) -> Array:
    """Σ q·p of two distributions from draws of each: the share of pairs across them that agree.

    Parameters
    ----------
    first : (..., k) int
    second : (..., m) int
        Independent of `first`; the leading axes are broadcast against each other.

    Returns
    -------
    (...) float
        Unbiased.

    Examples
    --------
    >>> cross_agreement([1, 1, 2], [1, 3])
    array(0.33333333)
    """
    ours, theirs = answers("first", first, "... k"), answers("second", second, "... m")
    shares = [(ours == theirs[..., m, None]).mean(axis=-1) for m in range(theirs.shape[-1])]
    return np.asarray(np.mean(shares, axis=0))


def agreement_with(draws: ArrayLike, probs: ArrayLike) -> Array:
    """Σ q·p of the distribution q behind the draws with a known p: the mean of p at the draws.

    Parameters
    ----------
    draws : (S, P, R) int
        In 0 ... C − 1; what lies outside (−1, or C and more) has probability 0 under p.
    probs : (P, C) float

    Returns
    -------
    (S, P) float
        Unbiased.

    Examples
    --------
    >>> agreement_with([[[0, 1, -1, 1]]], [[0.2, 0.8]])
    array([[0.45]])
    """
    array, known = answers("draws", draws, "S P R"), _known(probs, draws)
    classes = known.shape[1]
    inside = (array >= 0) & (array < classes)
    at = known[np.arange(len(known))[None, :, None], np.where(inside, array, 0)]
    return np.asarray(np.where(inside, at, 0.0).mean(axis=-1))


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

    def mean(self) -> tuple[float, float, float, float]:
        """Averages over prompts: mean square, its two-way standard error, bias square, its standard error."""
        return (
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
        own = (_known(probs, draws) ** 2).sum(axis=-1)
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
        spread = 1.0 - (_known(probs, draws) ** 2).sum(axis=-1)
    else:
        spread = gini_from_draws(answers("teacher", teacher, "P k", need=(1, 2)))
    kappa, _ = share_of(parts.total[None], spread)
    table = parts.per_student_inter + parts.per_student_intra
    error = two_way_standard_error(table - kappa * spread) / float(spread.mean())
    return kappa, error


def answers(name: str, draws: Any, layout: str, *, need: tuple[int, ...] = ()) -> Labels:
    """Return draws as int64 whose last axes are those of `layout` and long enough, or refuse them.

    Examples
    --------
    >>> answers("draws", [[1, 2]], "P k")
    array([[1, 2]])
    """
    array, axes = np.asarray(draws), layout.split()
    free = axes[0] == "..."
    named = axes[1:] if free else axes
    if array.ndim < len(named) or (array.ndim > len(named) and not free) or not array.size:
        raise ShapeError(f"{name} needs axes ({', '.join(axes)}), none of them empty; got shape {array.shape}.")
    for letter, length, least in zip(named, array.shape[array.ndim - len(named) :], need, strict=False):
        if length < least:
            raise ShapeError(f"{name} needs {letter} >= {least}; got {letter}={length} in shape {array.shape}.")
    if array.dtype.kind not in "iu":
        raise DataError(f"{name} must be whole numbers that say which answers are equal; got dtype {array.dtype}.")
    return array.astype(np.int64, copy=False)


def _known(probs: ArrayLike, draws: Any) -> Array:
    known = distributions("probs", probs)
    prompts = np.shape(draws)[1]
    if known.ndim != 2 or len(known) != prompts:
        raise ShapeError(f"probs needs axes (P={prompts}, C), one row for each prompt; got shape {known.shape}.")
    return known


def counted(draws: Labels) -> Iterator[Array]:
    """Counts (S, P', U) of the answers to blocks of prompts, whatever the numbers that name them.

    Examples
    --------
    >>> [counts.tolist() for counts in counted(np.array([[[70, 9]], [[9, 9]]]))]
    [[[[1.0, 1.0]], [[2.0, 0.0]]]]
    """
    students, prompts, responses = draws.shape
    size = max(1, BLOCK_VALUES // (students * students * responses))
    for start in range(0, prompts, size):
        ranks = ranked(draws[:, start : start + size])
        width = int(ranks.max()) + 1
        rows = np.arange(students * ranks.shape[1]).reshape(students, -1, 1) * width
        counts = np.bincount((rows + ranks).ravel(), minlength=students * ranks.shape[1] * width)
        yield counts.reshape(students, -1, width).astype(np.float64)


def ranked(draws: Labels) -> Labels:
    """Answers (S, P, R) numbered 0, 1, ... within each prompt, in the order of their numbers.

    Examples
    --------
    >>> ranked(np.array([[[70, 9], [5, 5]]]))
    array([[[1, 0],
            [0, 0]]])
    """
    students, prompts, responses = draws.shape
    flat = draws.transpose(1, 0, 2).reshape(prompts, students * responses)
    order = flat.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=1)
    steps = np.concatenate([np.zeros((prompts, 1), dtype=np.int64), np.diff(ordered, axis=1) != 0], axis=1)
    ranks = np.empty_like(flat)
    np.put_along_axis(ranks, order, steps.cumsum(axis=1), axis=1)
    return ranks.reshape(prompts, students, responses).transpose(1, 0, 2)
