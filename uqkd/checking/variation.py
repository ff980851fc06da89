"""When numbers do not vary, and when their squares leave float64: one rule for every estimator that needs a variance."""

from __future__ import annotations

import numpy as np

from uqkd.checking.arrays import Array
from uqkd.errors import DataError, VarianceError

# Two numbers that are one, but came by different routes of at most n operations, differ by at most n units of eps times
# the larger: each operation rounds by eps/2, relatively, on either route. Four operations are a sum, a product, a
# quotient and the reading of a decimal. The variance of such numbers is nothing but rounding.
ROUNDING = 4.0 * float(np.finfo(np.float64).eps)

# Squares of numbers in this range, and sums of 2^24 of them, neither overflow (2^1024) nor fall below the smallest
# number with all its digits (2^-1022); for a power q the exponents are divided by q/2.
_LARGEST, _SMALLEST = 500.0, -510.0


def alike(values: Array, axis: int = -1) -> Array:
    """Whether numbers along an axis are one number up to rounding: their range is at most 4 eps of the largest of them.

    The variance that is computed of equal numbers is no measure of that: it is zero or not as the mean happens to round.

    Examples
    --------
    >>> float(np.var([0.1, 0.1, 0.1], ddof=1)), alike(np.array([[0.1, 0.1, 0.1], [0.3, 0.3, 0.1 + 0.2], [1.0, 2.0, 3.0]]))
    (2.8888949165808538e-34, array([ True,  True, False]))
    """
    low, high = values.min(axis=axis), values.max(axis=axis)
    return np.asarray(high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high)))


def varying(name: str, values: Array) -> None:
    """Raise `VarianceError` for the first row of `values` (..., k) whose k numbers are one number up to rounding.

    Examples
    --------
    >>> varying("samples[0]", np.array([[1.0, 2.0], [0.3, 0.1 + 0.2]]))
    Traceback (most recent call last):
        ...
    uqkd.errors.VarianceError: samples[0] does not vary at index 1: its 2 values are 0.3 up to rounding. A source ...
    """
    same = alike(values)
    if same.any():
        index = tuple(int(i) for i in np.unravel_index(int(same.argmax()), same.shape)) if same.ndim else ()
        where = f" at index {index[0] if len(index) == 1 else index}" if index else ""
        raise VarianceError(
            f"{name} does not vary{where}: its {values.shape[-1]} values are {values[index][0]:.12g} up to rounding. A "
            "source without variance has collapsed or repeats itself; leave it out or draw more responses (no epsilon "
            "is added here)."
        )


def certain(spread: Array, classes: int) -> Array:
    """Whether a Gini variance 1 − Σ p² over C classes is zero up to rounding.

    Each square and each sum rounds by half an eps of at most one: C of each, and the difference.

    Examples
    --------
    >>> certain(np.array([1.0 - (0.9999999999999999**2), 1e-9]), 2)
    array([ True, False])
    """
    return np.asarray(spread <= (2 * classes + 1) * np.finfo(np.float64).eps)


def raisable(name: str, values: Array, power: int = 2) -> Array:
    """Return `values` if float64 holds their powers, or raise `DataError`: the largest is too large, or all are too small.

    Examples
    --------
    >>> raisable("draws", np.array([1.0, 1e160]))
    Traceback (most recent call last):
        ...
    uqkd.errors.DataError: draws holds values up to 1e+160, whose powers of 2 leave float64 (2.98e-154 to 3.27e+150 ...
    """
    # NaN says nothing of size; two reductions and no copy
    ends = np.fmin.reduce(values, axis=None, initial=0.0), np.fmax.reduce(values, axis=None, initial=0.0)
    size = float(max(-ends[0], ends[1]))
    low, high = 2.0 ** (2.0 * _SMALLEST / power), 2.0 ** (2.0 * _LARGEST / power)
    if size > high or 0.0 < size < low:
        raise DataError(
            f"{name} holds values up to {size:.3g}, whose powers of {power} leave float64 ({low:.3g} to {high:.3g} "
            "are held). Use another unit."
        )
    return values
