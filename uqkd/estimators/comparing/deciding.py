"""How many more students or prompts it would take to decide a difference."""

from __future__ import annotations

import math

from scipy import special

from uqkd.estimators.comparing.crossed import Spread

POWER = 0.8  # chance of deciding that is aimed at, where nothing else is asked for
MAX_MORE = 10_000_000  # more students or prompts than this are never


def power_of(
    difference: float, spread: Spread, *, level: float, more_students: int = 0, more_prompts: int = 0
) -> float:
    """Chance that an interval leaves out zero where the true difference is as given.

    Parameters
    ----------
    difference : float
        True difference.
    spread : Spread
        Components of its variance, taken as true.
    level : float
        Of the interval.
    more_students, more_prompts : int
        Beyond those that there are; students on each side.

    Returns
    -------
    float
        Between the size of the test and 1, on the side of the difference only.

    Notes
    -----
    Noncentral t at the degrees of freedom that are to be expected.

    Examples
    --------
    >>> from uqkd.estimators.comparing.crossed import Side
    >>> round(power_of(1.0, Spread(0.1, 9.0, (Side(10, 1.0, 0.0),), 0.0, 1, True), level=0.95), 3)  # t test, n = 10, d = 1
    0.803
    """
    variance, dof = spread.at(more_students, more_prompts)
    if not variance > 0 or not dof > 0:
        return math.nan if difference != 0 else 0.0
    beyond = special.stdtrit(dof, 0.5 + level / 2.0)
    return float(1.0 - special.nctdtr(dof, abs(difference) / math.sqrt(variance), beyond))


def more_needed(difference: float, spread: Spread, axis: str, *, level: float, power: float = POWER) -> float:
    """Fewest students, or prompts, beyond those there are with which a difference is decided with the chance `power`.

    Parameters
    ----------
    difference : float
        Taken as true.
    spread : Spread
    axis : {"students", "prompts"}
        What is added to; the other stays.
    level, power : float

    Returns
    -------
    float
        A whole number; infinite where no number would do, NaN where the axis was not a sample.

    Examples
    --------
    >>> from uqkd.estimators.comparing.crossed import Side
    >>> spread = Spread(0.2, 4.0, (Side(5, 1.0, 0.0),), 0.0, 1, True)
    >>> more_needed(1.0, spread, "students", level=0.95), more_needed(1.0, spread, "prompts", level=0.95)
    (5.0, nan)
    """
    students = axis == "students"
    if not students and (spread.fixed or spread.prompts == 1):
        return math.nan
    if students and max(side.students for side in spread.sides) == 1:
        return math.nan

    def enough(more: int) -> bool:
        found = power_of(
            difference, spread, level=level, more_students=more if students else 0, more_prompts=0 if students else more
        )
        return found >= power

    if not spread.variance > 0 or difference == 0.0 or not enough(MAX_MORE):
        return math.inf
    low, high = -1, 1
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)
