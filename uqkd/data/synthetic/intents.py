"""Generated intents: short texts of 2 to some hundred classes whose true posterior P(class | text) is known exactly.

Intents come in families, such as five about cards. A text has a length that does not depend on its intent, and each of
its words is drawn independently given the intent from a mixture of words that every text has, words of the family, and
words of the intent. `overlap` is the share of an intent's own words that it has in common with its family: it sets the
Bayes error, from almost none to that of a guess within the family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.data.synthetic.vocabulary import COMMON, TOPICS, pseudo_words
from uqkd.data.tabular.classes import Labels
from uqkd.data.texts.loading import TextDataset, text_fingerprint
from uqkd.errors import DataError, OptionError, ShapeError

Array = NDArray[np.float64]

PAD = -1  # fills the rows of a table of words behind the last word
SHARES = (0.34, 0.15, 0.50, 0.01)  # of common, family, own words, and strays: any word of the world, so that no P is 0
_FAMILY_WORDS, _OWN_WORDS = 6, 8
_WEIGHTS = 9  # words of one kind are drawn in proportion to whole numbers 1 ... 9: exact on every machine


@dataclass(frozen=True)
class IntentTexts(TextDataset):
    """Texts drawn from an `IntentWorld`: a `TextDataset` that also has the words by number.

    Attributes
    ----------
    words : (n, L) int
        Places in the world's vocabulary, −1 behind the last word.
    """

    words: Labels = field(kw_only=True)


@dataclass(frozen=True)
class IntentWorld:
    """Intents whose texts have known probabilities; made by `IntentWorld.make`.

    Attributes
    ----------
    vocabulary : tuple of str
        The V words.
    classes : tuple of str
        Names of the C intents, sorted.
    families : (C,) int
        Family of each intent.
    prior : (C,) float
        P(intent); sums to one.
    word_probs : (C, V) float
        P(word | intent); rows sum to one.
    lengths : tuple of int
        Fewest and most words of a text; all lengths between are equally likely, whatever the intent.

    Examples
    --------
    >>> world = IntentWorld.make(classes=10, family=5, overlap=0.5, key=("doc",))
    >>> drawn = world.draw(100, key=("doc", "training"))
    >>> world.posterior(drawn.texts).shape, drawn.words.shape, drawn.labels[:4]
    ((100, 10), (100, 12), array([0, 3, 7, 6]))
    """

    vocabulary: tuple[str, ...]
    classes: tuple[str, ...]
    families: Labels
    prior: Array
    word_probs: Array
    lengths: tuple[int, int]

    @classmethod
    def make(
        cls,
        *,
        classes: int = 77,
        family: int = 5,
        overlap: float = 0.5,
        key: tuple[Any, ...],
        lengths: tuple[int, int] = (5, 12),
        prior: Sequence[float] | None = None,
    ) -> IntentWorld:
        """A world of intents in families.

        Parameters
        ----------
        classes : int
            Intents, at least 2.
        family : int
            Intents in a family, on average and to the nearest whole family: sizes differ by one at most.
        overlap : float
            In [0, 1]: share of an intent's own words that the whole family has in equal parts. At 1 the intents of a family
            cannot be told apart.
        key : tuple
            Names the streams of words; see `uqkd.seeds.generator`. `overlap`, `lengths` and `prior` change no word.
        lengths : tuple of int
            Fewest and most words of a text.
        prior : sequence of float, optional
            P(intent); uniform if not given.
        """
        if classes < 2 or family < 1 or not 0.0 <= overlap <= 1.0 or not 1 <= lengths[0] <= lengths[1]:
            raise OptionError(
                "intents need classes >= 2, family >= 1, overlap in [0, 1] and lengths 1 <= fewest <= most; got "
                f"classes={classes}, family={family}, overlap={overlap}, lengths={lengths}."
            )
        topics = max(1, round(classes / family))
        families = np.arange(classes) * topics // classes
        made = pseudo_words(topics * _FAMILY_WORDS + classes * _OWN_WORDS, key=key)
        made[: min(topics, len(TOPICS)) * _FAMILY_WORDS : _FAMILY_WORDS] = TOPICS[:topics]
        heads, own = made[: topics * _FAMILY_WORDS : _FAMILY_WORDS], made[topics * _FAMILY_WORDS :: _OWN_WORDS]
        names = [f"{heads[group]}_{word}" for group, word in zip(families, own, strict=True)]
        order = np.argsort(names, kind="stable")  # classes are sorted as everywhere; the rows of all tables follow
        return cls(
            vocabulary=(*COMMON, *made),
            classes=tuple(names[i] for i in order),
            families=families[order],
            prior=_prior(prior, classes),
            word_probs=_mixture(families, overlap, key)[order],
            lengths=lengths,
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.vocabulary)}

    def draw(self, n: int, *, key: tuple[Any, ...], name: str = "intents", shared: bool = False) -> IntentTexts:
        """Draw n texts; every intent has n·prior of them, up to one, and each row's intent has exactly this prior.

        Parameters
        ----------
        n : int
        key : tuple
            Names the streams; equal keys give equal texts.
        name : str
        shared : bool
            Several units of work draw the same texts on purpose; see `uqkd.seeds.generator`.
        """
        if n < 1:
            raise OptionError(f"a draw of texts needs n >= 1; got {n}.")
        rng = seeds.generator(*key, "intents", shared=shared)
        # Systematic rounding: counts within one of n·prior, and equal to it on average. The last bound is n whatever was drawn.
        bounds = np.floor(np.cumsum(self.prior)[:-1] * n + rng.random()).astype(np.int64)
        labels = rng.permutation(np.repeat(np.arange(len(self.prior)), np.diff(bounds, prepend=0, append=n)))
        fewest, most = self.lengths
        length = rng.integers(fewest, most + 1, size=n)
        uniform = rng.random((n, most))
        words = np.full((n, most), PAD, dtype=np.int64)
        cumulative = np.cumsum(self.word_probs, axis=1)
        cumulative /= cumulative[:, -1:]  # ends in 1 exactly, so that no uniform number lies above it
        for intent in np.unique(labels):
            rows = labels == intent
            words[rows] = np.searchsorted(cumulative[intent], uniform[rows], side="right")
        words[np.arange(most) >= length[:, None]] = PAD
        texts = tuple(" ".join(self.vocabulary[w] for w in row if w != PAD) for row in words.tolist())
        fingerprint = text_fingerprint(texts, labels, self.classes)
        return IntentTexts(name, texts, labels, self.classes, fingerprint, words=words)

    def numbered(self, texts: Sequence[str]) -> Labels:
        """(n, L) places of the texts' words in the vocabulary, −1 behind the last; `DataError` for a word of no intent."""
        split = [text.split() for text in texts]
        words = np.full((len(split), max((len(row) for row in split), default=0)), PAD, dtype=np.int64)
        for place, row in enumerate(split):
            if unknown := next((word for word in row if word not in self._places), None):
                raise DataError(
                    f"text {place + 1} holds {unknown[:40]!r}, a word of no intent; give texts drawn from this world."
                )
            words[place, : len(row)] = [self._places[word] for word in row]
        return words

    def log_joint(self, texts: Sequence[str] | NDArray[np.integer[Any]]) -> Array:
        """(n, C) log P(intent) + Σ log P(word | intent): the logarithm of the joint up to what all intents share."""
        words = texts if isinstance(texts, np.ndarray) else self.numbered(texts)
        if words.ndim != 2 or (words < PAD).any() or (words >= len(self.vocabulary)).any():
            raise ShapeError(
                f"words of texts are an (n, L) table of places 0 ... {len(self.vocabulary) - 1}, −1 behind the last word; got "
                f"shape {words.shape} with values {words.min(initial=0)} ... {words.max(initial=0)}."
            )
        with np.errstate(divide="ignore"):  # log 0 = −inf is what is meant
            logs = np.vstack([np.log(self.word_probs.T), np.zeros(len(self.classes))])  # the last row is that of PAD
            total = np.tile(np.log(self.prior), (len(words), 1))
        for column in words.T:  # memory stays at two (n, C) tables
            total += logs[column]
        return np.asarray(total)

    def posterior(self, texts: Sequence[str] | NDArray[np.integer[Any]]) -> Array:
        """The true P(intent | text), by Bayes' rule in logarithms.

        Parameters
        ----------
        texts : sequence of str, or (n, L) int
            Texts, or their words as `draw` gives them.

        Returns
        -------
        (n, C) float
            Rows sum to one.

        Raises
        ------
        DataError
            A word of no intent, or a text that no intent can produce; names the row.

        Examples
        --------
        >>> world = IntentWorld.make(classes=4, family=2, overlap=1.0, key=("doc",))
        >>> posterior = world.posterior(["please the"])
        >>> posterior.round(3)
        array([[0.25, 0.25, 0.25, 0.25]])
        """
        joint = self.log_joint(texts)
        most = joint.max(axis=1, keepdims=True)
        if not np.isfinite(most).all():
            row = int(np.argmin(np.isfinite(most)))
            raise DataError(f"text {row + 1} has probability 0 under every intent; give texts drawn from this world.")
        weights = np.exp(joint - most)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def bayes_accuracy(self, texts: Sequence[str] | NDArray[np.integer[Any]], labels: Labels) -> float:
        """Share of the texts whose most probable intent is the label: what no classifier can beat on average.

        Examples
        --------
        >>> world = IntentWorld.make(classes=10, overlap=0.0, key=("doc",))
        >>> drawn = world.draw(1000, key=("doc", "test"))
        >>> world.bayes_accuracy(drawn.words, drawn.labels) > 0.97
        True
        """
        return float((self.posterior(texts).argmax(axis=1) == labels).mean())


