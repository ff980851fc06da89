"""All the numbers of a classifier in one place: accuracy, proper scores, calibration, ranking, and after temperature scaling."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, float_or_array, numpy_of
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators.calibration.binned import (
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
    overconfidence_error,
    signed_gap,
)
from uqkd.estimators.calibration.selective import area_under_risk_coverage, correctness_auroc
from uqkd.estimators.calibration.temperature import apply_temperature, fit_temperature

# Smallest normal number of single precision: a probability that a softmax in it rounds to zero is somewhere below, and has
# no logarithm.
_LEAST = float(np.finfo(np.float32).tiny)


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


@dataclass(frozen=True)
class ClassifierSummary:
    """Measures of S students of a classification, each an (S,) array; made by `summarise_classifier`.

    Attributes
    ----------
    accuracy, nll, brier : (S,) array
        Share right; mean −log p of the true class in nats; squared distance from the one-hot truth.
    ece, ece_mass : (S,) array
        Expected calibration error, 15 bins of equal width, or of equal numbers of points.
    signed_gap, overconfidence : (S,) array
        Confidence − accuracy; overconfidence error, which is zero and says nothing where all are underconfident.
    correctness_auroc, aurc : (S,) array
        Whether confidence ranks right above wrong (NaN for a student that is always right, or never); area under the
        risk–coverage curve.
    temperature, nll_scaled, ece_scaled, signed_gap_scaled : (S,) array or None
        After temperature scaling fitted on the calibration part; None without one, NaN for a student that has no finite
        temperature.
    without_temperature : int or None
        Students without a finite temperature.
    """

    accuracy: Array
    nll: Array
    brier: Array
    ece: Array
    ece_mass: Array
    signed_gap: Array
    overconfidence: Array
    correctness_auroc: Array
    aurc: Array
    temperature: Array | None = None
    nll_scaled: Array | None = None
    ece_scaled: Array | None = None
    signed_gap_scaled: Array | None = None
    without_temperature: int | None = None

    def per_student(self) -> dict[str, Array]:
        """Every measure by name, (S,), those that need a calibration part only where there was one."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def table(self) -> dict[str, tuple[float, float]]:
        """Mean and standard error over students of every measure, by name.

        Over the students for which it is defined: `undefined` tells how many are not. The error is NaN with fewer
        than two of them, both are with none; the error of an infinite mean is NaN.
        """
        return {name: _mean_and_error(value) for name, value in self.per_student().items()}

    @property
    def undefined(self) -> dict[str, int]:
        """Number of students for which a measure is undefined (NaN), by name; empty where all are defined."""
        missing = {name: int(np.isnan(value).sum()) for name, value in self.per_student().items()}
        return {name: count for name, count in missing.items() if count}


def summarise_classifier(
    probs: Any, labels: Any, *, calibration_probs: Any = None, calibration_labels: Any = None
) -> ClassifierSummary:
    """Every measure of a classifier on test points, per student.

    Parameters
    ----------
    probs : (S, P, C) or (P, C) array_like
        Class probabilities on test points, rows summing to one; (P, C) is one student.
    labels : (P,) integers
        True classes.
    calibration_probs : (S, Q, C) or (Q, C) array_like, optional
        The same students on points that neither trained nor test them; their temperatures are fitted there.
    calibration_labels : (Q,) integers, optional
        Their true classes.

    Returns
    -------
    ClassifierSummary

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`, for either part; or students or classes that differ between the parts.
    OptionError
        Calibration probabilities without labels, or labels without probabilities.

    Notes
    -----
    The temperature divides log p, which is the logits up to a constant; zeros count as 1.2e-38. A student that is right on
    every calibration point (T → 0), or no better than chance there (T → ∞), has no finite temperature.

    Examples
    --------
    >>> probs, labels = [[[0.8, 0.2], [0.8, 0.2]], [[0.6, 0.4], [0.3, 0.7]]], [0, 1]
    >>> summary = summarise_classifier(probs, labels)
    >>> summary.accuracy, summary.table()["accuracy"]
    (array([0.5, 1. ]), (0.75, 0.25))
    >>> summary.undefined  # the second student is always right
    {'correctness_auroc': 1}
    """
    _, truth = checked_probabilities(probs, labels)
    array = _with_students(probs)
    plain = {
        "accuracy": accuracy(array, truth),
        "nll": negative_log_likelihood(array, truth),
        "brier": brier_score(array, truth),
        "ece": expected_calibration_error(array, truth),
        "ece_mass": expected_calibration_error(array, truth, binning="equal_mass"),
        "signed_gap": signed_gap(array, truth),
        "overconfidence": overconfidence_error(array, truth),
        "correctness_auroc": correctness_auroc(array, truth, undefined="nan"),
        "aurc": area_under_risk_coverage(array, truth),
    }
    if (calibration_probs is None) != (calibration_labels is None):
        raise OptionError("calibration_probs and calibration_labels go together; got one of the two. Pass both.")
    scaled = {} if calibration_probs is None else _scaled(array, truth, calibration_probs, calibration_labels)
    return ClassifierSummary(**plain, **scaled)  # type: ignore[arg-type]


def _scaled(array: Any, truth: Any, calibration_probs: Any, calibration_labels: Any) -> dict[str, Any]:
    """Fields of `ClassifierSummary` that need a calibration part."""
    _, held_truth = checked_probabilities(calibration_probs, calibration_labels)
    held = _with_students(calibration_probs)
    if held.shape[0] != array.shape[0] or held.shape[-1] != array.shape[-1]:
        raise ShapeError(
            f"calibration_probs needs the students and classes of probs, (S={array.shape[0]}, Q, C={array.shape[-1]}); "
            f"got {held.shape}."
        )
    names = ("temperature", "nll_scaled", "ece_scaled", "signed_gap_scaled")
    values = np.full((len(names), len(array)), np.nan)
    for s, (test, rows) in enumerate(zip(array, held, strict=True)):
        try:
            fitted = fit_temperature(_logs(rows), held_truth).temperature
        except DataError:  # the arguments were checked above: no finite positive minimiser
            continue
        after = apply_temperature(_logs(test), fitted)
        scores = (
            measure(after, truth) for measure in (negative_log_likelihood, expected_calibration_error, signed_gap)
        )
        values[:, s] = fitted, *scores
    return {**dict(zip(names, values, strict=True)), "without_temperature": int(np.isnan(values[0]).sum())}


def _with_students(probs: Any) -> Any:
    """`probs` as given, half precision and tensors included, whose rounding the checks then know of; (S, P, C)."""
    array = probs if numpy_of(probs) is not probs else np.asarray(probs)
    return array[None] if array.ndim == 2 else array


def _logs(probs: Any) -> Array:
    return np.asarray(np.log(np.maximum(numpy_of(probs), _LEAST, dtype=np.float64)))


def _mean_and_error(values: Array) -> tuple[float, float]:
    held = values[~np.isnan(values)]
    if held.size == 0:
        return float("nan"), float("nan")
    mean = float(held.mean())
    if held.size < 2 or not np.isfinite(mean):
        return mean, float("nan")
    return mean, float(held.std(ddof=1) / np.sqrt(held.size))
