"""Images with classes: bundled, from the hub, a folder or an array file; checked, fingerprinted, split by class, scaled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.hub import IMAGES, from_hub, from_saved, is_saved
from uqkd.data.images.arrays import checked_labels, decoded_names, image, read_arrays, refuse_equal
from uqkd.data.images.files import Pictures, decoded, folder_of_images, resized, table_of_images
from uqkd.data.labelled import annotated, part_of_rows
from uqkd.data.tabular.classes import Labels, encoded_classes
from uqkd.data.tabular.loading import local_path, normalise_name, warn_of_namesake
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, nearest

Pixels = NDArray[Any]  # uint8 or float32

DIGITS = "digits"  # what scikit-learn carries: loads without a network
_CHANNELS = (1, 3, 4)
_OFFLINE = f"{DIGITS}, an .npz file, a folder of datasets.save_to_disk, or a folder CLASS/NAME.png"


@dataclass(frozen=True)
class ImageDataset:
    """Images with classes.

    Attributes
    ----------
    name : str
    images : (n, channels, H, W) uint8 or float32
        As given: 0 ... 255, or numbers such as shares of full brightness in [0, 1].
    labels : (n,) int
        0 ... C − 1, the place of each image's class in `classes`.
    classes : tuple of str
        Names of the C classes, sorted: by number where all are numbers, else by letters.
    fingerprint : str
        Hash of pixels, classes and labels: equal data have equal fingerprints wherever they came from.
    annotators : (n, A) int, optional
        What A further people called each image; −1 where one said nothing.
    held_out : (n,) bool, optional
        Rows of the test part that the data came with.
    """

    name: str
    images: Pixels
    labels: Labels
    classes: tuple[str, ...]
    fingerprint: str
    annotators: Labels | None = None
    held_out: NDArray[np.bool_] | None = None


def images_from_arrays(
    images: NDArray[Any],
    labels: Any,
    *,
    name: str,
    annotators: Any = None,
    held_out: NDArray[np.bool_] | None = None,
) -> ImageDataset:
    """Check arrays and make them an `ImageDataset`; see `load_images` for what is refused.

    Parameters
    ----------
    images : (n, H, W), (n, channels, H, W) or (n, H, W, channels)
        uint8 or float; 1, 3 or 4 channels.
    labels : (n,)
        Names or whole numbers.
    name : str
    annotators : (n, A), optional
        Of the same kind as `labels`; None or −1 where one said nothing.
    held_out : (n,) bool, optional

    Examples
    --------
    >>> found = images_from_arrays(np.eye(64)[:4].reshape(4, 8, 8), ["x", "y", "y", "x"], name="toy")
    >>> found.images.shape, found.images.dtype, found.classes
    ((4, 1, 8, 8), dtype('float32'), ('x', 'y'))
    """
    import pandas as pd

    pixels = checked_pixels(np.asarray(images), name=name)
    given = checked_labels(labels, name=name)
    said = None if annotators is None else decoded_names(np.asarray(annotators), "annotators", name=name)
    if given.shape != (len(pixels),):
        raise ShapeError(
            f"data {name} has {len(pixels)} images and labels of shape {given.shape}; one label per image is needed."
        )
    if said is not None and (said.ndim != 2 or len(said) != len(pixels) or said.shape[1] == 0):
        raise ShapeError(f"annotators of data {name} have shape {said.shape}; ({len(pixels)}, A) is needed.")
    classes, places = encoded_classes(pd.Series(given), name, None)
    refuse_equal(pixels, name=name)
    others = None if said is None else annotated(list(said.T), classes, name=name, place=image)
    digest = _fingerprint(pixels, places, classes, others, held_out)
    return ImageDataset(name, pixels, places, classes, digest, others, held_out)


def checked_pixels(images: NDArray[Any], *, name: str) -> Pixels:
    """Images as (n, channels, H, W) uint8 or float32.

    Raises
    ------
    ShapeError
        Axes that are none of (n, H, W), (n, channels, H, W), (n, H, W, channels).
    DataError
        Values of another type.
    NotFiniteError
        NaN or inf; names the first image.

    Examples
    --------
    >>> checked_pixels(np.zeros((2, 5, 6, 3), dtype=np.uint8), name="toy").shape
    (2, 3, 5, 6)
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS:
        images = np.moveaxis(images, 3, 1)
    if images.ndim != 4 or images.shape[1] not in _CHANNELS or 0 in images.shape:
        raise ShapeError(
            f"images of data {name} have shape {images.shape}; (n, H, W), (n, channels, H, W) or (n, H, W, channels) with "
            "1, 3 or 4 channels is needed."
        )
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise DataError(f"images of data {name} hold {images.dtype}; uint8 (0 ... 255) or float is needed.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, and is refused
        pixels = np.ascontiguousarray(images, dtype=np.float32)
    finite = np.isfinite(pixels).all(axis=(1, 2, 3))
    if not finite.all():
        raise NotFiniteError(
            f"{image(int(np.argmin(finite)))} of data {name} holds NaN or inf ({int((~finite).sum())} such images of "
            f"{len(pixels)}); leave it out."
        )
    return pixels


def _fingerprint(images: Pixels, labels: Labels, classes: Sequence[str], *more: NDArray[Any] | None) -> str:
    """Hash of pixels with their type and shape, class names, labels, and `more` arrays of whole numbers."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((tuple(classes), images.shape, images.dtype.name)).encode("utf-8", "surrogatepass"))
    digest.update(images.astype(images.dtype.newbyteorder("<"), copy=False).data)
    for array in (labels, *more):
        digest.update(b"none" if array is None else repr(array.shape).encode() + array.astype("<i8").tobytes())
    return digest.hexdigest()


def load_images(name: str | Path, *, size: int | None = None, split: str | None = None) -> ImageDataset:
    """Load images with classes by name or by path.

    Parameters
    ----------
    name : str or Path
        "digits" (8 × 8, brightness scaled to [0, 1]); "cifar10", "cifar100" or "imagenet", which need a network once; or the
        path of an `.npz` file, of a folder that `datasets.save_to_disk` made, or of a folder with CLASS/NAME.png (.jpg, ...)
        or PART/CLASS/NAME.png, where PART is train, test or val (valid, validation, dev). An `.npz` file holds `images` and
        `labels`; perhaps `classes` (names, of which labels are the places), `annotators` (n, A) and `held_out` (n,). A folder
        here that has the name of a data set is given as "./NAME".
    size : int, optional
        Height and width to which every image is resized (bilinear). Needed where images differ in size.
    split : str, optional
        One part, such as "train". If not given all parts: the test part is noted in `.held_out` (the validation part where
        the test part has no labels).

    Returns
    -------
    ImageDataset

    Raises
    ------
    DataError
        No network, a missing or unreadable file, a pickle inside an `.npz`, images of several sizes or all the same, an image
        without class (label −1 too), one class only, a class with one image: one line that names the place.
    ShapeError, NotFiniteError
        Arrays that are no images.
    OptionError
        Unknown name or part; "imagenet" without a size: the message states the memory.

    Examples
    --------
    >>> digits = load_images("digits")
    >>> digits.images.shape, float(digits.images.max()), digits.classes[3]
    ((1797, 1, 8, 8), 1.0, '3')
    """
    name = normalise_name(name)
    if size is not None and size < 1:
        raise OptionError(f"size must be 1 or more pixels; got {size}.")
    warn_of_namesake(name, (DIGITS, *IMAGES))
    if name == DIGITS:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = checked_pixels(bunch.images / 16.0, name=name)  # brightness is 0 ... 16 there
        return images_from_arrays(resized(pixels, size), bunch.target, name=name)
    if name in IMAGES:
        known = IMAGES[name]
        _refuse_size_unknown(name, known.rows, size)
        found = from_hub(name, known, split=split, offline=_OFFLINE)
        columns = (known.content, known.label)
        return _joined({p: table_of_images(t, name, columns) for p, t in found.items()}, name=name, size=size)
    path = local_path(name)
    if path is None:
        raise OptionError(f"data got {name!r}; {nearest(name, (DIGITS, *IMAGES))}, or {_OFFLINE}.")
    if not path.is_dir():
        return _from_npz(path, size=size, split=split)
    if is_saved(path):
        saved = from_saved(path, split=split)
        return _joined({p: table_of_images(t, name, None) for p, t in saved.items()}, name=name, size=size)
    return _joined(folder_of_images(path, split=split), name=name, size=size)


def _refuse_size_unknown(name: str, rows: int, size: int | None) -> None:
    """Memory is stated before a download that would not fit."""
    if rows and size is None:
        needs = ", ".join(f"size={side} takes {rows * 3 * side**2 / 1e9:,.0f} GB" for side in (32, 64, 224))
        raise OptionError(
            f"data {name} has {rows:,} images of many sizes; say to which to resize them: {needs} as uint8, and four times "
            "that once standardised."
        )


def _joined(parts: Mapping[str, Pictures], *, name: str, size: int | None) -> ImageDataset:
    """One data set of the parts, laid end to end; a test part without any labels is left out before it is decoded."""
    kept = {p: found for p, found in parts.items() if len(parts) == 1 or any(c is not None for c in found.classes)}
    pixels = decoded(list(kept.values()), name=name, size=size)
    labels = [label for found in kept.values() for label in found.classes]
    held_out = part_of_rows({part: len(found.classes) for part, found in kept.items()})
    return images_from_arrays(pixels, labels, name=name, held_out=held_out)


def _from_npz(path: Path, *, size: int | None, split: str | None) -> ImageDataset:
    """An array file; nothing in it is unpickled."""
    if path.suffix.lower() != ".npz":
        raise DataError(f"data {path} ends in {path.suffix!r}; images come as {_OFFLINE}.")
    if split is not None:
        raise OptionError(f"data {path} is one file, which has no part {split!r}; leave split out, or give a folder.")
    found, name = read_arrays(path), str(path)
    pixels = resized(checked_pixels(found.images, name=name), size)
    return images_from_arrays(pixels, found.labels, name=name, annotators=found.annotators, held_out=found.held_out)
