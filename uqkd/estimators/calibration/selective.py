"""Whether confidence ranks answers: right before wrong, known before unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from uqkd.checking.arrays import Array, float_or_array, numpy_of, shaped
from uqkd.checking.probabilities import checked_probabilities, class_probabilities
from uqkd.errors import DataError, ShapeError, one_of

UNDEFINED = ("raise", "nan")
SCORES = ("max_probability", "entropy")


def auroc(scores: Any, positive: Any, *, undefined: str = "raise") -> float | Array:
    """Chance that a random positive scores above a random negative, ties counting one half.

    Parameters
    ----------
    scores : (P,) or (S, P) array_like
        Higher where a point is held to be positive; any unit, only the order counts.
    positive : (P,) or (S, P) bool
        Which points are positive; (P,) serves all students.
    undefined : {"raise", "nan"}
        What to do with a student whose points are all positive or all negative.

    Returns
    -------
    float or (S,) array
        In [0, 1]; one half where the scores say nothing.

    Raises
    ------
    ShapeError, NotFiniteError
        Axes that do not fit, nothing at all, NaN.
    DataError
        `positive` holds something other than true and false; or one kind of points only, unless undefined="nan".
    OptionError
        Unknown `undefined`.

    Notes
    -----
    Mann–Whitney U / (n₊ n₋) by mid-ranks (Hanley & McNeil 1982); exact, as sums of half-integers are.

    Examples
    --------
    >>> auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False])  # 3 pairs won, one tied: 3.5 / 4
    0.875
    """
    one_of("undefined", undefined, UNDEFINED)
    array = shaped("scores", scores, "P", "S P")
    mask = np.broadcast_to(_marks(positive, array.shape), array.shape)
    plus = mask.sum(axis=-1)
    minus = array.shape[-1] - plus
    empty = np.atleast_1d((plus == 0) | (minus == 0))
    if undefined == "raise" and empty.any():
        who = f" of student {int(empty.argmax())}" if array.ndim == 2 else ""
        kind = "positive" if np.atleast_1d(minus)[empty.argmax()] == 0 else "negative"
        raise DataError(
            f"all {array.shape[-1]} points{who} are {kind}, so there is no pair to rank. Use more points, or say "
            'undefined="nan" to get NaN there.'
        )
    won = np.where(mask, stats.rankdata(array, axis=-1), 0.0).sum(axis=-1) - plus * (plus + 1) / 2
    pairs = np.where((plus == 0) | (minus == 0), np.nan, plus * minus.astype(float))
    return float_or_array(won / pairs)


def correctness_auroc(probs: Any, labels: Any, *, undefined: str = "raise") -> float | Array:
    """Chance that a random right answer is more confident than a random wrong one, ties counting one half.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) array_like
        Class probabilities; confidence is the largest of a row, the answer its class (the first, if several).
    labels : (P,) integers
        True classes.
    undefined : {"raise", "nan"}
        What to do with a student that is always right, or never.

    Returns
    -------
    float or (S,) array
        In [0, 1]. Unchanged by any rising map of the confidences; so it says nothing of their calibration.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error` and `auroc`.

    Examples
    --------
    >>> correctness_auroc([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]], [0, 1, 1])  # right .9 and .8, wrong .7
    1.0
    """
    one_of("undefined", undefined, UNDEFINED)
    array, truth = checked_probabilities(probs, labels)
    return auroc(array.max(axis=-1), array.argmax(axis=-1) == truth, undefined=undefined)


@dataclass(frozen=True)
class RiskCoverage:
    """Errors among the answers given, when only the most confident are; made by `risk_coverage`.

    Attributes
    ----------
    coverage : (P,) array
        Share answered, 1/P ... 1.
    risk : (P,) or (S, P) array
        Share wrong among those answered; the last is 1 − accuracy.
    """

    coverage: Array
    risk: Array


def risk_coverage(probs: Any, labels: Any) -> RiskCoverage:
    """Share wrong among the n most confident answers, for each n.

    Parameters
    ----------
    probs, labels
        As in `correctness_auroc`.

    Returns
    -------
    RiskCoverage
        Where the n-th place falls among equal confidences the risk is its mean over their orders: no order is chosen.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`.

    Notes
    -----
    El-Yaniv & Wiener (2010). Among ties each place is wrong with the share of errors of the tied points, so cumulated
    errors rise linearly through them.

    Examples
    --------
    >>> curve = risk_coverage([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3], [0.6, 0.4]], [0, 0, 1, 1])
    >>> curve.coverage, curve.risk.round(4)  # second place: right or wrong, each with chance 1/2
    (array([0.25, 0.5 , 0.75, 1.  ]), array([0.    , 0.25  , 0.3333, 0.5   ]))
    """
    array, truth = checked_probabilities(probs, labels)
    points = truth.size
    confidence = array.max(axis=-1).reshape(-1, points)
    wrong = (array.argmax(axis=-1) != truth).reshape(-1, points)
    accepted = np.arange(1, points + 1)
    risk = np.empty(confidence.shape)
    for s, (sure, error) in enumerate(zip(confidence, wrong, strict=True)):
        _, group, size = np.unique(-sure, return_inverse=True, return_counts=True)
        share = np.bincount(group, error) / size
        risk[s] = np.cumsum(np.repeat(share, size)) / accepted
    return RiskCoverage(accepted / points, risk.reshape(array.shape[:-1]))


def area_under_risk_coverage(probs: Any, labels: Any) -> float | Array:
    """Mean over coverages of the share wrong among the answers given.

    Parameters
    ----------
    probs, labels
        As in `correctness_auroc`.

    Returns
    -------
    float or (S,) array
        In [0, 1], low where the student is right or knows when it is not; 1 − accuracy where confidence says nothing.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`.

    Notes
    -----
    Geifman, Uziel & El-Yaniv (2019): the mean of the risks at n = 1 ... P. The best order that an error rate e allows
    still scores e + (1 − e) log(1 − e) for large P, so compare at equal accuracy or beside it.

    Examples
    --------
    >>> area_under_risk_coverage([[0.9, 0.1], [0.6, 0.4]], [0, 1])  # risks 0 and 1/2
    0.25
    """
    return float_or_array(risk_coverage(probs, labels).risk.mean(axis=-1))


def out_of_distribution_auroc(probs_in: Any, probs_out: Any, *, score: str = "max_probability") -> float | Array:
    """Chance that a student is less sure of a point from elsewhere than of one from its own distribution.

    Parameters
    ----------
    probs_in : (P, C) or (S, P, C) array_like
        Class probabilities on points like those of the training.
    probs_out : (Q, C) or (S, Q, C) array_like
        The same student on points from elsewhere.
    score : {"max_probability", "entropy"}
        Less sure means a smaller largest probability, or a larger entropy.

    Returns
    -------
    float or (S,) array
        In [0, 1]; one half where the two look alike, 1 where they are told apart.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`; or students or classes that differ.
    OptionError
        Unknown score.

    Notes
    -----
    Hendrycks & Gimpel (2017); ties, as among saturated probabilities, count one half.

    Examples
    --------
    >>> out_of_distribution_auroc([[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.2, 0.8]])  # pairs: 1, 1, 1, 1/2
    0.875
    """
    one_of("score", score, SCORES)
    inside, outside = class_probabilities("probs_in", probs_in), class_probabilities("probs_out", probs_out)
    if inside.shape[:-2] != outside.shape[:-2] or inside.shape[-1] != outside.shape[-1]:
        raise ShapeError(
            f"probs_in and probs_out need the same students and classes; got shapes {inside.shape} and {outside.shape}."
        )
    unsure = [
        -p.max(axis=-1) if score == "max_probability" else special.entr(p).sum(axis=-1) for p in (inside, outside)
    ]
    elsewhere = np.repeat([False, True], [inside.shape[-2], outside.shape[-2]])
    return auroc(np.concatenate(unsure, axis=-1), elsewhere)


def _marks(positive: Any, shape: tuple[int, ...]) -> Any:
    raw = np.asarray(numpy_of(positive, "positive"))
    if raw.dtype.kind not in "biuf" or not np.isin(raw, (0, 1)).all():
        raise DataError(f"positive must hold true and false only; got dtype {raw.dtype}. Pass a comparison.")
    if raw.shape not in (shape, shape[-1:]):
        raise ShapeError(f"positive needs shape {shape[-1:]} or that of scores, {shape}; got {raw.shape}.")
    return raw.astype(bool)
