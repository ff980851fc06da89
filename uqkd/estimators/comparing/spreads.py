"""Decompositions whose values stand for single students: they take three students or more."""

from __future__ import annotations

from typing import Any

from uqkd.checking.arrays import shaped
from uqkd.errors import ShapeError
from uqkd.estimators.estimating import estimate
from uqkd.estimators.variance.categorical import CategoricalDecomposition, decompose_categorical
from uqkd.estimators.variance.moments import VarianceDecomposition


def of_draws(draws: Any, measure: str) -> VarianceDecomposition:
    """Of numbers or class labels (S, P, R[, D]).

    Raises
    ------
    ShapeError
        Two students, of which a variance between them has no standard error, or other axes.

    Examples
    --------
    >>> of_draws([[[1.0, 3.0]], [[5.0, 7.0]], [[3.0, 5.0]]], "inter").inter
    array([3.])
    """
    found = estimate(draws)
    _three(len(found.per_student_intra), measure)
    return found


def of_probabilities(probs: Any, measure: str) -> CategoricalDecomposition:
    """Of class probabilities (S, P, C).

    Raises
    ------
    ShapeError
        Two students, or other axes.

    Examples
    --------
    >>> of_probabilities([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]], "inter_gini").inter.round(3)
    array([0.667])
    """
    found = decompose_categorical(shaped("probs", probs, "S P C", need={"S": 2, "C": 2}))
    _three(len(found.per_student_intra), measure)
    return found


def _three(students: int, measure: str) -> None:
    if students < 3 and measure.removesuffix("_gini") != "intra":
        raise ShapeError(f"measure {measure!r} needs S >= 3 students for a standard error; got S={students}.")
