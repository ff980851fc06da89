"""Signed hashes of words and character 3-grams: no model and no network. It sees spelling, not meaning."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DIMENSIONS = 256  # of the built-in embedding: two of 20 features share a place about half the time, signs then differ
_PERSON = b"uqkd-embedding-1"  # BLAKE2b personalisation; another embedding is another name
_WORD = re.compile(r"\w+")


def vectors(texts: Sequence[str], model: str = "", *, device: str = "cpu") -> Array:
    """(N, 256) hashes (BLAKE2b) of the words and the character 3-grams of the casefolded, NFKC-normalised text.

    Notes
    -----
    Weinberger et al. (2009), feature hashing: inner products of signed hashes are unbiased for those of the counts.
    """
    return np.stack([_hashed(text) for text in texts])


def folded(text: str) -> str:
    """The text in NFKC form, casefolded, with single blanks between its words.

    Examples
    --------
    >>> folded("  The ﬁnal\\tANSWER ")
    'the final answer'
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def _features(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield f"w:{word}"
    padded = f" {text} "
    for start in range(len(padded) - 2):
        yield f"c:{padded[start : start + 3]}"


@lru_cache(maxsize=2**16)
def _place(feature: str) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8, person=_PERSON).digest()
    number = int.from_bytes(digest, "big")
    return number % DIMENSIONS, 1.0 if number >> 63 else -1.0


def _hashed(text: str) -> Array:
    vector, plain = np.zeros(DIMENSIONS), folded(text)
    for feature in _features(plain) if plain else ["empty"]:
        place, sign = _place(feature)
        vector[place] += sign
    if not vector.any():  # every feature cancelled another: a rare text, told apart by its own hash
        place, sign = _place(f"t:{plain}")
        vector[place] = sign
    return np.asarray(vector / np.linalg.norm(vector))
