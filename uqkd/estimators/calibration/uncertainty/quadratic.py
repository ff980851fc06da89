"""Squared calibration errors as quadratic forms of residuals: the noise in them, and limits of the true error.

A form is Q = |d|² with d = Σ_i F_i e_i / n, where e_i is what was claimed of point i less what came. For given claims d has
a mean, whose squared length is the error, and a covariance, from which the cumulants of Q follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uqkd.checking.arrays import Array
from uqkd.estimators.calibration.uncertainty.binned_gaps import gamma_chance, gamma_quantile
from uqkd.estimators.calibration.uncertainty.crossing import largest_error
from uqkd.estimators.intervals.level import tails

Cumulants = tuple[Array, Array, Array]


@dataclass(frozen=True)
class QuadraticForm:
    """A squared calibration error and the noise in it; made by `quadratic_form`.

    Attributes
    ----------
    square : (...) array
        Q, noise included.
    own : (...) array
        What the points contribute to Q by themselves, Σ_i |F_i e_i|²/n².
    traces : (2, 3, ...) array
        tr Σ, tr Σ², tr Σ³ of the covariance Σ of d: for a calibrated model, and for one with the gaps seen.
    along : (2, ...) array
        uᵀΣu and uᵀΣ²u for the direction u of d, or along the strong directions of noise where that is more: how noise and error
        meet. A small d is one in which noise went against the error, so that its own direction alone would say too little.
    """

    square: Array
    own: Array
    traces: Array
    along: Array

    def unbiased_square(self, points: int) -> Array:
        """Mean of the products of different points: unbiased, and negative where they disagree; do not clip before averaging."""
        return np.asarray((self.square - self.own) * points / (points - 1.0))

    def cumulants(self, error: Array) -> Cumulants:
        """Mean, variance and third central moment of Q where the true error is `error`."""
        root = np.sqrt(self.square)
        share = np.where(root > 0, np.minimum(error / np.where(root > 0, root, 1.0), 1.0), error > 0)
        first, second, third = self.traces[0] + share * (self.traces[1] - self.traces[0])
        return (
            first + error**2,
            2.0 * second + 4.0 * error**2 * self.along[0],
            8.0 * third + 24.0 * error**2 * self.along[1],
        )

    def chance_below(self, error: Array, value: Array) -> Array:
        """Chance of a Q of at most `value` where the true error is `error`."""
        return gamma_chance(value, self.cumulants(error))

    def p_value(self) -> Array:
        """Chance that Q of a calibrated model is at least as large: 1 where it is 0, as without any noise."""
        above = 1.0 - self.chance_below(np.zeros_like(self.square), self.square)
        return np.asarray(np.where(self.square > 0, above, 1.0))

    def limits(self, level: float) -> tuple[Array, Array]:
        """Errors at which Q is at either end of what is likely; as `error_limits`."""
        lower, upper = tails(level)
        seen = np.maximum(self.square, gamma_quantile(1.0 - level, self.cumulants(np.zeros_like(self.square))))
        high = largest_error(lambda error: self.chance_below(error, seen) >= lower, self.square.shape)
        low = largest_error(lambda error: self.chance_below(error, self.square) >= upper, self.square.shape)
        return np.minimum(low, high), high


def likely(chance: Array, points: Array) -> Array:
    """Chances as so many points show them, kept from 0 and 1 by as much as they leave open: 2/(points + 4), Agresti & Coull's.

    Examples
    --------
    >>> likely(np.array([1.0, 0.7]), np.array([96.0, 96.0]))
    array([0.98, 0.7 ])
    """
    least = 2.0 / (points + 4.0)
    return np.asarray(np.clip(chance, least, 1.0 - least))


def quadratic_form(mean: Array, own: Array, calibrated: Array, observed: Array) -> QuadraticForm:
    """The squared length of d and its noise, from two covariances.

    Parameters
    ----------
    mean : (..., m) array
        d.
    own : (...) array
        Of the points alone; see `QuadraticForm`.
    calibrated, observed : (..., m, m) array
        Covariance of d for a calibrated model, and for one with the gaps seen.

    Examples
    --------
    >>> form = quadratic_form(np.array([0.3, 0.4]), np.array(0.05), 0.01 * np.eye(2), 0.02 * np.eye(2))
    >>> float(form.square), float(form.unbiased_square(5).round(12)), [float(k.round(6)) for k in form.cumulants(np.array(0.5))]
    (0.25, 0.25, [0.29, 0.0216, 0.002528])
    """
    square = (mean**2).sum(axis=-1)
    spread = np.sqrt(np.maximum(np.diagonal(observed, axis1=-2, axis2=-1), 0.0))
    seen = np.where(square[..., None] > 0, mean, spread)  # without a gap, where noise is
    length = np.sqrt((seen**2).sum(axis=-1))
    direction = seen / np.where(length > 0, length, 1.0)[..., None]
    traces = []
    for covariance in (calibrated, observed):
        twice = covariance @ covariance
        traces.append(
            [
                np.trace(covariance, axis1=-2, axis2=-1),
                (covariance**2).sum(axis=(-2, -1)),
                (twice * covariance).sum(axis=(-2, -1)),
            ]
        )
    onto = (observed @ direction[..., None])[..., 0]
    along = np.stack([(direction * onto).sum(axis=-1), (onto**2).sum(axis=-1)])
    all_noise = np.where(traces[1][0] > 0, traces[1][0], 1.0)
    # √(tr Σ³/tr Σ), between the means of the noise weighted by itself and by its square: with the first alone .90 to
    # .95 were covered (kernel, 200 points, error .05), with the second .96 to .98
    strong = np.sqrt(np.maximum(traces[1][2], 0.0) / all_noise)
    return QuadraticForm(square, own, np.asarray(traces), np.maximum(along, np.stack([strong, strong**2])))
