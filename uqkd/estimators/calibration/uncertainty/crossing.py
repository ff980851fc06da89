"""Where a chance that falls with the true error crosses a tail: a scan, then bisection, for all models at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import Array

_SCAN = 24  # steps of the scan over [0, 1], even in the square root of the error
_HALVINGS = 18  # of a step of the scan, at most .08: to 3e-7


def largest_error(holds: Callable[[Array], NDArray[np.bool_]], shape: tuple[int, ...]) -> Array:
    """Largest error in [0, 1] at which `holds`, of an array of errors, is true; 0 where it is nowhere.

    Examples
    --------
    >>> float(largest_error(lambda error: error <= 0.3, ()).round(5)), float(largest_error(lambda error: error < 0, ()))
    (0.3, 0.0)
    """
    low, high, done = np.zeros(shape), np.full(shape, 1.0), np.zeros(shape, dtype=bool)
    grid = (np.arange(_SCAN + 1) / _SCAN) ** 2
    for below, at in zip(grid[-2::-1], grid[:0:-1], strict=True):
        here = holds(np.full(shape, below)) & ~done
        low, high, done = np.where(here, below, low), np.where(here, at, high), done | here
        if done.all():
            break
    high = np.where(done, high, 0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        inside = holds(middle)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.asarray(low)
