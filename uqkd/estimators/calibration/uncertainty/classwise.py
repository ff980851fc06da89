"""Calibration error of the probabilities of all classes, not of the predicted one alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from uqkd.checking.arrays import Array, confidence_level
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import ShapeError
from uqkd.estimators.calibration.binned import bin_of
from uqkd.estimators.calibration.uncertainty.binned_error import CalibrationError, of_quadratic_forms
from uqkd.estimators.calibration.uncertainty.quadratic import QuadraticForm, likely, quadratic_form
from uqkd.estimators.intervals.level import LEVEL


def classwise_calibration_error(
    probs: Any, labels: Any, *, bins: int = 15, binning: str = "equal_width", level: float = LEVEL
) -> CalibrationError:
    """Root mean square calibration error over classes and bins of each class's probability: debiased, with an interval.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) array_like
        Class probabilities, rows summing to one. P >= 2.
    labels : (P,) integers
        True classes.
    bins, binning
        Of each class's probabilities; as in `expected_calibration_error`.
    level : float
        Nominal coverage.

    Returns
    -------
    CalibrationError
        Per student; of √(Σ_c Σ_b w_cb E[p_c − 1(y = c) | bin b of class c]²/C), w_cb the share of points there. With many classes
        most probabilities are near 0, and so is this error: compare at one number of classes. The classwise ECE of Kull et al.
        (2019), the mean of the sizes of the same gaps, is never larger, so `.interval.high` bounds it too.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error`; fewer than two points.

    Notes
    -----
    Kumar, Liang & Ma (2019), marginal calibration error, squares debiased by leaving out each point's product with itself.
    Limits: test inversion; the noise's cumulants are those of multinomial labels, so that classes depend on each other.

    Examples
    --------
    >>> found = classwise_calibration_error([[0.8, 0.2]] * 100, [0] * 50 + [1] * 50)  # .3 too much, and too little
    >>> round(found.plug_in, 3), round(found.debiased, 3)
    (0.3, 0.296)
    """
    confidence_level(level)
    array, truth = checked_probabilities(probs, labels)
    if truth.size < 2:
        raise ShapeError(f"classwise_calibration_error compares two points; got P={truth.size}. Use more.")
    students = array.reshape(-1, *array.shape[-2:])
    forms = [classwise_form(one, truth, bins=bins, binning=binning) for one in students]
    kind = f"{bins} bins of {binning.replace('_', ' ')}"
    estimand = f"root mean square gap of the probabilities of {array.shape[-1]} classes in {kind}"
    return of_quadratic_forms(forms, truth.size, array.shape[:-2], level=level, estimand=estimand)


def classwise_form(probs: Array, labels: Any, *, bins: int, binning: str) -> QuadraticForm:
    """The squared classwise error of one student's (P, C) probabilities.

    Examples
    --------
    >>> form = classwise_form(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1]), bins=15, binning="equal_width")
    >>> float(form.unbiased_square(2).round(6))  # −.2 · .8 in either class
    -0.16
    """
    points, classes = probs.shape
    cell = bin_of(probs.T, bins=bins, binning=binning).T + np.arange(classes) * bins
    _, cell, count = np.unique(cell, return_inverse=True, return_counts=True)
    cell = cell.reshape(points, classes)
    gap = probs - np.eye(classes)[labels]
    scale = 1.0 / np.sqrt(points * classes * count.astype(float))  # |d|² = Σ w gap²/C, with w = count/points
    summed = np.bincount(cell.ravel(), gap.ravel())
    true = likely(probs - (summed / (count + 1.0))[cell], count[cell].astype(float))
    true /= true.sum(axis=1, keepdims=True)
    own = float((gap**2 * (scale**2)[cell]).sum())
    noise = [_covariance(p, cell, scale) for p in (probs, true)]
    return quadratic_form(summed * scale, np.asarray(own), noise[0], noise[1])


def _covariance(probs: Array, cell: Any, scale: Array) -> Array:
    """Covariance of scaled sums over cells of what multinomial labels leave, (cells, cells)."""
    points, classes = probs.shape
    rows = np.repeat(np.arange(points), classes)
    placed = sparse.csr_array((probs.ravel(), (rows, cell.ravel())), shape=(points, len(scale)))
    found = -(placed.T @ placed).toarray()
    found[np.diag_indices(len(scale))] += np.bincount(cell.ravel(), probs.ravel(), minlength=len(scale))
    return np.asarray(found * np.outer(scale, scale))
