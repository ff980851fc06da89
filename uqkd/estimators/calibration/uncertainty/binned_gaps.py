"""How the plug-in calibration error of bins is distributed for a given true one: what its debiasing and intervals rest on.

All arrays end in an axis of bins and may have any axes before it (students, or simulated experiments).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array

PENALTY = 0.5  # a bin, of a size of its own against one size for all; Akaike's is 2; see `chance_below`
_REACH = 3.0  # standard errors
_LEAST = 1e-12  # variance of a gap below which it counts as this: where all confidences are 0 or 1


@dataclass(frozen=True)
class BinnedGaps:
    """Confidence minus accuracy of bins, and what its noise is made of; made by `binned_gaps`.

    Attributes
    ----------
    weight : (..., bins) array
        Share of points, 0 in bins without any.
    gap, confidence : (..., bins) array
        Mean confidence − share correct; mean confidence.
    spread : (..., bins) array
        Variance of the confidences within the bin.
    count : (..., bins) array
        Points; 1 where there is none, so that nothing is divided by 0.
    """

    weight: Array
    gap: Array
    confidence: Array
    spread: Array
    count: Array

    def plug_in(self, power: int) -> Array:
        """Σ w |gap|^power: the binned error itself (1), or the mean square of the gaps (2)."""
        return np.asarray((self.weight * np.abs(self.gap) ** power).sum(axis=-1))

    def variance(self, size: Array) -> Array:
        """Variance of each bin's gap if the true one has this size.

        Its sign is the observed one, unless an accuracy would then leave [0, 1] and the observed gap is within `_REACH` standard
        errors of the true one with the other sign: where all are right at .999, more than .001 can only be an error downwards.
        """
        observed = np.where(self.gap >= 0.0, 1.0, -1.0)
        right, other = self.confidence - observed * size, self.confidence + observed * size
        noise, noise_other = self._noise(right), self._noise(other)
        near = (size + np.abs(self.gap)) ** 2 <= _REACH**2 * noise_other
        return np.where(((right < 0.0) | (right > 1.0)) & near, noise_other, noise)

    def _noise(self, right: Array) -> Array:
        inside = np.clip(right, 0.0, 1.0)
        return np.asarray(np.maximum(inside * (1.0 - inside) - self.spread, _LEAST) / self.count)

    def reference_variance(self) -> Array:
        """Variance of each bin's gap at the share correct among its points and one more that is as right as it is sure."""
        return self._noise(self.confidence - self.gap * self.count / (self.count + 1.0))

    def half_step(self) -> Array:
        """Half of what one point moves the plug-in, over the number of bins that carry its noise, (...)."""
        noise = self.weight * np.sqrt(self.reference_variance())
        carriers = noise.sum(axis=-1) ** 2 / (noise**2).sum(axis=-1)
        return np.asarray(0.5 / (self.count * (self.weight > 0)).sum(axis=-1) / carriers)


def binned_gaps(count: Array, confidence: Array, squares: Array, correct: Array) -> BinnedGaps:
    """Gaps of bins from their sums.

    Parameters
    ----------
    count, confidence, squares, correct : (..., bins) array
        Points, summed confidences, summed squares of confidences, points correct.

    Examples
    --------
    >>> gaps = binned_gaps(np.array([2.0, 0.0]), np.array([1.6, 0.0]), np.array([1.28, 0.0]), np.array([1.0, 0.0]))
    >>> [float(x.round(12)) for x in (gaps.plug_in(1), gaps.plug_in(2), gaps.variance(np.zeros(2))[0])]  # .08: .8 · .2 / 2
    [0.3, 0.09, 0.08]
    """
    held = np.maximum(count, 1.0)
    mean = confidence / held
    spread = np.maximum(squares / held - mean**2, 0.0)
    return BinnedGaps(count / count.sum(axis=-1, keepdims=True), (confidence - correct) / held, mean, spread, held)


