"""Checks of class probabilities and of class labels that go by a name of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.errors import DataError, UqkdError
from uqkd.estimators.calibration import class_labels
from uqkd.estimators.checking import Array, shaped
from uqkd.estimators.sums import checked_sums


def class_probabilities(name: str, probs: Any) -> Array:
    """Return `probs`, (P, C) or (S, P, C), as float64 rows that sum to one exactly, or refuse them.

    Rows may be off by the rounding of a softmax in single precision, as in `expected_calibration_error`. They are brought
    to a sum of one, because a divergence is non-negative only between distributions.

    Examples
    --------
    >>> class_probabilities("mixed", [[0.25, 0.75]])
    array([[0.25, 0.75]])
    >>> class_probabilities("mixed", [[0.25, 0.7]])
    Traceback (most recent call last):
        ...
    uqkd.errors.DataError: each row of mixed must sum to one over classes, within 3.6e-07; row 0 sums to 0.95. ...
    """
    array = shaped(name, probs, "P C", "S P C", need={"C": 2})
    if array.min() < 0.0:
        where = tuple(int(i) for i in np.unravel_index(int(array.argmin()), array.shape))
        raise DataError(f"{name} must not be negative; got {array.min():g} at index {where}. Pass softmax(logits).")
    return np.asarray(array / checked_sums(name, array, probs)[..., None])


def named_labels(name: str, labels: Any, points: int, classes: int) -> Any:
    """Return `labels` as (points,) integers in [0, classes); an error begins with `name`.

    Examples
    --------
    >>> named_labels("first", [0, 2], 2, 2)
    Traceback (most recent call last):
        ...
    uqkd.errors.DataError: first: labels must lie in 0 to 1; got 2 at index 1.
    """
    try:
        return class_labels(labels, points, classes)
    except UqkdError as error:
        raise type(error)(f"{name}: {error}") from error
