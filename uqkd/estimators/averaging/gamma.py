"""Two components of variance behind independent mean squares: likelihood, its intervals at few degrees of freedom, lack of fit.

Mean square j is χ² over its degrees of freedom n, times floor·g + slope·h. Whatever the design of the students, the averaging
law comes down to this, see `uqkd.estimators.averaging.students`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from uqkd.checking.arrays import Array
from uqkd.estimators.averaging.boundary import allowed
from uqkd.estimators.intervals.mean_squares import Interval

METHOD = "likelihood ratio, corrected for few degrees of freedom"
_ROUNDS = 200
# Relative steps at which a fit stands still: of the estimate; and of a profile, whose deviance is off by their square.
_NEAR, _NEAR_PROFILE = 1e-12, 1e-7
_PRECISE = 1e-8  # relative, of a limit
_REACH = 1e9  # times the estimate's own size: where no limit is found below, the data set none


@dataclass(frozen=True)
class MeanSquares:
    """Independent mean squares and what they expect.

    Attributes
    ----------
    value, dof : (m,) float
    design : (m, 2) float
        Columns g and h: the expectation is floor·g + slope·h.
    alike : (2,) float, optional
        One over the prompts that floor and slope are worth in an average over prompts: 1 where all prompts share one effect.
        Then a mean square's degrees of freedom depend on how much of it is floor, see `at`.
    students : float
        Degrees of freedom of one prompt, S − 1; needed with `alike`.
    """

    value: Array
    dof: Array
    design: Array
    alike: tuple[float, float] | None = None
    students: float = 0.0

    def at(self, coef: Array) -> MeanSquares:
        """The same with the degrees of freedom that mean squares of these expectations have (Satterthwaite).

        An average over prompts of floor·F + slope·D, F and D correlations between prompts, has tr C² = floor²·a + slope²·b +
        2·floor·slope·min(a, b), in units of (tr C)²; the last is exact where one of the two is the same at all prompts, or both
        are alike or both of each prompt's own.
        """
        if self.alike is None:
            return self
        parts = self.design * np.maximum(coef, 0.0)
        floor, slope = self.alike
        squared = (
            parts[:, 0] ** 2 * floor + parts[:, 1] ** 2 * slope + 2.0 * parts[:, 0] * parts[:, 1] * min(floor, slope)
        )
        whole = parts.sum(axis=1) ** 2
        dof = np.where(whole > 0.0, self.students * whole / np.where(squared > 0.0, squared, 1.0), self.dof)
        return replace(self, dof=dof)

    def deviance(self, coef: Array) -> float:
        """Σ n (r − 1 − log r), r the mean square over its expectation; infinite where one is not positive."""
        expected = self.design @ coef
        if expected.min() <= 0.0:
            return float("inf")
        ratio = self.value / expected
        return float((self.dof * (ratio - 1.0 - np.log(ratio))).sum())


def fitted(squares: MeanSquares, *, held: int | None = None, at: float = 0.0) -> Array:
    """Coefficients of the largest likelihood: both free, or one `held` at a value.

    Fisher scoring with halved steps; the deviance is infinite where an expectation is not positive, so it stays inside.
    """
    free = [0, 1] if held is None else [1 - held]
    near = _NEAR if held is None else _NEAR_PROFILE
    coef = np.full(2, at)
    reach = squares.design[:, free].sum(axis=1)
    rows = reach > 0.0
    coef[free] = np.average(squares.value[rows] / reach[rows], weights=squares.dof[rows])
    here = squares.deviance(coef)
    if np.isinf(here):  # the held value leaves some mean square without expectation, whatever the other is
        return coef
    for _ in range(_ROUNDS):
        expected = squares.design @ coef
        weighted = squares.design[:, free] * (squares.dof / expected**2)[:, None]
        step = np.zeros(2)
        step[free] = np.linalg.solve(weighted.T @ squares.design[:, free], weighted.T @ (squares.value - expected))
        share = 1.0
        still = np.abs(step[free]).max() <= near * np.abs(coef).max()
        while not still and (there := squares.deviance(coef + share * step)) > here * (1.0 + _NEAR) and share > _NEAR:
            share /= 2.0
        coef = coef + share * step
        if still:
            break
        here = there
    return coef


def covariance(squares: MeanSquares, coef: Array) -> Array:
    """Inverse Fisher information of (floor, slope)."""
    weighted = squares.design * (squares.dof / 2.0 / (squares.design @ coef) ** 2)[:, None]
    return np.asarray(np.linalg.solve(weighted.T @ squares.design, np.eye(2)))


def mean_deviance(dof: Array | float) -> Array:
    """E[n (R − 1 − log R)] of R = χ²(n)/n: 1 + 1/(3n) and smaller terms.

    Examples
    --------
    >>> mean_deviance(np.array([4.0, 1000.0])).round(4)
    array([1.0815, 1.0003])
    """
    half = np.asarray(dof, dtype=np.float64) / 2.0
    return np.asarray(2.0 * half * (np.log(half) - special.digamma(half)))


@dataclass(frozen=True)
class Profile:
    """The likelihood ratio of one component, the other free; made by `profile`.

    Attributes
    ----------
    squares : MeanSquares
    coef : (2,) float
        Of the largest likelihood.
    which : int
        0 for the floor, 1 for the slope.
    standard_error, mean : float
        Of the estimate; and the mean of the statistic where it is true: `mean_deviance` at the degrees of freedom
        (Satterthwaite) of the estimate's variance, which for one variance of n degrees of freedom is that of n (Bartlett).
    least : float
        Deviance of the best value that is not negative.
    """

    squares: MeanSquares
    coef: Array
    which: int
    standard_error: float
    mean: float
    least: float

    def beyond(self, value: float, level: float) -> float:
        """How far the statistic of a value lies above what the level allows; the value is in the interval where not above 0."""
        squares, least = self.squares, self.least
        coef = fitted(squares, held=self.which, at=value)
        if squares.alike is not None and np.isfinite(squares.deviance(coef)):
            squares = squares.at(coef)
            coef, least = fitted(squares, held=self.which, at=value), _least(squares, self.coef, self.which)
        deviance = squares.deviance(coef)
        if np.isinf(deviance):
            return deviance
        return deviance - least - allowed(self._from_zero(value, coef), level) * self.mean

    def _from_zero(self, value: float, coef: Array) -> float:
        """Distance of a value from zero: the root of the deviance at zero of data that are what the value expects."""
        if value == 0.0:
            return 0.0
        expected = MeanSquares(self.squares.design @ coef, self.squares.dof, self.squares.design)
        return float(np.sqrt(max(expected.deviance(fitted(expected, held=self.which)), 0.0)))

    def interval(self, level: float) -> Interval:
        """Values at least zero that the likelihood ratio does not reject."""
        best = max(float(self.coef[self.which]), 0.0)
        low, step = 0.0, max(best, self.standard_error)
        if best > 0.0 and self.beyond(0.0, level) > 0.0:
            under = best / 2.0
            while self.beyond(under, level) <= 0.0:
                under /= 2.0
            low = float(optimize.brentq(self.beyond, under, best, args=(level,), rtol=_PRECISE))
        while (outside := self.beyond(best + step, level)) <= 0.0 and step < _REACH * self.standard_error:
            step *= 2.0
        high = float("inf")
        if outside > 0.0:
            high = float(optimize.brentq(self.beyond, best, best + step, args=(level,), rtol=_PRECISE))
        return Interval(
            np.float64(max(float(self.coef[self.which]), 0.0)), np.float64(low), np.float64(high), level, METHOD
        )


def profile(squares: MeanSquares, coef: Array, which: int) -> Profile:
    """The likelihood ratio of the floor (`which` = 0) or the slope (1)."""
    expected = squares.design @ coef
    information = squares.dof / 2.0 / expected**2
    found = covariance(squares, coef)
    weights = found[which] @ squares.design.T * information  # of the mean squares in the estimate
    share = weights**2 / information
    dof = float(share.sum() ** 2 / (share**2 / squares.dof).sum())
    least = _least(squares, coef, which)
    return Profile(squares, coef, which, float(np.sqrt(found[which, which])), float(mean_deviance(dof)), least)


def _least(squares: MeanSquares, coef: Array, which: int) -> float:
    """Deviance of the best value that is not negative."""
    return squares.deviance(coef if coef[which] >= 0.0 else fitted(squares, held=which))


def lack_of_fit(squares: MeanSquares, coef: Array) -> tuple[float, int, float | None]:
    """Deviance against free mean squares, over its mean: statistic, degrees of freedom, and chance of a larger one."""
    deviance, m = squares.deviance(coef), squares.value.size
    if m <= 2:
        return deviance, 0, None
    # What two fitted coefficients take off is what two variances of half the degrees of freedom each have
    mean = float(mean_deviance(squares.dof).sum() - 2.0 * mean_deviance(squares.dof.sum() / 2.0))
    corrected = deviance * (m - 2) / mean
    return corrected, m - 2, float(special.chdtrc(m - 2, corrected))