def _prior(prior: Sequence[float] | None, classes: int) -> Array:
    """P(intent), checked and scaled to one."""
    given = np.full(classes, 1.0) if prior is None else np.asarray(prior, dtype=np.float64)
    if given.shape != (classes,) or not np.isfinite(given).all() or (given <= 0).any():
        raise OptionError(f"prior needs {classes} positive numbers, one per intent; got {prior!r}.")
    return np.asarray(given / given.sum())


def _mixture(families: Labels, overlap: float, key: tuple[Any, ...]) -> Array:
    """(C, V) P(word | intent): common, family and own words, and strays."""
    classes, topics = len(families), int(families[-1]) + 1
    rng = seeds.generator(*key, "word weights", shared=True)
    common = rng.integers(1, _WEIGHTS + 1, size=len(COMMON)).astype(np.float64)
    of_family = rng.integers(1, _WEIGHTS + 1, size=(topics, _FAMILY_WORDS)).astype(np.float64)
    own = rng.integers(1, _WEIGHTS + 1, size=(classes, _OWN_WORDS)).astype(np.float64)
    members = (families[:, None] == families[None, :]).astype(np.float64)
    blend = (1.0 - overlap) * np.eye(classes) + overlap * members / members.sum(axis=1, keepdims=True)
    spread = (blend[:, :, None] * (own / own.sum(axis=1, keepdims=True))[None]).reshape(classes, -1)
    shared = np.zeros((classes, topics, _FAMILY_WORDS))
    shared[np.arange(classes), families] = (of_family / of_family.sum(axis=1, keepdims=True))[families]
    parts = [
        SHARES[0] * np.tile(common / common.sum(), (classes, 1)),
        SHARES[1] * shared.reshape(classes, -1),
        SHARES[2] * spread,
    ]
    probs = np.hstack(parts)
    probs += SHARES[3] / probs.shape[1]
    return np.asarray(probs / probs.sum(axis=1, keepdims=True))
