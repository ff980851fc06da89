"""One classification in three parts, as studies of classifiers use it: training, calibration and test rows of one kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.images.loading import DIGITS, load_images
from uqkd.data.images.parts import split_images
from uqkd.data.kinds import INTENTS, LENGTH, is_generated, kind_of, reading_of
from uqkd.data.labelled import TEST_FRACTION, Labelled
from uqkd.data.synthetic.intents import IntentWorld
from uqkd.data.tabular.classes import Labels, held_out_rows
from uqkd.data.tabular.loading import normalise_name, short_name, warn_of_namesake
from uqkd.data.texts.loading import load_texts, split_texts
from uqkd.data.texts.tokens import check_reading, encode, open_tokenizer
from uqkd.errors import DataError, OptionError

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


def load_task(
    name: str | Path,
    *,
    tokenizer: str | None = None,
    length: int = LENGTH,
    size: int | None = None,
    text: str | None = None,
    target: str | None = None,
) -> Task:
    """Load a classification by name or path and part it, keyed by its fingerprint.

    Parameters
    ----------
    name : str or Path
        "digits"; "intents" or "intents:C" (generated, 30 or C classes, with the true posterior); a name of `load_texts` or
        `load_images`; or the path of texts or images.
    tokenizer : str, optional
        Folder or name of a model whose tokenizer reads the texts; needed for texts that are not generated.
    length : int
        Tokens of a row of texts.
    size : int, optional
        Height and width that images are brought to.
    text, target : str, optional
        Columns of texts and of their classes, as for `load_texts`.

        Options of the other kind of data are passed over, so that one set of them serves texts and images.

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
    name = normalise_name(name)
    kind = kind_of(name, tokenizer=tokenizer)
    options = {"tokenizer": tokenizer, "length": length, "size": size, "text": text, "target": target}
    return _loaded(name, kind, _seen(name), **reading_of(name, kind, options))


def _seen(name: str) -> tuple[Any, ...]:
    """What tells whether a path still means what was loaded from it: the folder worked in, and sizes and times of files."""
    path = Path(name).expanduser()
    entries = [path, *path.iterdir()] if path.is_dir() else [path] if path.exists() else []
    about = [(entry.name, entry.lstat().st_size, entry.lstat().st_mtime_ns) for entry in sorted(entries)]
    return (str(Path.cwd()), *about) if about else ()


@lru_cache(maxsize=4)
def _loaded(name: str, kind: str, seen: tuple[Any, ...], **reading: Any) -> Task:
    if is_generated(name):
        return _generated(name)
    return _texts(name, **reading) if kind == "texts" else _images(name, **reading)


def _images(name: str, size: int | None = None) -> Task:
    dataset = load_images(name, size=size)
    part = split_images(dataset, test_fraction=1.0 - TRAINED_SHARE if name == DIGITS else None)
    held = _calibration(dataset, part.labels_test)
    X, labels = part.X_test, part.labels_test
    return Task(
        short_name(name), part.X, part.labels, X[held], labels[held], X[~held], labels[~held], part.classes,
        dataset.fingerprint,
    )  # fmt: skip


def _texts(name: str, tokenizer: str | None = None, length: int = LENGTH, **columns: str) -> Task:
    if tokenizer is None:
        raise OptionError(
            f"data {name!r} holds texts, which a tokenizer must read; say which with tokenizer=, the folder or name of a model."
        )
    reader = open_tokenizer(tokenizer)
    dataset = load_texts(name, **columns)
    part = split_texts(dataset)
    held = _calibration(dataset, part.labels_test)
    X, X_test = encode(reader, part.texts, length), encode(reader, part.texts_test, length)
    check_reading(reader, dataset.texts, length=length, name=name)
    labels = part.labels_test
    return Task(
        short_name(name), X, part.labels, X_test[held], labels[held], X_test[~held], labels[~held], part.classes,
        dataset.fingerprint, pad=int(reader.pad_token_id), vocabulary=len(reader),
    )  # fmt: skip


def _generated(name: str) -> Task:
    """Texts of a world of intents; a word's number is its token id, one above its place, and 0 is padding."""
    warn_of_namesake(name, (name,))
    classes = name.partition(":")[2] or "30"
    if not classes.isdecimal() or int(classes) < 2:
        raise OptionError(f"data got {name!r}; generated intents are 'intents' or 'intents:C' with C >= 2 classes.")
    world = IntentWorld.make(classes=int(classes), key=("data", INTENTS))
    train, held, test = (
        world.draw(DRAWN, key=("data", INTENTS, int(classes), part), shared=True)
        for part in ("train", "calibration", "test")
    )
    digest = hashlib.blake2b("".join(d.fingerprint for d in (train, held, test)).encode(), digest_size=16).hexdigest()
    return Task(
        name, train.words + 1, train.labels, held.words + 1, held.labels, test.words + 1, test.labels, world.classes, digest,
        pad=0, vocabulary=len(world.vocabulary) + 1,
        posterior=world.posterior(train.words), posterior_test=world.posterior(test.words),
    )  # fmt: skip


def _calibration(dataset: Labelled, labels: Labels) -> NDArray[np.bool_]:
    """Which of the held-out rows are for calibration: some of each class."""
    counts = np.bincount(labels, minlength=len(dataset.classes))
    if counts.min() < 2:
        few = int(counts.argmin())
        wholly = int((dataset.labels == few).sum())
        # the share held out is rounded to the nearest row
        takes = next(n for n in count(2) if round(n * TEST_FRACTION) >= 2)
        advice = (
            f"with {wholly} in all; it takes {takes}"
            if dataset.held_out is None
            else "of the test part that came with the data; it takes 2 there"
        )
        raise DataError(
            f"the test part of data {dataset.name} needs two rows of every class, one of them for calibration; class "
            f"{dataset.classes[few]!r} has {counts[few]} ({(counts < 2).sum()} such of {len(counts)} classes), {advice}. Bring "
            "more rows, or merge it with another class."
        )
    return held_out_rows(labels, CALIBRATION_SHARE, key=("data", "calibration part", dataset.fingerprint))
