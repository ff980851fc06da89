"""Gini variances and distances of answer distributions that are seen through draws only, all without bias.

Answers are whole numbers that say which are equal: of (S, P, R) draws, response r of student s to prompt p. Two draws of
one distribution q agree with probability Σ q², a draw of q and one of p with Σ q·p; pairs of different draws estimate
both without bias, and every quantity here is a sum of such agreements.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.probabilities import distributions
from uqkd.errors import ShapeError
from uqkd.estimators.answers.counting import answers, counted
from uqkd.estimators.intervals.prompt_means.spread import Spread, StudentSpread, as_few_columns
from uqkd.estimators.variance.moments import VarianceDecomposition
from uqkd.estimators.variance.prompt_mean import spread_of

Array = NDArray[np.float64]


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
    return from_spreads(own, about, responses, spread=partial(_spread_of_answers, array, own))


def _spread_of_answers(array: NDArray[np.int64], within: Array) -> StudentSpread:
    responses, rows = array.shape[2], []
    for counts in counted(array):
        rows.append(as_few_columns(counts / responses - (counts / responses).mean(axis=0)))
    width = max(block.shape[-1] for block in rows)
    padded = [np.pad(block, ((0, 0), (0, 0), (0, width - block.shape[-1]))) for block in rows]
    return spread_of(np.concatenate(padded, axis=1), within, responses, bounds=(1.0, 1.0))


def from_spreads(within: Array, about: Array, responses: int, *, spread: Spread | None = None) -> VarianceDecomposition:
    """Components from each student's own variance and its squared distance from the mean of all students.

    Parameters
    ----------
    within : (S, P) float
        Variance (ddof 1) of a student's R responses.
    about : (S, P) float
        ‖mean response of the student − mean over students‖².
    responses : int
        R.
    spread : callable, optional
        Makes what is needed for intervals of the means.

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
    return VarianceDecomposition(inter, intra, inter + intra, pseudo, within, spread)


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
    array, known = answers("draws", draws, "S P R"), known_distribution(probs, draws)
    classes = known.shape[1]
    inside = (array >= 0) & (array < classes)
    at = known[np.arange(len(known))[None, :, None], np.where(inside, array, 0)]
    return np.asarray(np.where(inside, at, 0.0).mean(axis=-1))


def known_distribution(probs: ArrayLike, draws: Any) -> Array:
    """Known distributions (P, C) of as many prompts as the draws (S, P, R) have.

    Examples
    --------
    >>> known_distribution([[0.5, 0.5]], [[[0, 1]]])
    array([[0.5, 0.5]])
    """
    known = distributions("probs", probs)
    prompts = np.shape(draws)[1]
    if known.ndim != 2 or len(known) != prompts:
        raise ShapeError(f"probs needs axes (P={prompts}, C), one row for each prompt; got shape {known.shape}.")
    return known
