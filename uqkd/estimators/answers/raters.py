"""How far classifiers are from what people say, from counts of their ratings, with the raters' sampling error taken off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import finite
from uqkd.checking.probabilities import class_probabilities
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators.variance.two_way import two_way_mean

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

FEWEST = 2  # raters of a text: with one, nothing tells spread from certainty


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
    all p, since its expectation is a polynomial in p; `entropy_from_counts` removes all that can be removed, and what is left
    makes KL too large by `entropy_bias`, where the plug-in has about (C − 1)/(2n).
    In the difference of two classifiers on the same texts H(p) cancels, so that differences of KL are unbiased exactly.

    Examples
    --------
    Ten raters of a text on which all raters are divided evenly, and a classifier that says so:

    >>> found = distance_to_raters([[0.5, 0.5]], [[4, 6]])
    >>> found.kl_plugin.round(4), found.kl.round(4), found.squared_plugin.round(4), found.squared.round(4)
    (array([0.0201]), array([-0.0325]), array([0.02]), array([-0.0333]))
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
    """Shannon entropy of a distribution from counts of draws, in nats, with the bias of the plug-in removed as far as it can be.

    Parameters
    ----------
    counts : (P, C) int
        How often each class was drawn; two draws at least in every row.

    Returns
    -------
    (P,) float
        ψ(n) − Σ (c/n)·ψ(c). Never negative; may exceed log C.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `distance_to_raters`.

    Notes
    -----
    −log p = Σ_v (1 − p)^v/v, so H = Σ_k Σ_v p(1 − p)^v/v. From n draws the terms v < n have unbiased estimates, and no others
    have; their sum is this. Schürmann (2015), A note on entropy estimation; Zhang (2012), Neural Computation 24.

    Examples
    --------
    >>> entropy_from_counts([[1, 1], [20, 0], [10, 10]]).round(4)
    array([1.    , 0.    , 0.7188])
    """
    chosen = rating_counts("counts", counts)
    n = chosen.sum(axis=1)
    own = np.where(chosen > 0, special.digamma(np.maximum(chosen, 1)), 0.0)
    return np.asarray(special.digamma(n) - (chosen * own).sum(axis=1) / n)


def entropy_bias(probs: ArrayLike, draws: ArrayLike) -> Array:
    """What `entropy_from_counts` misses of the entropy in expectation: Σ_k Σ_{v >= n} p(1 − p)^v/v, in nats, exactly.

    Parameters
    ----------
    probs : (..., C) float
        The true distribution.
    draws : int, or array that broadcasts with (...)
        n.

    Returns
    -------
    (...) float
        Not negative. Below 1/(e·n) for each class (about .28/n where p = .43/n), and next to nothing where every p is above 4/n.

    Examples
    --------
    >>> entropy_bias([[0.5, 0.5], [0.98, 0.02]], 20).round(5)
    array([0.     , 0.01425])
    """
    p = class_probabilities("probs", np.atleast_2d(probs))
    n = np.broadcast_to(np.asarray(draws, dtype=np.int64), p.shape[:-1])
    most = int(n.max(initial=1))
    powers = np.arange(1, most)
    terms = (1.0 - p[..., None]) ** powers / powers
    seen = np.where(powers < n[..., None, None], terms, 0.0).sum(axis=-1)
    left = (special.entr(p) - p * seen).sum(axis=-1)
    return np.asarray(np.maximum(left, 0.0)).reshape(np.shape(probs)[:-1])


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
