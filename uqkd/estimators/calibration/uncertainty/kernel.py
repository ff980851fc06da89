"""Calibration error without bins: gaps of confidences that are near each other, weighed by a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, confidence_level
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import OptionError, ShapeError
from uqkd.estimators.calibration.uncertainty.binned_error import CalibrationError, of_quadratic_forms
from uqkd.estimators.calibration.uncertainty.quadratic import QuadraticForm, likely, quadratic_form
from uqkd.estimators.intervals.level import LEVEL

_STEP, _BEYOND = 0.5, 3.0  # of the grid, in bandwidths: the sum over it is the kernel to 2 exp(−2π²) + exp(−18) = 2e-8


def kernel_calibration_error(
    probs: Any, labels: Any, *, bandwidth: float = 0.1, level: float = LEVEL
) -> CalibrationError:
    """Smooth calibration error of the predicted class: root mean product of the gaps of two points of like confidence.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) array_like
        Class probabilities, rows summing to one; confidence is the largest of a row. P >= 2.
    labels : (P,) integers
        True classes.
    bandwidth : float
        Standard deviation of the Gaussian kernel k over confidences, in (0, 1].
    level : float
        Nominal coverage.

    Returns
    -------
    CalibrationError
        Per student; of √(E[k e e′]/E[k]), e = confidence − correct of two different points: a gap of .05 everywhere is an error of
        .05. No edge of a bin moves it. `.debiased` is the root of its unbiased square, 0 where that is negative.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`; fewer than two points.
    OptionError
        A bandwidth outside (0, 1], a level outside (0, 1).

    Notes
    -----
    Kumar, Sarawagi & Jain (2018), with the unbiased sum of Widmann, Lindsten & Zachariah (2019), over E[k]. The kernel is a
    sum over a grid of Gaussians, so the cost is linear in P. Limits: test inversion with the noise's first three cumulants.

    Examples
    --------
    >>> found = kernel_calibration_error([[0.8, 0.2]] * 100, [0] * 50 + [1] * 50)
    >>> round(found.plug_in, 3), round(found.debiased, 3)  # .8 against .5; less 1/99 of .25
    (0.3, 0.296)
    """
    confidence_level(level)
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, (int, float)) or not 0.0 < bandwidth <= 1.0:
        raise OptionError(f"bandwidth must lie in (0, 1], such as 0.1; got {bandwidth!r}.")
    array, truth = checked_probabilities(probs, labels)
    if truth.size < 2:
        raise ShapeError(f"kernel_calibration_error compares two points; got P={truth.size}. Use more.")
    confidence = array.max(axis=-1).reshape(-1, truth.size)
    correct = (array.argmax(axis=-1) == truth).astype(float).reshape(-1, truth.size)
    forms = [kernel_form(one, right, bandwidth) for one, right in zip(confidence, correct, strict=True)]
    estimand = (
        f"root mean product of gaps, Gaussian kernel of bandwidth {bandwidth:g} over confidences of the predicted class"
    )
    return of_quadratic_forms(forms, truth.size, array.shape[:-2], level=level, estimand=estimand)


def kernel_form(confidence: Array, correct: Array, bandwidth: float) -> QuadraticForm:
    """The squared kernel error of (..., P) confidences and 0/1 whether they are right; any axes before the last.

    Examples
    --------
    >>> form = kernel_form(np.array([0.8, 0.6]), np.array([1.0, 0.0]), 0.1)  # one pair: −.2 · .6
    >>> float(form.unbiased_square(2).round(6))
    -0.12
    """
    points = confidence.shape[-1]
    grid = np.arange(-_BEYOND, 1.0 / bandwidth + _BEYOND + _STEP, _STEP) * bandwidth
    feature = np.exp(-(((confidence[..., None] - grid) / bandwidth) ** 2)) * np.sqrt(_STEP / np.sqrt(np.pi / 2.0))
    total, gap = feature.sum(axis=-2), confidence - correct
    itself = (feature**2).sum(axis=(-2, -1))
    near = ((total**2).sum(axis=-1) - itself) / (points * (points - 1.0))  # E[k] of two different points
    scale = 1.0 / np.sqrt(np.maximum(near, np.finfo(float).tiny))
    summed = (feature * gap[..., None]).sum(axis=-2)
    nearby = (feature @ total[..., None])[..., 0]  # points, by the kernel
    right = likely(confidence - (feature @ summed[..., None])[..., 0] / nearby, nearby)
    flipped = np.swapaxes(feature, -1, -2) * (scale / points)[..., None, None] ** 2
    noise = [flipped @ (feature * (p * (1.0 - p))[..., None]) for p in (confidence, right)]
    own = ((feature**2).sum(axis=-1) * gap**2).sum(axis=-1) * (scale / points) ** 2
    return quadratic_form(summed * (scale / points)[..., None], own, noise[0], noise[1])
