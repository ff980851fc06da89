"""Arrays of images with classes, in memory or in an array file: what is read of them, and what only looks as if it was."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, ShapeError, UqkdWarning, nearest

NEEDED, FURTHER = ("images", "labels"), ("classes", "held_out", "annotators")
# x_test, test_images, val_labels, ...: rows that would be taken for none
_OF_A_PART = re.compile(
    r"(?:^|[^a-z])[xy]?(?:test|val|valid|validation|dev)(?:[xy]|images?|labels?|data|set)?(?:[^a-z]|$)"
)


@dataclass(frozen=True)
class ImageArrays:
    """What an array file holds: images and labels as given, classes by name where the file names them."""

    images: NDArray[Any]
    labels: NDArray[Any]
    annotators: NDArray[Any] | None
    held_out: NDArray[np.bool_] | None


def image(place: int) -> str:
    """How an error names an image of an array, counted as arrays are.

    Examples
    --------
    >>> image(17)
    'images[17]'
    """
    return f"images[{place}]"


def read_arrays(path: Path) -> ImageArrays:
    """Images, labels, and perhaps classes, annotators and the test part of an `.npz` file; nothing in it is unpickled.

    Raises
    ------
    DataError
        Not readable, no images or labels, arrays of a test part apart, labels that are no places in `classes`.
    ShapeError
        `held_out` that is not one bool per label.

    Warns
    -----
    UqkdWarning
        Arrays that are not read.
    """
    arrays = _loaded(path)
    labels = checked_labels(arrays["labels"], name=str(path))
    annotators, held_out = arrays.get("annotators"), arrays.get("held_out")
    if (names := arrays.get("classes")) is not None:
        names = decoded_names(names, "classes", name=str(path))
        labels = _names_of(labels, names, path)
        annotators = None if annotators is None else _names_of(annotators, names, path, nothing="")
    if held_out is not None and (held_out.shape != np.shape(labels) or held_out.dtype != bool):
        raise ShapeError(f"held_out of data {path} must be one bool per image; got {held_out.dtype} {held_out.shape}.")
    return ImageArrays(arrays["images"], labels, annotators, held_out)


def _loaded(path: Path) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    key = ""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:  # which leaves a bad file open
            _check_names(file.files, path)
            for key in file.files:
                if key in (*NEEDED, *FURTHER):
                    arrays[key] = np.asanyarray(file[key])
    except (DataError, UqkdWarning):
        raise
    except Exception as problem:  # of zip, zlib and NumPy's format: one line for all
        line = (str(problem).splitlines() or [""])[0][:160]
        objects = line.startswith("Object arrays")
        advice = f". Array {key!r} holds Python objects: save it as text, {key}.astype(str), or as numbers." * objects
        raise DataError(f"data {path} cannot be read as npz: {line}{advice}") from None
    return arrays


def _check_names(found: list[str], path: Path) -> None:
    """Refuse a file without what is needed or with a part of its own; what else is not read is named."""
    read = f"read are {' and '.join(NEEDED)}, and if there {', '.join(FURTHER)}"
    if missing := next((key for key in NEEDED if key not in found), None):
        raise DataError(
            f"data {path} has no array {missing!r}; {nearest(missing, found)}; {read}. Rows of a test part belong to the "
            "same arrays, marked in held_out (one bool per image)."
        )
    others = [key for key in found if key not in (*NEEDED, *FURTHER)]
    if apart := [key for key in others if _OF_A_PART.search(key.lower())]:
        raise DataError(
            f"data {path} has arrays that look like a part of their own ({', '.join(apart)}); {read}. Append their rows to "
            "images and labels and mark them in held_out (one bool per image), or leave them out."
        )
    if others:
        warnings.warn(
            f"data {path} has arrays that are not read ({', '.join(others)}); {read}.", UqkdWarning, stacklevel=6
        )


def checked_labels(labels: Any, *, name: str) -> NDArray[Any]:
    """Labels of images, each one there: names, or whole numbers other than −1.

    Raises
    ------
    DataError
        A label that is missing, −1, a fraction, or bytes that are no UTF-8; names the first image.

    Examples
    --------
    >>> checked_labels([b"ash", b"elm"], name="toy").tolist()
    ['ash', 'elm']
    >>> checked_labels([0, 1, -1], name="toy")
    Traceback (most recent call last):
    uqkd.errors.DataError: data toy has label −1, which stands for no class, at images[2] (1 such of 3); leave those rows out, ...
    """
    import pandas as pd

    given = decoded_names(np.asarray(labels), "labels", name=name)
    if given.ndim != 1:
        return given
    faults = [(np.asarray(pd.isna(given)), "no class", "leave those rows out")]
    if given.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):
            broken = given % 1 != 0
        faults += [
            (given == -1, "label −1, which stands for no class,", "leave those rows out, or give classes other names"),
            (broken, "a fraction for a label", "classes are names or whole numbers: group the values first"),
        ]
    for rows, what, advice in faults:
        if rows.any():
            first = f"{image(int(rows.argmax()))} ({rows.sum()} such of {len(given)})"
            raise DataError(f"data {name} has {what} at {first}; {advice}.")
    return given


def decoded_names(names: NDArray[Any], what: str, *, name: str) -> NDArray[Any]:
    """Names as text, where they are bytes."""
    if names.dtype.kind != "S":
        return names
    try:
        return np.asarray(np.char.decode(names, "utf-8"))
    except UnicodeDecodeError as problem:
        raise DataError(
            f"{what} of data {name} are not UTF-8 ({problem.reason} in {problem.object!r:.40}); save them as text."
        ) from None


def refuse_equal(images: NDArray[Any], *, name: str) -> None:
    """Refuse images that are all the same: nothing tells their classes apart.

    Examples
    --------
    >>> refuse_equal(np.zeros((4, 1, 2, 2)), name="toy")
    Traceback (most recent call last):
    uqkd.errors.DataError: all 4 images of data toy are equal (every value is 0); nothing tells their classes apart. ...
    """
    first = images[0]
    if any(not np.array_equal(one, first) for one in images[1:]):
        return
    value = f" (every value is {first.flat[0]:g})" if (first == first.flat[0]).all() else ""
    raise DataError(
        f"all {len(images)} images of data {name} are equal{value}; nothing tells their classes apart. Look how they were made."
    )


def _names_of(places: NDArray[Any], names: NDArray[Any], path: Path, *, nothing: str | None = None) -> NDArray[Any]:
    """Names of numbered classes; `nothing` for −1, where that is allowed."""
    lowest = 0 if nothing is None else -1
    if places.dtype.kind not in "iu" or (places.size and not lowest <= places.min() <= places.max() < len(names)):
        raise DataError(
            f"data {path} names {len(names)} classes; labels must then be whole numbers {lowest} ... {len(names) - 1}."
        )
    return np.asarray([*map(str, names), nothing], dtype=object)[places]  # −1 is the last one
