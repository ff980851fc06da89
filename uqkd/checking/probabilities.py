"""Class probabilities and class labels, checked: rows sum to one as far as rounding lets them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from uqkd.checking.arrays import Array, finite, numpy_of, one_line, shaped
from uqkd.errors import DataError, NotFiniteError, ShapeError, UqkdError

# Distance from 1 to the next number, and smallest number above 0.
HALF = {"float16": (2.0**-10, 2.0**-24), "bfloat16": (2.0**-7, 2.0**-133)}
NEAR = 0.02  # sums this near to one or a hundred are taken for distributions, or for percentages, that lost digits


def sum_tolerance(dtype: Any, classes: int) -> float:
    """Largest rounding error of the sum of C class probabilities that come in a number type, NumPy's or torch's.

    A softmax in float32 normalises by a sum of C terms (C units of 2^-24) and rounds exp, quotient and storage (4
    more); float64 input is given the same, being often a converted float32. In half precision u, half the distance from 1
    to the next number, is the largest relative error of one rounding. A softmax in it rounds its normaliser and each
    quotient, so that the sum is off by at most (1 + u)/(1 - u) - 1 = 2u/(1 - u), and where digits run out each class adds
    half the smallest number above 0. The sum itself is taken in float64, whose error is C units of 2^-53.

    Examples
    --------
    >>> [float(f"{sum_tolerance(kind, 1000):.2g}") for kind in (np.dtype("f8"), np.dtype("f4"), np.dtype("f2"))]
    [6e-05, 6e-05, 0.0011]
    """
    single = (classes + 4) * 2.0**-24
    name = getattr(dtype, "name", str(dtype)).rpartition(".")[2]  # "torch.bfloat16"
    if name not in HALF:
        return single
    unit, least = HALF[name][0] / 2.0, HALF[name][1]
    return single + 2.0 * unit / (1.0 - unit) + classes * least / 2.0


def checked_sums(name: str, array: Array, given: Any) -> Array:
    """Sums over the last axis of finite probabilities (..., C) that were given as `given`, or `DataError` for the worst row.

    Examples
    --------
    >>> checked_sums("probs", np.array([[40.0, 60.0]]), [[40, 60]])
    Traceback (most recent call last):
        ...
    uqkd.errors.DataError: each row of probs must sum to one over classes, within 3.6e-07; row 0 sums to 100. These ...
    """
    dtype = getattr(given, "dtype", None)
    allowed = sum_tolerance(np.asarray(numpy_of(given)).dtype if dtype is None else dtype, array.shape[-1])
    total = array.sum(axis=-1)
    off = np.abs(total - 1.0)
    if off.max() > allowed:
        row = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
        who = "this one" if not row else f"row {row[0]}" if len(row) == 1 else f"row {row}"
        raise DataError(
            f"each row of {name} must sum to one over classes, within {allowed:.2g}; {who} sums to {total[row]:.9g}. "
            f"{_remedy(array, total, allowed)}"
        )
    return np.asarray(total)


def _remedy(array: Array, total: Array, allowed: float) -> str:
    if np.abs(total - 100.0).max() <= 100.0 * NEAR:
        return "These look like percentages: divide by 100."
    for axis in range(array.ndim - 1):
        if np.abs(array.sum(axis=axis) - 1.0).max() <= allowed:
            return f"They sum to one over axis {axis}: put the classes on the last axis."
    if np.abs(total - 1.0).max() <= NEAR:
        return "Digits were lost before they came here: keep them in float32, or divide each row by its sum."
    if (array == np.round(array)).all():
        return "These look like counts: divide each row by its sum."
    return "Pass softmax(logits)."


def normalised(array: Array) -> Array:
    """Rows of checked probabilities brought to a sum of one; those that are there up to rounding stay as they are, to the bit.

    Examples
    --------
    >>> normalised(np.array([[0.25, 0.75], [0.25, 0.751]])).sum(axis=-1)
    array([1., 1.])
    """
    total = array.sum(axis=-1, keepdims=True)
    rounding = array.shape[-1] * np.finfo(np.float64).eps
    off = np.abs(total - 1.0) > rounding
    return array / np.where(off, total, 1.0) if off.any() else array


def distributions(name: str, probs: ArrayLike, *, need_students: int = 0) -> Array:
    """Return class probabilities (..., C) as finite float64 rows that sum to one, or refuse them.

    Rows may be off by the rounding of the input's precision, see `sum_tolerance`; they are not renormalised.

    Examples
    --------
    >>> distributions("probs", [[0.25, 0.75]])
    array([[0.25, 0.75]])
    """
    array = shaped(name, probs, "S P C", need={"S": need_students}) if need_students else finite(name, probs)
    if array.ndim == 0 or array.shape[-1] < 2:
        raise ShapeError(f"{name} needs class probabilities with C >= 2 classes on the last axis; got {array.shape}.")
    if (array < 0).any():
        raise DataError(f"{name} holds the negative probability {array.min()}; pass probabilities, not logits.")
    checked_sums(name, array, probs)
    return array


def checked_probabilities(probs: Any, labels: Any) -> tuple[Array, Any]:
    """Class probabilities ([S,] P, C) in float64 and true classes (P,), or the typed error of the first that is none."""
    array = shaped("probs", probs, "P C", "S P C", need={"C": 2})
    if array.min() < 0.0:
        where = tuple(int(i) for i in np.unravel_index(int(array.argmin()), array.shape))
        raise DataError(f"probs must not be negative; got {array.min():g} at index {where}. Pass softmax(logits).")
    checked_sums("probs", array, probs)
    return array, class_labels(labels, array.shape[-2], array.shape[-1])


def class_labels(labels: Any, points: int, classes: int) -> Any:
    """Return `labels` as (points,) integers in [0, classes), or raise a typed error."""
    try:
        raw = np.asarray(numpy_of(labels, "labels"))
    except NotFiniteError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"labels must be one array of integers ({one_line(error)}).") from error
    if raw.dtype.kind not in "biu":
        raise DataError(f"labels must be integers, the index of each true class; got dtype {raw.dtype}.")
    if raw.shape != (points,):
        raise ShapeError(f"labels needs shape (P={points},), one for each point of probs; got {raw.shape}.")
    truth = raw.astype(np.int64)
    outside = (truth < 0) | (truth >= classes)
    if outside.any():
        first = int(outside.argmax())
        raise DataError(f"labels must lie in 0 to {classes - 1}; got {truth[first]} at index {first}.")
    return truth


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
