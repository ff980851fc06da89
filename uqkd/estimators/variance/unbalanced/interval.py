"""Intervals for means over prompts of variances where responses are missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from uqkd.checking.arrays import confidence_level
from uqkd.errors import OptionError, one_of
from uqkd.estimators.intervals.level import tails
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.variance.unbalanced.incomplete import incomplete_error

Array = NDArray[np.float64]
Part = tuple[float, float]  # value, degrees of freedom

COMPONENTS = ("inter", "intra", "total")
PROMPTS = ("random", "fixed")
FEWEST_DEGREES = 1.0  # of freedom, of a sum of squares
# At the usual level, of 36 cells of 300 experiments: S = 3, 5, 10, P = 5, 20, R = 4, 40 % of the responses missing, effects common
# to all prompts, of their own, and mixed: .95 to .99 with normal effects, .89 to .98 with Student's t of 5 degrees of freedom.
_SEEN = "simulations covered what is promised, and up to 6 points less where effects have heavy tails (t, 5 degrees of freedom)"
KNOWN = 1e9  # degrees of freedom of what does not vary


@dataclass(frozen=True)
class IncompleteSpread:
    """What an interval needs of students' responses; NaN where a student gave none.

    Attributes
    ----------
    centred : (S, P, D) float
        Mean response of each student, less the mean over the students that are there.
    own : (S, P) float
        Variance of a student's own responses; that of the others where it gave one.
    noise : (S, P) float
        `own` by the number of responses.
    count : (S, P) float
        Responses.
    inter : (P,) float
    """

    centred: Array
    own: Array
    noise: Array
    count: Array
    inter: Array


def mean_interval(spread: IncompleteSpread, component: str, *, level: float, prompts: str) -> Interval:
    """Interval of the mean over prompts of a component; arguments as of `UnbalancedMean.interval`.

    Notes
    -----
    inter = C + U − N: the variance between students' means that is common to all prompts, S − 1 degrees of freedom whatever P; the
    rest, with as many as there are directions in which students differ besides (Satterthwaite; products of two students over
    the prompts that both answered), fewer where prompts are random and differ beyond that; less that of the noise in means. N,
    and the mean of students' own variances, have the degrees of freedom of their standard error over students and prompts.
    Distances of the chi-square limits add as squares (Graybill & Wang 1980; Zou & Donner 2008).
    """
    one_of("component", component, COMPONENTS)
    one_of("prompts", prompts, PROMPTS)
    level = confidence_level(level)
    count = spread.own.shape[1]
    if prompts == "random" and count < 2:
        raise OptionError("prompts='random' needs at least two prompts; got one. Ask for prompts='fixed'.")
    random = prompts == "random"
    parts = _parts(spread, component, random)
    estimate = float(sum(sign * value for sign, (value, _) in parts))
    if all(value == 0.0 for _, (value, _) in parts):
        note = "no variation was seen, and numbers have no largest variance: nothing bounds it from above"
        return Interval(0.0, 0.0, np.inf, level, "one-sided bound", note)
    low, high = _combined(parts, level)
    note = f"normal effects, responses missing whatever they were; {_SEEN}"
    return Interval(estimate, estimate - low, estimate + high, level, f"satterthwaite, {prompts} prompts", note)


def _parts(spread: IncompleteSpread, component: str, random: bool) -> list[tuple[float, Part]]:
    """The component as a signed sum of positive parts."""
    if component == "intra":
        return [(1.0, _within(spread, spread.own, random))]
    between = [(1.0, part) for part in _between(spread, random)]
    if component == "inter":
        return [*between, (-1.0, _within(spread, spread.noise, random))]
    return [
        *between,
        (1.0, _within(spread, spread.own - spread.noise, random)),
    ]  # (1 − 1/R) of a student's own variance


def _combined(parts: list[tuple[float, Part]], level: float) -> tuple[float, float]:
    """Distances to the limits of a signed sum of parts, each a value and its degrees of freedom."""
    below = above = 0.0
    for sign, (value, dof) in parts:
        tail, rest = tails(level)
        down = value * (1.0 - dof / special.chdtri(dof, tail))
        up = value * (dof / special.chdtri(dof, rest) - 1.0)
        down, up = (down, up) if sign > 0 else (up, down)
        below, above = below + down**2, above + up**2
    return float(np.sqrt(below)), float(np.sqrt(above))


def _within(spread: IncompleteSpread, table: Array, random: bool) -> Part:
    """Mean over prompts of multiples of students' own variances, and its degrees of freedom.

    Its error is that over students and prompts, and not below what normal responses of one variance make it: a spread of few
    cells is small by chance.
    """
    value = float(np.nanmean(np.nanmean(table, axis=0)))
    if value <= 0.0:
        return value, KNOWN
    twice = spread.count > 1
    weight = twice / np.maximum(twice.sum(axis=0), 1) / table.shape[1]
    multiple = np.divide(table, spread.own, out=np.zeros_like(table), where=twice & (spread.own > 0))
    typical = float(np.nanmean(np.nanmean(spread.own, axis=0)))
    least = float((2.0 * (weight * multiple * typical) ** 2 / np.maximum(spread.count - 1.0, 1.0)).sum())
    error = incomplete_error(table, random=random)
    square = max(0.0 if np.isnan(error) else error**2, least)
    return value, max(2.0 * value**2 / square, FEWEST_DEGREES)


def _between(spread: IncompleteSpread, random: bool) -> list[Part]:
    """Mean over prompts of the variance of students' means: what is common to all prompts, and the rest."""
    there = ~np.isnan(spread.noise)
    students, prompts = there.shape
    count = there.sum(axis=0)
    rows = np.where(there[..., None], spread.centred, 0.0)
    value = float(((rows**2).sum(axis=(0, 2)) / (count - 1)).mean())
    # On the scale of complete prompts: a deviation from fewer students is smaller, as its own share in their mean is larger.
    rows = rows * np.sqrt((students - 1) / (count - 1) * count / students)[None, :, None]
    common = rows.sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None]
    of_common = min(float((common**2).sum()) / (students - 1), value)
    rest, dof = value - of_common, students - 1.0
    if prompts == 1:
        return [(value, dof)]
    deviation = np.where(there[..., None], rows - common[:, None, :], 0.0)
    relative = 2.0 / (max(float((count - 1.0).mean()), 1.0) * _directions(deviation, there))
    if random and rest > 0:
        relative += max(float(spread.inter.var(ddof=1)) / prompts / rest**2 - relative, 0.0)
    return [(of_common, dof), (rest, max(2.0 / relative, FEWEST_DEGREES))]


def _directions(deviation: Array, there: NDArray[np.bool_]) -> float:
    """In how many directions students differ alike: (tr Σ)²/tr Σ², without bias for normal effects (Bai & Saranadasa 1996)."""
    students, prompts, dimensions = deviation.shape
    most, dof = max(float((prompts - 1) * dimensions), 1.0), students - 1.0
    flat = deviation.reshape(students, -1)
    shared = there.astype(np.float64) @ there.T.astype(np.float64)
    gram = flat @ flat.T * prompts / np.maximum(shared, 1.0)  # products over the prompts that two students share
    trace, of_square = float(np.trace(gram)) / dof, float((gram**2).sum()) / dof**2
    if dof == 1 or trace == 0.0:
        return 1.0
    unbiased = np.linalg.solve([[1.0, 2.0 / dof], [1.0 / dof, 1.0 + 1.0 / dof]], [trace**2, of_square])
    return float(np.clip(unbiased[0] / unbiased[1], 1.0, most)) if unbiased[1] > 0 else most
