"""The measures of a classifier that every table holds, by name: another one is another entry of `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from uqkd.checking.arrays import Array, float_or_array
from uqkd.checking.probabilities import checked_probabilities
from uqkd.estimators.calibration.binned import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    signed_gap,
)
from uqkd.estimators.calibration.selective import area_under_risk_coverage, correctness_auroc
from uqkd.estimators.calibration.uncertainty.binned_error import debiased_calibration_error
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.proportions import proportion_interval


def accuracy(probs: Any, labels: Any) -> float | Array:
    """Share of points whose most probable class is the true one.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) array_like
        Class probabilities, rows summing to one; of several largest the first counts.
    labels : (P,) integers
        True classes.

    Returns
    -------
    float or (S,) array
        In [0, 1].

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`.

    Examples
    --------
    >>> accuracy([[0.8, 0.2], [0.8, 0.2]], [0, 1])
    0.5
    """
    array, truth = checked_probabilities(probs, labels)
    return float_or_array((array.argmax(axis=-1) == truth).mean(axis=-1))


def accuracy_interval(probs: Any, labels: Any, *, level: float = LEVEL) -> Interval:
    """Interval for the accuracy of each classifier on all points like these; a bound where all or none are right.

    Parameters
    ----------
    probs, labels
        As in `accuracy`; points independent of each other.
    level : float
        Nominal coverage.

    Returns
    -------
    Interval
        Of floats or (S,) arrays, by mid-P; see `proportion_interval`. It is about other points and this very classifier: of
        several students take the spread of their accuracies.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error`; a level outside (0, 1).

    Examples
    --------
    >>> found = accuracy_interval([[0.8, 0.2]] * 100, [0] * 100)  # all right: 1 − .05^(1/100) may still be wrong
    >>> float(found.low.round(4)), float(found.high)
    (0.9705, 1.0)
    """
    array, truth = checked_probabilities(probs, labels)
    return proportion_interval((array.argmax(axis=-1) == truth).sum(axis=-1), truth.size, level=level)


@dataclass(frozen=True)
class Measure:
    """One number of a classifier.

    Attributes
    ----------
    of : callable
        `of(probs, labels)` of class probabilities (S, P, C) and true classes (P,) gives (S,), and of (P, C) a float; NaN where it
        is not defined.
    scaled : bool
        Also after temperature scaling, as NAME_scaled.
    """

    of: Callable[[Any, Any], Any]
    scaled: bool = False


# Names are those of tables, which hold them in this order.
MEASURES: Mapping[str, Measure] = {
    "accuracy": Measure(accuracy),
    "nll": Measure(negative_log_likelihood, scaled=True),
    "brier": Measure(brier_score),
    "ece": Measure(expected_calibration_error, scaled=True),
    "ece_debiased": Measure(debiased_calibration_error),
    "ece_mass": Measure(partial(expected_calibration_error, binning="equal_mass")),
    "signed_gap": Measure(signed_gap, scaled=True),
    "overconfidence": Measure(overconfidence_error),
    "correctness_auroc": Measure(partial(correctness_auroc, undefined="nan")),
    "aurc": Measure(area_under_risk_coverage),
}
