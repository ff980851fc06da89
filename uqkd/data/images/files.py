"""Pictures as arrays: from image files, from columns of `datasets`, resized."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.hub import chosen, class_names
from uqkd.data.labelled import PART_NAMES, TRAINING
from uqkd.data.texts.files import named
from uqkd.errors import DataError

IMAGE_KINDS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_GREY, _DEEP = ("1", "L"), ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes: one channel; beyond 8 bits
_LOOK = (
    "one folder of pictures per class is needed (CLASS/NAME.png), or such folders within train, test and perhaps val (valid, "
    "validation, dev)"
)


@dataclass(frozen=True)
class Pictures:
    """Pictures that are not decoded yet.

    Attributes
    ----------
    names : tuple of str
        For errors.
    open : callable (row) -> path or binary file
    classes : list
        Name or number of each one's class; None where it has none.
    """

    names: Sequence[str]
    open: Callable[[int], Any]
    classes: Sequence[Any]


def folder_of_images(folder: Path, *, split: str | None) -> dict[str, Pictures]:
    """Parts of a folder CLASS/NAME.png or PART/CLASS/NAME.png, sorted by class and name; hidden files are passed over.

    Raises
    ------
    DataError
        A file of another kind, a picture outside the folders of classes, or none at all: names it.
    OptionError
        No such part.
    """
    below = {path.name: path for path in _shown(folder) if path.is_dir()}
    strangers = [name for name in below if name not in PART_NAMES]
    if TRAINING not in below or (strangers and not any(path.is_dir() for path in _shown(below[TRAINING]))):
        parts = {"all": folder}  # "train" may be a class
    elif strangers:
        raise DataError(f"data {folder} holds the folder {strangers[0]!r} beside its parts; {_LOOK}.")
    else:
        parts = below
    return {part: _classes_of(path) for part, path in chosen(parts, split, name=str(folder)).items()}


def _classes_of(folder: Path) -> Pictures:
    files: list[Path] = []
    for place in _shown(folder):
        if not place.is_dir() and place.suffix.lower() in IMAGE_KINDS:
            raise DataError(f"data {folder} holds the picture {place.name!r} outside of any class; {_LOOK}.")
        if not place.is_dir():
            raise DataError(f"data {folder} holds {place.name!r} beside the folders of its classes; move it away.")
        for path in _shown(place):
            if path.is_dir():
                raise DataError(f"data {folder} holds the folder {place.name}/{path.name} within a class; {_LOOK}.")
            if path.suffix.lower() not in IMAGE_KINDS or not path.is_file():
                raise DataError(
                    f"data {folder} holds {place.name}/{path.name}, which is no picture ({', '.join(IMAGE_KINDS)}); move it "
                    "away."
                )
            files.append(path)
    if not files:
        raise DataError(f"data {folder} holds no pictures; {_LOOK}.")
    names = [f"{path.parent.name}/{path.name}" for path in files]
    return Pictures(names, lambda row: files[row], [path.parent.name for path in files])


def _shown(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def table_of_images(table: Any, name: str, columns: tuple[str, str] | None) -> Pictures:
    """Pictures of a `datasets.Dataset`, not decoded yet.

    Parameters
    ----------
    table : datasets.Dataset
    name : str
    columns : tuple of str, optional
        Of the picture and its class; "image" or "img", and "label" if not given.

    Raises
    ------
    DataError
        A missing column, or one that holds no pictures.
    """
    import datasets

    kept = list(table.column_names)
    content, label = columns or (next((c for c in ("image", "img") if c in kept), "image"), "label")
    if missing := next((c for c in (content, label) if c not in kept), None):
        raise DataError(f"data {name} has no column {missing!r}; it has {kept}.")
    if not isinstance(table.features[content], datasets.Image):
        raise DataError(
            f"column {content!r} of data {name} holds no pictures; save it with the feature datasets.Image()."
        )
    raw = table.cast_column(content, datasets.Image(decode=False))
    classes = raw[label][:]
    if names := class_names(table, label):
        classes = named(classes, names)

    def opened(row: int) -> Any:
        held = raw[row][content]
        if held is None or held["bytes"] is None:  # a path that data bring along is not followed
            raise DataError(
                f"data {name} has no picture in row {row + 1}, or only a path; save the pictures themselves."
            )
        return io.BytesIO(held["bytes"])

    return Pictures([f"row {row + 1}" for row in range(len(raw))], opened, classes)


def decoded(parts: Sequence[Pictures], *, name: str, size: int | None) -> NDArray[np.uint8]:
    """All pictures of the parts as one array (n, channels, H, W): one channel if all are grey, else three.

    Raises
    ------
    DataError
        A picture that cannot be read, has more than 8 bits a channel, or another size than the first where `size` is not
        given: names it.
    """
    rows = [(found, row) for found in parts for row in range(len(found.classes))]
    grey, first = True, (0, 0)
    for number, (found, row) in enumerate(rows):  # headers only
        with _picture(found, row, name) as picture:
            if picture.mode in _DEEP:
                raise DataError(
                    f"picture {found.names[row]} of data {name} has more than 8 bits a channel; save it with 8."
                )
            first = picture.size if number == 0 else first
            if size is None and picture.size != first:
                raise DataError(
                    f"picture {found.names[row]} of data {name} is {picture.size[0]}×{picture.size[1]} and the first one "
                    f"{first[0]}×{first[1]}; say to which size to bring them all."
                )
            grey = grey and picture.mode in _GREY
    width, height = (size, size) if size is not None else first
    pixels = np.empty((len(rows), 1 if grey else 3, height, width), dtype=np.uint8)
    for number, (found, row) in enumerate(rows):
        with _picture(found, row, name) as picture:
            plain = _resized(picture.convert("L" if grey else "RGB"), (width, height))
            pixels[number] = np.asarray(plain).reshape(height, width, -1).transpose(2, 0, 1)
    return pixels


@contextmanager
def _picture(found: Pictures, row: int, name: str) -> Iterator[Any]:
    """One open picture; whatever Pillow finds wrong with it is one line."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # a small file that unpacks to gigabytes
            with Image.open(found.open(row)) as picture:
                yield picture
    except DataError:
        raise
    except Exception as problem:  # every format has errors of its own
        line = (str(problem).splitlines() or [""])[0][:160]
        raise DataError(
            f"picture {found.names[row]} of data {name} cannot be read ({type(problem).__name__}: {line}); replace it."
        ) from None


def resized(images: NDArray[Any], size: int | None) -> NDArray[Any]:
    """Images (n, channels, H, W) uint8 or float32 with another height and width (bilinear, averaging where it shrinks).

    Examples
    --------
    >>> resized(np.full((1, 1, 8, 8), 7, dtype=np.uint8), 2).tolist()
    [[[[7, 7], [7, 7]]]]
    """
    if size is None or images.shape[2:] == (size, size):
        return images
    from PIL import Image

    made = np.empty((*images.shape[:2], size, size), dtype=images.dtype)
    for row, channel in np.ndindex(*images.shape[:2]):
        made[row, channel] = np.asarray(_resized(Image.fromarray(images[row, channel]), (size, size)))
    return made


def _resized(picture: Any, shape: tuple[int, int]) -> Any:
    from PIL import Image

    return picture if picture.size == shape else picture.resize(shape, Image.Resampling.BILINEAR)
