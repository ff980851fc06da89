"""Images in a training and a test part, scaled by channel; and images that two classes explain equally well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.data.images.loading import ImageDataset, Pixels
from uqkd.data.labelled import rows_held_out
from uqkd.data.tabular.classes import Labels
from uqkd.errors import DataError, OptionError, ShapeError

Array = NDArray[np.float64]

_CHUNK = 1024  # images turned into float64 at a time


@dataclass(frozen=True)
class ImageSplit:
    """Training and test images, standardised by one mean and standard deviation per channel of the training part.

    Attributes
    ----------
    X, X_test : (n, channels, H, W), (m, channels, H, W) float32
    labels, labels_test : (n,), (m,) int
    classes : tuple of str
    rows, rows_test : (n,), (m,) int
        Places in the data set.
    mean, sd : (channels,) float
        Of the training part, in the data's own units; the sd of a channel that is constant there is infinite, and the
        channel is 0 in both parts.
    """

    X: NDArray[np.float32]
    labels: Labels
    X_test: NDArray[np.float32]
    labels_test: Labels
    classes: tuple[str, ...]
    rows: Labels
    rows_test: Labels
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]

    def standardised(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Other images (n, channels, H, W) in the same units, scaled by the training part's numbers."""
        return _scaled(images, np.arange(len(images)), self.mean, self.sd)


@dataclass(frozen=True)
class AmbiguousImages:
    """Images that two classes explain equally well; made by `ambiguous`.

    Attributes
    ----------
    images : (m, channels, H, W) float32
        Averages of two images of different classes, in their units.
    annotators : (m, 2) int
        The two classes.
    rows : (m, 2) int
        The two images.
    """

    images: NDArray[np.float32]
    annotators: Labels
    rows: Labels


def split_images(dataset: ImageDataset, *, test_fraction: float | None = None) -> ImageSplit:
    """Split by class, keyed by the data's fingerprint, and standardise each channel by the training part only.

    One mean and one standard deviation per channel, not per pixel, so that a convolution still sees an image.

    Parameters
    ----------
    dataset : ImageDataset
    test_fraction : float, optional
        Share of each class's images held out, in (0, 1), to the nearest one. If not given: the test part that the data
        came with, and 0.2 where they came with none.

    Returns
    -------
    ImageSplit

    Examples
    --------
    >>> from uqkd.data import load_images
    >>> part = split_images(load_images("digits"))
    >>> part.X.shape, part.X_test.shape
    ((1438, 1, 8, 8), (359, 1, 8, 8))
    """
    held_out = rows_held_out(dataset, test_fraction, what="split images")
    rows, rows_test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    mean, sd = _moments(dataset.images, rows)
    return ImageSplit(
        X=_scaled(dataset.images, rows, mean, sd),
        labels=dataset.labels[rows],
        X_test=_scaled(dataset.images, rows_test, mean, sd),
        labels_test=dataset.labels[rows_test],
        classes=dataset.classes,
        rows=rows,
        rows_test=rows_test,
        mean=mean,
        sd=sd,
    )


def _moments(images: Pixels, rows: Labels) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel over the rows: two passes in float64, a chunk at a time.

    The standard deviation of a channel with one value is infinite: scaled, it is 0 everywhere.
    """
    channels, values = images.shape[1], rows.size * images.shape[2] * images.shape[3]
    mean, square = np.zeros(channels), np.zeros(channels)
    least, most = np.full(channels, np.inf), np.full(channels, -np.inf)
    for some in _chunks(rows):
        mean += images[some].sum(axis=(0, 2, 3), dtype=np.float64) / values
        least = np.minimum(least, images[some].min(axis=(0, 2, 3)))
        most = np.maximum(most, images[some].max(axis=(0, 2, 3)))
    for some in _chunks(rows):
        square += ((images[some] - mean[:, None, None]) ** 2).sum(axis=(0, 2, 3))
    return mean, np.where(most > least, np.sqrt(square / values), np.inf)


def _scaled(images: Pixels, rows: Labels, mean: Array, sd: Array) -> NDArray[np.float32]:
    scaled = np.empty((rows.size, *images.shape[1:]), dtype=np.float32)
    start = 0
    for some in _chunks(rows):
        scaled[start : start + some.size] = (images[some] - mean[:, None, None]) / sd[:, None, None]
        start += some.size
    return scaled


def _chunks(rows: Labels) -> list[Labels]:
    return [rows[start : start + _CHUNK] for start in range(0, rows.size, _CHUNK)]


def ambiguous(
    images: Pixels, labels: Labels, *, key: tuple[Any, ...], pairs: int, shared: bool = False
) -> AmbiguousImages:
    """Pixel averages of two images of different classes: inputs with two plausible classes, both known.

    Parameters
    ----------
    images : (n, channels, H, W)
    labels : (n,) int
        Of two classes or more.
    key : tuple
        Names the stream; see `uqkd.seeds.generator`.
    pairs : int
        Averages to make. The first image of each is any, the second any of another class, each as likely.
    shared : bool
        Several units of work draw the same pairs on purpose; see `uqkd.seeds.generator`.

    Returns
    -------
    AmbiguousImages

    Raises
    ------
    ShapeError
        Not four axes, or not one label per image.
    DataError
        One class only.
    OptionError
        pairs < 1.

    Examples
    --------
    >>> from uqkd.data import load_images
    >>> digits = load_images("digits")
    >>> made = ambiguous(digits.images, digits.labels, key=("doc",), pairs=3)
    >>> made.images.shape, made.annotators
    ((3, 1, 8, 8), array([[8, 7],
           [5, 2],
           [1, 7]]))
    """
    if images.ndim != 4 or labels.shape != (len(images),):
        raise ShapeError(
            f"ambiguous images need (n, channels, H, W) and n labels; got {images.shape} and {labels.shape}."
        )
    if len(images) == 0 or (labels == labels[0]).all():
        raise DataError(f"ambiguous images need two classes; all {len(labels)} labels are equal.")
    if pairs < 1:
        raise OptionError(f"pairs must be 1 or more; got {pairs}.")
    rng = seeds.generator(*key, "ambiguous images", shared=shared)
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    first = rng.integers(len(labels), size=pairs)
    begin = np.searchsorted(sorted_labels, sorted_labels[first], side="left")
    end = np.searchsorted(sorted_labels, sorted_labels[first], side="right")
    others = len(labels) - (end - begin)  # behind the first one's class, and on from the beginning
    second = (end + np.floor(rng.random(pairs) * others).astype(np.int64)) % len(labels)
    rows = np.column_stack([order[first], order[second]])
    average = (images[rows[:, 0]].astype(np.float32) + images[rows[:, 1]].astype(np.float32)) / np.float32(2)
    return AmbiguousImages(average, labels[rows], rows)
