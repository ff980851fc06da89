"""Limits of a true calibration error: those for which the observed plug-in is not in either tail."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array
from uqkd.estimators.calibration.uncertainty.binned_gaps import (
    PENALTY,
    BinnedGaps,
    concentrated_sizes,
    folded_cumulants,
    gamma_chance,
    gamma_quantile,
    profile_sizes,
    squared_cumulants,
)
from uqkd.estimators.calibration.uncertainty.crossing import largest_error
from uqkd.estimators.intervals.level import tails

Cumulants = tuple[Array, Array, Array]

NORMS = {"l1": 1, "l2": 2}


def _sizes(gaps: BinnedGaps, error: Array, norm: str, *, concentrated: bool = False) -> list[tuple[Array, Array]]:
    """Sizes of all gaps for a true error, in the ways that are averaged, with the weight of each way."""
    even = np.broadcast_to(error[..., None], gaps.gap.shape)
    if (
        norm == "l2"
    ):  # the noise of a mean square depends on the sizes through their mean square alone, but for the weights
        root = np.sqrt(gaps.plug_in(2))[..., None]
        size = np.where(root > 0, np.abs(gaps.gap) * error[..., None] / np.where(root > 0, root, 1.0), even)
        return [(size, np.ones_like(error))]
    variance = gaps.reference_variance()
    near = profile_sizes(gaps, error, variance)
    held, size = gaps.weight > 0, np.abs(gaps.gap)
    ways = [(near, PENALTY * held.sum(axis=-1)), (even, 0.0)]
    if concentrated:
        ways.append((concentrated_sizes(gaps, error, variance), 0.0))
    cost = np.stack([np.where(held, (size - way) ** 2 / variance, 0.0).sum(axis=-1) + fine for way, fine in ways])
    weight = special.softmax(-cost / 2.0, axis=0)
    return [(way, own) for (way, _), own in zip(ways, weight, strict=True)]


def chance_below(gaps: BinnedGaps, error: Array, value: Array, *, norm: str, concentrated: bool = False) -> Array:
    """Chance of a plug-in of at most `value` where the true error is `error`.

    Parameters
    ----------
    gaps : BinnedGaps
        Of (..., bins).
    error, value : (...) array
        A mean size of gaps; a plug-in (with "l2" the root of a mean square, and a mean square).
    norm : {"l1", "l2"}
    concentrated : bool
        Of "l1", average a third way: as few bins off as can be. The plug-in is then largest for a true error.

    Notes
    -----
    How the error is spread over bins is not known. For "l1" two ways are averaged, as tail areas are in Turek & Fletcher
    (2012): one size for all bins, and the sizes nearest to those observed (`profile_sizes`), by exp(−(distance² +
    `PENALTY` · bins · [nearest])/2); and a third, `concentrated_sizes`, like one size without a penalty. The penalty is the one
    of 0.5, 1 and 2 (which is Akaike's) whose intervals kept 93 % in simulations of one size, of slopes, and of gaps in three
    bins of 15 or in one.
    """
    cumulants: Callable[..., Cumulants] = folded_cumulants if norm == "l1" else squared_cumulants
    chance = np.zeros(np.shape(error))
    for size, weight in _sizes(gaps, np.asarray(error, dtype=float), norm, concentrated=concentrated):
        chance += weight * gamma_chance(value, cumulants(size, gaps.variance(size), gaps.weight))
    return chance


def expected_plug_in(gaps: BinnedGaps, error: Array) -> Array:
    """Mean of the plug-in Σ w |gap| where the true error is `error`, over the same ways as in `chance_below`."""
    mean = np.zeros(np.shape(error))
    for size, weight in _sizes(gaps, np.asarray(error, dtype=float), "l1"):
        mean += weight * folded_cumulants(size, gaps.variance(size), gaps.weight)[0]
    return mean


def error_limits(gaps: BinnedGaps, *, norm: str, level: float) -> tuple[Array, Array]:
    """Errors at which the plug-in is at either end of what is likely, each (...).

    The plug-in counts as no less than what a calibrated model exceeds but in 1 − level of samples, so that a sample that
    happens to look better than calibrated models do still has an upper limit above 0. For the upper limit of "l1" it counts as half
    a point more where one bin carries the noise: counts are whole, and with few errors the normal distribution falls short. The
    lower limit of "l1" allows that few bins carry all of the error, as noise then adds most to it: without, it was above the truth
    in 10 % of samples whose most confident fifth alone was wrong.
    """
    value, (lower, upper) = gaps.plug_in(NORMS[norm]), tails(level)
    calm = np.zeros_like(gaps.gap)
    cumulants: Callable[..., Cumulants] = folded_cumulants if norm == "l1" else squared_cumulants
    more = value + gaps.half_step() if norm == "l1" else value
    seen = np.maximum(more, gamma_quantile(1.0 - level, cumulants(calm, gaps.variance(calm), gaps.weight)))
    high = largest_error(lambda error: chance_below(gaps, error, seen, norm=norm) >= lower, value.shape)
    low = largest_error(
        lambda error: chance_below(gaps, error, value, norm=norm, concentrated=True) >= upper, value.shape
    )
    return np.minimum(low, high), high


def debiased_error(gaps: BinnedGaps) -> Array:
    """The error whose plug-in is as large on average as the observed one; 0 where even a calibrated model's is larger."""
    value = gaps.plug_in(1)
    return largest_error(lambda error: expected_plug_in(gaps, error) <= value, value.shape)
