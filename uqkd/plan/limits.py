"""Which counts of each level may be chosen: what the caller said, what the pilot can tell, what is free of charge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uqkd.errors import OptionError, one_of
from uqkd.plan.components import PilotComponents
from uqkd.plan.costs import LEVELS, Costs, Design
from uqkd.plan.prediction import Question

_MOST = {"k": 1_024, "students": 100_000, "draws": 10_000, "prompts": 10_000_000}  # where nobody says otherwise
_WORDS = {"k": "k (responses)", "students": "students", "draws": "draws", "prompts": "prompts"}


def limits_of(
    parts: PilotComponents, costs: Costs, question: Question, given: Mapping[str, Any]
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Least and most of every level, and notes on what was held.

    Examples
    --------
    >>> from uqkd.plan.components import known_components
    >>> limits_of(known_components({"student": 1.0}), Costs(student=1.0), Question(), {"students": (2, 9)})[0]
    {'k': (1, 1), 'students': (2, 9), 'draws': (1, 1), 'prompts': (2, 2)}
    """
    for level in given:
        one_of("limits", level, LEVELS)
    limits = {level: _pair(level, given[level]) for level in given}
    notes = []
    inter, drawn = question.quantity == "inter", _divides(parts, "decoding")
    if inter and "k" not in limits and "k" not in parts.held and _divides(parts, "teacher"):
        raise OptionError(
            "the variance between students depends on k; say which k is asked about: limits={'k': 8} (--k 8)."
        )
    if question.fixed_prompts and "prompts" not in limits:
        if "prompts" not in parts.size:
            raise OptionError(
                "fixed prompts are as many as there are; say how many: limits={'prompts': 200} (--prompts 200)."
            )
        limits["prompts"] = (parts.size["prompts"],) * 2
    for level, count in parts.held.items():
        if limits.setdefault(level, (count, count)) != (count, count):
            raise OptionError(
                f"the pilot had {level}={count} alone, so that its part is not known at another; got limits {limits[level]}. "
                "Leave it, or give a pilot that varies it."
            )
        notes.append(
            f"{_WORDS[level]} held at the pilot's {count}: one pilot does not show what another number changes"
        )
    least = {"k": 1, "students": 2, "draws": 2 if inter and drawn else 1, "prompts": 1 if question.fixed_prompts else 2}
    for level, source in (("k", "teacher"), ("draws", "decoding")):
        if not _divides(parts, source):
            limits.setdefault(level, (least[level],) * 2)
    if not _divides(parts, "prompt") and not _divides(parts, "decoding"):
        limits.setdefault("prompts", (least["prompts"],) * 2)
    for level in LEVELS:
        if level not in limits:
            _refuse_free(level, costs, least)
        low, high = limits.setdefault(level, (least[level], _MOST[level]))
        if low < least[level] and level in ("students", "draws"):
            raise OptionError(f"a plan needs {least[level]} {level} at least; got limits {low, high}.")
    return {level: limits[level] for level in LEVELS}, tuple(notes)


def held_and_free(limits: Mapping[str, tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Levels with one possible count, and those with several.

    Examples
    --------
    >>> held_and_free({"k": (8, 8), "students": (2, 9)})
    (['k'], ['students'])
    """
    held = [level for level, (low, high) in limits.items() if low == high]
    return held, [level for level in limits if level not in held]


def _divides(parts: PilotComponents, source: str) -> bool:
    return any(source in effect.split(":") for effect in parts.effects)


def _pair(level: str, value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if (
        len(pair) != 2
        or not all(isinstance(n, int) and not isinstance(n, bool) for n in pair)
        or not 1 <= pair[0] <= pair[1]
    ):
        raise OptionError(f"limits of {level} must be a count of at least 1, or the least and the most; got {value!r}.")
    return pair


def _refuse_free(level: str, costs: Costs, least: Mapping[str, int]) -> None:
    """A unit that costs nothing has no best number."""
    smallest = Design(*(least[name] for name in LEVELS))
    more = Design(*(least[name] + (name == level) for name in LEVELS))
    if costs.of(more) <= costs.of(smallest):
        raise OptionError(
            f"more {_WORDS[level]} cost nothing, so that no number of them is best; give their cost, or hold them: "
            f"limits={{'{level}': 8}} (--{level} 8)."
        )
