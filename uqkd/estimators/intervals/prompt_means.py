"""Intervals for means over prompts of variances: students, prompts and responses each with their own degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import Array, confidence_level
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.spread import Part, StudentSpread, between_parts

# Responses' worth of normal theory that the noise of a student's variance is shrunk to: a spread from few cells is variable.
NORMAL_WEIGHT = 10.0
LARGEST_LOG = 25.0  # largest logarithm of a ratio of limits, where nothing is known
FEWEST_DEGREES = 1.0  # of freedom, however heavy the tails seem: two students have as many
COMPONENTS = ("inter", "intra", "total", "share")
PROMPTS = ("random", "fixed")


def mean_interval(
    spread: StudentSpread,
    component: str,
    *,
    level: float,
    prompts: str = "random",
    groups: ArrayLike | None = None,
) -> Interval:
    """Interval for a mean over prompts of students' variances; arguments as of `PromptMean.interval`.

    Notes
    -----
    The mean square between students is split into that of their means over prompts, which has S − 1 degrees of freedom whatever
    P, and the rest, which has as many as there are directions in which students differ (Satterthwaite, by the unbiased tr Σ² of
    Bai & Saranadasa 1996); both widened by excess kurtosis, as Bonett (2006) does for one variance. The noise within students is
    subtracted with limits of its own, wider where students' own variances differ. Random prompts add the variance between
    prompts with P − 1 degrees of freedom. The distances of all limits are added as squares (modified large sample; MOVER).
    """
    one_of("component", component, COMPONENTS)
    one_of("prompts", prompts, PROMPTS)
    level = confidence_level(level)
    codes = _codes(spread, prompts, groups)
    estimate, low, high = mean_limits(spread, component, level=level, groups=codes)
    if low == high or np.isnan(estimate):
        return _one_sided(spread, component, level, codes)
    high = min(float(high), spread.largest)
    note = "normal effects; wider for excess kurtosis and where students' own variances differ"
    return Interval(float(estimate), float(low), high, level, f"mls, {prompts} prompts", note)


def _codes(spread: StudentSpread, prompts: str, groups: ArrayLike | None) -> NDArray[np.intp] | None:
    if prompts == "fixed":
        if groups is not None:
            raise OptionError("groups belongs to prompts='random': fixed prompts are no draws of topics.")
        return None
    codes = np.arange(spread.prompts) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if codes.shape != (spread.prompts,):
        raise ShapeError(f"groups needs one topic for each of the P={spread.prompts} prompts; got shape {codes.shape}.")
    if codes.max() < 1:
        raise ShapeError("prompts='random' needs at least two prompts or topics; got one. Ask for prompts='fixed'.")
    return np.asarray(codes, dtype=np.intp)


def _one_sided(spread: StudentSpread, component: str, level: float, groups: NDArray[np.intp] | None) -> Interval:
    """A one-sided bound: had a share q of students, or of prompts, varied, none of n would show it with chance (1 − q)ⁿ."""
    units = spread.students if groups is None else min(spread.students, int(groups.max()) + 1)
    bound = -float(np.expm1(np.log1p(-level) / units)) * (spread.largest if np.isfinite(spread.largest) else np.inf)
    estimate, low, high = 0.0, 0.0, bound
    note = f"no variation was seen: a one-sided bound, from {units} independent units"
    if component == "share" and np.any(spread.centred):
        inter = float(mean_limits(spread, "inter", level=level, groups=groups)[1])
        estimate, low, high = 1.0, max(inter, 0.0) / (max(inter, 0.0) + bound), 1.0
        note = note.replace("variation", "variation within students")
    elif component == "share":
        estimate, high = np.nan, 1.0
        note = "no variation was seen, of which nothing can be a share"
    elif not np.isfinite(bound):
        note = (
            "no variation was seen, and numbers have no largest variance: of answers, decompose_agreement has a bound"
        )
    return Interval(estimate, low, high, level, "one-sided bound", note)


def within_part(spread: StudentSpread, *, random_prompts: bool) -> Part:
    """Mean of the students' own variances; what students differ in beyond the noise stands in `beside`.

    Examples
    --------
    >>> part = within_part(StudentSpread(np.zeros((3, 2, 1)), np.ones((3, 2)), 9), random_prompts=False)
    >>> float(part.value), float(part.beside)
    (1.0, 0.0)
    """
    table = spread.within
    students, prompts = spread.students, spread.prompts
    grand = table.mean(axis=(-2, -1))
    rows, columns = table.mean(axis=-1), table.mean(axis=-2)
    of_rows = rows.var(axis=-1, ddof=1)
    both = table - rows[..., :, None] - columns[..., None, :] + grand[..., None, None]
    cells = students * prompts
    theory = 2.0 * (table**2).mean(axis=(-2, -1)) / (spread.responses + 1.0)
    free = (students - 1.0) * (prompts - 1.0)
    seen = (both**2).sum(axis=(-2, -1))
    prior = NORMAL_WEIGHT if np.isfinite(spread.responses) else 0.0
    noise = (prior * theory + seen) / max(prior + free, 1.0) / cells
    safe = np.where(grand > 0, grand, 1.0) ** 2
    beside = np.maximum(of_rows / students - noise, 0.0)
    return Part(grand, noise / safe, beside / safe)


def part_limits(part: Part, students: int, level: float) -> tuple[Array, Array]:
    """Lower and upper limit of a part, as multiples of its value.

    Examples
    --------
    >>> one = np.ones(1)
    >>> low, high = part_limits(Part(one, 2.0 / 10.0 * one, 0.0 * one), 5, 0.95)  # chi-square, 10 degrees of freedom
    >>> low.round(4), high.round(4)
    (array([0.4882]), array([3.0798]))
    """
    tail = (1.0 - level) / 2.0
    known = part.relative > 0
    dof = np.maximum(2.0 / np.where(known, part.relative, 1.0), FEWEST_DEGREES)
    low = np.where(known, dof / special.chdtri(dof, tail), 1.0)
    high = np.where(known, dof / special.chdtri(dof, 1.0 - tail), 1.0)
    few = special.stdtrit(students - 1.0, 1.0 - tail) * np.sqrt(part.beside)
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
    value: Array, parts: Sequence[tuple[float, Part]], extra: tuple[Array, int], *, students: int, level: float
) -> tuple[Array, Array]:
    """Limits of Σ coefficient × part + what prompts add, their distances added as squares (MOVER).

    Parameters
    ----------
    value : (...,)
        The estimate.
    parts : sequence of (coefficient, Part)
    extra : (variance, groups)
        Of prompts, and how many were drawn.
    students : int
    level : float

    Notes
    -----
    Graybill & Wang (1980); Ting et al. (1990) without their cross terms; Zou & Donner (2008).
    """
    below, above = np.zeros_like(value), np.zeros_like(value)
    for coefficient, part in parts:
        low, high = part_limits(part, students, level)
        down, up = ((1.0 - low) * part.value * coefficient, (high - 1.0) * part.value * coefficient)
        below = below + (down if coefficient > 0 else up) ** 2
        above = above + (up if coefficient > 0 else down) ** 2
    variance, drawn = extra
    if drawn > 1:
        reach = special.stdtrit(drawn - 1.0, 0.5 + level / 2.0) * np.sqrt(variance)
        scale = np.where(value > 0, value, 1.0)
        below = below + reach**2
        longer = scale * np.expm1(np.minimum(reach / scale, LARGEST_LOG))
        above = above + np.where(value > 0, longer, reach) ** 2
    return value - np.sqrt(below), value + np.sqrt(above)


def mean_limits(
    spread: StudentSpread, component: str, *, level: float, groups: NDArray[np.intp] | None
) -> tuple[Array, Array, Array]:
    """Estimate and limits of the mean over prompts of "inter", "intra", "total" or "share"; without groups of fixed prompts."""
    random = groups is not None
    common, rest = between_parts(spread)
    within = within_part(spread, random_prompts=random)
    if component == "share":
        return _share(spread, (common, rest, within), level=level, groups=groups)
    between = 0.0 if component == "intra" else 1.0
    inside = {"intra": 1.0, "inter": -1.0 / spread.responses, "total": 1.0 - 1.0 / spread.responses}[component]
    parts = [(c, part) for c, part in ((between, common), (between, rest), (inside, within)) if c != 0]
    value = np.asarray(sum(c * part.value for c, part in parts))
    extra = (np.zeros_like(value), 0)
    if groups is not None:
        own, variances = _own_noise(spread, between, inside), _variances(parts)
        at_prompt = between * _between(spread) + inside * spread.within.mean(axis=-2)
        shared = (own - variances) / (spread.prompts - 1.0) if spread.prompts > 1 else 0.0
        extra = (prompt_variance(at_prompt, shared, groups), int(groups.max()) + 1)
    low, high = summed(value, parts, extra, students=spread.students, level=level)
    return value, low if component == "inter" else np.maximum(low, 0.0), high


def _between(spread: StudentSpread) -> Array:
    """(..., P) variance between students of their means."""
    return np.asarray((spread.centred**2).sum(axis=(-3, -1)) / (spread.students - 1.0))


def _variances(parts: Sequence[tuple[float, Part]]) -> Array:
    return np.asarray(sum(c**2 * p.value**2 * (p.relative + p.beside) for c, p in parts))


def _own_noise(spread: StudentSpread, between: float, inside: float) -> Array:
    """Mean over prompts of the variance of the estimate at one of them, normal theory: what their spread has in any case."""
    students = spread.students
    own = 2.0 * (_between(spread) ** 2).mean(axis=-1) / (students + 1.0)
    noise = 2.0 * (spread.within**2).mean(axis=(-2, -1)) / (spread.responses + 1.0) / students
    return np.asarray(between**2 * own + inside**2 * noise)


def _share(
    spread: StudentSpread, parts: tuple[Part, Part, Part], *, level: float, groups: NDArray[np.intp] | None
) -> tuple[Array, Array, Array]:
    """Inter as a share of the total: a function of the ratio of both mean squares, whose limits are found on the log scale."""
    common, rest, within = parts
    between = common.value + rest.value
    none = (np.zeros_like(between), 0)
    low, high = summed(between, [(1.0, common), (1.0, rest)], none, students=spread.students, level=level)
    w_low, w_high = part_limits(within, spread.students, level)
    safe = np.where(between > 0, between, 1.0)
    below = _log(low / safe) ** 2 + _log(w_high) ** 2
    above = _log(high / safe) ** 2 + _log(w_low) ** 2
    if groups is not None and spread.prompts > 1:
        unit = np.where(within.value > 0, within.value, 1.0)
        at_prompt = _between(spread) / safe[..., None] - spread.within.mean(axis=-2) / unit[..., None]
        reach = special.stdtrit(int(groups.max()) * 1.0, 0.5 + level / 2.0)
        extra = reach**2 * prompt_variance(at_prompt, np.zeros_like(between), groups)
        below, above = below + extra, above + extra
    ratio = between / np.where(within.value > 0, within.value, np.nan)
    values = (ratio, ratio * np.exp(-np.sqrt(below)), ratio * np.exp(np.sqrt(above)))
    inverse = 1.0 / spread.responses
    found = [(r - inverse) / (r + 1.0 - inverse) for r in values]
    return found[0], found[1], found[2]


def _log(ratio: Array) -> Array:
    return np.maximum(np.log(np.maximum(ratio, np.exp(-LARGEST_LOG))), -LARGEST_LOG)
