"""Real data sets by name or by path: checked, fingerprinted, split, scaled on the training part only."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ProvenanceError, nearest

Array = NDArray[np.float64]

# Data sets that the libraries carry, so that they load without a network; the target is the library's own.
STATSMODELS = ("ccard", "copper", "engel", "fair", "longley", "randhie", "scotland", "stackloss", "statecrime")
OFFLINE = ("diabetes", *STATSMODELS)
CONDITION_LIMIT = 1e12  # of the standardised features, as for the teacher's fit
REGRESSIONS = ("diabetes", "ccard", "statecrime", "fair", "engel", "randhie")  # large enough to be split


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


@dataclass(frozen=True)
class Split:
    """Training and test designs (intercept first, features standardised by the training part) and their labels.

    Attributes
    ----------
    X, X_test : (n, q), (m, q) float
    y, y_test : (n,), (m,) float
    columns : tuple of str
        "intercept", then the feature names.
    """

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    columns: tuple[str, ...]


def load(name: str, *, target: str | None = None) -> Dataset:
    """Load a data set by name, by path, or from OpenML.

    Parameters
    ----------
    name : str
        One of `OFFLINE`; the path of a `.csv` or `.parquet` file; or "openml:NAME", which needs a network once.
    target : str, optional
        Column to predict. Needed for a file; every other column is a feature and must be numeric.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        Missing file or column, text in a numeric column, NaN or inf, a constant column, no rows, n <= p: one line
        that names the place.
    OptionError
        Unknown name.

    Examples
    --------
    >>> dataset = load("diabetes")
    >>> dataset.X.shape, dataset.target
    ((442, 10), 'target')
    """
    if name in OFFLINE:
        return _bundled(name, target)
    if name.startswith("openml:"):
        frame, found = _openml(name.removeprefix("openml:"))
    elif "." in name or "/" in name:
        frame, found = _read_file(Path(name).expanduser()), None
    else:
        raise OptionError(f"data got {name!r}; {nearest(name, OFFLINE)}, a .csv or .parquet path, or openml:NAME.")
    return from_frame(frame, name=name, target=target or found)


@lru_cache(maxsize=32)
def _bundled(name: str, target: str | None) -> Dataset:
    import pandas as pd

    if name == "diabetes":
        from sklearn.datasets import load_diabetes

        frame, found = load_diabetes(as_frame=True, scaled=False).frame, "target"
    else:
        import statsmodels.datasets as bundled

        package = getattr(bundled, name).load_pandas()
        endog = pd.Series(package.endog)
        frame, found = pd.concat([package.exog, endog], axis=1), str(endog.name)
    return from_frame(frame, name=name, target=target or found)


def cell(name: str, target: str | None) -> dict[str, str | None]:
    """What identifies a data set in a study's cell: name, target and fingerprint of the contents.

    Examples
    --------
    >>> sorted(cell("diabetes", None))
    ['data', 'data_fingerprint', 'target']
    """
    dataset = load(name, target=target)
    split(dataset)  # what no teacher can be fitted to is refused here, before any work
    return {"data": name, "target": dataset.target, "data_fingerprint": dataset.fingerprint}


def label(cell: Mapping[str, Any]) -> str:
    """Name of a cell's data set for tables and figures: a file's name without its folder.

    Examples
    --------
    >>> label({"data": "some/folder/mine.csv"}), label({"data": "diabetes"})
    ('mine.csv', 'diabetes')
    """
    return PurePath(cell["data"]).name


def of_cell(cell: Mapping[str, Any]) -> Dataset:
    """The data set of a study's cell; `ProvenanceError` if its contents are no longer those of the fingerprint."""
    dataset = load(cell["data"], target=cell["target"])
    if dataset.fingerprint != cell["data_fingerprint"]:
        raise ProvenanceError(
            f"data {cell['data']} changed during the run: fingerprint {dataset.fingerprint}, planned with "
            f"{cell['data_fingerprint']}. Start the study again."
        )
    return dataset


def from_frame(frame: Any, *, name: str, target: str | None) -> Dataset:
    """Check a data frame and make it a `Dataset`; see `load` for what is refused.

    Examples
    --------
    >>> import pandas as pd
    >>> from_frame(pd.DataFrame({"a": [1, 2, 4], "y": [1.0, 2.0, 3.0]}), name="toy", target="y").columns
    ('a',)
    """
    columns = [str(c) for c in frame.columns]
    if target is None:
        raise OptionError(f"data {name} is a file: say which column to predict with --target; it has {columns}.")
    if target not in columns:
        raise DataError(f"data {name} has no column {target!r}; {nearest(target, columns)}.")
    if len(set(columns)) != len(columns):
        raise DataError(f"data {name} names the column {next(c for c in columns if columns.count(c) > 1)!r} twice.")
    features = tuple(c for c in columns if c != target)
    if not features or len(frame) <= len(features) + 1:
        raise DataError(
            f"data {name} has n={len(frame)} rows and {len(features)} feature columns; least squares with an intercept "
            "needs at least one feature and n > p + 1. Bring more rows or drop columns."
        )
    numbers = {column: _numbers(frame[column], name, column) for column in columns}
    for column in columns:
        if np.ptp(numbers[column]) == 0:
            raise DataError(f"column {column!r} of data {name} is constant ({numbers[column][0]:g}); drop it.")
    X, y = np.column_stack([numbers[c] for c in features]), numbers[target]
    return Dataset(name, X, y, features, target, _fingerprint(X, y, (*features, target)))


