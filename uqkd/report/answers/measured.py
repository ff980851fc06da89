"""Numbers of answers from the rows of a table, each with the limits of its interval, and words that the limits decide.

What a table does not hold (a study run with other options, two students whose spread is unknown) is None here, and an answer
whose sentence needs it is None too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from uqkd.estimators import LEVEL, half_width, variance_half_widths
from uqkd.report.answers import Answer, Number, Shows

if TYPE_CHECKING:
    pass

FAMILY = 0.999  # probability with which the largest of several true comparisons stays within its limits
Side = Literal["above", "below", "open"]


def positive(
    value: float,
    standard_error: float,
    form: str = ".2f",
    *,
    shows: Shows = "value",
    students: int | None = None,
    level: float = LEVEL,
) -> Number | None:
    """A variance, a squared error or a ratio of such, with the limits of `variance_half_widths`.

    Parameters
    ----------
    value, standard_error : float
    form, shows : str
        Of the number.
    students : int, optional
        Behind it, if they are few.
    level : float
        Of the limits; nearer to 1 where a word is to hold of several numbers at once.

    Examples
    --------
    >>> str(positive(1.0, 0.1, shows="limits")), positive(1.0, float("nan"))
    ('1.00 [0.80, 1.22]', None)
    """
    down, up = variance_half_widths(value, standard_error, students, level=level)
    return within(value, value - float(down), value + float(up), form, shows=shows)


def simulated(row: Any, form: str = ".2f", *, shows: Shows = "value", level: float = LEVEL) -> Number | None:
    """`positive` of a row of a table: its "simulated", "standard_error" and "students", if it has them.

    Examples
    --------
    >>> str(simulated({"simulated": 1.0, "standard_error": 0.1, "students": 9}, shows="reach"))
    '1.00 ± 0.29'
    """
    students = int(row["students"]) if "students" in row else None
    return positive(row["simulated"], row["standard_error"], form, shows=shows, students=students, level=level)


def mean(
    value: float, standard_error: float, form: str = ".2f", *, shows: Shows = "value", students: int | None = None
) -> Number | None:
    """A mean, a share or a difference: normal limits, or Student's t where so few students are behind it.

    Examples
    --------
    >>> str(mean(-1.0, 0.5, "+.1f", shows="limits")), str(mean(0.0, 0.5, "+.1f", shows="reach", students=4))
    ('−1.0 [−2.0, −0.0]', '+0.0 ± 1.6')
    """
    if students is None:
        reach = float(variance_half_widths(0.0, standard_error)[1])  # at 0 it is the normal one
    else:
        reach = float(half_width(standard_error, students))
    return within(value, value - reach, value + reach, form, shows=shows)


def pair(numbers: Any) -> tuple[float, float]:
    """Two numbers of a table, as an estimate and its standard error are.

    Examples
    --------
    >>> pair(np.array([1.0, 0.5]))
    (1.0, 0.5)
    """
    one, other = numbers
    return float(one), float(other)


def within(value: float, low: float, high: float, form: str = ".2f", *, shows: Shows = "value") -> Number | None:
    """An estimate and limits that stand in a table; None where one of them is not known.

    Examples
    --------
    >>> str(within(0.5, 0.4, 0.6, ".1f")), within(0.5, 0.4, float("inf"))
    ('0.5', None)
    """
    known = bool(np.isfinite([value, low, high]).all())
    return Number.measured(value, low, high, form, shows=shows) if known else None


def around(value: float, half_width: float, form: str = ".2f", *, shows: Shows = "reach") -> Number | None:
    """An estimate and the half-width of its interval that stand in a table; None where one of them is not known.

    Examples
    --------
    >>> str(around(0.5, 0.1, ".1f")), around(0.5, float("nan"))
    ('0.5 ± 0.1', None)
    """
    return within(value, value - half_width, value + half_width, form, shows=shows)


def ratio(
    top: tuple[float, float], below: tuple[float, float], form: str = ".2f", *, shows: Shows = "value"
) -> Number | None:
    """Of two positive estimates with independent errors, each given with its standard error.

    Examples
    --------
    >>> str(ratio((3.0, 0.3), (2.0, 0.1), ".1f", shows="limits"))
    '1.5 [1.2, 1.9]'
    """
    if not (top[0] > 0 and below[0] > 0):
        return None
    value = top[0] / below[0]
    return positive(value, value * float(np.hypot(top[1] / top[0], below[1] / below[0])), form, shows=shows)


def pooled(values: ArrayLike, standard_errors: ArrayLike) -> tuple[float, float]:
    """Mean of independent estimates of one number, weighted by inverse variance, and its standard error.

    Examples
    --------
    >>> tuple(round(x, 3) for x in pooled([1.0, 2.0], [1.0, 0.5]))
    (1.8, 0.447)
    """
    estimates, variances = np.asarray(values, dtype=float), np.asarray(standard_errors, dtype=float) ** 2
    if estimates.size == 0 or not (variances > 0).all():
        return np.nan, np.nan
    weights = 1.0 / variances
    return float((weights * estimates).sum() / weights.sum()), float(1.0 / np.sqrt(weights.sum()))


def least(numbers: Iterable[Number | None]) -> Number | None:
    """The smallest of several numbers; its limits are the smallest of their limits.

    Examples
    --------
    >>> str(least([Number.measured(1.0, 0.5, 1.5, shows="limits"), Number.measured(1.2, 0.2, 1.3, shows="limits")]))
    '1.00 [0.20, 1.30]'
    """
    return _outermost(numbers, np.min)


def most(numbers: Iterable[Number | None]) -> Number | None:
    """The largest of several numbers; its limits are the largest of their limits.

    Examples
    --------
    >>> str(most([Number.exact(1.0), Number.exact(2.0)])), most([Number.exact(1.0), None])
    ('2.00', None)
    """
    return _outermost(numbers, np.max)


def _outermost(numbers: Iterable[Number | None], of: Callable[[list[float]], Any]) -> Number | None:
    found = list(numbers)
    known = [number for number in found if number is not None]
    if not known or len(known) < len(found):
        return None
    value, low, high = (float(of([getattr(n, end) for n in known])) for end in ("value", "low", "high"))
    return Number.measured(value, low, high, known[0].form, shows=known[0].shows)


def largest_z(z: ArrayLike, form: str = ".1f") -> Number | None:
    """The largest |z| of comparisons that are all true, with the limits that it keeps to with probability `FAMILY`.

    Examples
    --------
    >>> found = largest_z([0.3, -2.0])
    >>> str(found), round(found.low, 2), round(found.high, 2), agree(found)
    ('2.0', 0.03, 3.66, True)
    >>> agree(largest_z([0.3, -5.0]))
    False
    """
    size = np.abs(np.asarray(z, dtype=float))
    size = size[~np.isnan(size)]
    if size.size == 0 or not np.isfinite(size).all():
        return None
    below, above = ((1.0 - FAMILY) / 2.0, (1.0 + FAMILY) / 2.0)
    low, high = (float(special.ndtri(0.5 + p ** (1.0 / size.size) / 2.0)) for p in (below, above))
    found = float(size.max())
    return Number.measured(found, min(low, found), max(high, found), form)


def agree(largest: Number | None) -> bool:
    """Whether a largest |z| is within what chance brings."""
    return largest is not None and largest.value < largest.high


def side(number: Number | None, than: float = 0.0) -> Side:
    """On which side of a value both limits of a number lie.

    Examples
    --------
    >>> side(Number.measured(0.2, 0.1, 0.3)), side(Number.measured(0.2, -0.1, 0.5)), side(Number.exact(-1.0)), side(None)
    ('above', 'open', 'below', 'open')
    """
    if number is None:
        return "open"
    return "above" if number.low > than else "below" if number.high < than else "open"


def stated(sentence: str, numbers: Mapping[str, Number | None]) -> Answer | None:
    """The answer without the numbers that are not known; None if the sentence needs one of them.

    Examples
    --------
    >>> stated("{a}", {"a": Number.exact(1.0), "b": None}).text, stated("{b}", {"b": None})
    ('1.00', None)
    """
    known = {name: number for name, number in numbers.items() if number is not None}
    missing = any(number is None and f"{{{name}}}" in sentence for name, number in numbers.items())
    return None if missing else Answer(sentence, known)


def changed(number: Number | None, by: Callable[[Any], Any], form: str) -> Number | None:
    """A number in other terms, such as a gain 1 − v or a factor 1/v; `by` grows or falls throughout.

    Examples
    --------
    >>> str(changed(Number.measured(0.8, 0.7, 0.9, shows="limits"), lambda left: 1.0 - left, ".0%"))
    '20 % [10 %, 30 %]'
    """
    if number is None:
        return None
    with np.errstate(divide="ignore"):
        value, *ends = (float(by(np.float64(end))) for end in (number.value, number.low, number.high))
    return within(value, min(ends), max(ends), form, shows=number.shows)


def spans(found: Mapping[str, Iterable[Number | None]]) -> tuple[dict[str, str], dict[str, Number | None]]:
    """From the least to the most of several numbers, for each name: the words of a template, and what they name.

    Examples
    --------
    >>> texts, numbers = spans({"gain": [Number.exact(0.1, ".1f"), Number.exact(0.3, ".1f")], "cost": [Number.exact(2.0)]})
    >>> texts, stated(texts["gain"], numbers).text
    ({'gain': '{gain_least} to {gain_most}', 'cost': '{cost_least}'}, '0.1 to 0.3')
    """
    texts: dict[str, str] = {}
    numbers: dict[str, Number | None] = {}
    for name, some in found.items():
        own = list(some)
        numbers |= {f"{name}_least": least(own), f"{name}_most": most(own)}
        texts[name] = f"{{{name}_least}} to {{{name}_most}}" if len(own) > 1 else f"{{{name}_least}}"
    return texts, numbers