def folded_cumulants(size: Array, variance: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Mean, variance and third central moment of Σ w |N(size, variance)|, independent terms.

    Examples
    --------
    >>> mean, variance, _ = folded_cumulants(np.zeros(1), np.ones(1), np.ones(1))
    >>> bool(np.isclose(mean, np.sqrt(2 / np.pi))), bool(np.isclose(variance, 1 - 2 / np.pi))
    (True, True)
    """
    sd = np.sqrt(variance)
    ratio = size / sd
    density, inside = np.exp(-(ratio**2) / 2.0) / np.sqrt(2.0 * np.pi), special.erf(ratio / np.sqrt(2.0))
    first = sd * (2.0 * density + ratio * inside)
    second = size**2 + variance
    third = sd**3 * (2.0 * density * (ratio**2 + 2.0) + (ratio**3 + 3.0 * ratio) * inside)
    spread, skew = second - first**2, third - 3.0 * first * second + 2.0 * first**3
    return (weight * first).sum(axis=-1), (weight**2 * spread).sum(axis=-1), (weight**3 * skew).sum(axis=-1)


def squared_cumulants(size: Array, variance: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Mean, variance and third central moment of Σ w N(size, variance)², independent terms.

    Examples
    --------
    >>> [float(k) for k in squared_cumulants(np.zeros(1), np.ones(1), np.ones(1))]  # chi-square with one degree of freedom
    [1.0, 2.0, 8.0]
    """
    each, shift = weight * variance, weight * size**2
    mean = (each + shift).sum(axis=-1)
    return (
        mean,
        (2.0 * each**2 + 4.0 * each * shift).sum(axis=-1),
        (8.0 * each**3 + 24.0 * each**2 * shift).sum(axis=-1),
    )


def gamma_chance(value: Array, cumulants: tuple[Array, Array, Array]) -> Array:
    """Chance that a shifted gamma variable with these three cumulants is at most `value`.

    Examples
    --------
    >>> float(gamma_chance(np.array(2.0), (np.array(2.0), np.array(4.0), np.array(16.0))).round(4))  # chi-square, 2: 1 - 1/e
    0.6321
    """
    mean, variance, _ = cumulants
    shape, noisy = _gamma_shape(cumulants), variance > 0.0
    reached = shape + (value - mean) * np.sqrt(shape / np.where(noisy, variance, 1.0))
    return np.asarray(np.where(noisy, special.gammainc(shape, np.maximum(reached, 0.0)), value >= mean))


def gamma_quantile(chance: float, cumulants: tuple[Array, Array, Array]) -> Array:
    """Value that a shifted gamma variable with these three cumulants stays below with a chance.

    Examples
    --------
    >>> float(gamma_quantile(0.5, (np.array(2.0), np.array(4.0), np.array(16.0))).round(4))  # chi-square, 2: 2 log 2
    1.3863
    """
    mean, variance, _ = cumulants
    shape = _gamma_shape(cumulants)
    return np.asarray(mean + (special.gammaincinv(shape, chance) - shape) * np.sqrt(variance / shape))


def _gamma_shape(cumulants: tuple[Array, Array, Array]) -> Array:
    """Of the gamma with this skewness; one below 1e-3 counts as that, and as normal: its median is off by 2e-4 sd."""
    _, variance, third = cumulants
    noisy = np.where(variance > 0.0, variance, 1.0)
    return np.asarray(4.0 / np.maximum(third / noisy**1.5, 1e-3) ** 2)


def profile_sizes(gaps: BinnedGaps, error: Array, variance: Array) -> Array:
    """Sizes of the gaps nearest to the observed ones, in standard errors, whose weighted mean is `error`.

    Least squares under Σ w |δ| = error: all gaps grow by as much times w · variance, or shrink and stop at 0.

    Examples
    --------
    >>> gaps = BinnedGaps(np.full(2, 0.5), np.array([0.3, -0.1]), np.full(2, 0.5), np.zeros(2), np.full(2, 10.0))
    >>> [profile_sizes(gaps, np.array(e), np.ones(2)).round(3).tolist() for e in (0.05, 0.15, 0.3)]
    [[0.1, 0.0], [0.25, 0.05], [0.4, 0.2]]
    """
    size, pull = np.abs(gaps.gap), gaps.weight * variance
    held = gaps.weight > 0
    ratio = np.where(held, size / np.where(held, pull, 1.0), -1.0)
    order = np.argsort(-ratio, axis=-1)
    sorted_ratio = np.take_along_axis(ratio, order, axis=-1)
    mass = np.cumsum(np.take_along_axis(gaps.weight * size, order, axis=-1), axis=-1)
    slope = np.cumsum(np.take_along_axis(gaps.weight * pull, order, axis=-1), axis=-1)
    reached = np.where(
        sorted_ratio >= 0, mass - sorted_ratio * slope, np.inf
    )  # weighted mean if all sink to this ratio
    last = np.maximum((reached < error[..., None]).sum(axis=-1), 1)[..., None] - 1
    sink = (np.take_along_axis(mass, last, axis=-1) - error[..., None]) / np.take_along_axis(slope, last, axis=-1)
    return np.asarray(np.where(held, np.maximum(size - sink * pull, 0.0), 0.0))


def concentrated_sizes(gaps: BinnedGaps, error: Array, variance: Array) -> Array:
    """Sizes of the gaps whose weighted mean is `error` with as few bins off as can be: those observed, the surest first.

    The bin in which they reach `error` keeps what is left of it; where all together do not reach it, all grow by the same.

    Examples
    --------
    >>> gaps = BinnedGaps(np.full(2, 0.5), np.array([0.3, -0.1]), np.full(2, 0.5), np.zeros(2), np.full(2, 10.0))
    >>> [concentrated_sizes(gaps, np.array(e), np.ones(2)).round(3).tolist() for e in (0.05, 0.16, 0.3)]
    [[0.1, 0.0], [0.3, 0.02], [0.4, 0.2]]
    """
    size, held = np.abs(gaps.gap), gaps.weight > 0
    order = np.argsort(-np.where(held, size / np.sqrt(variance), -1.0), axis=-1)
    mass = np.take_along_axis(gaps.weight * size, order, axis=-1)
    left = error[..., None] - (np.cumsum(mass, axis=-1) - mass)
    kept = np.empty_like(size)
    np.put_along_axis(kept, order, np.clip(left / np.where(mass > 0, mass, 1.0), 0.0, 1.0), axis=-1)
    more = np.maximum(error - (gaps.weight * size).sum(axis=-1), 0.0)[..., None]  # weights sum to 1
    return np.asarray(np.where(held, size * kept + more, 0.0))
