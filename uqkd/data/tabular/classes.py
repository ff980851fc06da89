"""Classification data: checked, fingerprinted, split by class, scaled on the training part only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.data.tabular.dataset import Array, column_numbers, fingerprint, the_target
from uqkd.data.tabular.loading import from_openml, read_file
from uqkd.errors import DataError, OptionError, nearest

Labels = NDArray[np.int64]

CLASSIFICATIONS = ("digits", "wine", "breast_cancer")  # what scikit-learn carries: these load without a network
FETCHED = ("covtype",)  # scikit-learn downloads these once


@dataclass(frozen=True)
class ClassDataset:
    """A classification data set.

    Attributes
    ----------
    name : str
    X : (n, p) float
        Features as given, no intercept.
    labels : (n,) int
        0 ... C − 1, the place of each row's class in `classes`.
    classes : tuple of str
        Names of the C classes, sorted: by number where all are numbers, else by letters.
    columns : tuple of str
        Feature names.
    target : str
    fingerprint : str
        Hash of names and values: equal data have equal fingerprints wherever they came from.
    """

    name: str
    X: Array
    labels: Labels
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    target: str
    fingerprint: str


def classes_from_frame(frame: Any, *, name: str, target: str | None) -> ClassDataset:
    """Check a data frame and make it a `ClassDataset`; see `load_classes` for what is refused.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"a": [1, 2, 4, 8], "kind": ["x", "y", "y", "x"]})
    >>> found = classes_from_frame(frame, name="toy", target="kind")
    >>> found.classes, found.labels
    (('x', 'y'), array([0, 1, 1, 0]))
    """
    label = the_target(frame, name=name, target=target)
    features = tuple(c for c in map(str, frame.columns) if c != label)
    if not features or len(frame) == 0:
        raise DataError(f"data {name} has n={len(frame)} rows and {len(features)} feature columns; bring both.")
    frame = frame.set_axis(list(map(str, frame.columns)), axis=1)
    X = np.column_stack([column_numbers(frame[c], name, c) for c in features])
    classes, labels = encoded_classes(frame[label], name, label)
    return ClassDataset(
        name, X, labels, classes, features, label, fingerprint(X, labels, (*features, label, "", *classes))
    )


def encoded_classes(series: Any, name: str, column: str | None) -> tuple[tuple[str, ...], Labels]:
    """Names of the classes, sorted, and each row's place among them. `column` is None for labels that are no column."""
    what, where = ("set of labels", "") if column is None else (f"class column {column!r}", f" (column {column!r})")
    missing = np.flatnonzero(series.isna().to_numpy())
    if missing.size:
        raise DataError(
            f"{what} of data {name} has no class in row {int(missing[0]) + 1} ({missing.size} such rows of "
            f"{len(series)}); uqkd drops and fills nothing: clean the column."
        )
    if series.dtype.kind == "f" and (series % 1 != 0).any():
        raise DataError(
            f"{what} of data {name} holds {series[series % 1 != 0].iloc[0]:g}; classes are names or whole "
            "numbers. Name another column with --target, or group the values first."
        )
    whole = series.astype("int64") if series.dtype.kind == "f" else series
    seen = np.array([str(value) for value in whole])
    names, labels, counts = np.unique(seen, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise DataError(f"{what} of data {name} holds one class only ({str(names[0])!r}); two are needed.")
    if counts.min() < 2:
        rare = str(names[int(np.argmin(counts))])
        raise DataError(
            f"class {rare!r} of data {name}{where} has one row ({(counts < 2).sum()} such of {len(names)} classes); "
            "training and test part need one each. Drop it, or merge it with another class."
        )
    if all(text.removeprefix("-").isdecimal() for text in names.tolist()):
        order = np.argsort([int(text) for text in names.tolist()], kind="stable")  # 2 before 10
    else:
        order = np.arange(len(names))
    return tuple(names[order].tolist()), np.argsort(order)[labels].astype(np.int64)


def load_classes(name: str, *, target: str | None = None) -> ClassDataset:
    """Load a classification data set by name, by path, or from OpenML.

    Parameters
    ----------
    name : str
        One of `CLASSIFICATIONS`; the path of a `.csv` or `.parquet` file; or, with a network once, "covtype" or
        "openml:NAME" such as "openml:mnist_784".
    target : str, optional
        Column of the class: names or whole numbers. Needed for a file; every other column is a feature and must be
        numeric. Constant features are kept (a pixel that is always dark).

    Returns
    -------
    ClassDataset

    Raises
    ------
    DataError
        Missing file or column, text or a missing value in a feature, a row without class, one class only, a class with one
        row, classes that are fractions: one line that names the place.
    OptionError
        Unknown name.

    Examples
    --------
    >>> digits = load_classes("digits")
    >>> digits.X.shape, len(digits.classes), digits.labels[:4]
    ((1797, 64), 10, array([0, 1, 2, 3]))
    """
    if name in CLASSIFICATIONS or name in FETCHED:
        return _bundled(name, target)
    if name.startswith("openml:"):
        frame, found = from_openml(name.removeprefix("openml:"), offline=CLASSIFICATIONS)
    elif "." in name or "/" in name:
        frame, found = read_file(Path(name).expanduser()), None
    else:
        known = (*CLASSIFICATIONS, *FETCHED)
        raise OptionError(f"data got {name!r}; {nearest(name, known)}, a .csv or .parquet path, or openml:NAME.")
    return classes_from_frame(frame, name=name, target=target or found)


@lru_cache(maxsize=8)
def _bundled(name: str, target: str | None) -> ClassDataset:
    from sklearn import datasets

    if name in FETCHED:
        try:
            bunch = datasets.fetch_covtype(as_frame=True)
        except Exception as error:  # network and server errors of many libraries: one line for all
            raise DataError(
                f"data {name} could not be fetched ({type(error).__name__}: {str(error)[:120]}); it needs a network the "
                f"first time. Offline: {', '.join(CLASSIFICATIONS)}."
            ) from error
        return classes_from_frame(bunch.frame, name=name, target=target or str(bunch.target.name))
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame.assign(target=[str(bunch.target_names[i]) for i in bunch.target])
    return classes_from_frame(frame, name=name, target=target or "target")


@dataclass(frozen=True)
class ClassSplit:
    """Training and test features, standardised by the training part (no intercept column), and their labels.

    Attributes
    ----------
    X, X_test : (n, p), (m, p) float
    labels, labels_test : (n,), (m,) int
    classes : tuple of str
    columns : tuple of str
    constant : tuple of str
        Columns that hold one value on the training part. They say nothing there and are 0 in both parts.
    """

    X: Array
    labels: Labels
    X_test: Array
    labels_test: Labels
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    constant: tuple[str, ...]


def split_classes(dataset: ClassDataset, *, test_fraction: float = 0.2) -> ClassSplit:
    """Split every class at random, keyed by the data's fingerprint, and standardise by the training part only.

    Parameters
    ----------
    dataset : ClassDataset
    test_fraction : float
        Share of each class's rows held out, in (0, 1), to the nearest row; each part gets at least one row of each class.

    Returns
    -------
    ClassSplit
        Training features have mean 0 and variance 1, the test features are scaled by the same numbers. Columns that are
        constant on the training part are 0 in both, and named in `.constant`.

    Examples
    --------
    >>> part = split_classes(load_classes("digits"))
    >>> part.X.shape, part.X_test.shape, len(part.constant)
    ((1438, 64), (359, 64), 4)
    """
    held_out = held_out_rows(dataset.labels, test_fraction, key=("data", "split classes", dataset.fingerprint))
    train = dataset.X[~held_out]
    varies = np.ptp(train, axis=0) > 0
    centre, scale = train.mean(axis=0), np.where(varies, train.std(axis=0), 1.0)
    X = np.where(varies, (dataset.X - centre) / scale, 0.0)
    return ClassSplit(
        X=X[~held_out],
        labels=dataset.labels[~held_out],
        X_test=X[held_out],
        labels_test=dataset.labels[held_out],
        classes=dataset.classes,
        columns=dataset.columns,
        constant=tuple(c for c, moves in zip(dataset.columns, varies, strict=True) if not moves),
    )


def held_out_rows(labels: Labels, test_fraction: float, *, key: tuple[Any, ...]) -> NDArray[np.bool_]:
    """Which rows are held out: of every class its share, to the nearest row, and at least one row in each part.

    Parameters
    ----------
    labels : (n,) int
        0 ... C − 1, each at least twice.
    test_fraction : float
        In (0, 1).
    key : tuple
        Names the stream, with the fraction; see `uqkd.seeds.generator`.

    Returns
    -------
    (n,) bool

    Examples
    --------
    >>> held_out = held_out_rows(np.array([0, 0, 0, 0, 1, 1]), 0.25, key=("doc",))
    >>> int(held_out[:4].sum()), int(held_out[4:].sum())
    (1, 1)
    """
    if not 0.0 < test_fraction < 1.0:
        raise OptionError(f"test_fraction must lie strictly between 0 and 1; got {test_fraction}.")
    generator = seeds.generator(*key, test_fraction, shared=True)
    held_out = np.zeros(len(labels), dtype=bool)
    for index in range(int(labels.max()) + 1):
        rows = generator.permutation(np.flatnonzero(labels == index))
        held_out[rows[: min(max(1, round(len(rows) * test_fraction)), len(rows) - 1)]] = True
    return held_out
