"""How far classifiers are from what people say, from counts of their ratings, with the raters' sampling error taken off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import finite
from uqkd.checking.probabilities import class_probabilities
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators.variance.two_way import two_way_mean

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

RATERS_AT_MOST = 2**40  # raters of a text, whose products with classes are exact in int64
FEWEST = 2  # raters of a text: with one, nothing tells spread from certainty
PROBABILITIES = np.geomspace(1e-4, 1.0, 400)  # of a class, at which the bias of an entropy is made small
PENALTY = 3.0  # with it entropies grow with the minority of 20 and of 99 raters, and a class's spread is at most 1.6 times as large
MANY = 200  # draws, from which on the plain estimate does


@dataclass(frozen=True)
class MeanRaterDistance:
    """Distances from the raters averaged over texts (and students); made by `RaterDistance.mean`.

    Attributes
    ----------
    kl, kl_se : float
        Nats.
    squared, squared_se : float
    """

    kl: float
    kl_se: float
    squared: float
    squared_se: float


@dataclass(frozen=True)
class RaterDistance:
    """Distances of classifiers from the distribution of all who might have rated a text; made by `distance_to_raters`.

    Attributes
    ----------
    kl, squared : (P,) or (S, P) float
        KL(raters ‖ classifier) in nats, and ‖raters − classifier‖². Negative values are estimates of small ones: do not clip
        before averaging.
    kl_plugin, squared_plugin : (P,) or (S, P) float
        The same with the shares among those asked in place of the raters' distribution: too large.
    entropy : (P,) float
        Of the raters, estimated; see `entropy_from_counts`.
    raters : (P,) int
        n of each text.
    """

    kl: Array
    squared: Array
    kl_plugin: Array
    squared_plugin: Array
    entropy: Array
    raters: Counts

    @property
    def mean(self) -> MeanRaterDistance:
        """Averages over texts and students, with standard errors that count both as samples; see `two_way_mean`."""
        return MeanRaterDistance(*two_way_mean(np.atleast_2d(self.kl)), *two_way_mean(np.atleast_2d(self.squared)))


def distance_to_raters(probs: ArrayLike, counts: ArrayLike, *, least: float = 0.0) -> RaterDistance:
    """KL divergence and squared distance between human label distributions and classifiers, from counts of ratings.

    A few raters are a sample: their shares p̂ lie apart from any classifier, and from the distribution p of all who might have
    been asked, by sampling alone. That part is taken off.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) float
        Class probabilities of one classifier, or of S.
    counts : (P, C) int
        How many raters (annotators) chose each class; at least two raters a text, not equally many.
    least : float
        Probabilities below it count as it, as in `kl_divergence`.

    Returns
    -------
    RaterDistance

    Raises
    ------
    ShapeError, NotFiniteError
        Shapes that do not fit, NaN.
    DataError
        Counts that are negative or not whole; a text of fewer than two raters; rows that do not sum to one.
    OptionError
        `least` outside [0, 1).

    Notes
    -----
    Counts are multinomial(n, p), raters independent of what the classifier was trained on.
    ‖p − q‖² = Σp² − 2Σpq + Σq², and E Σc(c − 1)/(n(n − 1)) = Σp²: the squared distance is unbiased for every n >= 2. (The
    plug-in adds (1 − Σp²)/n.)
    KL(p‖q) = −H(p) − Σ p·log q: the second part is linear in p and unbiased. No estimate of the entropy H(p) is unbiased for
    all p, since its expectation is a polynomial in p; `entropy_from_counts` comes near, and what is left makes KL wrong by
    `entropy_bias`, below .1/n for each class from four raters on; the plug-in is too large by about (C − 1)/(2n).
    In the difference of two classifiers on the same texts H(p) cancels, so that differences of KL are unbiased exactly.
    Student's t intervals of the means hold the truth (5 to 99 raters, 2 or 5 classes, 2,000 experiments): over 100 texts KL .94 to
    .96, squared .93 to .94, differences .94 to .96; over 20 texts KL .93 to .96 and squared, which is skewed, .87 to .94.

    Examples
    --------
    Ten raters of a text on which all raters are divided evenly, and a classifier that says so:

    >>> found = distance_to_raters([[0.5, 0.5]], [[4, 6]])
    >>> found.kl_plugin.round(4), found.kl.round(4), found.squared_plugin.round(4), found.squared.round(4)
    (array([0.0201]), array([-0.05]), array([0.02]), array([-0.0333]))
    """
    chosen = rating_counts("counts", counts)
    if not 0.0 <= least < 1.0:
        raise OptionError(f"least must lie in [0, 1), a probability; got {least}.")
    q = class_probabilities("probs", probs)
    if q.shape[-2:] != chosen.shape:
        raise ShapeError(
            f"probs needs a row for each of the P={len(chosen)} texts of counts and C={chosen.shape[1]} classes; got {q.shape}."
        )
    raters = chosen.sum(axis=1)
    share = chosen / raters[:, None]
    with np.errstate(divide="ignore"):
        cross_entropy = -special.xlogy(share, np.maximum(q, least)).sum(axis=-1)
    entropy = entropy_from_counts(chosen)
    alike = (chosen * (chosen - 1.0)).sum(axis=1) / (raters * (raters - 1.0))
    rest = (q**2).sum(axis=-1) - 2.0 * (q * share).sum(axis=-1)
    return RaterDistance(
        kl=cross_entropy - entropy,
        squared=rest + alike,
        kl_plugin=cross_entropy - special.entr(share).sum(axis=-1),
        squared_plugin=rest + (share**2).sum(axis=-1),
        entropy=entropy,
        raters=raters,
    )


def entropy_from_counts(counts: ArrayLike) -> Array:
    """Shannon entropy of a distribution from counts of draws, in nats, nearly without the bias of the plug-in.

    Parameters
    ----------
    counts : (P, C) int
        How often each class was drawn; two draws at least in every row.

    Returns
    -------
    (P,) float
        Sum over classes of `entropy_terms`. For means over many rows: a single one may exceed log C, and is 0 where all agree.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `distance_to_raters`.

    Notes
    -----
    Its bias is `entropy_bias`: below .1/n for each class of whatever distribution (.2/n at n = 2 or 3), where the plug-in has .5/n.

    Examples
    --------
    >>> entropy_from_counts([[1, 1], [20, 0], [10, 10], [19, 1]]).round(3)
    array([1.652, 0.   , 0.724, 0.284])
    """
    chosen = rating_counts("counts", counts)
    raters = chosen.sum(axis=1)
    found = np.empty(len(chosen))
    for n in np.unique(raters):
        rows = raters == n
        found[rows] = entropy_terms(int(n))[chosen[rows]].sum(axis=1)
    return found


@lru_cache(maxsize=256)
def entropy_terms(draws: int) -> Array:
    """What a class that was drawn c = 0 ... n times of n adds to the estimated entropy, (n + 1,) in nats.

    Its expectation is a polynomial of degree n in the class's probability p, and should be −p·log p, which is none. With
    −log p = Σ_v (1 − p)^v/v the parts v < n have unbiased estimates, (c/n)·(ψ(n) − ψ(c)) together, which leaves up to .29/n. What
    is added to them here is the solution of a least-squares problem: squared bias summed over probabilities that are spread evenly
    on a logarithmic scale, and `PENALTY` times the squares of what is added, so that no count becomes much noisier than it was.
    Nothing is added to 0 and to n draws: what never and what always occurs has no entropy.

    Parameters
    ----------
    draws : int
        n >= 2. Above `MANY` nothing is added: what is left there is below .0015.

    Returns
    -------
    (n + 1,) float
        Read-only.

    Notes
    -----
    The parts v < n: Zhang (2012), Neural Computation 24; Schürmann (2015), A note on entropy estimation. Weights of least bias at a
    bounded variance: Paninski (2003), Neural Computation 15.

    Examples
    --------
    >>> entropy_terms(2).round(3), entropy_terms(20)[:4].round(3)
    (array([0.   , 0.826, 0.   ]), array([0.   , 0.234, 0.214, 0.303]))
    """
    times = np.arange(draws + 1)
    own = np.where(times > 0, special.digamma(np.maximum(times, 1)), 0.0)
    terms = times / draws * (special.digamma(draws) - own)
    if draws <= MANY:
        chance, inner = _chances(PROBABILITIES, draws), slice(1, draws)
        left = special.entr(PROBABILITIES) - chance @ terms
        damped = np.diag(np.sqrt(PENALTY * chance.mean(axis=0)[inner]))
        wanted = np.concatenate([left, np.zeros(draws - 1)])
        terms[inner] += np.linalg.lstsq(np.vstack([chance[:, inner], damped]), wanted, rcond=None)[0]
    terms.setflags(write=False)
    return np.asarray(terms)


def entropy_bias(probs: ArrayLike, draws: ArrayLike) -> Array:
    """What `entropy_from_counts` misses of the entropy in expectation, in nats, exactly; KL from raters is too large by it.

    Parameters
    ----------
    probs : (P, C) float
        The true distributions.
    draws : int or (P,) int
        n.

    Returns
    -------
    (P,) float
        Σ over classes of −p·log p − Σ_c Binomial(c; n, p)·`entropy_terms`(n)[c]. Of either sign.

    Examples
    --------
    >>> entropy_bias([[0.5, 0.5], [0.98, 0.02]], 20).round(4)
    array([-0.0001,  0.0011])
    """
    p = class_probabilities("probs", probs)
    n = np.broadcast_to(np.asarray(draws, dtype=np.int64), len(p))
    found = np.empty(len(p))
    for one in np.unique(n):
        rows = n == one
        seen = _chances(p[rows].ravel(), int(one)) @ entropy_terms(int(one))
        found[rows] = special.entr(p[rows]).sum(axis=1) - seen.reshape(p[rows].shape).sum(axis=1)
    return found


def _chances(p: Array, draws: int) -> Array:
    """Binomial probabilities of 0 ... n draws of a class, (len(p), n + 1)."""
    times = np.arange(draws + 1)
    ways = special.gammaln(draws + 1) - special.gammaln(times + 1) - special.gammaln(draws - times + 1)
    return np.asarray(np.exp(ways + special.xlogy(times, p[:, None]) + special.xlog1py(draws - times, -p[:, None])))


def rating_counts(name: str, counts: ArrayLike) -> Counts:
    """Counts of ratings as (P, C) whole numbers, or the typed error of the first row that is none.

    Examples
    --------
    >>> rating_counts("counts", [[1, 0], [3, 2]])
    Traceback (most recent call last):
        ...
    uqkd.errors.DataError: counts needs at least 2 raters of each text; row 0 has 1 (1 such row of 2). Leave it out, ...
    """
    array = finite(name, counts)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ShapeError(f"{name} needs axes (P texts, C >= 2 classes); got shape {array.shape}.")
    if array.max() > RATERS_AT_MOST:
        raise DataError(f"{name} must be numbers of raters; got {array.max():.3g}.")
    odd = (array < 0) | (array != np.round(array))
    if odd.any():
        row, column = (int(i) for i in np.unravel_index(int(odd.argmax()), odd.shape))
        raise DataError(
            f"{name} must be whole numbers of raters, none negative; got {array[row, column]:g} at index ({row}, {column})."
        )
    few = array.sum(axis=1) < FEWEST
    if few.any():
        row, rows = int(few.argmax()), int(few.sum())
        raise DataError(
            f"{name} needs at least {FEWEST} raters of each text; row {row} has {array[row].sum():.0f} ({rows} such "
            f"row{'s' * (rows > 1)} of {len(array)}). Leave it out, or ask more people."
        )
    return np.asarray(array, dtype=np.int64)
