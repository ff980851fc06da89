"""Temperature scaling: one number that rescales logits to fit held-out labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, finite, shaped
from uqkd.checking.probabilities import class_labels, sum_tolerance
from uqkd.errors import DataError, ShapeError

_ROUNDS = 200


@dataclass(frozen=True)
class Temperature:
    """Fitted temperature; made by `fit_temperature`.

    Attributes
    ----------
    temperature : float or (S,) array
        Divide logits by it; above one where the model was overconfident.
    nll, nll_before : float or (S,) array
        Mean negative log-likelihood, in nats, with this temperature and with one.
    """

    temperature: Any
    nll: Any
    nll_before: Any


def fit_temperature(logits: Any, labels: Any) -> Temperature:
    """Temperature that minimises the negative log-likelihood of held-out labels.

    Parameters
    ----------
    logits : (P, C) or (S, P, C) array_like
        Logits or log-probabilities (any constant per row drops out); C >= 2. Not probabilities.
    labels : (P,) integers
        True classes, from data that did not train the model.

    Returns
    -------
    Temperature
        Scalars, or (S,) arrays, one temperature for each student.

    Raises
    ------
    ShapeError, NotFiniteError
        Axes that do not fit, one class only, nothing at all, NaN or infinity.
    DataError
        Labels outside the classes; or no finite positive minimiser: every label has the largest logit (T → 0), or the
        logits favour the true class no more than chance (T → ∞ or below zero); or probabilities in place of logits.

    Notes
    -----
    Guo et al. (2017). Convex in 1 / T: the derivative, mean of E_T[z] − z_true, rises; its root is bracketed and found
    by safeguarded Newton steps.

    Examples
    --------
    >>> fitted = fit_temperature([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]], [0, 0, 1, 1])
    >>> round(fitted.temperature, 6)  # 4 / T = log(3): confidence equals the accuracy of 3 / 4
    3.640957
    """
    array = shaped("logits", logits, "P C", "S P C", need={"C": 2})
    truth = class_labels(labels, array.shape[-2], array.shape[-1])
    _no_probabilities(array)
    stack = array.reshape(-1, *array.shape[-2:])
    fits = []
    for s, rows in enumerate(stack):
        who = f" of student {s}" if array.ndim == 3 else ""
        fits.append(_fit_one(rows - rows.max(axis=-1, keepdims=True), truth, who))
    table = np.array(fits).T
    if array.ndim == 2:
        return Temperature(*(float(row[0]) for row in table))
    return Temperature(*(row.copy() for row in table))


def _no_probabilities(logits: Array) -> None:
    """Refuse rows that all are distributions: their temperature would be one of numbers between 0 and 1."""
    allowed = sum_tolerance(np.dtype(np.float32), logits.shape[-1])
    if logits.min() >= 0.0 and np.abs(logits.sum(axis=-1) - 1.0).max() <= allowed:
        raise DataError("logits hold probabilities: no entry is negative and each row sums to one. Pass np.log(probs).")


def _fit_one(shifted: Array, truth: Any, who: str) -> tuple[float, float, float]:
    picked = shifted[np.arange(truth.size), truth]
    size = float(np.abs(shifted).max())
    if picked.max() == 0.0 and picked.min() == 0.0 and size > 0.0:
        raise DataError(
            f"every label has the largest logit{who}, so the likelihood rises without end as T goes to 0. Use more "
            "held-out points, some of them wrong."
        )
    if size == 0.0 or float((shifted.mean(axis=-1) - picked).mean()) >= 0.0:
        raise DataError(
            f"the logits{who} favour the true class no more than chance, so no finite positive temperature minimises "
            "the likelihood. Are the labels in the order of the rows?"
        )
    inverse = _root(shifted / size, picked / size)
    nll = [float((special.logsumexp(b * shifted, axis=-1) - b * picked).mean()) for b in (inverse / size, 1.0)]
    return size / inverse, nll[0], nll[1]


def _slope(inverse: float, shifted: Array, picked: Array) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood in 1 / T."""
    weight = special.softmax(inverse * shifted, axis=-1)
    mean = (weight * shifted).sum(axis=-1)
    spread = (weight * (shifted - mean[:, None]) ** 2).sum(axis=-1)
    return float((mean - picked).mean()), float(spread.mean())


def _root(shifted: Array, picked: Array) -> float:
    low, high = 0.0, 1.0
    for _ in range(_ROUNDS):
        if _slope(high, shifted, picked)[0] >= 0.0:
            break
        low, high = high, 2.0 * high
    else:
        raise DataError(
            "the labels are so nearly separable that no temperature above the rounding error of the logits minimises "
            "the likelihood. Use more held-out points."
        )
    inverse = (low + high) / 2.0
    for _ in range(_ROUNDS):
        first, second = _slope(inverse, shifted, picked)
        low, high = (inverse, high) if first < 0.0 else (low, inverse)
        newton = inverse - first / second if second > 0.0 else low
        step = newton if low < newton < high else (low + high) / 2.0
        if abs(step - inverse) <= 4e-16 * inverse or high - low <= 4e-16 * high:
            return step
        inverse = step
    return inverse


def apply_temperature(logits: Any, temperature: Any) -> Array:
    """Class probabilities softmax(logits / T).

    Parameters
    ----------
    logits : (P, C) or (S, P, C) array_like
        Logits or log-probabilities.
    temperature : float or (S,) array_like
        Positive; one for all, or one for each student.

    Returns
    -------
    array of the shape of `logits`
        Rows sum to one.

    Raises
    ------
    ShapeError, NotFiniteError
        Axes that do not fit, NaN or infinity.
    DataError
        A temperature that is not positive, or probabilities in place of logits.

    Examples
    --------
    >>> apply_temperature([[2.0 * np.log(3.0), 0.0]], 2.0)
    array([[0.75, 0.25]])
    """
    array = shaped("logits", logits, "P C", "S P C", need={"C": 2})
    value = finite("temperature", temperature)
    if value.min() <= 0.0:
        raise DataError(f"temperature must be positive; got {value.min():g}.")
    if value.ndim > 1 or (value.ndim == 1 and (array.ndim != 3 or value.size != array.shape[0])):
        raise ShapeError(f"temperature needs one number or one per student; got {value.shape} for {array.shape}.")
    _no_probabilities(array)
    if value.ndim == 1:
        value = value[:, None, None]
    return np.asarray(special.softmax((array - array.max(axis=-1, keepdims=True)) / value, axis=-1))
