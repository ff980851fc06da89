"""Sampled answers as whole numbers that say which are equal: checked, renumbered within each prompt, counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import numpy_of
from uqkd.errors import DataError, ShapeError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

BLOCK_VALUES = 2**22  # counts held at a time (32 MB)


def answers(name: str, draws: Any, layout: str, *, need: tuple[int, ...] = ()) -> Labels:
    """Return draws as int64 whose last axes are those of `layout` and long enough, or refuse them.

    Examples
    --------
    >>> answers("draws", [[1, 2]], "P k")
    array([[1, 2]])
    """
    array, axes = np.asarray(numpy_of(draws, name)), layout.split()
    free = axes[0] == "..."
    named = axes[1:] if free else axes
    if array.ndim < len(named) or (array.ndim > len(named) and not free) or not array.size:
        raise ShapeError(f"{name} needs axes ({', '.join(axes)}), none of them empty; got shape {array.shape}.")
    for letter, length, least in zip(named, array.shape[array.ndim - len(named) :], need, strict=False):
        if length < least:
            raise ShapeError(f"{name} needs {letter} >= {least}; got {letter}={length} in shape {array.shape}.")
    if array.dtype.kind not in "iu":
        raise DataError(f"{name} must be whole numbers that say which answers are equal; got dtype {array.dtype}.")
    return array.astype(np.int64, copy=False)


def counted(draws: Labels) -> Iterator[Array]:
    """Counts (S, P', U) of the answers to blocks of prompts, whatever the numbers that name them.

    Examples
    --------
    >>> [counts.tolist() for counts in counted(np.array([[[70, 9]], [[9, 9]]]))]
    [[[[1.0, 1.0]], [[2.0, 0.0]]]]
    """
    students, prompts, responses = draws.shape
    size = max(1, BLOCK_VALUES // (students * students * responses))
    for start in range(0, prompts, size):
        ranks = ranked(draws[:, start : start + size])
        width = int(ranks.max()) + 1
        rows = np.arange(students * ranks.shape[1]).reshape(students, -1, 1) * width
        counts = np.bincount((rows + ranks).ravel(), minlength=students * ranks.shape[1] * width)
        yield counts.reshape(students, -1, width).astype(np.float64)


def ranked(draws: Labels) -> Labels:
    """Answers (S, P, R) numbered 0, 1, ... within each prompt, in the order of their numbers.

    Examples
    --------
    >>> ranked(np.array([[[70, 9], [5, 5]]]))
    array([[[1, 0],
            [0, 0]]])
    """
    students, prompts, responses = draws.shape
    flat = draws.transpose(1, 0, 2).reshape(prompts, students * responses)
    order = flat.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=1)
    steps = np.concatenate([np.zeros((prompts, 1), dtype=np.int64), np.diff(ordered, axis=1) != 0], axis=1)
    ranks = np.empty_like(flat)
    np.put_along_axis(ranks, order, steps.cumsum(axis=1), axis=1)
    return ranks.reshape(prompts, students, responses).transpose(1, 0, 2)