def _numbers(series: Any, name: str, column: str) -> Array:
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


def _read_file(path: Path) -> Any:
    import pandas as pd

    from uqkd.store import refuse_unsafe

    refuse_unsafe(str(path))
    readers: dict[str, Callable[[Path], Any]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    kind = path.suffix.lower()
    if kind not in readers:
        raise DataError(f"data {path} ends in {path.suffix!r}; a .csv or a .parquet file is needed.")
    if not path.is_file():
        raise DataError(f"data {path} does not exist (looked in {path.resolve().parent}); check the path.")
    try:
        frame = readers[kind](path)
        names = _header(path) if kind == ".csv" else [str(c) for c in frame.columns]
    except UnicodeDecodeError as error:
        raise DataError(
            f"data {path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from error
    except (ValueError, OSError) as error:  # parser and Arrow errors are all of these kinds
        raise DataError(f"data {path} cannot be read as {kind[1:]}: {str(error).splitlines()[0]}") from error
    if len(names) == 1 and any(mark in names[0] for mark in ";\t"):
        raise DataError(
            f"data {path} has one column named {names[0]!r}: it seems to be separated by ';' or tabs. Save it with commas "
            "between columns and points in decimals."
        )
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise DataError(f"data {path} names the column {twice[0]!r} twice; rename one.")
    return frame


def _header(path: Path) -> list[str]:
    """Column names as they stand in a CSV file; pandas would rename repeated ones."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return next(csv.reader(lines), [])


def _openml(name: str) -> tuple[Any, str]:
    from sklearn.datasets import fetch_openml

    try:
        bunch = fetch_openml(name=name, version="active", as_frame=True, parser="auto")
    except Exception as error:  # network, server and parsing errors of many libraries: one line for all
        raise DataError(
            f"OpenML data {name!r} could not be fetched ({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
            f"it needs a network the first time. Offline: {', '.join(OFFLINE)}."
        ) from error
    return bunch.frame, str(bunch.target.name)


def _fingerprint(X: Array, y: Array, names: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update("\x1f".join(names).encode())
    for array in (X, y):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()


def split(dataset: Dataset, *, test_fraction: float = 0.2) -> Split:
    """Split at random, keyed by the data's fingerprint, and standardise by the training part only.

    Parameters
    ----------
    dataset : Dataset
    test_fraction : float
        Share of rows held out, in (0, 1).

    Returns
    -------
    Split
        The training design has mean 0 and variance 1 in each feature; the test design is scaled by the same numbers.

    Raises
    ------
    DataError
        Too few training rows, or a feature that is constant on them.

    Examples
    --------
    >>> part = split(load("diabetes"))
    >>> part.X.shape, part.X_test.shape
    ((354, 11), (88, 11))
    >>> bool(np.allclose(part.X[:, 1:].mean(axis=0), 0, atol=1e-12)), bool(abs(part.X_test[:, 1].mean()) > 1e-3)
    (True, True)
    """
    if not 0.0 < test_fraction < 1.0:
        raise OptionError(f"test_fraction must lie strictly between 0 and 1; got {test_fraction}.")
    n, p = dataset.X.shape
    held_out = max(1, round(n * test_fraction))
    if n - held_out <= p + 1:
        raise DataError(
            f"data {dataset.name} leaves {n - held_out} training rows for {p + 1} coefficients; more rows than "
            "coefficients are needed. Lower test_fraction or drop columns."
        )
    order = seeds.generator("data", "split", dataset.fingerprint, test_fraction, shared=True).permutation(n)
    test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    centre, scale = dataset.X[train].mean(axis=0), dataset.X[train].std(axis=0)
    if (scale == 0).any():
        raise DataError(
            f"column {dataset.columns[int(np.argmin(scale))]!r} of data {dataset.name} is constant on the training part; "
            "drop it."
        )
    X = np.column_stack([np.ones(n), (dataset.X - centre) / scale])
    _refuse_dependent(dataset, X[train, 1:])
    return Split(X[train], dataset.y[train], X[test], dataset.y[test], ("intercept", *dataset.columns))


def _refuse_dependent(dataset: Dataset, standardised: Array) -> None:
    """Name the features that are linear combinations of one another on the training part."""
    _, singular, right = np.linalg.svd(standardised, full_matrices=False)
    if singular[-1] > singular[0] / CONDITION_LIMIT:
        return
    involved = [
        c
        for c, weight in zip(dataset.columns, np.abs(right[-1]), strict=True)
        if weight > 0.1 * np.abs(right[-1]).max()
    ]
    raise DataError(
        f"columns {', '.join(map(repr, involved))} of data {dataset.name} are linearly dependent (condition number "
        f"{singular[0] / max(singular[-1], np.finfo(float).tiny):.1g}); drop one of them."
    )
