"""Calibration of class probabilities: binned errors, proper scores and temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, float_or_array
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import OptionError, ShapeError, one_of

BINNINGS = ("equal_width", "equal_mass")


@dataclass(frozen=True)
class ReliabilityCurve:
    """Accuracy against confidence in the bins that hold points; made by `reliability_curve`.

    Attributes
    ----------
    confidence, accuracy : (bins,) array
        Mean confidence and share correct.
    count : (bins,) int array
        Points in each bin; bins without points are left out.
    """

    confidence: Array
    accuracy: Array
    count: Any


def expected_calibration_error(
    probs: Any, labels: Any, *, bins: int = 15, binning: str = "equal_width"
) -> float | Array:
    """Mean distance of accuracy from confidence over bins of confidence.

    Parameters
    ----------
    probs : (P, C) or (S, P, C) array_like
        Class probabilities, rows summing to one; C >= 2.
    labels : (P,) integers
        True classes.
    bins : int
        Number of bins.
    binning : {"equal_width", "equal_mass"}
        Edges evenly spaced on [0, 1], bins (low, high]; or at quantiles of the confidences, equal ones kept together.

    Returns
    -------
    float or (S,) array
        In [0, 1].

    Raises
    ------
    ShapeError, NotFiniteError
        Axes that do not fit, one class only, nothing at all, NaN.
    DataError
        Negative probabilities, rows that do not sum to one, labels that are not integers in [0, C).
    OptionError
        Unknown binning, or bins below 1.

    Notes
    -----
    Guo et al. (2017), Σ n_b / n · |acc_b − conf_b|. A perfectly calibrated model scores above zero, by about
    √(bins / n) in order of magnitude: compare models at one n and one binning, or take `calibration_error`, which takes that
    off and has an interval.

    Examples
    --------
    >>> round(expected_calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 12)
    0.3
    """
    share, gap, _ = _binned(probs, labels, bins, binning)
    return float_or_array((share * np.abs(gap)).sum(axis=-1))


def overconfidence_error(probs: Any, labels: Any, *, bins: int = 15, binning: str = "equal_width") -> float | Array:
    """Mean excess of confidence over accuracy, weighted by confidence, over bins of confidence.

    Parameters
    ----------
    probs, labels, bins, binning
        As in `expected_calibration_error`.

    Returns
    -------
    float or (S,) array
        In [0, 1]; zero when no bin is overconfident.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error`.

    Notes
    -----
    Thulasidasan et al. (2019), Σ n_b / n · conf_b · max(conf_b − acc_b, 0).

    Examples
    --------
    >>> round(overconfidence_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 12)  # 0.8 * 0.3
    0.24
    """
    share, gap, confidence = _binned(probs, labels, bins, binning)
    return float_or_array((share * confidence * np.maximum(gap, 0.0)).sum(axis=-1))


def signed_gap(probs: Any, labels: Any) -> float | Array:
    """Mean confidence minus accuracy: positive when overconfident.

    Parameters
    ----------
    probs, labels
        As in `expected_calibration_error`.

    Returns
    -------
    float or (S,) array
        In [-1, 1]; unbiased, unlike the binned errors.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`.

    Examples
    --------
    >>> round(signed_gap([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 12)
    0.3
    """
    array, truth = checked_probabilities(probs, labels)
    return float_or_array((array.max(axis=-1) - (array.argmax(axis=-1) == truth)).mean(axis=-1))


def brier_score(probs: Any, labels: Any) -> float | Array:
    """Mean squared distance of the probabilities from the one-hot truth, summed over classes.

    Parameters
    ----------
    probs, labels
        As in `expected_calibration_error`.

    Returns
    -------
    float or (S,) array
        In [0, 2] (Brier 1950); half of it for two classes is the score of the positive class.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`.

    Examples
    --------
    >>> round(brier_score([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 12)  # (0.08 + 1.28) / 2
    0.68
    """
    array, truth = checked_probabilities(probs, labels)
    return float_or_array(((array - np.eye(array.shape[-1])[truth]) ** 2).sum(axis=-1).mean(axis=-1))


def negative_log_likelihood(probs: Any, labels: Any) -> float | Array:
    """Mean −log probability of the true class.

    Parameters
    ----------
    probs, labels
        As in `expected_calibration_error`.

    Returns
    -------
    float or (S,) array
        Nats; infinite where a true class has probability zero, and never clipped.

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`.

    Examples
    --------
    >>> round(negative_log_likelihood([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 6)
    0.490415
    """
    array, truth = checked_probabilities(probs, labels)
    picked = array[..., np.arange(truth.size), truth]
    with np.errstate(divide="ignore"):
        return float_or_array(-np.log(picked).mean(axis=-1))


def reliability_curve(probs: Any, labels: Any, *, bins: int = 15, binning: str = "equal_width") -> ReliabilityCurve:
    """Accuracy against mean confidence, per bin of confidence.

    Parameters
    ----------
    probs : (P, C) array_like
        Class probabilities of one model.
    labels, bins, binning
        As in `expected_calibration_error`.

    Returns
    -------
    ReliabilityCurve
        Bins with points only, by rising confidence.

    Raises
    ------
    ShapeError, NotFiniteError, DataError, OptionError
        As in `expected_calibration_error`; also (S, P, C), where each student has its own curve.

    Examples
    --------
    >>> curve = reliability_curve([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]], [0, 1, 1])
    >>> curve.confidence, curve.accuracy, curve.count
    (array([0.6, 0.8]), array([1. , 0.5]), array([1, 2]))
    """
    array, truth = checked_probabilities(probs, labels)
    if array.ndim != 2:
        raise ShapeError(f"reliability_curve takes probs (P, C) of one model; got {array.shape}. Loop over students.")
    count, confidence, correct, _ = bin_sums(array, truth, bins=bins, binning=binning)
    full = count[0] > 0
    held = count[0, full]
    return ReliabilityCurve(confidence[0, full] / held, correct[0, full] / held, held.astype(int))


def _binned(probs: Any, labels: Any, bins: int, binning: str) -> tuple[Array, Array, Array]:
    """Share of points, confidence − accuracy and mean confidence, each ([S,] bins); zero in bins without points."""
    array, truth = checked_probabilities(probs, labels)
    count, confidence, correct, _ = bin_sums(array, truth, bins=bins, binning=binning)
    held = np.maximum(count, 1.0)
    shape = (*array.shape[:-2], count.shape[-1])
    share, gap, mean = count / truth.size, (confidence - correct) / held, confidence / held
    return share.reshape(shape), gap.reshape(shape), mean.reshape(shape)


def bin_of(values: Array, *, bins: int, binning: str) -> Any:
    """Index of the bin of each value in [0, 1], row by row of (S, P); edges belong to the lower bin.

    Examples
    --------
    >>> bin_of(np.array([[0.0, 0.5, 0.6, 1.0]]), bins=2, binning="equal_width")
    array([[0, 0, 1, 1]])
    """
    one_of("binning", binning, BINNINGS)
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 1:
        raise OptionError(f"bins must be a whole number, at least 1; got {bins!r}.")
    index = np.empty(values.shape, dtype=np.int64)
    inner = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    for s, row in enumerate(values):
        index[s] = np.searchsorted(inner if binning == "equal_width" else np.quantile(row, inner), row, side="left")
    return index


def bin_sums(array: Array, truth: Any, *, bins: int, binning: str) -> tuple[Array, Array, Array, Array]:
    """Count, summed confidence, number correct and summed squared confidence of each bin, (S, bins); of checked arguments."""
    confidence = array.max(axis=-1).reshape(-1, truth.size)
    correct = (array.argmax(axis=-1) == truth).astype(float).reshape(-1, truth.size)
    index = bin_of(confidence, bins=bins, binning=binning) + np.arange(len(confidence))[:, None] * bins
    flat, cells = index.ravel(), len(confidence) * bins
    weights = (np.ones_like(correct), confidence, correct, confidence**2)
    sums = [np.bincount(flat, w.ravel(), minlength=cells) for w in weights]
    count, confident, right, squares = (np.asarray(total, dtype=float).reshape(-1, bins) for total in sums)
    return count, confident, right, squares
