"""Data with less in them: tokens dropped from a text, rows from the rarer classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError


def stream(kind: str, key: Any) -> np.random.Generator:
    """Generator of one kind of change to the data."""
    # shared: every student of a study is asked about the same shifted points
    return seeds.generator("data", "shift", kind, key, shared=True)


def drop_tokens(tokens: Any, share: float, *, key: Any, pad: int, keep: Iterable[int] = ()) -> Any:
    """Drop each token with the same chance; what is left moves together and the row is padded at its end.

    Parameters
    ----------
    tokens : (N, L) integers
        Token ids.
    share : float
        Chance that a token is dropped, in [0, 1].
    key : str or tuple
        Names the draw. One key drops at a larger share whatever it drops at a smaller one.
    pad : int
        Id of the padding.
    keep : ints
        Ids that are never dropped, such as those of [CLS] and [SEP].

    Returns
    -------
    (N, L) array of the dtype of `tokens`
        A row that had a token that may be dropped has one left.

    Raises
    ------
    ShapeError, DataError
        Not (N, L), nothing at all, not integers, or a row of padding only.
    OptionError
        A share outside [0, 1].

    Examples
    --------
    >>> drop_tokens([[1, 7, 8, 9, 2, 0]], 1.0, key="doc", pad=0, keep=(1, 2)).shape
    (1, 6)
    >>> drop_tokens([[1, 7, 8, 9, 2, 0]], 0.0, key="doc", pad=0, keep=(1, 2))
    array([[1, 7, 8, 9, 2, 0]])
    """
    ids = np.asarray(tokens)
    if ids.ndim != 2 or ids.size == 0:
        raise ShapeError(f"tokens needs axes (N, L), neither empty; got shape {ids.shape}.")
    if ids.dtype.kind not in "iu":
        raise DataError(f"tokens must be integers, token ids; got dtype {ids.dtype}.")
    if not 0.0 <= share <= 1.0:
        raise OptionError(f"share must lie in [0, 1]; got {share!r}.")
    padding = ids == pad
    if padding.all(axis=1).any():
        row = int(padding.all(axis=1).argmax())
        raise DataError(f"row {row} of tokens holds padding (id {pad}) only. Leave it out.")
    free = ~padding & ~np.isin(ids, list(keep))
    drawn = np.where(free, stream("tokens", key).random(ids.shape), 2.0)  # beyond any share: never dropped
    last = np.where(free, drawn, -1.0).argmax(axis=1)
    gone = drawn < share
    gone[np.arange(len(ids)), last] = False  # the last that a growing share would drop
    gone |= padding
    order = np.argsort(gone, axis=1, kind="stable")
    return np.take_along_axis(np.where(gone, np.asarray(pad, dtype=ids.dtype), ids), order, axis=1)


def long_tailed(labels: Any, ratio: float, *, key: Any) -> NDArray[np.int64]:
    """Rows of a subset whose classes grow rarer geometrically, from 1 for class 0 to 1/ratio for the last.

    Parameters
    ----------
    labels : (n,) integers
        Classes 0 ... C − 1, each with at least one row; C >= 2.
    ratio : float
        Frequency of class 0 over that of class C − 1, at least 1.
    key : str or tuple
        Names the draw. With one key and equally frequent classes the subset of a larger ratio lies within that of a smaller.

    Returns
    -------
    (m,) int
        Rising row indices. Class c has n · ratio^(−c / (C − 1)) rows rounded down, at least one; n is the most that
        every class can supply, the size of a class where all are equal.

    Raises
    ------
    ShapeError, DataError
        Not (n,), nothing at all, not integers, negative, or a class without rows.
    OptionError
        A ratio below 1.

    Notes
    -----
    Cui et al. (2019), the long-tailed CIFAR.

    Examples
    --------
    >>> labels = np.repeat([0, 1, 2], 100)
    >>> np.bincount(labels[long_tailed(labels, 100.0, key="doc")])
    array([100,  10,   1])
    """
    truth = np.asarray(labels)
    if truth.ndim != 1 or truth.size == 0:
        raise ShapeError(f"labels needs one axis (n,), not empty; got shape {truth.shape}.")
    if truth.dtype.kind not in "iu" or truth.min() < 0:
        raise DataError(f"labels must be integers from 0; got dtype {truth.dtype}, smallest {truth.min()}.")
    if not (np.isfinite(ratio) and ratio >= 1.0):
        raise OptionError(f"ratio must be a number, at least 1; got {ratio!r}.")
    counts = np.bincount(truth)
    if counts.size < 2 or counts.min() == 0:
        raise DataError(
            f"long_tailed needs at least two classes, numbered without gaps; class {int(counts.argmin())} of "
            f"{counts.size} has {counts.min()} rows. Number the classes anew."
        )
    fall = ratio ** (-np.arange(counts.size) / (counts.size - 1))
    # the least lift above rounding, so that 500 / 100 rows are 5 and not 4
    wanted = np.maximum(1, np.floor((counts / fall).min() * fall * (1 + 1e-12))).astype(int)
    chance = stream("long-tailed", key).random(truth.size)
    rows = [np.flatnonzero(truth == c) for c in range(counts.size)]
    kept = [row[np.argsort(chance[row])[:n]] for row, n in zip(rows, wanted, strict=True)]
    return np.sort(np.concatenate(kept)).astype(np.int64)
