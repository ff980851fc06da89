"""Sentences about comparisons."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from uqkd.estimators.comparing.boundary import unvaried

if TYPE_CHECKING:
    from uqkd.estimators.comparing.compared import Comparison


def sentence_of(found: Comparison) -> str:
    """What a comparison found, for people: decided, not decided and what would decide it, or no variation at all."""
    if found.bound is not None:
        return _unvaried(found)
    first, second = found.names
    limits = f"[{number(found.low)}, {number(found.high)}]"
    about = f"({found.percent}, {sample(found)}; {chance(found)})"
    if found.decided:
        side = "higher" if found.difference > 0 else "lower"
        size = number(abs(found.difference))
        return upper(f"the {found.measure} of {first} is {size} {side} than that of {second} {limits} {about}.")
    return (
        f"Not decided whether the {found.measure} of {first} differs from that of {second}: {number(found.difference)} {limits} "
        f"{about}. {needed(found)}"
    )


def needed(found: Comparison) -> str:
    """What it would take to decide."""
    size = number(abs(found.difference))
    if found.difference == 0.0:
        return "The two came out equal; say what difference matters to learn how many it takes."
    students, prompts = found.more_students, found.more_prompts
    each = "" if found.paired else " of each"
    ways = [
        f"about {count:,.0f} more {name}"
        for count, name in ((students, f"students{each}"), (prompts, "prompts"))
        if math.isfinite(count)
    ]
    if not ways:
        return f"If {size} is the true difference, it takes more students and more prompts together to decide it."
    said = f"If {size} is the true difference, {' or '.join(ways)} would decide it (power 80 %)"
    if math.isinf(students):
        return f"{said}; more students alone would not: prompts are the bottleneck."
    if math.isinf(prompts):
        return f"{said}; more prompts alone would not: students are the bottleneck."
    return f"{said}."


def _unvaried(found: Comparison) -> str:
    first, second = found.names
    bound = found.bound
    assert bound is not None  # the caller's condition
    equal = math.isclose(found.difference, 0.0, abs_tol=1e-12)
    head = (
        f"{first} and {second} had the same {found.measure} everywhere"
        if equal
        else f"the {found.measure} of {first} less that of {second} was {number(found.difference)} everywhere"
    )
    limits = ""
    if math.isfinite(bound.high):
        limits = f", so that the difference lies in [{number(bound.low)}, {number(bound.high)}]"
    over = "new students and prompts" if found.prompts == "random" else "new students"
    said = f"{head} ({sample(found)}): at {found.percent}, at most {100 * bound.share:.3g} % of {over} differ from that{limits}"
    if found.prompts == "random" and found.spread.prompts > bound.units:
        these = unvaried(found.difference, found.spread.prompts, limit=1.0, level=found.own_level)
        said += f"; for these students, at most {100 * these.share:.3g} % of new prompts"
    return upper(f"{said}.")


def sample(found: Comparison) -> str:
    """How many students and prompts, and which of them are a sample.

    Only what a reader needs: "5 pairs of students, 200 prompts".
    """
    counts = found.students
    if found.paired:
        students = f"{counts[0]} pairs of students" if counts[0] > 1 else "one student each"
    else:
        students = f"{counts[0]} and {counts[1]} students"
    prompts = f"{found.count:,} prompts" if found.count > 1 else "one prompt"
    if found.groups:
        prompts += f" in {found.spread.prompts} groups"
    return f"{students}, {prompts}{' taken as they are' if found.prompts == 'fixed' else ''}"


def chance(found: Comparison) -> str:
    """The p-value, corrected if there are several."""
    value, name = (found.p_value, "p") if found.adjusted is None else (found.adjusted, "Holm's p")
    return f"{name} < .001" if value < 0.001 else f"{name} = {value:.3f}".replace("= 0.", "= .")


def number(value: float) -> str:
    """Three digits.

    Examples
    --------
    >>> number(0.012345), number(-1.0), number(1234.5)
    ('0.0123', '-1', '1.23e+03')
    """
    return f"{value:.3g}"


def upper(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
