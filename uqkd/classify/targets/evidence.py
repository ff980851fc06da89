"""What out-of-fold predictions say about each row: the neighbourhood of its label, the classes known to be wrong, and how
much mass either may have. These are the bounds that make the projection of CUD runnable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from uqkd.checking.probabilities import class_labels, distributions
from uqkd.classify.projections.projection import project_groups
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators import entropy

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST = 5  # rows behind a confidence bound of a mean; of fewer, those of all labels of that difficulty


@dataclass(frozen=True)
class Evidence:
    """What is known of each row, as bounds of the projection; made by `evidence_from`.

    Attributes
    ----------
    near, wrong : (P, C) bool
        N, the neighbourhood of the row's label, and W, the classes known to be wrong there.
    near_min, wrong_max : (P,) float
        alpha, the least mass of N, and eps, the largest of W.
    entropy_min : (P,) float
        h_min in nats, lowered where the other bounds leave less.
    difficulty : (P,) float
        1 − the out-of-fold probability of the label.
    confusion : (C, C) float
        Mean out-of-fold distribution of the rows of each label.
    lowered : (P,) bool
        Where h_min had to be lowered.
    """

    near: Mask
    wrong: Mask
    near_min: Array
    wrong_max: Array
    entropy_min: Array
    difficulty: Array
    confusion: Array
    lowered: Mask


def soft_confusion(probs: ArrayLike, labels: ArrayLike) -> Array:
    """(C, C) mean distribution of the rows of each label: row y says what rows labelled y look like.

    Raises
    ------
    DataError
        A class without rows.

    Examples
    --------
    >>> soft_confusion([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]], [0, 0, 1])
    array([[0.7, 0.3],
           [0.1, 0.9]])
    """
    p = _predictions(probs)
    truth = class_labels(labels, len(p), p.shape[1])
    counts = np.bincount(truth, minlength=p.shape[1])
    if not counts.all():
        raise DataError(
            f"class {int(counts.argmin())} of {p.shape[1]} has no row, so nothing is known of its confusions."
        )
    return np.asarray(np.eye(p.shape[1])[truth].T @ p / counts[:, None])


def evidence_from(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    coverage: float = 0.95,
    rare: float = 0.1,
    level: float = 0.9,
    bins: int = 3,
) -> Evidence:
    """Evidence of every row, from calibrated out-of-fold predictions.

    Parameters
    ----------
    probs : (P, C) float
        `OutOfFold.calibrated`: predictions of rows by networks that have not seen them.
    labels : (P,) int
    coverage : float
        N(y) is the smallest set, the label in it, that holds this share of the label's soft confusion.
    rare : float
        W(y) are the classes with less than rare/C of it, outside N(y).
    level : float
        Of the one-sided confidence bounds of the mean masses, per label and bin of difficulty.
    bins : int
        Of difficulty, equally many rows each.

    Returns
    -------
    Evidence

    Examples
    --------
    >>> probs = np.array([[0.8, 0.19, 0.01]] * 6 + [[0.2, 0.79, 0.01]] * 6 + [[0.01, 0.01, 0.98]] * 6)
    >>> found = evidence_from(probs, [0] * 6 + [1] * 6 + [2] * 6, bins=1)
    >>> found.near[0], found.wrong[0], found.near_min[:1].round(2), found.wrong_max[:1].round(2)
    (array([ True,  True, False]), array([False, False,  True]), array([0.99]), array([0.01]))
    """
    if not (0.0 < coverage <= 1.0 and 0.5 <= level < 1.0 and bins >= 1 and rare >= 0.0):
        raise OptionError(
            f"bounds need coverage in (0, 1], level in [.5, 1), bins >= 1, rare >= 0; got {coverage}, {level}, {bins}, {rare}."
        )
    p = _predictions(probs)
    truth = class_labels(labels, len(p), p.shape[1])
    confusion = soft_confusion(p, truth)
    near = _neighbourhoods(confusion, coverage)
    wrong = (confusion < rare / p.shape[1]) & ~near
    difficulty = 1.0 - p[np.arange(len(p)), truth]
    group = np.argsort(np.argsort(difficulty, kind="stable"), kind="stable") * bins // len(p)
    in_near, in_wrong = (p * near[truth]).sum(axis=1), (p * wrong[truth]).sum(axis=1)
    near_min = np.clip(_bound(in_near, truth, group, level, sign=-1.0), 0.0, 1.0)
    wrong_max = np.clip(_bound(in_wrong, truth, group, level, sign=1.0), 0.0, 1.0)
    even = np.full(p.shape, 1.0 / p.shape[1])
    reach = entropy(project_groups(even, near[truth], wrong[truth], near_min=near_min, wrong_max=wrong_max))
    wanted = entropy(p)
    # the projection nearest the even distribution has the largest entropy that the bounds leave; a millionth less of it
    # is reached at a power above zero
    least = np.minimum(wanted, reach * (1.0 - 1e-6))
    return Evidence(near[truth], wrong[truth], near_min, wrong_max, least, difficulty, confusion, least < wanted)


def _predictions(probs: ArrayLike) -> Array:
    p = distributions("probs", probs)
    if p.ndim != 2:
        raise ShapeError(f"evidence comes from predictions (P, C); got shape {p.shape}.")
    return p


def _neighbourhoods(confusion: Array, coverage: float) -> Mask:
    """(C, C) the smallest set of classes that holds the share of each row, its own class always in it."""
    own = np.eye(len(confusion))
    order = np.argsort(-(confusion + own), axis=1, kind="stable")  # the own class first
    ranked = np.take_along_axis(confusion, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    near = np.zeros(confusion.shape, dtype=bool)
    np.put_along_axis(near, order, before < coverage * confusion.sum(axis=1, keepdims=True), axis=1)
    return near | own.astype(bool)


def _bound(mass: Array, truth: NDArray[np.int64], group: NDArray[np.int64], level: float, *, sign: float) -> Array:
    """One-sided Student bound of the mean mass of a row's label and difficulty, (P,)."""
    found = np.empty(len(mass))
    for bin_ in np.unique(group):
        here = group == bin_
        pooled = _one_sided(mass[here], level, sign)
        for label in np.unique(truth[here]):
            rows = np.flatnonzero(here & (truth == label))
            found[rows] = _one_sided(mass[rows], level, sign) if len(rows) >= FEWEST else pooled
    return found


def _one_sided(mass: Array, level: float, sign: float) -> float:
    n = len(mass)
    if n < 2:
        return float(mass.mean())
    reach = stats.t.ppf(level, n - 1) * mass.std(ddof=1) / np.sqrt(n)
    return float(mass.mean() + sign * reach)
