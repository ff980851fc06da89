"""All the numbers of a classifier in one place: accuracy, proper scores, calibration, ranking, and after temperature scaling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, numpy_of
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import DataError, OptionError, ShapeError, nearest
from uqkd.estimators.calibration.measures import MEASURES
from uqkd.estimators.calibration.temperature import apply_temperature, fit_temperature

# Smallest normal number of single precision: a probability that a softmax in it rounds to zero is somewhere below, and has
# no logarithm.
_LEAST = float(np.finfo(np.float32).tiny)


TEMPERATURE = "temperature"


@dataclass(frozen=True)
class ClassifierSummary:
    """Measures of S students of a classification, each an (S,) array; made by `summarise_classifier`.

    Each is also an attribute, such as `.ece`: all of `MEASURES`, `.temperature`, and those after scaling (`.ece_scaled`), which
    are None without a calibration part.

    Attributes
    ----------
    values : dict of str to (S,) array
        Every measure by name, in the order of tables. Among them accuracy, nll, brier: share right; mean −log p of the
        true class in nats; squared distance from the one-hot truth. ece, ece_mass: expected calibration error, 15 bins
        of equal width, or of equal numbers of points; ece_debiased: ece with what noise adds taken off. signed_gap,
        overconfidence: confidence − accuracy; overconfidence error, which is zero and says nothing where all are
        underconfident. correctness_auroc, aurc: whether confidence ranks right above wrong (NaN for a student that is
        always right, or never); area under the risk–coverage curve. With a calibration part temperature, nll_scaled,
        ece_scaled, signed_gap_scaled: after temperature scaling fitted there; NaN for a student that has no finite
        temperature.
    without_temperature : int or None
        Students without a finite temperature; None without a calibration part.

    Examples
    --------
    >>> ClassifierSummary({"ece": np.array([0.25])}).ecee
    Traceback (most recent call last):
    AttributeError: a ClassifierSummary has no measure 'ecee'; did you mean 'ece'? ...
    """

    values: Mapping[str, Array]
    without_temperature: int | None = None

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("values", {})  # empty while it is being copied or unpickled
        if name in values:
            return values[name]
        if values and name in (TEMPERATURE, *_scaled_names()):
            return None
        raise AttributeError(f"a ClassifierSummary has no measure {name!r}; {nearest(name, values)}.")

    def per_student(self) -> dict[str, Array]:
        """Every measure by name, (S,), those that need a calibration part only where there was one."""
        return dict(self.values)

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
    plain = {name: measure.of(array, truth) for name, measure in MEASURES.items()}
    if (calibration_probs is None) != (calibration_labels is None):
        raise OptionError("calibration_probs and calibration_labels go together; got one of the two. Pass both.")
    if calibration_probs is None:
        return ClassifierSummary(plain)
    scaled = _scaled(array, truth, calibration_probs, calibration_labels)
    return ClassifierSummary({**plain, **scaled}, int(np.isnan(scaled[TEMPERATURE]).sum()))


def _scaled_names() -> tuple[str, ...]:
    return tuple(f"{name}_scaled" for name, measure in MEASURES.items() if measure.scaled)


def _scaled(array: Any, truth: Any, calibration_probs: Any, calibration_labels: Any) -> dict[str, Array]:
    """Temperatures, and the measures after scaling by them."""
    _, held_truth = checked_probabilities(calibration_probs, calibration_labels)
    held = _with_students(calibration_probs)
    if held.shape[0] != array.shape[0] or held.shape[-1] != array.shape[-1]:
        raise ShapeError(
            f"calibration_probs needs the students and classes of probs, (S={array.shape[0]}, Q, C={array.shape[-1]}); "
            f"got {held.shape}."
        )
    values = {name: np.full(len(array), np.nan) for name in (TEMPERATURE, *_scaled_names())}
    for s, (test, rows) in enumerate(zip(array, held, strict=True)):
        try:
            fitted = fit_temperature(_logs(rows), held_truth).temperature
        except DataError:  # the arguments were checked above: no finite positive minimiser
            continue
        after = apply_temperature(_logs(test), fitted)
        values[TEMPERATURE][s] = fitted
        for name, measure in MEASURES.items():
            if measure.scaled:
                values[f"{name}_scaled"][s] = measure.of(after, truth)
    return values


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
