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

COMPONENTS = ("inter", "intra", "total")
PROMPTS = ("random", "fixed")
FEWEST_DEGREES = 1.0  # of freedom, of a sum of squares
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
    inter : (P,) float
    """

    centred: Array
    own: Array
    noise: Array
    inter: Array


def mean_interval(spread: IncompleteSpread, component: str, *, level: float, prompts: str) -> Interval:
    """Interval of the mean over prompts of a component; arguments as of `UnbalancedMean.interval`.

    Notes
    -----
    inter = U − N, the mean over prompts of the variance of students' means less that of the noise in them. U has chi-square limits:
    with the degrees of freedom of a mean of dependent mean squares, (S − 1)(tr Σ)²/tr Σ² (Satterthwaite; tr Σ² over pairs of
    students by the prompts that both answered), fewer where prompts are random and differ beyond that. N, and the mean of
    students' own variances, have those of their standard error over students and prompts. Distances of the limits add as
    squares (Graybill & Wang 1980; Zou & Donner 2008).
    """
    one_of("component", component, COMPONENTS)
    one_of("prompts", prompts, PROMPTS)
    level = confidence_level(level)
    count = spread.own.shape[1]
    if prompts == "random" and count < 2:
        raise OptionError("prompts='random' needs at least two prompts; got one. Ask for prompts='fixed'.")
    random = prompts == "random"
    between, within = _between(spread, random), _within(spread.own, random)
    weight = {"inter": 1.0, "intra": 0.0, "total": 1.0}[component]
    noise = _within(spread.noise, random)
    parts = [(weight, between)]
    if component == "inter":
        parts.append((-1.0, noise))
    elif component == "intra":
        parts = [(1.0, within)]
    else:  # own − noise is one positive part: (1 − 1/R) of a student's own variance
        parts.append((1.0, _within(spread.own - spread.noise, random)))
    estimate = sum(sign * value for sign, (value, _) in parts)
    if all(value == 0.0 for _, (value, _) in parts):
        note = "no variation was seen, and numbers have no largest variance: nothing bounds it from above"
        return Interval(0.0, 0.0, np.inf, level, "one-sided bound", note)
    low, high = _combined(parts, level)
    note = "normal effects, responses missing whatever they were"
    return Interval(float(estimate), estimate - low, estimate + high, level, f"satterthwaite, {prompts} prompts", note)


def _combined(parts: list[tuple[float, tuple[float, float]]], level: float) -> tuple[float, float]:
    """Distances to the limits of a signed sum of parts, each a value and its degrees of freedom."""
    below = above = 0.0
    for sign, (value, dof) in parts:
        tail, rest = tails(level)
        down = value * (1.0 - dof / special.chdtri(dof, tail))
        up = value * (dof / special.chdtri(dof, rest) - 1.0)
        down, up = (down, up) if sign > 0 else (up, down)
        below, above = below + down**2, above + up**2
    return float(np.sqrt(below)), float(np.sqrt(above))


def _within(table: Array, random: bool) -> tuple[float, float]:
    """Mean over prompts of what students have on average, and its degrees of freedom."""
    value = float(np.nanmean(np.nanmean(table, axis=0)))
    error = incomplete_error(table, random=random)
    if np.isnan(error):
        return value, FEWEST_DEGREES
    if error == 0.0 or value <= 0.0:
        return value, KNOWN
    return value, max(2.0 * value**2 / error**2, FEWEST_DEGREES)


def _between(spread: IncompleteSpread, random: bool) -> tuple[float, float]:
    there = ~np.isnan(spread.noise)
    students, prompts = there.shape
    count = there.sum(axis=0)
    rows = np.where(there[..., None], spread.centred, 0.0)
    of_means = (rows**2).sum(axis=(0, 2)) / (count - 1)
    value = float(of_means.mean())
    if value == 0.0:
        return 0.0, KNOWN
    # Deviations on the scale of complete prompts, and products over the prompts that two students share.
    scaled = (rows * np.sqrt((students - 1) / (count - 1) * count / students)[None, :, None]).reshape(students, -1)
    both = there.astype(np.float64) @ there.T.astype(np.float64)
    gram = scaled @ scaled.T * prompts / np.maximum(both, 1.0)
    dof = students - 1.0
    trace, of_square = float(np.trace(gram)) / dof, float((gram**2).sum()) / dof**2
    ratio = 1.0
    if dof > 1 and prompts * rows.shape[2] > 1:
        unbiased = np.linalg.solve([[1.0, 2.0 / dof], [1.0 / dof, 1.0 + 1.0 / dof]], [trace**2, of_square])
        most = float(prompts * rows.shape[2])
        clean = unbiased[0] / unbiased[1] if unbiased[1] > 0 else most
        ratio = float(np.sqrt(np.clip(clean, 1.0, most) * np.clip(trace**2 / of_square, 1.0, most)))
    of_count = float((there.sum(axis=0) - 1.0).mean())  # fewer students are there than in all
    relative = 2.0 / (max(of_count, 1.0) * ratio)
    if random:
        relative += max(float(spread.inter.var(ddof=1)) / prompts / value**2 - relative, 0.0)
    return value, max(2.0 / relative, FEWEST_DEGREES)
