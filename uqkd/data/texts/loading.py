"""Texts with classes: from the hub, a folder or a file; checked, fingerprinted, split by class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.hub import TEXTS, from_hub
from uqkd.data.labelled import annotated, part_of_rows, rows_held_out
from uqkd.data.tabular.classes import Labels, encoded_classes
from uqkd.data.tabular.loading import local_path, normalise_name, warn_of_namesake
from uqkd.data.texts.files import checked_texts, frame_of, local_texts
from uqkd.errors import OptionError, nearest

_OFFLINE = (
    "a .csv, .parquet or .jsonl file, a folder of datasets.save_to_disk or of train.* and test.* files, or IntentWorld"
)


@dataclass(frozen=True)
class TextDataset:
    """Texts with classes.

    Attributes
    ----------
    name : str
    texts : tuple of str
    labels : (n,) int
        0 ... C − 1, the place of each text's class in `classes`.
    classes : tuple of str
        Names of the C classes, sorted: by number where all are numbers, else by letters.
    fingerprint : str
        Hash of texts, classes and labels: equal data have equal fingerprints wherever they came from.
    annotators : (n, A) int, optional
        What A further people called each text; −1 where one said nothing.
    held_out : (n,) bool, optional
        Rows of the test part that the data came with.
    outside : tuple of str
        Texts of no class (out of scope), where the data have such.
    """

    name: str
    texts: tuple[str, ...]
    labels: Labels
    classes: tuple[str, ...]
    fingerprint: str
    annotators: Labels | None = None
    held_out: NDArray[np.bool_] | None = None
    outside: tuple[str, ...] = ()


def text_fingerprint(
    texts: Sequence[str],
    labels: Labels,
    classes: Sequence[str],
    *,
    more: Iterable[NDArray[Any] | None] = (),
    outside: Sequence[str] = (),
) -> str:
    """Hash of texts, class names and labels, and of `more` arrays.

    Examples
    --------
    >>> one = text_fingerprint(["ab", "c"], np.array([0, 1]), ["x", "y"])
    >>> one == text_fingerprint(["a", "bc"], np.array([0, 1]), ["x", "y"])
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for group in (texts, classes, outside):
        digest.update(b"%d:" % len(group))
        for text in group:
            body = text.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(body) + body)
    for array in (labels, *more):
        digest.update(b"none" if array is None else repr(array.shape).encode() + array.astype("<i8").tobytes())
    return digest.hexdigest()


def load_texts(
    name: str | Path,
    *,
    text: str | None = None,
    target: str | None = None,
    split: str | None = None,
    annotators: Sequence[str] = (),
    outside: str | None = None,
) -> TextDataset:
    r"""Load texts with classes by name or by path.

    Parameters
    ----------
    name : str or Path
        "banking77", "clinc150", "trec", "ag_news" or "massive" (US English), which need a network once; or the path of a
        `.csv`, `.parquet` or `.jsonl` file, of a folder that `datasets.save_to_disk` made, or of a folder with train.*,
        test.* and perhaps val.* (valid.*, validation.*, dev.*) files. A folder here that has the name of a data set is given
        as "./NAME".
    text, target : str, optional
        Columns of the text and of its class (names or whole numbers); "text" and "label" if not given.
    split : str, optional
        One part, such as "train". If not given all parts: the test part is noted in `.held_out` (the validation part where
        there is no test part).
    annotators : sequence of str
        Columns of what further people called the text.
    outside : str, optional
        A class that is none: its texts are returned apart, in `.outside`. "oos" for "clinc150".

    Returns
    -------
    TextDataset

    Raises
    ------
    DataError
        No network, a missing or unreadable file, a missing column, an empty text, a text without class, one class only, a
        class with one text: one line that names the place.
    OptionError
        Unknown name or part, or columns that must be named.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.csv").write_text("text,label\nhello,greet\nhi,greet\nbye,part\nso long,part\n")
    ...     found = load_texts(f"{folder}/a.csv")
    >>> found.classes, found.labels, found.texts[3]
    (('greet', 'part'), array([0, 0, 1, 1]), 'so long')
    """
    name = normalise_name(name)
    warn_of_namesake(name, TEXTS)
    if name in TEXTS:
        known = TEXTS[name]
        parts = {p: frame_of(t) for p, t in from_hub(name, known, split=split, offline=_OFFLINE).items()}
        text, target, outside = text or known.content, target or known.label, outside or known.outside
    elif (path := local_path(name)) is not None:
        parts = local_texts(path, split=split)
    else:
        raise OptionError(f"data got {name!r}; {nearest(name, TEXTS)}, or {_OFFLINE}.")
    columns: dict[str, Any] = {"text": text, "target": target, "annotators": annotators}
    checked = {
        part: checked_texts(frame, name=f"{name}, part {part}" if len(parts) > 1 else name, **columns)
        for part, frame in parts.items()
    }
    return _joined(checked, name=name, outside=outside)


def _joined(parts: Mapping[str, Any], *, name: str, outside: str | None) -> TextDataset:
    """One data set of the checked parts, laid end to end."""
    import pandas as pd

    apart: list[str] = []
    kept = {}
    for part, frame in parts.items():
        beyond = frame["label"].map(str) == outside if outside is not None else np.zeros(len(frame), dtype=bool)
        apart += frame["text"][beyond].tolist()
        kept[part] = frame[~beyond]
    table = pd.concat(kept.values(), ignore_index=True)
    held_out = part_of_rows({part: len(frame) for part, frame in kept.items()})
    classes, labels = encoded_classes(table["label"], name, "label")
    said = [table[column].tolist() for column in table.columns[2:]]
    others = annotated(said, classes, name=name) if said else None
    texts = tuple(table["text"].tolist())
    digest = text_fingerprint(texts, labels, classes, more=(others, held_out), outside=apart)
    return TextDataset(name, texts, labels, classes, digest, others, held_out, tuple(apart))


@dataclass(frozen=True)
class TextSplit:
    """Training and test texts.

    Attributes
    ----------
    texts, texts_test : tuple of str
    labels, labels_test : (n,), (m,) int
    classes : tuple of str
    rows, rows_test : (n,), (m,) int
        Places in the data set.
    """

    texts: tuple[str, ...]
    labels: Labels
    texts_test: tuple[str, ...]
    labels_test: Labels
    classes: tuple[str, ...]
    rows: Labels
    rows_test: Labels


def split_texts(dataset: TextDataset, *, test_fraction: float | None = None) -> TextSplit:
    """Split by class, keyed by the data's fingerprint.

    Parameters
    ----------
    dataset : TextDataset
    test_fraction : float, optional
        Share of each class's texts held out, in (0, 1), to the nearest one. If not given: the test part that the data came
        with, and 0.2 where they came with none.

    Returns
    -------
    TextSplit

    Examples
    --------
    >>> from uqkd.data import IntentWorld
    >>> drawn = IntentWorld.make(classes=4, key=("doc",)).draw(100, key=("doc", "all"))
    >>> part = split_texts(drawn)
    >>> len(part.texts), len(part.texts_test), part.texts[0] == drawn.texts[part.rows[0]]
    (80, 20, True)
    """
    held_out = rows_held_out(dataset, test_fraction, what="split texts")
    rows, rows_test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    return TextSplit(
        texts=tuple(dataset.texts[row] for row in rows),
        labels=dataset.labels[rows],
        texts_test=tuple(dataset.texts[row] for row in rows_test),
        labels_test=dataset.labels[rows_test],
        classes=dataset.classes,
        rows=rows,
        rows_test=rows_test,
    )
