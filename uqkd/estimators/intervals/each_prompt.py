"""Confidence intervals for the variances of each prompt: between students, within a student, and their sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, confidence_level, shaped
from uqkd.checking.variation import raisable
from uqkd.errors import one_of
from uqkd.estimators.intervals.level import LEVEL, percent
from uqkd.estimators.intervals.mean_squares import Interval, chi_square_interval, mean_square_interval
from uqkd.estimators.intervals.prompt_means.diagnostics import Diagnosis, diagnose
from uqkd.estimators.intervals.prompt_means.limits import mean_limits, zero_bound
from uqkd.estimators.intervals.prompt_means.shown import MEASURED_AT
from uqkd.estimators.intervals.prompt_means.spread import StudentSpread, two_values

COMPONENTS = ("inter", "intra", "total")
METHODS = ("mls", "generalized", "stretched")

# Percent covered at level 95 % by the number of students from which it holds; derived as said in `_coverage_note`.
_COVERAGE = {
    ("inter", "mls"): {2: (93.2, 95.3), 3: (94.4, 95.4), 4: (94.7, 95.4), 8: (94.9, 95.3)},
    ("inter", "generalized"): {2: (95.0, 96.4), 3: (95.0, 96.1), 5: (95.0, 95.8), 10: (95.0, 95.5)},
    ("total", "mls"): {2: (94.9, 96.9), 3: (94.9, 96.7), 4: (94.9, 96.5), 5: (94.9, 96.3), 8: (94.9, 95.9),
                       10: (94.9, 95.8), 20: (94.9, 95.4)},
    ("total", "generalized"): {2: (94.8, 96.4), 3: (94.8, 96.1), 5: (94.8, 95.9), 10: (94.9, 95.8), 30: (94.9, 95.5)},
}  # fmt: skip

# Percent covered at least with 2 and 8 responses, at a level of 95 % by number of students: docs/coverage/variance_each.csv, to
# which a test holds it. "unequal" are students whose variances are gamma with one degree of freedom, "beta" 0/1 answers.
LEAST_COVERED: dict[tuple[str, str], dict[int, dict[str, int]]] = {
    ("inter", "mls"): {
        3: {"t5": 93, "exponential": 90, "lognormal": 87},
        5: {"t5": 91, "exponential": 85, "lognormal": 76},
        10: {"t5": 89, "exponential": 80, "lognormal": 60},
        30: {"t5": 84, "exponential": 75, "lognormal": 46},
    },
    ("inter", "stretched"): {
        3: {"normal": 96, "t5": 95, "exponential": 93, "lognormal": 90},
        5: {"normal": 96, "t5": 94, "exponential": 92, "lognormal": 86},
        10: {"normal": 96, "t5": 95, "exponential": 91, "lognormal": 76},
        30: {"normal": 95, "t5": 92, "exponential": 91, "lognormal": 79},
    },
    ("intra", "mls"): {
        3: {"unequal": 47, "beta": 64},
        5: {"unequal": 47, "beta": 75},
        10: {"unequal": 48, "beta": 44},
        30: {"unequal": 46, "beta": 38},
    },
    ("intra", "stretched"): {
        3: {"normal": 95, "unequal": 84, "beta": 98},
        5: {"normal": 95, "unequal": 82, "beta": 94},
        10: {"normal": 95, "unequal": 85, "beta": 95},
        30: {"normal": 95, "unequal": 88, "beta": 96},
    },
    ("total", "mls"): {
        3: {"t5": 93, "exponential": 92, "lognormal": 90},
        5: {"t5": 91, "exponential": 88, "lognormal": 81},
        10: {"t5": 89, "exponential": 82, "lognormal": 64},
        30: {"t5": 85, "exponential": 77, "lognormal": 49},
    },
    ("total", "stretched"): {
        3: {"normal": 96, "t5": 95, "exponential": 95, "lognormal": 93},
        5: {"normal": 97, "t5": 95, "exponential": 94, "lognormal": 89},
        10: {"normal": 97, "t5": 95, "exponential": 92, "lognormal": 80},
        30: {"normal": 95, "t5": 93, "exponential": 92, "lognormal": 80},
    },
}  # fmt: skip
KINDS = {"normal": "normal", "t5": "t", "exponential": "exponential", "lognormal": "lognormal effects",
         "unequal": "unequal", "beta": "0/1 students"}  # fmt: skip


def variance_interval(
    draws: Any, *, component: str = "inter", method: str | None = None, level: float = LEVEL
) -> Interval:
    """Interval for the inter-student, intra-student or total variance of each prompt.

    Parameters
    ----------
    draws : (S, P, R) array_like
        Response r of student s to prompt p; S >= 2, R >= 2.
    component : {"inter", "intra", "total"}
        Variance between students of their mean response; within a student; their sum.
    method : {"mls", "generalized", "stretched"}, optional
        The first two as in `mean_square_interval`, for normal effects of students that are equally variable; the intra-student
        interval is then chi-square. "stretched": for heavy tails and unequal students too, and wider. Default "mls", or
        "stretched" where all prompts together show that the data are not normal or the students not alike.
    level : float
        Nominal coverage.

    Returns
    -------
    Interval
        (P,) arrays in squared units of `draws`. Negative estimates and limits are returned as they are. `.note` says what the
        method covers, and what of the data is unlike those that it is for.

    Raises
    ------
    ShapeError
        Not three axes, fewer than two students or responses.
    NotFiniteError
        Any NaN or infinity.
    OptionError
        Unknown component, method or level.

    Notes
    -----
    T10: inter = (MS_between − MS_within) / R, total = MS_between / R + (1 − 1/R) MS_within, one-way random effects. For normal
    draws of one within-student variance, at level .95, "mls" covers 94.4-95.4 % of inter-student variances from three students
    on and 94.9-95.8 % of totals from ten students on, whatever R and the ratio inter/intra; with fewer it covers more for totals
    (up to 96.9 %) and 93.2 % at worst for inter (S = 2, R = 2). Other effects are not forgiven: of exponential ones it covers 91 %
    at S = 3 and 80 % at S = 30, of a variance that differs between students 47 % of the mean. "stretched" is for these: its
    coverage by kind of data is in docs/coverage.md.

    Examples
    --------
    >>> interval = variance_interval([[[1.0, 3.0]], [[5.0, 7.0]], [[2.0, 2.0]]], component="inter")
    >>> interval.estimate.round(3), interval.low.round(3), interval.high.round(3)
    (array([4.667]), array([-3.822]), array([209.827]))
    """
    array = raisable("draws", shaped("draws", draws, "S P R", need={"S": 2, "R": 2}))
    one_of("component", component, COMPONENTS)
    level = confidence_level(level)
    means = array.mean(axis=2)
    spread = StudentSpread(
        (means - means.mean(axis=0))[..., None], array.var(axis=2, ddof=1), array.shape[2], *two_values(array)
    )
    found = diagnose(spread)
    stray = found.answers or found.differ or (found.heavy and component != "intra")
    chosen = one_of("method", method or ("stretched" if stray else "mls"), METHODS)
    if chosen == "stretched":
        return _stretched(spread, component, level, found)
    interval = _normal(array, spread.within.mean(axis=0), component, (level, chosen))
    note = interval.note if component == "intra" else interval.note + _coverage_note(component, chosen, len(array))
    note += _least(component, "mls", len(array))
    note += f"; not so here: {found.warning or 'the values are two alone'}. Use method='stretched'" if stray else ""
    bound, none = (
        zero_bound(spread, component, level=level, groups=None),
        np.asarray(interval.low) == np.asarray(interval.high),
    )
    note += f"; where nothing varies a bound from {len(array)} students" if none.any() else ""
    high = np.where(none, bound, np.maximum(np.minimum(interval.high, spread.largest), interval.estimate))
    return Interval(interval.estimate, interval.low, high, level, interval.method, note)


def _normal(array: Array, within: Array, component: str, how: tuple[float, str]) -> Interval:
    students, _, responses = array.shape
    level, method = how
    if component == "intra":
        return chi_square_interval(within, students * (responses - 1), level=level)
    between = responses * array.mean(axis=2).var(axis=0, ddof=1)
    second = -1.0 / responses if component == "inter" else 1.0 - 1.0 / responses
    squares, dof = np.stack([between, within]), [students - 1, students * (responses - 1)]
    return mean_square_interval(squares, dof, [1.0 / responses, second], level=level, method=method)


def _stretched(spread: StudentSpread, component: str, level: float, found: Diagnosis) -> Interval:
    """Every prompt by itself, as the mean over one fixed prompt."""
    each = StudentSpread(
        np.moveaxis(spread.centred, 1, 0)[:, :, None],
        np.moveaxis(spread.within, 1, 0)[..., None],
        spread.responses,
        spread.largest,
        spread.of_gini,
    )
    estimate, low, high = mean_limits(each, component, level=level, groups=None)
    note = "stretched for skewness and excess kurtosis of students' means, and where their own variances differ"
    note += _least(component, "stretched", spread.students)
    note += f"; here {found.warning}" if found.warning else ""
    return Interval(estimate, low, high, level, "stretched", note)


def _least(component: str, method: str, students: int) -> str:
    """What is covered at least of data that need not be normal; of as many students or the next fewer that were simulated."""
    table = LEAST_COVERED[component, method]
    nearest = max((s for s in table if s <= students), default=min(table))
    found = ", ".join(f"{least} % of {KINDS[data]}" for data, least in table[nearest].items())
    return f"; at a level of {percent(MEASURED_AT)} and S = {nearest} at least {found}"


def _coverage_note(component: str, method: str, students: int) -> str:
    """Coverage at level 95 %, by quadrature over inter/intra from 0.01 to 100 and R = 2, 3, 8, 30."""
    table = _COVERAGE[component, method]
    low, high = table[max(s for s in table if s <= students)]
    return f"; covers {low:.1f}-{high:.1f} % at level 95 % (S = {students}, over all ratios inter/intra and R >= 2)"
