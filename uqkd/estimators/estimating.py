"""The last verb of the layers: from draws of students to what differs between them and within each."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from uqkd.checking.arrays import numpy_of
from uqkd.estimators.answers.agreement import decompose_agreement
from uqkd.estimators.variance.moments import VarianceDecomposition, decompose_variance


def estimate(draws: ArrayLike) -> VarianceDecomposition:
    """Inter- and intra-student variance of draws, per prompt, without bias: of numbers, or of class labels.

    Parameters
    ----------
    draws : (S, P, R) or (S, P, R, D) float, or (S, P, R) int
        As students `predict` them. Whole numbers are class labels, whose variance is that of their one-hot rows (Gini).

    Returns
    -------
    VarianceDecomposition
        `.inter .intra .total`, each (P,); `.mean` with standard errors over students and prompts.

    Raises
    ------
    ShapeError
        Fewer than two students or responses, or other axes.
    NotFiniteError
        Any NaN or inf; names the first (s, p, r).

    See Also
    --------
    decompose_variance, decompose_agreement : the two that it stands for.

    Examples
    --------
    >>> estimate([[[1.0, 3.0]], [[5.0, 7.0]]]).inter, estimate([[[7, 7]], [[7, 9]]]).intra
    (array([7.]), array([0.5]))
    """
    labels = np.asarray(numpy_of(draws, "draws")).dtype.kind in "iu"
    return decompose_agreement(draws) if labels else decompose_variance(draws)
