"""Variances between students as numbers of single students and prompts: they take three students or more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, shaped
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
    return replace(found, per_student_inter=_unbiased(found.per_student_inter, found.inter))


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
    return replace(found, per_student_inter=_unbiased(found.per_student_inter, found.inter))


def _unbiased(values: Array, inter: Array) -> Array:
    """Pseudo-values whose spread is that of a variance of S normal effects, which a jackknife takes (S − 1)/(S − 2) times too
    large.

    What pairs of students do to a variance stands in the pseudo-values of both (Efron & Stein 1981).
    """
    students = len(values)
    return np.asarray(inter + np.sqrt(max(students - 2, 0) / max(students - 1, 1)) * (values - inter))


def _three(students: int, measure: str) -> None:
    if students < 3 and measure.removesuffix("_gini") != "intra":
        raise ShapeError(f"measure {measure!r} needs S >= 3 students for a standard error; got S={students}.")
