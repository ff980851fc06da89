"""Rated texts as a study's cells name them, in three parts with features of scikit-learn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.data.ratings.dataset import TIED, RatedTexts, split_raters, split_ratings
from uqkd.data.ratings.loading import load_ratings
from uqkd.data.tabular.loading import normalise_name
from uqkd.errors import DataError, ProvenanceError
from uqkd.estimators import distance_to_raters, entropy, negative_log_likelihood
from uqkd.run.bundled import here_or_bundled
from uqkd.testbeds.paired import paired_differences, squares

Array = NDArray[np.float64]

GROUPS = ("clear", "medium", "ambiguous")  # thirds of texts by how often two of one half of their raters disagree
DISTANCES = ("kl", "squared", "entropy_gap")

NGRAMS = (2, 4)  # characters, within words
MIN_TEXTS = 3  # texts that hold a piece which counts
MAX_PIECES = 6_000  # pieces, the most frequent


@dataclass(frozen=True)
class RatedTask:
    """Rated texts in three parts; made by `rated_of`.

    Attributes
    ----------
    train, validation, test : RatedTexts
        Those to train on have a majority each; the others are all there are.
    X, X_held, X_test : (n, D), (m, D), (t, D) float
        Their features.
    """

    train: RatedTexts
    validation: RatedTexts
    test: RatedTexts
    X: Array
    X_held: Array
    X_test: Array

    @property
    def fingerprint(self) -> str:
        """Of the texts that are trained on."""
        return self.train.fingerprint


def rated_cell(path: str | Path, *, dimensions: int) -> dict[str, Any]:
    """What identifies rated texts in a study's cell: path, fingerprint of the contents, and how many features.

    Raises
    ------
    DataError, OptionError
        As for `load_ratings`; a class without a text to train on.

    Examples
    --------
    >>> sorted(rated_cell("studies/ratings/tweets.csv", dimensions=8))
    ['data', 'data_fingerprint', 'dimensions']
    """
    name = normalise_name(path)
    rated = _loaded(here_or_bundled(name))
    train = _with_majority(split_ratings(rated).train)
    counts = np.bincount(train.majority, minlength=len(rated.classes))
    if counts.min() < 2:
        raise DataError(
            f"data {name}: class {rated.classes[int(counts.argmin())]!r} is the majority of {counts.min()} texts to train on; two "
            "are needed. Bring more, or merge it with another class."
        )
    return {"data": name, "data_fingerprint": rated.fingerprint, "dimensions": dimensions}


def rated_of(cell: Mapping[str, Any]) -> RatedTask:
    """The rated texts of a study's cell; `ProvenanceError` if they are no longer those of the fingerprint."""
    return _task(cell["data"], cell["data_fingerprint"], cell["dimensions"])


def _loaded(path: str) -> RatedTexts:
    return load_ratings(path)


@lru_cache(maxsize=4)
def _task(name: str, fingerprint: str, dimensions: int) -> RatedTask:
    rated = _loaded(here_or_bundled(name))
    if rated.fingerprint != fingerprint:
        raise ProvenanceError(
            f"data {name} changed during the run: fingerprint {rated.fingerprint}, planned with {fingerprint}. Start the study "
            "again."
        )
    part = split_ratings(rated)
    train = _with_majority(part.train)
    features = text_features((train.texts, part.validation.texts, part.test.texts), dimensions=dimensions)
    return RatedTask(train, part.validation, part.test, *features)


def _with_majority(rated: RatedTexts) -> RatedTexts:
    return rated.take(rated.majority != TIED)


def text_features(parts: tuple[tuple[str, ...], ...], *, dimensions: int) -> list[Array]:
    """Latent semantic features of texts, all learnt from the first part: TF-IDF of pieces of words, its leading components.

    Parameters
    ----------
    parts : tuple of tuples of str
        The first is to train on.
    dimensions : int
        D; fewer where the texts have fewer.

    Returns
    -------
    list of (n, D) float
        Centred, and all scaled by one number, to a mean variance of one in the first part: leading components stay larger.

    Examples
    --------
    >>> [x.shape for x in text_features((("good day", "good way", "bad day", "bad way"), ("good",)), dimensions=2)]
    [(4, 2), (1, 2)]
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    least = min(MIN_TEXTS, len(parts[0]) // 2)
    words = TfidfVectorizer(
        analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, min_df=least, max_features=MAX_PIECES
    )
    first = words.fit_transform(parts[0])
    start = seeds.seed63("testbeds", "text features", shared=True) % 2**32
    reduced = TruncatedSVD(min(dimensions, min(first.shape) - 1), random_state=start)
    found = [reduced.fit_transform(first), *(reduced.transform(words.transform(texts)) for texts in parts[1:])]
    centre = found[0].mean(axis=0)
    scale = max(float(np.sqrt(((found[0] - centre) ** 2).mean())), np.finfo(np.float64).tiny)
    return [np.asarray((x - centre) / scale) for x in found]


def thirds(counts: NDArray[np.int64], *, key: tuple[Any, ...]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Sort texts by how divided one half of their raters is, and keep what the other half says to judge by.

    Sorted and judged by the same raters, texts on which they happened to differ would count as ambiguous.

    Parameters
    ----------
    counts : (P, C) int
    key : tuple
        Names the halves, and the order of equal texts; equal keys give equal thirds.

    Returns
    -------
    group : (P,) str
        "clear", "medium", "ambiguous".
    judging : (P, C) int
        Counts of the other half.

    Examples
    --------
    >>> group, judging = thirds(np.array([[9, 9], [18, 0], [16, 2]]), key=("doc",))
    >>> group.tolist(), judging.sum(axis=1)
    (['ambiguous', 'clear', 'medium'], array([9, 9, 9]))
    """
    sorting, judging = split_raters(counts, key=(*key, "halves"), shared=True)
    n = sorting.sum(axis=1)
    agree = (sorting * (sorting - 1)).sum(axis=1) / (
        n * (n - 1)
    )  # unbiased, so that few raters and many are sorted alike
    ties = seeds.generator(*key, "ties", shared=True).random(len(sorting))
    place = np.empty(len(sorting), dtype=np.int64)
    place[np.lexsort((ties, -agree))] = np.arange(len(sorting)) * len(GROUPS) // len(sorting)
    return np.array(GROUPS)[place], judging


