"""What texts and images with classes share: further annotators, and which rows are the test part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from uqkd.data.tabular.classes import Labels, held_out_rows
from uqkd.errors import DataError, nearest

TEST_FRACTION = 0.2  # held out where the data bring no test part of their own
NOTHING = -1  # what an annotator said who said nothing
TRAINING, VALIDATION, TEST = "train", "validation", "test"  # parts; the second beside a test part is for training
PART_NAMES = (TRAINING, VALIDATION, "val", "valid", "dev", TEST)  # what folders and files of parts may be called


def counted(place: int) -> str:
    """How an error names a row of a file, counted as people do.

    Examples
    --------
    >>> counted(0)
    'row 1'
    """
    return f"row {place + 1}"


def part_name(name: str) -> str:
    """The usual name of a part; any other name as it is.

    Examples
    --------
    >>> part_name("dev"), part_name("train"), part_name("ash")
    ('validation', 'train', 'ash')
    """
    return VALIDATION if name in PART_NAMES and name not in (TRAINING, TEST) else name


class Labelled(Protocol):
    """A data set with classes, a fingerprint, and perhaps a test part of its own."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def labels(self) -> Labels:
        """(n,) index of each row's class."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of what it holds."""
        ...

    @property
    def held_out(self) -> NDArray[np.bool_] | None:
        """(n,) rows of its own test part, if it has one."""
        ...


def annotated(
    columns: Sequence[Any], classes: Sequence[str], *, name: str, place: Callable[[int], str] = counted
) -> Labels:
    """What further annotators said, as places in `classes`.

    Parameters
    ----------
    columns : sequence of A sequences
        Names or whole numbers, one per row; None, NaN, "" and −1 say nothing.
    classes : sequence of str
    name : str
        Of the data set, for errors.
    place : callable (row) -> str
        How errors name a row.

    Returns
    -------
    (n, A) int
        −1 where nothing was said.

    Raises
    ------
    DataError
        A class that no label has; names the row.

    Examples
    --------
    >>> annotated([["y", None, "x"]], ("x", "y"), name="toy").ravel()
    array([ 1, -1,  0])
    """
    places = {name: place for place, name in enumerate(classes)}
    table = np.full((len(columns[0]), len(columns)), NOTHING, dtype=np.int64)
    for a, column in enumerate(columns):
        for row, value in enumerate(column):
            said = _said(value)
            if said in places:
                table[row, a] = places[said]
            elif said not in ("", str(NOTHING)):
                raise DataError(
                    f"annotator {a + 1} of data {name} says {said[:40]!r} in {place(row)}, which is no class of the labels; "
                    f"{nearest(said, classes[:20])}."
                )
    return table


def _said(value: Any) -> str:
    """One annotation as the name of a class; "" if there is none."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))  # a column of whole numbers with gaps
    return str(value)


def part_of_rows(sizes: Mapping[str, int]) -> NDArray[np.bool_] | None:
    """Which rows of parts laid end to end are the test part; None where there is none, or nothing else.

    Examples
    --------
    >>> part_of_rows({"train": 2, "validation": 1, "test": 1})
    array([False, False, False,  True])
    """
    name = TEST if TEST in sizes else VALIDATION
    if name not in sizes or TRAINING not in sizes:
        return None
    return np.repeat([part == name for part in sizes], list(sizes.values()))


def rows_held_out(dataset: Labelled, test_fraction: float | None, *, what: str) -> NDArray[np.bool_]:
    """The rows of the test part: those that the data came with, or a share of every class, keyed by the fingerprint.

    Parameters
    ----------
    dataset : TextDataset or ImageDataset
    test_fraction : float, optional
        In (0, 1). If not given: the data's own test part, and `TEST_FRACTION` where there is none.
    what : str
        Names the stream.

    Returns
    -------
    (n,) bool

    Raises
    ------
    DataError
        A class of the data's own parts that has no training row.
    """
    if test_fraction is not None or dataset.held_out is None:
        fraction = TEST_FRACTION if test_fraction is None else test_fraction
        return held_out_rows(dataset.labels, fraction, key=("data", what, dataset.fingerprint))
    counts = np.bincount(dataset.labels[~dataset.held_out], minlength=len(dataset.classes))
    if counts.min() == 0:
        raise DataError(
            f"class {dataset.classes[int(counts.argmin())]!r} of data {dataset.name} is in the test part only; give a "
            "test_fraction to split anew."
        )
    return dataset.held_out
