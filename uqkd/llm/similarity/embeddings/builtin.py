"""Signed hashes of words and character 3-grams: no model and no network. It sees spelling, not meaning."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

DIMENSIONS = 256  # of the built-in embedding: two of 20 features share a place about half the time, signs then differ
_PERSON = b"uqkd-embedding-1"  # BLAKE2b personalisation; another embedding is another name
_WORD = re.compile(r"\w+")
_CHARACTERS = 2**20  # of texts that are hashed at a time: some 60 MB of places
_TABLE = 2**21  # 3-grams of an alphabet that are looked up in a table; of a larger alphabet they are sorted


def vectors(texts: Sequence[str], model: str = "", *, device: str = "cpu") -> Array:
    """(N, 256) hashes (BLAKE2b) of the words and the character 3-grams of the casefolded, NFKC-normalised text.

    Notes
    -----
    Weinberger et al. (2009), feature hashing: inner products of signed hashes are unbiased for those of the counts.
    """
    plain = [folded(text) for text in texts]
    ends = np.cumsum([len(text) + 2 for text in plain])  # with a blank at either side
    cuts = np.flatnonzero(np.diff(ends // _CHARACTERS)) + 1
    return np.concatenate([_hashed(plain[a:b]) for a, b in itertools.pairwise([0, *cuts.tolist(), len(plain)])])


def folded(text: str) -> str:
    """The text in NFKC form, casefolded, with single blanks between its words.

    Examples
    --------
    >>> folded("  The ﬁnal\\tANSWER ")
    'the final answer'
    """
    if text.isascii():  # most texts: the same, without looking characters up
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


@lru_cache(maxsize=2**16)
def _place(feature: str) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8, person=_PERSON).digest()
    number = int.from_bytes(digest, "big")
    return number % DIMENSIONS, 1.0 if number >> 63 else -1.0


def _hashed(plain: Sequence[str]) -> Array:
    """(N, 256) of folded texts; sums of signs are whole numbers, so their order leaves no trace."""
    rows, places, signs = (np.concatenate(parts) for parts in zip(_of_words(plain), _of_characters(plain), strict=True))
    sums = np.bincount(rows * DIMENSIONS + places, signs, len(plain) * DIMENSIONS).reshape(-1, DIMENSIONS)
    # Where every feature cancelled another: a rare text, told apart by its own hash.
    for row in np.flatnonzero(~sums.any(axis=1)):
        place, sign = _place(f"t:{plain[row]}")
        sums[row, place] = sign
    return np.asarray(sums / np.sqrt((sums * sums).sum(axis=1, keepdims=True)))


def _of_words(plain: Sequence[str]) -> tuple[Index, Index, Array]:
    """Text, place and sign of every word; an empty text has one feature of its own."""
    found = [_WORD.findall(text) if text else [""] for text in plain]
    number: dict[str, int] = {}
    which = np.array([number.setdefault(word, len(number)) for words in found for word in words], dtype=np.int64)
    places, signs = _placed([f"w:{word}" if word else "empty" for word in number])
    return np.repeat(np.arange(len(plain)), [len(words) for words in found]), places[which], signs[which]


def _of_characters(plain: Sequence[str]) -> tuple[Index, Index, Array]:
    """Text, place and sign of every 3-gram of characters, with a blank before and behind each text that is not empty."""
    padded = [f" {text} " if text else "" for text in plain]
    lengths = np.array([len(text) for text in padded])
    rows = np.repeat(np.arange(len(padded)), lengths)
    begins = np.flatnonzero(rows[2:] == rows[:-2])  # where three characters of one text begin
    if not len(begins):
        return begins, begins, begins.astype(np.float64)
    letters, number = _alphabet(np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32))
    count = len(letters)
    codes = (number[begins] * count + number[begins + 1]) * count + number[begins + 2]
    distinct, which = _renumbered(codes) if count**3 <= _TABLE else np.unique(codes, return_inverse=True)
    three = (distinct // count**2, distinct // count % count, distinct % count)
    places, signs = _placed([f"c:{letters[a]}{letters[b]}{letters[c]}" for a, b, c in zip(*three, strict=True)])
    return rows[begins], places[which], signs[which]


def _placed(features: Sequence[str]) -> tuple[Index, Array]:
    """Place and sign of each feature."""
    places, signs = np.array([_place(feature) for feature in features], dtype=np.float64).reshape(-1, 2).T
    return places.astype(np.int64), signs


def _alphabet(characters: NDArray[np.uint32]) -> tuple[list[str], Index]:
    """The characters that occur, and the number of each one in a text among them."""
    there, which = _renumbered(characters)
    return [chr(c) for c in there], which


def _renumbered(values: NDArray[Any]) -> tuple[Index, Index]:
    """As `np.unique` with its inverse, by a table instead of sorting: for small values."""
    there = np.flatnonzero(np.bincount(values))
    number = np.zeros(int(there[-1]) + 1, dtype=np.int64)
    number[there] = np.arange(len(there))
    return there, number[values]
