"""A claim as conditions on the numbers of a study's answer, and the verdict that these numbers give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Literal

from uqkd.report.answers import Answer, Number

Numbers = Mapping[str, Number]
Found = Mapping[str, Answer | None]  # answers of studies by name, of `readme.answers`
Seen = Literal["holds", "fails", "open"]
Verdict = Literal["confirmed", "bounded", "refuted", "undecided", "not run", "not measured"]

VERDICTS: dict[Verdict, str] = {
    "confirmed": "all that it says is found, beyond the limits of every number",
    "bounded": "part of it is found, or it is found within bounds",
    "refuted": "the opposite is found, and nothing of it",
    "undecided": "the limits leave it open",
    "not run": "these results do not hold the study, or not the numbers",
    "not measured": "no study asks",
}


End = float | str | None  # a value, the name of a number, or no end


@dataclass(frozen=True)
class Condition:
    """That a number lies between two ends: with all its limits, and apart from all limits of an end that is a number.

    Parameters
    ----------
    number : str
        Of the answer.
    low, high : float, str or None
        Values, names of other numbers, or no end.

    Examples
    --------
    >>> numbers = {"a": Number.measured(0.2, 0.1, 0.3), "b": Number.measured(0.4, 0.35, 0.5)}
    >>> [one.seen(numbers) for one in (below("a", "b"), below("a", 0.25), below("a"), Condition("a", 0.0, 1.0))]
    ['holds', 'open', 'fails', 'holds']
    """

    number: str
    low: End = None
    high: End = None

    @property
    def needs(self) -> set[str]:
        """Names of the numbers."""
        return {name for name in (self.number, self.low, self.high) if isinstance(name, str)}

    def seen(self, numbers: Numbers) -> Seen:
        """Whether the limits say so, say the opposite, or leave it open."""
        own = numbers[self.number]
        low, high = (numbers[end] if isinstance(end, str) else end for end in (self.low, self.high))
        (under, over), (least, most) = _limits(low, -math.inf), _limits(high, math.inf)
        if own.high < under or own.low > most:
            return "fails"
        return "holds" if own.low > over and own.high < least else "open"


def _limits(end: Number | float | None, none: float) -> tuple[float, float]:
    return (end.low, end.high) if isinstance(end, Number) else (none, none) if end is None else (end, end)


def below(number: str, than: float | str = 0.0) -> Condition:
    """That a number is below a value or another number.

    Examples
    --------
    >>> below("gap")
    Condition(number='gap', low=None, high=0.0)
    """
    return Condition(number, high=than)


def above(number: str, than: float | str = 0.0) -> Condition:
    """That a number is above a value or another number.

    Examples
    --------
    >>> above("one", "other").needs == {"one", "other"}
    True
    """
    return Condition(number, low=than)


@dataclass(frozen=True)
class Claim:
    """A claim of the literature, and what of a study's answer decides it.

    Parameters
    ----------
    text : str
        What is claimed.
    source : str
        Who claims it.
    study : str
        Whose answer decides; empty where none asks.
    result : str
        What was found: a template with the answer's numbers.
    conditions : tuple of Condition
        What the claim says.
    bounds : tuple of Condition
        What it says without saying so: where else it would hold, at what price. If one of these does not hold, it is bounded.

    Examples
    --------
    >>> claim = Claim("it falls", "someone", "study", "by {fall}", (below("fall"),), (above("floor", 0.1),))
    >>> numbers = {"fall": Number.measured(-1.0, -2.0, -0.5), "floor": Number.exact(0.0)}
    >>> claim.verdict({"study": Answer("", numbers)}), claim.verdict({"study": None}), claim.verdict({})
    ('bounded', 'not run', 'not run')
    """

    text: str
    source: str
    study: str = ""
    result: str = ""
    conditions: tuple[Condition, ...] = ()
    bounds: tuple[Condition, ...] = ()

    @property
    def needs(self) -> set[str]:
        """Names of the numbers that the verdict and the result take."""
        named = {name for _, name, _, _ in Formatter().parse(self.result) if name is not None}
        return named.union(*(condition.needs for condition in (*self.conditions, *self.bounds)))

    def verdict(self, found: Found) -> Verdict:
        """What becomes of the claim."""
        if not self.study:
            return "not measured"
        answer = found.get(self.study)
        if answer is None or not self.needs <= set(answer.numbers):
            return "not run"
        seen = {condition.seen(answer.numbers) for condition in self.conditions}
        if "fails" in seen:
            return "bounded" if "holds" in seen else "refuted"
        if "open" in seen:
            return "undecided"
        within = all(condition.seen(answer.numbers) == "holds" for condition in self.bounds)
        return "confirmed" if within else "bounded"

    def answer(self, found: Found) -> Answer | None:
        """The result, with the numbers of the study; None where it was not run."""
        answer = found.get(self.study)
        return None if answer is None or self.verdict(found) == "not run" else Answer(self.result, answer.numbers)
