"""Standard errors by leaving out: one level of a crossed design after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def leave_level_out_error(
    statistic: Callable[[Array, Mapping[str, NDArray[Any]]], ArrayLike],
    values: ArrayLike,
    factors: Mapping[str, NDArray[Any]],
) -> Array:
    """Standard errors of any statistic of a crossed design: the levels of every factor are samples.

    Parameters
    ----------
    statistic : callable
        Takes values and factors as below, and returns a number or an array.
    values : (S, ...) float
        What each student is like.
    factors : mapping of name to (S,) array
        The level of each factor that a student has; at least two levels each.

    Returns
    -------
    float array
        Shaped like the statistic.

    Notes
    -----
    Jackknife: one level is left out after another, for every factor, and the variances of the factors are added up.

    Examples
    --------
    >>> levels = {"start": np.arange(4)}
    >>> leave_level_out_error(lambda values, _: values.mean(), np.array([1.0, 3.0, 5.0, 7.0]), levels).round(4)
    np.float64(1.291)
    """
    answers, variance = np.asarray(values, dtype=np.float64), np.zeros(())
    for levels in factors.values():
        without = np.array(
            [
                statistic(answers[levels != level], {name: other[levels != level] for name, other in factors.items()})
                for level in np.unique(levels)
            ]
        )
        n = len(without)
        variance = variance + (n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt(variance)
