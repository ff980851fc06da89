"""Expected calibration error with its noise taken off, and with an interval that also holds where the truth is 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, confidence_level, float_or_array
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import one_of
from uqkd.estimators.calibration.binned import bin_sums
from uqkd.estimators.calibration.uncertainty.binned_gaps import BinnedGaps, binned_gaps
from uqkd.estimators.calibration.uncertainty.limits import NORMS, chance_below, debiased_error, error_limits
from uqkd.estimators.calibration.uncertainty.quadratic import QuadraticForm
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval

# Seen at level .95 with 200 and 2,000 points, 2 and 100 classes (uqkd.theory.coverage.calibration, 500 to 10,000 experiments).
_NOTES = {
    "l1": "test inversion, independent points: holds a true 0 in .97-.98 of samples, an error of .05 in .94-.97 where it is spread "
    "over confidences, in .93-.96 where the most confident fifth alone is wrong",
    "l2": "test inversion, independent points: holds a true 0 in .97-.99 of samples, an error of .05 in .94-.98; "
    "in .87-.94 where nearly all are right",
    "quadratic": "test inversion, independent points: holds a true 0 in .97-.99 of samples, an error of .05 in .94-.99; over 100 "
    "classes .98 and more",
}


@dataclass(frozen=True)
class CalibrationError:
    """A binned calibration error of each student, and what is known of it; made by `calibration_error`.

    Attributes
    ----------
    plug_in : float or (S,) array
        As it is usually reported: above the truth on average, most where the truth is 0.
    debiased : float or (S,) array
        With what noise adds taken off; the estimate to report.
    interval : Interval
        For the true error; `.estimate` is `debiased`, `.low` is 0 where a calibrated model may look like this.
    p_value : float or (S,) array
        Chance that the plug-in of a calibrated model with these confidences is at least as large.
    estimand : str
        What is estimated, bins included.
    """

    plug_in: Any
    debiased: Any
    interval: Interval
    p_value: Any
    estimand: str


def calibration_error(
    probs: Any, labels: Any, *, norm: str = "l1", bins: int = 15, binning: str = "equal_width", level: float = LEVEL
) -> CalibrationError:
    """Binned calibration error of the predicted class: debiased, with an interval and a test of calibration.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) array_like
        Class probabilities, rows summing to one; confidence is the largest of a row.
    labels : (P,) integers
        True classes.
    norm : {"l1", "l2"}
        Mean of the sizes of the gaps (what is called ECE), or the root of their mean square (RMS calibration error).
    bins, binning
        As in `expected_calibration_error`.
    level : float
        Nominal coverage.

    Returns
    -------
    CalibrationError
        Per student; of the error Σ_b w_b |E[confidence − correct | bin b]|^q ^(1/q) over all points like these, w_b the share of
        points in bin b: an error within bins, where over- and underconfidence cancel, is not in it.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error`; or an unknown norm.

    Notes
    -----
    Both limits invert a test: an error is inside where the plug-in is in neither tail of its distribution, whose cumulants follow
    from the bins. For "l2" the plug-in is a sum of noncentral chi-squares (Sun et al. 2024 for equal bins), its debiased version
    Kumar, Liang & Ma's (2019), unbiased for the square. For "l1" how the error is spread over bins matters: see `chance_below`;
    the debiased error is the one whose expected plug-in is the observed one (0 where a calibrated model's is larger).
    The naive bootstrap centres on the plug-in and holds a true 0 in none to 77 % of samples.

    Examples
    --------
    >>> probs = np.repeat([[0.7, 0.3], [0.9, 0.1]], 50, axis=0)
    >>> found = calibration_error(probs, np.repeat([0, 1, 0, 1], [33, 17, 44, 6]))  # .66 and .88 right
    >>> round(found.plug_in, 3), round(found.debiased, 3), [round(float(x), 3) for x in found.interval]
    (0.03, 0.0, [0.0, 0.107])
    """
    one_of("norm", norm, NORMS)
    confidence_level(level)
    array, truth = checked_probabilities(probs, labels)
    count, confidence, correct, squares = bin_sums(array, truth, bins=bins, binning=binning)
    gaps = binned_gaps(count, confidence, squares, correct)
    shape = array.shape[:-2]

    def shaped_as_given(value: Array) -> Any:
        return float_or_array(value.reshape(shape))

    low, high = error_limits(gaps, norm=norm, level=level)
    debiased = shaped_as_given(debiased_error(gaps) if norm == "l1" else _root(unbiased_square(gaps)))
    surprise = 1.0 - chance_below(gaps, np.zeros(len(count)), gaps.plug_in(NORMS[norm]), norm=norm)
    return CalibrationError(
        shaped_as_given(gaps.plug_in(NORMS[norm]) ** (1.0 / NORMS[norm])),
        debiased,
        Interval(debiased, shaped_as_given(low), shaped_as_given(high), level, "test inversion", _NOTES[norm]),
        shaped_as_given(surprise),
        f"{_WORDS[norm]} confidence and accuracy of the predicted class in {bins} bins of {binning.replace('_', ' ')}",
    )


_WORDS = {"l1": "mean distance of", "l2": "root mean square distance of"}


def debiased_calibration_error(
    probs: Any, labels: Any, *, bins: int = 15, binning: str = "equal_width"
) -> float | Array:
    """Expected calibration error with what noise adds taken off: the number alone, for tables; see `calibration_error`.

    Parameters
    ----------
    probs, labels, bins, binning
        As in `calibration_error`.

    Returns
    -------
    float or (S,) array
        In [0, 1]; 0 where a calibrated model with these confidences scores higher on average.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error`.

    Examples
    --------
    >>> round(debiased_calibration_error([[0.8, 0.2]] * 100, [0] * 50 + [1] * 50), 3)  # one bin: .8 against .5
    0.3
    """
    array, truth = checked_probabilities(probs, labels)
    count, confidence, correct, squares = bin_sums(array, truth, bins=bins, binning=binning)
    return float_or_array(debiased_error(binned_gaps(count, confidence, squares, correct)).reshape(array.shape[:-2]))


def of_quadratic_forms(
    forms: Sequence[QuadraticForm], points: int, shape: tuple[int, ...], *, level: float, estimand: str
) -> CalibrationError:
    """What is known of an error whose square is a quadratic form, a form for each student; `shape` is () for one alone."""
    limits = [form.limits(level) for form in forms]

    def shaped_as_given(values: Sequence[Array]) -> Any:
        return float_or_array(np.array([float(value) for value in values]).reshape(shape))

    debiased = shaped_as_given([_root(form.unbiased_square(points)) for form in forms])
    low, high = (shaped_as_given([pair[side] for pair in limits]) for side in (0, 1))
    return CalibrationError(
        shaped_as_given([np.sqrt(form.square) for form in forms]),
        debiased,
        Interval(debiased, low, high, level, "test inversion", _NOTES["quadratic"]),
        shaped_as_given([form.p_value() for form in forms]),
        estimand,
    )


def unbiased_square(gaps: BinnedGaps) -> Array:
    """Mean square of the true gaps, (...): negative where noise is overestimated; do not clip before averaging.

    The noise of a bin is its sample variance over its count; a bin with one point takes that of a calibrated model.

    Examples
    --------
    >>> gaps = binned_gaps(np.array([4.0]), np.array([3.0]), np.array([2.25]), np.array([2.0]))  # .75 against 2 of 4
    >>> float(unbiased_square(gaps).round(6))  # .25² − (.25 · 4/3)/4
    -0.020833
    """
    right = np.clip(gaps.confidence - gaps.gap, 0.0, 1.0)
    sample = right * (1.0 - right) / np.maximum(gaps.count - 1.0, 1.0)
    noise = np.where(gaps.count > 1.0, sample, gaps.confidence * (1.0 - gaps.confidence))
    return np.asarray((gaps.weight * (gaps.gap**2 - noise)).sum(axis=-1))


def _root(square: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))
