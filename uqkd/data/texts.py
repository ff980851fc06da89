"""Texts with classes: from the hub, a folder or a file; checked, fingerprinted, split by class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.data.classes import Labels

TEST_FRACTION = 0.2  # held out where the data bring no test part of their own


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
