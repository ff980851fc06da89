"""Limits of means over prompts of variances: students, prompts and responses each with their own degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from uqkd.checking.arrays import Array
from uqkd.estimators.intervals.prompt_means.spread import Part, StudentSpread

LARGEST_LOG = 25.0  # largest logarithm of a ratio of limits, where nothing is known
FEWEST_DEGREES = 1.0  # of freedom, however heavy the tails seem: two students have as many


def part_limits(part: Part, students: int, level: float) -> tuple[Array, Array]:
    """Lower and upper limit of a part, as multiples of its value.

    Examples
    --------
    >>> one = np.ones(1)
    >>> low, high = part_limits(Part(one, 2.0 / 10.0 * one, one, 0.0 * one, one), 5, 0.95)  # chi-square, 10 degrees of freedom
    >>> low.round(4), high.round(4)
    (array([0.4882]), array([3.0798]))
    """
    tail = (1.0 - level) / 2.0
    known = part.relative > 0
    dof = np.maximum(2.0 / np.where(known, part.relative, 1.0), FEWEST_DEGREES)
    low = np.where(known, dof / special.chdtri(dof, tail), 1.0) ** part.stretch
    high = np.where(known, dof / special.chdtri(dof, 1.0 - tail), 1.0) ** part.stretch
    few = few_draws(students, level) * np.sqrt(part.beside)
    return (
        np.maximum(1.0 - np.sqrt((1.0 - low) ** 2 + np.minimum(few, 1.0) ** 2), 0.0),
        1.0 + np.sqrt((high - 1.0) ** 2 + np.expm1(np.minimum(few, LARGEST_LOG)) ** 2),
    )


def prompt_variance(values: Array, own_noise: Array, groups: NDArray[np.intp]) -> Array:
    """Variance of a mean over prompts that prompts themselves add: their spread, less that of the noise in each.

    Parameters
    ----------
    values : (..., P)
        The estimate at each prompt.
    own_noise : (...,)
        Part of the mean's variance that is independent between prompts and stands in their spread already.
    groups : (P,) int
        Prompts of one group count as one draw.
    """
    prompts = values.shape[-1]
    deviation = values - values.mean(axis=-1, keepdims=True)
    indicator = np.eye(groups.max() + 1)[groups]
    of_groups = deviation @ indicator
    count = of_groups.shape[-1]
    spread = count / (count - 1.0) * (of_groups**2).sum(axis=-1) / prompts**2
    return np.asarray(np.maximum(spread - own_noise, 0.0))


def summed(
    value: Array, parts: Sequence[tuple[float, Part]], extra: tuple[Array, Array], *, students: int, level: float
) -> tuple[Array, Array]:
    """Limits of Σ coefficient × part + what prompts add, their distances added as squares (MOVER).

    Parameters
    ----------
    value : (...,)
        The estimate.
    parts : sequence of (coefficient, Part)
    extra : (reach, left)
        Of what prompts add; and whether the longer tail of prompts is to the left.
    students : int
    level : float

    Notes
    -----
    Graybill & Wang (1980); Ting et al. (1990) without their cross terms; Zou & Donner (2008).
    """
    downs, ups = [], []
    for coefficient, part in parts:
        low, high = part_limits(part, students, level)
        sides = ((1.0 - low) * part.value * abs(coefficient), (high - 1.0) * part.value * abs(coefficient))
        downs.append(sides[0 if coefficient > 0 else 1])
        ups.append(sides[1 if coefficient > 0 else 0])
    below, above = _together(parts, downs), _together(parts, ups)
    reach = extra[0]
    scale = _positive(value)
    longer = np.where(value > 0, scale * np.expm1(np.minimum(reach / scale, LARGEST_LOG)), reach)
    below, above = below + np.where(extra[1], longer, reach) ** 2, above + longer**2
    return value - np.sqrt(below), value + np.sqrt(above)


def few_draws(drawn: int, level: float) -> float:
    """Standard errors to the limits of a mean over few prompts or students: the t quantile, and more, as few hide their skewness.

    Examples
    --------
    >>> round(few_draws(5, 0.95), 4)  # the t quantile of 4 degrees of freedom, 2.7764, times √(6/4)
    3.4004
    """
    return float(special.stdtrit(drawn - 1.0, 0.5 + level / 2.0) * np.sqrt((drawn + 1.0) / (drawn - 1.0)))


def _together(parts: Sequence[tuple[float, Part]], reaches: Sequence[Array]) -> Array:
    """Square of the reach of a sum of parts: squares, and products of what goes together in the students."""
    square = np.asarray(sum(reach**2 for reach in reaches))
    for i, (first, one) in enumerate(parts):
        for j in range(i):
            second, other = parts[j]
            sign = np.sign(first * second)
            square = square + 2.0 * sign * correlation(one.squares, other.squares) * reaches[i] * reaches[j]
    return np.maximum(square, 0.0)


def correlation(first: Array, second: Array) -> Array:
    """Correlation of students' contributions (..., S), shrunk by what chance makes of it: zero below its expectation.

    Examples
    --------
    >>> float(correlation(np.arange(9.0), np.arange(9.0))), float(correlation(np.arange(3.0), np.arange(3.0)))
    (1.0, 0.0)
    """
    students = first.shape[-1]
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (first, second))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    seen = np.clip((a * b).sum(axis=-1) / np.where(scale > 0, scale, 1.0), -1.0, 1.0)
    by_chance = (1.0 - seen**2) / np.maximum((students - 2.0) * seen**2, np.finfo(float).tiny)
    return np.asarray(seen * np.maximum(1.0 - by_chance, 0.0)) if students > 3 else np.zeros_like(seen)


def mean_limits(
    spread: StudentSpread,
    component: str,
    *,
    level: float,
    groups: NDArray[np.intp] | None,
    whole: Array | None = None,
    normal: bool = False,
) -> tuple[Array, Array, Array]:
    """Estimate and limits of the mean over prompts of a component; no groups: fixed prompts.

    Parameters
    ----------
    spread : StudentSpread
        Of one experiment, or of many along its first axes.
    component : {"inter", "intra", "total", "share"}
    level : float
    groups : (P,) int, optional
        Topic of each prompt, numbered from 0.
    whole : (P,) float, optional
        What the component is a share of, known at each prompt.
    normal : bool
        Trust that effects are normal: no stretch. For comparison.
    """
    apart = spread.between
    if normal:
        apart = tuple(replace(part, stretch=np.ones_like(part.value)) for part in apart)
    within = spread.own
    if component == "share":
        return _share(spread, apart, within, level=level, groups=groups)
    between = 0.0 if component == "intra" else 1.0
    inside = {"intra": 1.0, "inter": -1.0 / spread.responses, "total": 1.0 - 1.0 / spread.responses}[component]
    parts = [(c, part) for c, part in (*((between, part) for part in apart), (inside, within)) if c != 0]
    value = np.asarray(sum(c * part.value for c, part in parts))
    at_prompt = between * _between(spread) + inside * spread.within.mean(axis=-2)
    unit = 1.0 if whole is None else float(whole.mean())
    at_prompt = at_prompt if whole is None else at_prompt - value[..., None] * whole / unit
    extra = np.zeros_like(value), np.zeros_like(value, dtype=bool)
    if groups is not None:
        shared = np.maximum(_own_noise(spread, between, inside) - _variance(parts), 0.0) / max(spread.prompts - 1, 1)
        extra = _of_prompts(at_prompt, shared, groups, level)
    low, high = summed(value, parts, extra, students=spread.students, level=level)
    nothing = sum(part.value for _, part in parts) == 0
    low = np.where(nothing, 0.0, low if component == "inter" else np.maximum(low, 0.0))
    high = np.where(nothing, zero_bound(spread, component, level=level, groups=groups), high)
    return value / unit, low / unit, np.maximum(np.minimum(high, spread.largest), value) / unit


def _of_prompts(at_prompt: Array, shared: Array, groups: NDArray[np.intp], level: float) -> tuple[Array, Array]:
    """Reach of what prompts add, and whether their longer tail is to the left."""
    reach = few_draws(int(groups.max()) + 1, level) * np.sqrt(prompt_variance(at_prompt, shared, groups))
    return reach, ((at_prompt - at_prompt.mean(axis=-1, keepdims=True)) ** 3).sum(axis=-1) < 0


def zero_bound(spread: StudentSpread, component: str, *, level: float, groups: NDArray[np.intp] | None) -> float:
    """Upper limit of a variance of which nothing was seen.

    Within students: had each a chance g that two answers of its differ, on average, none of S would show it with chance
    (1 − g)ˢ or less. Between them: if they all say the same, with chance up to qˢ, two differ with chance up to 1 − q². Of random
    prompts, a share g may differ that none of P shows. Numbers, which have no largest variance, have no bound.

    Examples
    --------
    >>> spread = StudentSpread(np.zeros((3, 2, 1)), np.zeros((3, 2)), 4, 1.0, 1.0)
    >>> [round(zero_bound(spread, name, level=0.95, groups=None), 4) for name in ("intra", "inter")]
    [0.6316, 0.8643]
    """
    if not np.isfinite(spread.largest):
        return np.inf
    power = 1.0 if component == "intra" else 2.0
    chance = 1.0 - (1.0 - level) ** (power / spread.students)
    if groups is not None:
        chance = max(chance, 1.0 - (1.0 - level) ** (1.0 / (int(groups.max()) + 1)))
    return float(min(spread.largest, spread.of_gini * chance))


def _between(spread: StudentSpread) -> Array:
    """(..., P) variance between students of their means."""
    return np.asarray(spread.about.sum(axis=-2) / (spread.students - 1.0))


def _variance(parts: Sequence[tuple[float, Part]]) -> Array:
    """Variance of a sum of parts over new students."""
    reaches = [abs(c) * p.value * np.sqrt(p.relative * p.stretch**2 + p.beside) for c, p in parts]
    return _together(parts, reaches)


def _own_noise(spread: StudentSpread, between: Array | float, inside: Array | float) -> Array:
    """Mean over prompts of the variance over students of the estimate at one of them: what their spread has in any case.

    The smaller of normal theory's and the one that students' contributions show, since answers may vary less than numbers.
    """
    n, one, other = spread.students, np.asarray(between), np.asarray(inside)
    normal = one**2 * 2.0 * (_between(spread) ** 2).mean(axis=-1) / (n + 1.0)
    normal = normal + other**2 * 2.0 * (spread.within**2).mean(axis=(-2, -1)) / (spread.responses + 1.0) / n
    if n < 4:
        return np.asarray(normal)
    # Var of n c²/√((n − 1)(n − 2)) over students is n times that of a normal variance, 2σ⁴/(n − 1), on average.
    about = n * spread.about / np.sqrt((n - 1.0) * (n - 2.0))
    each = one[..., None, None] * about + other[..., None, None] * spread.within
    return np.minimum(normal, each.var(axis=-2, ddof=1).mean(axis=-1) / n)


def _share(
    spread: StudentSpread,
    apart: tuple[Part, ...],
    within: Part,
    *,
    level: float,
    groups: NDArray[np.intp] | None,
) -> tuple[Array, Array, Array]:
    """Inter as a share of the total: a function of the ratio of both mean squares, whose limits are found on the log scale."""
    parts = [(1.0, part) for part in apart]
    value = np.asarray(sum(part.value for part in apart))
    none = (np.zeros_like(value), np.zeros_like(value, dtype=bool))
    low, high = summed(value, parts, none, students=spread.students, level=level)
    unit, of_within = _positive(value), _positive(within.value)
    variance = _variance(parts) / unit**2
    nothing = np.zeros_like(value)
    between = Part(np.ones_like(value), variance, np.ones_like(value), nothing, apart[0].squares + apart[-1].squares)
    both = [(1.0, between), (-1.0, replace(within, value=np.ones_like(value)))]
    w_low, w_high = part_limits(within, spread.students, level)
    below, above = (
        _together(both, [-_log(low / unit), _log(w_high)]),
        _together(both, [_log(high / unit), -_log(w_low)]),
    )
    if groups is not None:
        at_prompt = _between(spread) / unit[..., None] - spread.within.mean(axis=-2) / of_within[..., None]
        shared = np.maximum(_own_noise(spread, 1.0 / unit, -1.0 / of_within) - _variance(both), 0.0) / (
            spread.prompts - 1
        )
        extra = prompt_variance(at_prompt, shared, groups) * few_draws(int(groups.max()) + 1, level) ** 2
        below, above = below + extra, above + extra
    ratio = value / np.where(within.value > 0, within.value, np.nan)
    values = (ratio, ratio * np.exp(-np.sqrt(below)), ratio * np.exp(np.sqrt(above)))
    inverse = 1.0 / spread.responses
    found = [(r - inverse) / (r + 1.0 - inverse) for r in values]
    # Without any variance within, the share is 1, and at least what a variance within up to its bound would leave.
    low_inter = np.maximum(mean_limits(spread, "inter", level=level, groups=groups)[1], 0.0)
    least = low_inter / _positive(low_inter + zero_bound(spread, "intra", level=level, groups=groups))
    seen, any_within = value > 0, within.value > 0
    ends = (np.where(seen, 1.0, np.nan), np.where(seen, least, 0.0), np.ones_like(value))
    estimate, low, high = (np.where(any_within, x, end) for x, end in zip(found, ends, strict=True))
    return estimate, low, high


def _positive(value: Array) -> Array:
    return np.where(value > 0, value, 1.0)


def _log(ratio: Array) -> Array:
    return np.maximum(np.log(np.maximum(ratio, np.exp(-LARGEST_LOG))), -LARGEST_LOG)
