"""How well a score ranks right answers above wrong ones, as numbers per student and prompt, so that it has an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from uqkd.checking.arrays import same_shape, shaped
from uqkd.errors import DataError

Array = NDArray[np.float64]


def auroc_values(scores: ArrayLike, right: ArrayLike) -> Array:
    """Numbers per student and prompt whose mean is the students' AUROC, and whose spread is its, to first order.

    Parameters
    ----------
    scores : (S, P, R) float
        Higher where an answer is held to be right.
    right : (S, P, R) bool
        Whether it is.

    Returns
    -------
    (S, P) float
        AUROC of the student (its mean over prompts, exactly), and P times what the answers to the prompt add to it: of a right
        answer its share of wrong ones below it, less the AUROC, over the count of right ones; of a wrong one likewise.

    Raises
    ------
    ShapeError, NotFiniteError
        Other axes, or NaN.
    DataError
        A student all of whose answers are right, or wrong: there is no pair to rank.

    Notes
    -----
    The structural components of DeLong, DeLong & Clarke-Pearson (1988), gathered by prompt since answers to one prompt are alike.

    Examples
    --------
    >>> auroc_values([[[0.9, 0.5], [0.5, 0.1]]], [[[True, True], [False, False]]])  # (1 + ½·1 + … )/4: mean .875
    array([[0.875, 0.875]])
    """
    score, truth = shaped("scores", scores, "S P R"), np.asarray(right)
    same_shape("right", truth, "scores", score)
    if truth.dtype.kind != "b":
        raise DataError(f"right must hold true and false; got dtype {truth.dtype}.")
    return np.array([_of_student(*one, s) for s, one in enumerate(zip(score, truth, strict=True))])


def _of_student(score: Array, right: NDArray[np.bool_], student: int) -> Array:
    flat, plus = score.ravel(), right.ravel()
    count, others = int(plus.sum()), int((~plus).sum())
    if not count or not others:
        raise DataError(
            f"all answers of student {student} are {'right' if count else 'wrong'}: there is no pair to rank."
        )
    placement = np.empty(flat.size)  # share of the other kind that an answer is rightly apart from
    placement[plus] = (stats.rankdata(flat)[plus] - stats.rankdata(flat[plus])) / others
    placement[~plus] = 1.0 - (stats.rankdata(flat)[~plus] - stats.rankdata(flat[~plus])) / count
    area = float(placement[plus].mean())
    influence = (placement - area) / np.where(plus, count, others)
    return np.asarray(area + len(score) * influence.reshape(score.shape).sum(axis=1))
