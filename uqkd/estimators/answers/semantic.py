"""Entropy of meanings: answers are grouped into clusters of one meaning, and clusters are counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import finite, same_shape
from uqkd.errors import DataError, ShapeError, one_of
from uqkd.estimators.answers.counting import answers, counted
from uqkd.estimators.variance.entropy_mean import EntropyMean, entropy_mean
from uqkd.estimators.variance.names import EpistemicAleatoric

Array = NDArray[np.float64]

RULES = ("plug-in", "miller-madow", "chao-shen")


def entropy_from_counts(counts: ArrayLike, rule: str = "plug-in") -> Array:
    """Entropy, in nats, of the distribution behind n draws that fell into clusters.

    Parameters
    ----------
    counts : (..., C) int
        Draws in each cluster, not negative; n >= 1 in each row. Clusters that were not seen may be left out.
    rule : {"plug-in", "miller-madow", "chao-shen"}
        "plug-in": that of the shares; low by about (C − 1)/(2n). "miller-madow": plus (clusters seen − 1)/(2n); still low
        where many clusters were not seen. "chao-shen": shares times the Good–Turing coverage 1 − f₁/n (f₁ clusters seen
        once), each term over the chance 1 − (1 − p)ⁿ that its cluster was seen; where all were seen once, f₁ = n − 1 is
        put for n, since coverage zero has no entropy.

    Returns
    -------
    (...) float
        None of the three is unbiased (no such estimate exists).

    Raises
    ------
    DataError
        Counts that are negative, no whole numbers, or all zero in a row.

    Notes
    -----
    Miller (1955); Chao & Shen (2003), with Good (1953) and Horvitz & Thompson (1952). For n = 1 the rule for f₁ = n
    gives coverage one and entropy zero.

    Examples
    --------
    >>> [float(entropy_from_counts([3, 1], rule).round(4)) for rule in ("plug-in", "miller-madow", "chao-shen")]
    [0.5623, 0.6873, 0.8923]
    """
    one_of("rule", rule, RULES)
    n = _counts(counts)
    total = n.sum(axis=-1, keepdims=True)
    if rule != "chao-shen":
        share = n / total
        plug_in = -(share * np.log(share, out=np.zeros_like(share), where=share > 0)).sum(axis=-1)
        seen = (n > 0).sum(axis=-1)
        return np.asarray(plug_in + ((seen - 1) / (2 * total[..., 0]) if rule == "miller-madow" else 0.0)) + 0.0
    once = (n == 1).sum(axis=-1, keepdims=True)
    once = np.where(once == total, total - 1, once)
    share = (1.0 - once / total) * n / total
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    chance = -np.expm1(total * np.log1p(-share, out=np.full_like(share, -np.inf), where=share < 1))
    terms = np.divide(-share * logs, chance, out=np.zeros_like(share), where=share > 0)
    return np.asarray(terms.sum(axis=-1)) + 0.0


def _counts(counts: ArrayLike) -> Array:
    n = finite("counts", counts)
    if n.ndim == 0:
        raise ShapeError("counts needs clusters on the last axis; got one number.")
    if (n < 0).any() or (n != np.floor(n)).any() or (n.sum(axis=-1) == 0).any():
        raise DataError("counts must be whole numbers >= 0 with at least one draw in each row.")
    return n


@dataclass(frozen=True)
class EntropyDecomposition(EpistemicAleatoric):
    """Total = expected + mutual information, nats per prompt; made by `decompose_entropy`.

    Attributes
    ----------
    total : (P,) float
        Of all students' draws together.
    expected : (P,) float
        Mean over students of the entropy of their own draws.
    mutual_information : (P,) float
        Between student and answer. By plug-in it overstates: `expected` is low by about (C − 1)/(2R), `total` by about
        that divided by S, so the information is too large by about (1 − 1/S)(C − 1)/(2R); the other rules correct to
        that order or by coverage, and can make it negative. Unbiased for the Gini version: `decompose_agreement`.
    per_student : (S, P) float
        Entropy of each student's draws; their mean is `expected`.
    per_student_information : (S, P) float
        Jackknife pseudo-values over students, for standard errors; NaN where S = 2.
    """

    total: Array
    expected: Array
    mutual_information: Array
    per_student: Array
    per_student_information: Array

    @property
    def inter(self) -> Array:
        """`mutual_information`: what students differ in."""
        return self.mutual_information

    @property
    def intra(self) -> Array:
        """`expected`: what each student is unsure of."""
        return self.expected

    @property
    def mean(self) -> EntropyMean:
        """Averages over prompts with two-way standard errors (students × prompts), and `.interval`."""
        parts = (self.mutual_information, self.expected, self.total)
        return entropy_mean(self.per_student, self.per_student_information, parts=parts)


def decompose_entropy(clusters: ArrayLike, rule: str = "plug-in") -> EntropyDecomposition:
    """Entropy of meanings split into what each student is unsure of and what students differ in.

    Parameters
    ----------
    clusters : (S, P, R) int
        Cluster of each draw; numbers need a meaning within a prompt only. Needs S >= 2 and R >= 2: of one
        draw no entropy can be told, and all of it would seem to lie between students.
    rule : str
        Of `entropy_from_counts`.

    Returns
    -------
    EntropyDecomposition

    Notes
    -----
    T4, last line.

    Examples
    --------
    >>> parts = decompose_entropy([[[0, 0]], [[1, 1]]])
    >>> parts.total.round(4), parts.expected, parts.mutual_information.round(4)
    (array([0.6931]), array([0.]), array([0.6931]))
    """
    one_of("rule", rule, RULES)
    draws = answers("clusters", clusters, "S P R", need=(2, 1, 2))
    parts = [_decomposed(counts, rule) for counts in counted(draws)]
    total, own, information = (np.concatenate([part[i] for part in parts], axis=-1) for i in range(3))
    expected = own.mean(axis=0)
    return EntropyDecomposition(total, expected, total - expected, own, information)


def _decomposed(counts: Array, rule: str) -> tuple[Array, Array, Array]:
    """Total (P,), own (S, P) and pseudo-values of the information (S, P) from counts (S, P, U)."""
    students, pooled = len(counts), counts.sum(axis=0)
    own, total = entropy_from_counts(counts, rule), entropy_from_counts(pooled, rule)
    if students < 3:
        return total, own, np.full(own.shape, np.nan)
    left_out = entropy_from_counts(pooled - counts, rule) - (own.sum(axis=0) - own) / (students - 1)
    return total, own, students * (total - own.mean(axis=0)) - (students - 1) * left_out


def likelihood_entropy(clusters: ArrayLike, sequences: ArrayLike, log_likelihoods: ArrayLike) -> Array:
    """Semantic entropy, in nats, with clusters weighted by the likelihoods of their sequences instead of by counts.

    Parameters
    ----------
    clusters : (..., R) int
        Cluster of each draw.
    sequences : (..., R) int
        Which draws are the same sequence of tokens; each counts once, however often it was drawn.
    log_likelihoods : (..., R) float
        Of the sequences under the model that drew them, at the temperature they were drawn at.

    Returns
    -------
    (...) float
        Entropy of p(cluster) ∝ Σ likelihood of its distinct sequences, among those drawn.

    Raises
    ------
    DataError
        Equal sequences with likelihoods or clusters that differ.

    Notes
    -----
    Kuhn, Gal & Farquhar (2023), normalised over the drawn sequences as in Farquhar et al. (2024). What was not drawn has
    no weight, so it is low where much mass is unseen, but less noisy than counts.

    Examples
    --------
    >>> likelihood_entropy([0, 0, 1], [5, 5, 6], np.log([0.6, 0.6, 0.2])).round(4).item()
    0.5623
    """
    ids, same = answers("clusters", clusters, "... R"), answers("sequences", sequences, "... R")
    log_p = finite("log_likelihoods", log_likelihoods)
    same_shape("sequences", np.asarray(same), "clusters", np.asarray(ids))
    same_shape("log_likelihoods", log_p, "clusters", np.asarray(ids))
    rows = [
        _by_likelihood(*row) for row in zip(*(a.reshape(-1, ids.shape[-1]) for a in (ids, same, log_p)), strict=True)
    ]
    return np.asarray(rows).reshape(ids.shape[:-1])


def _by_likelihood(clusters: NDArray[np.int64], sequences: NDArray[np.int64], log_p: Array) -> float:
    _, first, inverse = np.unique(sequences, return_index=True, return_inverse=True)
    # 1e-6: log-likelihoods of one sequence from float32 engines differ by rounding between batches.
    apart = np.abs(log_p - log_p[first][inverse]) > 1e-6 * (1.0 + np.abs(log_p))
    if apart.any() or (clusters != clusters[first][inverse]).any():
        raise DataError(
            "equal sequences must have one log-likelihood and one cluster; sequence "
            f"{sequences[int(apart.argmax())]} has several. Number sequences by their token ids."
        )
    weights = np.exp(log_p[first] - log_p[first].max())
    mass = np.bincount(np.unique(clusters[first], return_inverse=True)[1], weights=weights)
    share = mass / mass.sum()
    return float(special.entr(share).sum())
