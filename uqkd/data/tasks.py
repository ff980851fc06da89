"""One classification in three parts, as studies of classifiers use it: training, calibration and test rows of one kind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.classes import Labels, held_out_rows
from uqkd.data.hub import IMAGES, TEXTS
from uqkd.data.image_parts import split_images
from uqkd.data.images import load_images
from uqkd.data.intents import IntentWorld
from uqkd.data.sources import unchanged
from uqkd.data.texts import load_texts, split_texts
from uqkd.data.tokens import encode, open_tokenizer
from uqkd.errors import DataError, OptionError, nearest

INTENTS = "intents"
TRAINED_SHARE = (
    0.3  # of the digits: with more of them every network is right nearly always, and nothing is left to measure
)
CALIBRATION_SHARE = 0.3  # of the rows that are not trained on; the rest is the test part
DRAWN = 2_000  # texts of each part of the generated intents


@dataclass(frozen=True)
class Task:
    """Rows of a classification; made by `load_task`.

    Attributes
    ----------
    name : str
    X, X_held, X_test : (n, ...), (m, ...), (t, ...) array
        Images (float32, standardised by the training part) or token ids (int64), to train on, to calibrate and choose on, and
        to test on.
    labels, labels_held, labels_test : int arrays
    classes : tuple of str
    fingerprint : str
    pad : int or None
        Id of the padding token of texts; None for images.
    vocabulary : int or None
        Token ids lie below it; None for images.
    posterior, posterior_test : (n, C), (t, C) float or None
        The true P(class | row), where it is known.
    """

    name: str
    X: NDArray[Any]
    labels: Labels
    X_held: NDArray[Any]
    labels_held: Labels
    X_test: NDArray[Any]
    labels_test: Labels
    classes: tuple[str, ...]
    fingerprint: str
    pad: int | None = None
    vocabulary: int | None = None
    posterior: NDArray[np.float64] | None = None
    posterior_test: NDArray[np.float64] | None = None


@lru_cache(maxsize=4)
def load_task(name: str, *, tokenizer: str | None = None, length: int = 128, size: int | None = None) -> Task:
    """Load a classification by name or path and part it, keyed by its fingerprint.

    Parameters
    ----------
    name : str
        "digits"; "intents" or "intents:C" (generated, 30 or C classes, with the true posterior); a name of `load_texts` or
        `load_images`; or the path of texts or images.
    tokenizer : str, optional
        Folder or name of a model whose tokenizer reads the texts; needed for texts that are not generated.
    length : int
        Tokens of a row.
    size : int, optional
        Height and width that images are brought to.

    Raises
    ------
    OptionError
        Unknown name, or no tokenizer where one is needed.
    DataError
        As `load_texts` and `load_images`.

    Examples
    --------
    >>> task = load_task("digits")
    >>> task.X.shape, task.X_held.shape, task.X_test.shape
    ((539, 1, 8, 8), (378, 1, 8, 8), (880, 1, 8, 8))
    >>> load_task("intents:6").posterior.shape
    (2000, 6)
    """
    if name.split(":")[0] == INTENTS:
        return _generated(name)
    if name in TEXTS or name.endswith((".csv", ".parquet", ".jsonl")) or (tokenizer is not None and "/" in name):
        return _texts(name, tokenizer, length)
    if name == "digits" or name in IMAGES or "." in name or "/" in name:
        return _images(name, size)
    known = ("digits", INTENTS, *TEXTS, *IMAGES)
    raise OptionError(f"data got {name!r}; {nearest(name, known)}, or the path of texts or images.")


def _images(name: str, size: int | None) -> Task:
    dataset = load_images(name, size=size)
    part = split_images(dataset, test_fraction=1.0 - TRAINED_SHARE if name == "digits" else None)
    held = _calibration(part.labels_test, len(part.classes), dataset.fingerprint)
    X, labels = part.X_test, part.labels_test
    return Task(
        name, part.X, part.labels, X[held], labels[held], X[~held], labels[~held], part.classes, dataset.fingerprint
    )


def _texts(name: str, tokenizer: str | None, length: int) -> Task:
    if tokenizer is None:
        raise OptionError(
            f"data {name!r} holds texts, which a tokenizer must read: give the folder or name of a model."
        )
    reader = open_tokenizer(tokenizer)
    dataset = load_texts(name)
    part = split_texts(dataset)
    held = _calibration(part.labels_test, len(part.classes), dataset.fingerprint)
    X, X_test = encode(reader, part.texts, length), encode(reader, part.texts_test, length)
    labels = part.labels_test
    return Task(
        name, X, part.labels, X_test[held], labels[held], X_test[~held], labels[~held], part.classes, dataset.fingerprint,
        pad=int(reader.pad_token_id), vocabulary=len(reader),
    )  # fmt: skip


def _generated(name: str) -> Task:
    """Texts of a world of intents; a word's number is its token id, one above its place, and 0 is padding."""
    count = name.partition(":")[2] or "30"
    if not count.isdecimal() or int(count) < 2:
        raise OptionError(f"data got {name!r}; generated intents are 'intents' or 'intents:C' with C >= 2 classes.")
    world = IntentWorld.make(classes=int(count), key=("data", INTENTS))
    train, held, test = (
        world.draw(DRAWN, key=("data", INTENTS, int(count), part), shared=True)
        for part in ("train", "calibration", "test")
    )
    digest = hashlib.blake2b("".join(d.fingerprint for d in (train, held, test)).encode(), digest_size=16).hexdigest()
    return Task(
        name, train.words + 1, train.labels, held.words + 1, held.labels, test.words + 1, test.labels, world.classes, digest,
        pad=0, vocabulary=len(world.vocabulary) + 1,
        posterior=world.posterior(train.words), posterior_test=world.posterior(test.words),
    )  # fmt: skip


def _calibration(labels: Labels, classes: int, digest: str) -> NDArray[np.bool_]:
    """Which of the held-out rows are for calibration: some of each class."""
    if np.bincount(labels, minlength=classes).min() < 2:
        raise DataError("the test part needs two rows of every class, one of them for calibration; bring more rows.")
    return held_out_rows(labels, CALIBRATION_SHARE, key=("data", "calibration part", digest))


def cell_task(name: str, **options: Any) -> dict[str, Any]:
    """What identifies a task in a study's cell: name, options and fingerprint of the contents.

    Examples
    --------
    >>> sorted(cell_task("digits"))
    ['data', 'data_fingerprint', 'reading']
    """
    return {"data": name, "reading": options, "data_fingerprint": load_task(name, **options).fingerprint}


def of_cell_task(cell: Mapping[str, Any]) -> Task:
    """The task of a study's cell; `ProvenanceError` if its contents are no longer those of the fingerprint."""
    return unchanged(load_task(cell["data"], **cell["reading"]), cell)