def text_distances(probs: Array, counts: NDArray[np.int64], judging: NDArray[np.int64]) -> pd.DataFrame:
    """Of each text: distances from all of its raters, and ("_half") from the half that judges, mean over students.

    Parameters
    ----------
    probs : (S, P, C) float
    counts, judging : (P, C) int

    Returns
    -------
    DataFrame
        text, and kl, squared and entropy_gap (the classifier's entropy less the raters', in nats) twice.

    Examples
    --------
    >>> text_distances(np.array([[[0.5, 0.5]]]), np.array([[10, 10]]), np.array([[5, 5]])).round(3).to_dict("records")
    [{'text': 0, 'kl': -0.031, 'squared': -0.026, 'entropy_gap': -0.031, 'kl_half': -0.055, ...
    """
    found: dict[str, Any] = {"text": np.arange(len(counts))}
    for end, rated in (("", counts), ("_half", judging)):
        distance = distance_to_raters(probs, rated)
        values = (distance.kl, distance.squared, entropy(probs) - distance.entropy)
        found |= {name + end: value.mean(axis=0) for name, value in zip(DISTANCES, values, strict=True)}
    return pd.DataFrame(found)


def losses(held: Array, task: RatedTask) -> dict[str, float]:
    """What each rule makes least on validation texts, mean over students."""
    known = task.validation.majority >= 0
    by_labels = negative_log_likelihood(held[:, known], task.validation.majority[known])
    by_raters = distance_to_raters(held, task.validation.counts).kl  # the cross-entropy, less a constant
    return {"labels": float(np.mean(by_labels)), "raters": float(by_raters.mean())}


def rated_means(table: pd.DataFrame, others: Sequence[str], *, tested: Collection[str]) -> pd.DataFrame:
    """Means over teachers and test texts, and paired differences from each of some methods, on all texts and on every third.

    Parameters
    ----------
    table : DataFrame
        As from `text_distances`, with columns data, rule, method, replicate and group. Thirds are told by one half of the
        raters, and measured by the other.
    others : sequence of str
        Methods that the others are held against.
    tested : collection of str
        Methods that Holm's correction counts.

    Returns
    -------
    DataFrame
        data, rule, group ("all" or one of `GROUPS`), measure, other, and the columns of `paired_differences`.
    """
    found = []
    for (data, rule), whole in table.groupby(["data", "rule"], sort=False):
        of_text = whole.drop_duplicates("text").set_index("text")["group"].sort_index()
        for measure, (group, end) in product(DISTANCES, [("all", ""), *((group, "_half") for group in GROUPS)]):
            here = (of_text == group).to_numpy() | (group == "all")
            values = squares(whole, measure + end, row="replicate", column="text")
            part = {method: square[:, here] for method, square in values.items()}
            for other in others:
                about = {"data": data, "rule": rule, "group": group, "measure": measure, "other": other}
                found += [{**about, **line} for line in paired_differences(part, other, tested=tested)]
    return pd.DataFrame(found)


def shown(found: pd.DataFrame, *, other: str = "teacher", **where: str) -> pd.DataFrame:
    """The rows of `rated_means` in which columns hold these values, by method; against plain distillation if not said.

    Examples
    --------
    >>> table = pd.DataFrame({"other": "teacher", "group": ["all", "clear"], "method": "labels", "value": [0.5, 0.1]})
    >>> shown(table, group="clear")["value"].to_dict()
    {'labels': 0.1}
    """
    for column, value in {"other": other, **where}.items():
        found = found[found[column] == value]
    return found.set_index("method")
