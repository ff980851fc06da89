"""Which answer is kept when k sampled answers are replaced by their central one, exactly (T5)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import shaped
from uqkd.checking.probabilities import distributions
from uqkd.errors import OptionError, ShapeError
from uqkd.estimators.comparing.theory_rows import comparison

Array = NDArray[np.float64]

TIE = 1e-9  # similarity differences below this are rounding
RARE = 50  # expected events of the rarer kind from which their number is near enough to normal
MAX_OUTCOMES = 2_000_000  # outcomes enumerated before k and C are called too large


def medoid_distribution(probs: ArrayLike, k: int, embeddings: ArrayLike | None = None) -> Array:
    """Distribution of the answer whose embedding is nearest the mean of k sampled ones; the first drawn among ties.

    Parameters
    ----------
    probs : (C,) float
        The teacher's distribution over answers.
    k : int
        Responses, >= 1.
    embeddings : (C, D) float, optional
        Unit-norm rows; orthonormal where left out, so that the answer drawn most often is kept.

    Returns
    -------
    (C,) float

    Raises
    ------
    OptionError
        k < 1, or more than two million outcomes.
    ShapeError
        Shapes that do not fit, or embeddings not of norm one.

    Notes
    -----
    T5, by enumeration of the multinomial counts. Of tied answers one is the first drawn with probability proportional to
    its count. k = 1 and k = 2 keep the law, whatever the embeddings: of two different answers both are equally near.

    Examples
    --------
    >>> medoid_distribution([0.75, 0.25], 2), medoid_distribution([0.75, 0.25], 3)
    (array([0.75, 0.25]), array([0.84375, 0.15625]))
    """
    p = distributions("probs", probs)
    if p.ndim != 1:
        raise ShapeError(f"medoid_distribution needs one distribution (C,); got shape {p.shape}.")
    classes = len(p)
    if k < 1 or (outcomes := int(special.comb(k + classes - 1, classes - 1, exact=True))) > MAX_OUTCOMES:
        raise OptionError(
            f"medoid_distribution enumerates all counts of k responses and needs k >= 1 and at most {MAX_OUTCOMES} of them; "
            f"got k={k}, C={classes}{f', {outcomes} outcomes' if k >= 1 else ''}."
        )
    counts, chance = multinomial_outcomes(p, k)
    similarity = counts / k @ _products(embeddings, classes)
    similarity = np.where(counts > 0, similarity, -np.inf)  # only what was drawn can be kept
    tied = counts * (similarity >= similarity.max(axis=1, keepdims=True) - TIE)
    return np.asarray(chance @ (tied / tied.sum(axis=1, keepdims=True)))


def multinomial_outcomes(probs: Array, k: int) -> tuple[NDArray[np.int64], Array]:
    """Every way (n, C) that k draws can fall on C answers, and the chance of each (n,).

    Examples
    --------
    >>> counts, chance = multinomial_outcomes(np.array([0.5, 0.5]), 2)
    >>> counts.tolist(), chance.round(3).tolist()
    ([[0, 2], [1, 1], [2, 0]], [0.25, 0.5, 0.25])
    """
    classes = len(probs)
    bars = np.array(list(combinations(range(k + classes - 1), classes - 1)), dtype=np.int64).reshape(-1, classes - 1)
    ends = np.full((len(bars), 1), k + classes - 1)
    counts = np.diff(np.concatenate([np.full_like(ends, -1), bars, ends], axis=1), axis=1) - 1
    ways = special.gammaln(k + 1) - special.gammaln(counts + 1).sum(axis=1)
    return counts, np.exp(ways + special.xlogy(counts, probs).sum(axis=1))


def _products(embeddings: ArrayLike | None, classes: int) -> Array:
    if embeddings is None:
        return np.eye(classes)
    rows = shaped("embeddings", embeddings, "C D")
    norms = np.linalg.norm(rows, axis=1)
    if len(rows) != classes or np.abs(norms - 1.0).max() > 1e-6:
        raise ShapeError(
            f"embeddings needs C={classes} rows of norm one; got shape {rows.shape} with norms from {norms.min():.3g} to "
            f"{norms.max():.3g}."
        )
    return np.asarray(rows @ rows.T)


def compare_medoids(
    labels: ArrayLike, classes: ArrayLike, teacher_probs: ArrayLike, embeddings: Sequence[ArrayLike]
) -> dict[str, str | float]:
    """How often the medoid is the teacher's likeliest answer, held against T5, which is exact where all responses are valid.

    Parameters
    ----------
    labels : (S, P, C) float
        One-hot: the medoid of each student and prompt.
    classes : (S, P, k) int
        The responses; the last class is no valid answer.
    teacher_probs : (P, C) float
    embeddings : one (c, D) array a prompt
        Of the prompt's c valid answers, which are its first classes.

    Returns
    -------
    dict
        A row of `comparison`. Students and prompts have draws of their own, so that the standard error is that of independent
        events; judged where the rarer kind of them is frequent enough.

    Examples
    --------
    >>> row = compare_medoids([[[1.0, 0.0, 0.0]]], [[[0, 1, 0]]], [[0.6, 0.4, 0.0]], [np.eye(2)])
    >>> round(row["predicted"], 3), row["simulated"], row["statement"]
    (0.648, 1.0, '')
    """
    kept, drawn, p = (np.asarray(a) for a in (labels, classes, distributions("teacher_probs", teacher_probs)))
    found, expected, spread = 0.0, 0.0, 0.0
    valid = (drawn < p.shape[1] - 1).all(axis=2)  # (S, P)
    for i, vectors in enumerate(embeddings):
        own = p[i, : len(np.asarray(vectors))]
        chance, top = medoid_distribution(own / own.sum(), drawn.shape[2], vectors), int(own.argmax())
        count = valid[:, i].sum()
        found += kept[valid[:, i], i, top].sum()
        expected += count * chance[top]
        spread += count * chance[top] * (1.0 - chance[top])
    n = valid.sum()
    statement = "T5" if n - expected >= RARE else ""
    return comparison(statement, "likeliest answer kept", expected / n, found / n, float(spread**0.5 / n))
