"""What a reliability curve of a calibrated model may look like, and how sure each of its points is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, confidence_level
from uqkd.estimators.calibration.binned import ReliabilityCurve
from uqkd.estimators.intervals.level import LEVEL, tails
from uqkd.estimators.intervals.proportions import proportion_interval

_HALVINGS = 40  # of the range of counts: more than any number of points needs


@dataclass(frozen=True)
class ReliabilityBand:
    """Limits beside each point of a reliability curve; made by `reliability_band`.

    Attributes
    ----------
    consistent_low, consistent_high : (bins,) array
        Shares correct that a calibrated model would show there: the consistency band, around the diagonal.
    accuracy_low, accuracy_high : (bins,) array
        Interval for the accuracy of each bin, around the curve.
    level : float
        Of each bin, or of all together.
    simultaneous : bool
    """

    consistent_low: Array
    consistent_high: Array
    accuracy_low: Array
    accuracy_high: Array
    level: float
    simultaneous: bool


def reliability_band(curve: ReliabilityCurve, *, level: float = LEVEL, simultaneous: bool = False) -> ReliabilityBand:
    """Consistency band of a reliability curve, and the interval of each bin's accuracy.

    Parameters
    ----------
    curve : ReliabilityCurve
        Of `reliability_curve`.
    level : float
        Chance of each bin of a calibrated model to lie in the band; at least.
    simultaneous : bool
        Of all bins together instead (Šidák), for a look at the whole curve.

    Returns
    -------
    ReliabilityBand

    Raises
    ------
    OptionError
        A level outside (0, 1).

    Notes
    -----
    Bröcker & Smith (2007), without resampling: given its confidences the number correct in a bin of a calibrated model is a sum
    of independent trials, in whose tails a binomial variable with their mean lies further out (Hoeffding 1956). Accuracies: mid-P.

    Examples
    --------
    >>> band = reliability_band(ReliabilityCurve(np.array([0.8]), np.array([0.6]), np.array([50])))
    >>> band.consistent_low, band.consistent_high, band.accuracy_low.round(3), band.accuracy_high.round(3)
    (array([0.68]), array([0.9]), array([0.46]), array([0.728]))
    """
    each = confidence_level(level) ** (1.0 / max(len(curve.count), 1)) if simultaneous else confidence_level(level)
    below, above = tails(each)
    low, high = (_quantile(curve.count, curve.confidence, chance) / curve.count for chance in (below, above))
    right = np.round(curve.accuracy * curve.count).astype(np.int64)
    accuracy = proportion_interval(right, np.asarray(curve.count), level=each)
    return ReliabilityBand(low, high, np.asarray(accuracy.low), np.asarray(accuracy.high), level, simultaneous)


def _quantile(count: Array, share: Array, chance: float) -> Array:
    """Smallest number whose binomial distribution function reaches `chance`."""
    low, high = np.full(len(count), -1.0), np.asarray(count, dtype=float)
    for _ in range(_HALVINGS):
        middle = np.floor((low + high) / 2.0)
        at_most = np.where(  # P(X <= middle)
            middle < count,
            special.betaincc(middle + 1.0, np.maximum(count - middle, 1.0), np.clip(share, 0.0, 1.0)),
            1.0,
        )
        reached = np.where(middle < 0, 0.0, at_most) >= chance
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        if (high - low <= 1).all():
            break
    return high
