"""Numbers in captions and legends: estimates with their intervals, all at the level of `uqkd.estimators.LEVEL`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uqkd.estimators import half_width, normal_quantile, percent, variance_half_widths

NORMAL = f"{normal_quantile():.2f}"
PERCENT = percent()
INTERVALS = f"{PERCENT} intervals"
BARS = f"with {INTERVALS}"


METHODS = {
    "labels": "labels, no teacher",
    "teacher": "plain distillation",
    "teacher, temperature": "temperature scaling",
    "DUS + W-Clip": "CUD (DUS + W-Clip)",
    "groups, entropy": "groups, bounded entropy",
    "out of fold": "out-of-fold teacher",
    "out of fold, temperature": "the same, temperature",
    "teacher, mixup": "distillation, mixup",
}


def method_name(method: str) -> str:
    """What students of a target are called in figures, where "teacher" is the teacher itself and nothing else.

    Examples
    --------
    >>> method_name("teacher"), method_name("W-Clip")
    ('plain distillation', 'W-Clip')
    """
    return METHODS.get(method, method)


def plus_minus(
    value: float,
    standard_error: float,
    form: str = ".2f",
    *,
    reach: str = "",
    students: Any = None,
    variance_of: Any = None,
) -> str:
    """An estimate and the half-width of its interval.

    Parameters
    ----------
    value, standard_error : float
    form, reach : str
        Formats of the estimate and of the half-width, which has that of the estimate (without a sign) if not given.
    students : int, optional
        Of a mean over so few students: Student's t.
    variance_of : int, optional
        Of a variance over so few students. Without either the estimate is taken for a variance over many replicates. The
        longer side of its interval is given.

    Examples
    --------
    >>> plus_minus(-1.0, 0.5, "+.2f"), plus_minus(0.123, 0.01, ".2g", reach=".1g"), plus_minus(1.0, 0.5, students=6)
    ('−1.00 ± 0.98', '0.12 ± 0.02', '1.00 ± 1.29')
    >>> plus_minus(1.0, 0.2, variance_of=5)
    '1.00 ± 0.97'
    """
    if students is None:
        half = float(variance_half_widths(value, standard_error, variance_of).max())
    else:
        half = float(half_width(standard_error, students))
    return minus(f"{value:{form}} ± {half:{reach or form.lstrip('+')}}")


def simulated(row: Any, form: str = ".2f", *, reach: str = "") -> str:
    """Of a row of a table: its "simulated" ± the half-width from its "standard_error" and "students", if it has them.

    Examples
    --------
    >>> simulated({"simulated": 0.5, "standard_error": 0.1}, ".1f")
    '0.5 ± 0.2'
    """
    return plus_minus(row["simulated"], row["standard_error"], form, reach=reach, variance_of=row.get("students"))


def limits(row: Any, form: str = "+.3f") -> str:
    """Of a row of a table: its estimate and the limits of its interval.

    Examples
    --------
    >>> limits({"estimate": -0.1, "low": -0.25, "high": 0.05}, "+.2f")
    '−0.10 [−0.25, +0.05]'
    """
    return minus("{} [{}, {}]".format(*(format(row[name], form) for name in ("estimate", "low", "high"))))


def verdict(value: float, standard_error: float, *, students: int) -> str:
    """A difference of errors with its interval, and whether it helps, hurts or is undecided.

    Examples
    --------
    >>> verdict(-0.3, 0.1, students=20), verdict(0.1, 0.1, students=20)
    ('−0.30 ± 0.21 (helps)', '+0.10 ± 0.21 (undecided)')
    """
    reach = float(half_width(standard_error, students))
    said = "helps" if value < -reach else "hurts" if value > reach else "undecided"
    return f"{plus_minus(value, standard_error, '+.2f', students=students)} ({said})"


def times(ratio: float) -> str:
    """How many times, in two digits or in whole numbers.

    Examples
    --------
    >>> times(0.123), times(1234.5)
    ('0.12', '1,234')
    """
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}"


def listed(values: Iterable[float], form: str = "g") -> str:
    """Numbers, one after another.

    Examples
    --------
    >>> listed([0.5, 2.0])
    '0.5, 2'
    """
    return ", ".join(minus(format(value, form)) for value in values)


def quoted(names: Iterable[str]) -> str:
    """Names in quotes, or "none".

    Examples
    --------
    >>> quoted(["W-Clip", "DUS"]), quoted([])
    ("'W-Clip', 'DUS'", 'none')
    """
    return ", ".join(f"'{name}'" for name in names) or "none"


def minus(text: str) -> str:
    """With minus signs instead of hyphens.

    Examples
    --------
    >>> minus("-1")
    '−1'
    """
    return text.replace("-", "−")
