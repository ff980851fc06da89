"""Responses of students to prompts as counts, means and variances of each cell (student, prompt), whatever is missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import finite, gapped
from uqkd.checking.variation import raisable
from uqkd.errors import DataError, ShapeError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """What the responses of each student to each prompt are like.

    Attributes
    ----------
    count : (S, P) float
        Responses.
    mean : (S, P, D) float
        0 where there is no response.
    variance : (S, P) float
        With ddof 1, summed over the D output dimensions; 0 where there are fewer than two.
    students, prompts : tuple
        Names.
    balanced : (S, P, R[, D]) float, optional
        The draws, where nothing is missing.
    """

    count: Array
    mean: Array
    variance: Array
    students: tuple[object, ...]
    prompts: tuple[object, ...]
    balanced: Array | None


def array_cells(name: str, draws: ArrayLike) -> Cells:
    """Cells of draws (S, P, R[, D]) in which NaN stands for a missing response.

    Examples
    --------
    >>> array_cells("draws", [[[1.0, 3.0]], [[5.0, np.nan]]]).count
    array([[2.],
           [1.]])
    """
    array = raisable(name, gapped(name, draws))
    if array.ndim not in (3, 4):
        raise ShapeError(f"{name} needs axes (S, P, R) or (S, P, R, D); got {array.ndim} axes of shape {array.shape}.")
    deep = array if array.ndim == 4 else array[..., None]
    missing = np.isnan(deep)
    if (missing.any(axis=-1) != missing.all(axis=-1)).any():
        where = tuple(int(i) for i in np.argwhere(missing.any(axis=-1) != missing.all(axis=-1))[0])
        raise DataError(
            f"{name} got response (s, p, r) = {where} with some of its D output dimensions missing; drop it."
        )
    there = ~missing[..., 0]
    s, p, _ = np.nonzero(there)
    names = tuple(range(array.shape[0])), tuple(range(array.shape[1]))
    return _cells(name, deep[there], (s, p), names, None if missing.any() else array)


def row_cells(name: str, values: ArrayLike, student: ArrayLike, prompt: ArrayLike) -> Cells:
    """Cells of rows: values (N,) or (N, D), whose they are and to which prompt.

    Examples
    --------
    >>> row_cells("rows", [1.0, 3.0, 5.0], ["a", "a", "b"], [0, 0, 0]).mean[..., 0]
    array([[2.],
           [5.]])
    """
    array = finite(name, values)
    if array.ndim not in (1, 2):
        raise ShapeError(f"{name} with student and prompt needs values (N,) or (N, D); got shape {array.shape}.")
    who, what = np.asarray(student), np.asarray(prompt)
    for argument, column in (("student", who), ("prompt", what)):
        if column.shape != array.shape[:1]:
            raise ShapeError(
                f"{name} needs one {argument} for each of {len(array)} rows of values; got shape {column.shape}."
            )
    students, s = np.unique(who, return_inverse=True)
    prompts, p = np.unique(what, return_inverse=True)
    names = tuple(students.tolist()), tuple(prompts.tolist())
    return _cells(name, array.reshape(len(array), -1), (s, p), names, _complete(array, s, p))


def _complete(array: Array, s: NDArray[np.int64], p: NDArray[np.int64]) -> Array | None:
    """Rows as draws (S, P, R[, D]) where every student answered every prompt equally often."""
    shape = int(s.max()) + 1, int(p.max()) + 1
    place = s * shape[1] + p
    counts = np.bincount(place, minlength=shape[0] * shape[1])
    if (counts != counts[0]).any():
        return None
    return array[np.argsort(place, kind="stable")].reshape(*shape, counts[0], *array.shape[1:])


def _cells(
    name: str,
    rows: Array,
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    names: tuple[tuple[object, ...], tuple[object, ...]],
    balanced: Array | None,
) -> Cells:
    shape = len(names[0]), len(names[1])
    if shape[0] < 2:
        raise ShapeError(f"{name} needs S >= 2 students; got {shape[0]}.")
    if balanced is not None and balanced.shape[2] < 2:
        raise ShapeError(f"{name} needs a student that responded twice to a prompt; every one responded once.")
    at = place[0] * shape[1] + place[1]
    size = shape[0] * shape[1]
    count = np.bincount(at, minlength=size).astype(np.float64)
    sums = np.stack([np.bincount(at, weights=column, minlength=size) for column in rows.T], axis=-1)
    mean = sums / np.maximum(count, 1.0)[:, None]
    squares = np.bincount(at, weights=((rows - mean[at]) ** 2).sum(axis=1), minlength=size)
    variance = squares / np.maximum(count - 1.0, 1.0)
    return Cells(count.reshape(shape), mean.reshape(*shape, -1), variance.reshape(shape), names[0], names[1], balanced)
