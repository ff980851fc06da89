"""How linear a classifier is between two inputs: measures on mixed inputs x~ = λ x_i + (1 − λ) x_j (mixup)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, finite, same_shape, shaped
from uqkd.checking.probabilities import class_probabilities, named_labels
from uqkd.checking.variation import raisable
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators.variance.categorical import kl_divergence
from uqkd.estimators.variance.two_way import two_way_mean


def nonlinearity(mixed: Any, first: Any, second: Any, share: Any, *, least: float = 0.0) -> Array:
    """Divergence of a classifier's answer to a mixed input from the mixture of its answers to the two inputs.

    KL(λ p(x_i) + (1 − λ) p(x_j) ‖ p(x~)), per pair.

    Parameters
    ----------
    mixed : (P, C) or (S, P, C) array_like
        Class probabilities at x~ = λ x_i + (1 − λ) x_j; rows sum to one.
    first, second : array_like of the shape of `mixed`
        Class probabilities at x_i and at x_j.
    share : float or (P,) array_like
        λ, the share of the first input, in [0, 1].
    least : float
        Probabilities in `mixed` below it count as it: what single precision rounds to zero makes the divergence
        infinite.

    Returns
    -------
    (P,) or (S, P) array
        Nats, at least zero; zero for a linear classifier; infinite where `mixed` rules out what the mixture does not.

    Raises
    ------
    ShapeError, NotFiniteError
        Shapes that differ, one class only, nothing at all, NaN.
    DataError
        Rows that are not distributions, shares outside [0, 1].

    Notes
    -----
    Mixup-KD (arXiv 2606.12171), L_NL at T = 1. The linearity gain of a student is the teacher's value minus its own.

    Examples
    --------
    >>> nonlinearity([[0.5, 0.5], [0.75, 0.25]], [[1, 0], [1, 0]], [[0, 1], [0, 1]], [0.5, 0.5]).round(4)
    array([0.    , 0.1438])
    """
    at, left, right = (
        class_probabilities(name, value) for name, value in (("mixed", mixed), ("first", first), ("second", second))
    )
    same_shape("first", left, "mixed", at)
    same_shape("second", right, "mixed", at)
    weight = mixing_shares(share, at.shape[-2])[:, None]
    return kl_divergence(weight * left + (1.0 - weight) * right, at, least=least)


def off_pair_mass(mixed: Any, first: Any, second: Any) -> Array:
    """Probability that a classifier gives, at a mixed input, to classes of neither of the two inputs.

    1 − p(y_i | x~) − p(y_j | x~), where a class that both share counts once.

    Parameters
    ----------
    mixed : (P, C) or (S, P, C) array_like
        Class probabilities at the mixed inputs.
    first, second : (P,) integers
        Classes y_i and y_j of the two inputs.

    Returns
    -------
    (P,) or (S, P) array
        In [0, 1]; summed over the other classes, so it keeps its digits where it is small.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `nonlinearity`; or labels that are not integers in [0, C).

    Examples
    --------
    >>> off_pair_mass([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], [0, 0], [1, 0])
    array([0.25, 0.5 ])
    """
    array = class_probabilities("mixed", mixed)
    one, other = _pairs(array, first, second)
    rows = np.arange(one.size)
    rest = array.copy()
    rest[..., rows, one] = 0.0
    rest[..., rows, other] = 0.0
    return np.asarray(rest.sum(axis=-1))


def entropy_excess(mixed: Any, share: Any, first: Any, second: Any) -> Array:
    """Entropy of a classifier's answer to a mixed input above that of the mixed labels: distributional confusion.

    H(p(x~)) − h(λ), where h is the entropy of (λ, 1 − λ), and zero where the two labels are one.

    Parameters
    ----------
    mixed : (P, C) or (S, P, C) array_like
        Class probabilities at the mixed inputs.
    share : float or (P,) array_like
        λ in [0, 1].
    first, second : (P,) integers
        Classes of the two inputs.

    Returns
    -------
    (P,) or (S, P) array
        Nats; positive where the answer is less sure than the mixed labels, negative where it is surer.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `nonlinearity` and `off_pair_mass`.

    Examples
    --------
    >>> entropy_excess([[0.5, 0.5], [0.5, 0.5]], 0.5, [0, 0], [1, 0]).round(4)
    array([0.    , 0.6931])
    """
    array = class_probabilities("mixed", mixed)
    weight = mixing_shares(share, array.shape[-2])
    one, other = _pairs(array, first, second)
    of_labels = np.where(one == other, 0.0, special.entr(weight) + special.entr(1.0 - weight))
    return np.asarray(special.entr(array).sum(axis=-1) - of_labels)


@dataclass(frozen=True)
class MeansByShare:
    """Means of a quantity per bin of the mixing share; made by `by_share`.

    Attributes
    ----------
    edges : (bins + 1,) array
        Bins (low, high] of λ, evenly spaced on [0, 1]; λ = 0 lies in the first.
    mean, standard_error : (bins,) array
        Over pairs and students, both of them samples; NaN in a bin without pairs, and the error of a single value.
    count : (bins,) int array
        Pairs in the bin.
    of_student : (S, bins) array
        Each student's mean over the pairs of the bin; S = 1 for values (P,).
    """

    edges: Array
    mean: Array
    standard_error: Array
    count: Any
    of_student: Array

    @property
    def centre(self) -> Array:
        """(bins,) the middle of each bin."""
        return np.asarray((self.edges[:-1] + self.edges[1:]) / 2.0)


def by_share(values: Any, share: Any, *, bins: int = 20) -> MeansByShare:
    """Mean of a quantity against the mixing share λ.

    Parameters
    ----------
    values : (P,) or (S, P) array_like
        One value per pair, or per student and pair; finite.
    share : (P,) array_like
        λ of each pair, in [0, 1].
    bins : int
        Number of bins on [0, 1].

    Returns
    -------
    MeansByShare
        Units of `values`; errors two-way over students × pairs (`two_way_standard_error`).

    Raises
    ------
    ShapeError, NotFiniteError
        Axes that do not fit, nothing at all, an infinite divergence (give `nonlinearity` its `least`).
    DataError
        Shares outside [0, 1].
    OptionError
        bins below 1.

    Examples
    --------
    >>> means = by_share([1.0, 3.0, 7.0], [0.1, 0.4, 0.9], bins=2)
    >>> means.centre, means.mean, means.standard_error, means.count
    (array([0.25, 0.75]), array([2., 7.]), array([ 1., nan]), array([2, 1]))
    """
    table = np.atleast_2d(raisable("values", shaped("values", values, "P", "S P")))
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 1:
        raise OptionError(f"bins must be a whole number, at least 1; got {bins!r}.")
    weight = shaped("share", share, "P")
    weight = mixing_shares(weight, table.shape[1])
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.searchsorted(edges[1:-1], weight, side="left")
    mean, error = np.full(bins, np.nan), np.full(bins, np.nan)
    of_student = np.full((len(table), bins), np.nan)
    for b in np.unique(index):
        held = table[:, index == b]
        mean[b], error[b] = two_way_mean(held)
        of_student[:, b] = held.mean(axis=1)
    return MeansByShare(edges, mean, error, np.bincount(index, minlength=bins), of_student)


def mixing_shares(share: Any, pairs: int) -> Array:
    """λ as (pairs,) float64 in [0, 1]."""
    weight = finite("share", share)
    if weight.shape not in ((), (pairs,)):
        raise ShapeError(f"share needs one number or shape (P={pairs},), one for each pair; got {weight.shape}.")
    outside = np.atleast_1d((weight < 0.0) | (weight > 1.0))
    if outside.any():
        first = int(outside.argmax())
        raise DataError(f"share must lie in [0, 1]; got {np.atleast_1d(weight)[first]:g} at index {first}.")
    return np.broadcast_to(weight, (pairs,))


def _pairs(array: Array, first: Any, second: Any) -> tuple[Any, Any]:
    points, classes = array.shape[-2:]
    return named_labels("first", first, points, classes), named_labels("second", second, points, classes)
