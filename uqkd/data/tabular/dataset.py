"""A checked and fingerprinted table of numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import DataError, OptionError, nearest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """A regression data set.

    Attributes
    ----------
    name : str
    X : (n, p) float
        Features as given, no intercept.
    y : (n,) float
    columns : tuple of str
        Feature names.
    target : str
    fingerprint : str
        Hash of names and values: equal data have equal fingerprints wherever they came from.
    """

    name: str
    X: Array
    y: Array
    columns: tuple[str, ...]
    target: str
    fingerprint: str


def from_frame(frame: Any, *, name: str, target: str | None) -> Dataset:
    """Check a data frame and make it a `Dataset`; see `load` for what is refused.

    Examples
    --------
    >>> import pandas as pd
    >>> from_frame(pd.DataFrame({"a": [1, 2, 4], "y": [1.0, 2.0, 3.0]}), name="toy", target="y").columns
    ('a',)
    """
    target, columns = the_target(frame, name=name, target=target), [str(c) for c in frame.columns]
    features = tuple(c for c in columns if c != target)
    if not features or len(frame) <= len(features) + 1:
        raise DataError(
            f"data {name} has n={len(frame)} rows and {len(features)} feature columns; least squares with an intercept "
            "needs at least one feature and n > p + 1. Bring more rows or drop columns."
        )
    numbers = {column: column_numbers(frame[column], name, column) for column in columns}
    for column in columns:
        if np.ptp(numbers[column]) == 0:
            raise DataError(f"column {column!r} of data {name} is constant ({numbers[column][0]:g}); drop it.")
    X, y = np.column_stack([numbers[c] for c in features]), numbers[target]
    return Dataset(name, X, y, features, target, fingerprint(X, y, (*features, target)))


def the_target(frame: Any, *, name: str, target: str | None) -> str:
    """The column to predict, once it is known to be there and no column name to be there twice."""
    columns = [str(c) for c in frame.columns]
    if target is None:
        raise OptionError(f"data {name} is a file: say which column to predict with --target; it has {columns}.")
    if target not in columns:
        raise DataError(f"data {name} has no column {target!r}; {nearest(target, columns)}.")
    if len(set(columns)) != len(columns):
        raise DataError(f"data {name} names the column {next(c for c in columns if columns.count(c) > 1)!r} twice.")
    return target


def column_numbers(series: Any, name: str, column: str) -> Array:
    """A data frame's column as finite float64; `DataError` naming the first row that holds anything else."""
    import pandas as pd

    if series.dtype.kind in "mM" or isinstance(series.dtype, pd.PeriodDtype | pd.IntervalDtype):
        raise DataError(
            f"column {column!r} of data {name} holds {series.dtype}, no numbers; convert it or leave it out."
        )
    values = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        row, seen = int(wrong[0]), series.iloc[int(wrong[0])]
        kind = "a missing or infinite value" if pd.isna(seen) or not isinstance(seen, str) else f"text ({seen[:30]!r})"
        raise DataError(
            f"column {column!r} of data {name} holds {kind} in row {row + 1} ({wrong.size} such rows of {len(values)}); "
            "uqkd drops and fills nothing: clean the column or leave it out."
        )
    return np.asarray(values)


def fingerprint(X: Array, y: ArrayLike, names: Iterable[str]) -> str:
    """Hash of the names and values of features and target."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\x1f".join(names).encode())
    for array in (X, np.asarray(y)):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()
