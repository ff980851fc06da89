"""Rated texts: what they are, how far their raters agree, and their parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.data.tabular.loading import short_name
from uqkd.errors import DataError, OptionError

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

TIED = -1  # in `majority`: two classes or more were chosen most often


@dataclass(frozen=True)
class RatedTexts:
    """Texts and how many people put each into each class; made by `load_ratings`.

    Attributes
    ----------
    name : str
    texts : tuple of str
        No text twice.
    counts : (N, C) int
        Raters of each text that chose each class; at least two raters a text.
    classes : tuple of str
        Names of the C classes, in the order of the columns.
    fingerprint : str
        Hash of texts, classes and counts.
    """

    name: str
    texts: tuple[str, ...]
    counts: Counts
    classes: tuple[str, ...]
    fingerprint: str

    @property
    def raters(self) -> Counts:
        """(N,) how many people rated each text."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def shares(self) -> Array:
        """(N, C) share of the raters that chose each class."""
        return np.asarray(self.counts / self.raters[:, None])

    @property
    def majority(self) -> Counts:
        """(N,) place of the class chosen most often; `TIED` (−1) where two were chosen equally often."""
        most = self.counts.max(axis=1, keepdims=True)
        tied = (self.counts == most).sum(axis=1) > 1
        return np.where(tied, TIED, self.counts.argmax(axis=1))

    @property
    def agreement(self) -> float:
        """Probability that two raters of a text agree, averaged over texts; unbiased."""
        n = self.raters
        return float(((self.counts * (self.counts - 1)).sum(axis=1) / (n * (n - 1))).mean())

    @property
    def kappa(self) -> float:
        """Fleiss' kappa: agreement beyond chance, every text counting equally; NaN where only one class was ever chosen."""
        chance = float((self.shares.mean(axis=0) ** 2).sum())
        return (self.agreement - chance) / (1.0 - chance) if chance < 1.0 else float("nan")

    @property
    def facts(self) -> str:
        """What the file holds, in one line: texts, raters, classes, agreement."""
        n, tied = self.raters, int((self.majority == TIED).sum())
        many = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()} (median {np.median(n):g})"
        shares = ", ".join(
            f"{name} {share:.0%}" for name, share in zip(self.classes, self.shares.mean(axis=0), strict=True)
        )
        return (
            f"{short_name(self.name)}: {len(self.texts):,} texts, {many} raters each; {shares}; two raters of a text agree with "
            f"probability {self.agreement:.2f} (Fleiss' kappa {self.kappa:.2f}), {tied} texts have no majority."
        )

    def take(self, rows: Any) -> RatedTexts:
        """The texts at these places, or of this mask, in that order."""
        places = np.arange(len(self.texts))[np.asarray(rows)]
        return rated_texts(self.name, [self.texts[row] for row in places], self.counts[places], self.classes)


def rated_texts(name: str, texts: Sequence[str], counts: Any, classes: Sequence[str]) -> RatedTexts:
    """Rated texts with their fingerprint; nothing is checked.

    Examples
    --------
    >>> rated_texts("toy", ["a", "b"], np.array([[2, 0], [1, 1]]), ["no", "yes"]).majority
    array([ 0, -1])
    """
    numbers = np.ascontiguousarray(np.asarray(counts, dtype=np.int64))
    digest = hashlib.blake2b(digest_size=16)
    for group in (classes, texts):
        digest.update(b"%d;" % len(group))
        for value in group:
            body = value.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(body) + body)
    digest.update(numbers.astype("<i8").tobytes())
    return RatedTexts(name, tuple(texts), numbers, tuple(classes), digest.hexdigest())


@dataclass(frozen=True)
class RatingSplit:
    """Rated texts in three parts, no text in two of them; made by `split_ratings`."""

    train: RatedTexts
    validation: RatedTexts
    test: RatedTexts


def split_ratings(rated: RatedTexts, *, validation: float = 0.2, test: float = 0.2) -> RatingSplit:
    """Split rated texts at random, keyed by their fingerprint.

    Parameters
    ----------
    rated : RatedTexts
    validation, test : float
        Shares of the texts, to the nearest one; what is left, a text at least, is to train on.

    Returns
    -------
    RatingSplit

    Raises
    ------
    OptionError
        Shares that are not positive, or leave nothing.
    DataError
        Too few texts for a text in each part.

    Examples
    --------
    >>> part = split_ratings(rated_texts("toy", list("abcde"), np.full((5, 2), 3), ["no", "yes"]))
    >>> len(part.train.texts), len(part.validation.texts), len(part.test.texts)
    (3, 1, 1)
    """
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise OptionError(
            f"split_ratings needs positive shares validation and test with a sum below 1; got {validation} and {test}."
        )
    count = len(rated.texts)
    ends = np.cumsum([round(count * test), round(count * validation)])
    order = seeds.generator("data", "split ratings", rated.fingerprint, shared=True).permutation(count)
    parts = np.split(order, ends)
    if min(map(len, parts)) == 0:
        raise DataError(f"data {rated.name} has {count} texts, too few for a text in each of three parts; bring more.")
    tested, held, trained = (rated.take(np.sort(part)) for part in parts)
    return RatingSplit(train=trained, validation=held, test=tested)


def split_raters(counts: Any, *, key: tuple[Any, ...], shared: bool = False) -> tuple[Counts, Counts]:
    """Deal the raters of each text into two halves at random: what one half says is independent of the other's choice.

    To sort texts by what raters say and to measure by the same raters is to be misled by their sampling error; one half sorts,
    the other measures.

    Parameters
    ----------
    counts : (N, C) int
        At least four raters a text, so that a half has two.
    key : tuple
        Names the stream.
    shared : bool
        The same halves are dealt again on purpose; see `uqkd.seeds.ledger`.

    Returns
    -------
    first, second : (N, C) int
        They add up to `counts`; with an odd number of raters the second half has one more.

    Raises
    ------
    DataError
        A text of fewer than four raters.

    Examples
    --------
    >>> first, second = split_raters([[6, 4], [0, 5]], key=("doc",))
    >>> first.sum(axis=1), (first + second).tolist()
    (array([5, 2]), [[6, 4], [0, 5]])
    """
    whole = np.asarray(counts, dtype=np.int64)
    if (few := whole.sum(axis=1) < 4).any():
        row = int(few.argmax())
        raise DataError(f"split_raters needs four raters of each text; row {row} has {whole[row].sum()}. Leave it out.")
    rng = seeds.generator(*key, shared=shared)
    wanted, rest = whole.sum(axis=1) // 2, whole.sum(axis=1)
    first = np.zeros_like(whole)
    for c in range(
        whole.shape[1]
    ):  # class by class: a multivariate hypergeometric draw is a chain of hypergeometric ones
        rest = rest - whole[:, c]
        first[:, c] = rng.hypergeometric(whole[:, c], rest, wanted)
        wanted = wanted - first[:, c]
    return first, whole - first
