"""Answers made from results: a sentence whose numbers come from a study's table, with the limits that another run may reach.

A sentence in the README, on the page or in the paper is held against the answer of a later run: its words must be the same,
and each of its numbers must lie within the limits of the number that the run found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from string import Formatter
from typing import Any, Literal, Self

from uqkd.errors import DataError, OptionError, one_of
from uqkd.report.captions import minus

Shows = Literal["value", "limits", "reach"]
_SHOWS = ("value", "limits", "reach")


@dataclass(frozen=True)
class Number:
    """A number of a table, how it is written, and the limits within which another run may find it.

    Parameters
    ----------
    value, low, high : float
        Finite, low ≤ value ≤ high.
    form : str
        Format of each number, as "+.2f" or ".0%".
    shows : "value", "limits" or "reach"
        What is written: 0.2; 0.2 [0.1, 0.3]; 0.2 ± 0.1 (the longer side).

    Raises
    ------
    DataError
        The value is not finite or not within the limits.

    Examples
    --------
    >>> str(Number.exact(51, "d")), str(Number.measured(-0.2, -0.3, -0.1, "+.1f", shows="limits"))
    ('51', '−0.2 [−0.3, −0.1]')
    """

    value: float
    low: float
    high: float
    form: str = ".2f"
    shows: Shows = "value"

    def __post_init__(self) -> None:
        one_of("shows", self.shows, _SHOWS)
        numbers = (self.low, self.value, self.high)
        if not all(map(math.isfinite, numbers)) or not self.low <= self.value <= self.high:
            raise DataError(
                f"a number of an answer is {self.value} within [{self.low}, {self.high}]; give finite limits around it."
            )

    @classmethod
    def exact(cls, value: float, form: str = ".2f") -> Self:
        """A number that every run finds alike: a count of settings, a closed form, a bound that was chosen."""
        return cls(value, value, value, form)

    @classmethod
    def measured(cls, value: float, low: float, high: float, form: str = ".2f", *, shows: Shows = "value") -> Self:
        """An estimate with the limits of its interval."""
        return cls(float(value), float(low), float(high), form, shows)

    def __str__(self) -> str:
        value = _written(self.value, self.form)
        if self.shows == "limits":
            return f"{value} [{_written(self.low, self.form)}, {_written(self.high, self.form)}]"
        if self.shows == "reach":
            return f"{value} ± {_written(max(self.high - self.value, self.value - self.low), self.form.lstrip('+'))}"
        return value

    @property
    def pattern(self) -> str:
        """Regular expression of such a number in a sentence; its first group is the estimate."""
        number = r"[+−]?\d[\d,]*(?:\.\d+)?(?:e[+−]?\d+)?" + (" %" if self.form.endswith("%") else "")
        around = {"value": "", "limits": rf" \[{number}, {number}\]", "reach": f" ± {number}"}
        return f"({number}){around[self.shows]}"

    def widened(self, by: float) -> Number:
        """The number with limits so many times as far from its value; exact ones stay.

        Examples
        --------
        >>> Number.measured(1.0, 0.5, 2.0).widened(2.0)
        Number(value=1.0, low=0.0, high=3.0, form='.2f', shows='value')
        """
        if self.low == self.high:
            return self
        low, high = (self.value + by * (end - self.value) for end in (self.low, self.high))
        return replace(self, low=low, high=high)

    def holds(self, said: str) -> bool:
        """Whether a written estimate lies within the limits, give or take half a unit of its last digit.

        Examples
        --------
        >>> found = Number.measured(0.52, 0.45, 0.58, ".1f")
        >>> found.holds("0.6"), found.holds("0.7"), Number.exact(0.52).holds("0.5")
        (True, False, False)
        """
        if self.low == self.high:
            return said == _written(self.value, self.form)
        value, unit = _read(said)
        return self.low - unit / 2 <= value <= self.high + unit / 2


@dataclass(frozen=True)
class Answer:
    """A study's answer: a sentence with `{name}` where its numbers stand.

    Parameters
    ----------
    sentence : str
        Template; its words may depend on the table, as a verdict does.
    numbers : mapping of name to Number
        All that the sentence names, and further ones that claims and the paper use.

    Raises
    ------
    OptionError
        The sentence names a number that is not given.

    Examples
    --------
    >>> answer = Answer("all of it, but for {floor}", {"floor": Number.measured(0.001, 0.0, 0.002, ".1%")})
    >>> answer.text
    'all of it, but for 0.1 %'
    >>> answer.differences("all of it, but for 0.2 %"), answer.differences("all of it, but for 0.4 %")
    ([], ['floor: 0.4 % is said, 0.1 % is found, 0.0 % to 0.2 % are allowed'])
    """

    sentence: str
    numbers: Mapping[str, Number]

    def __post_init__(self) -> None:
        for name in self._named():
            if name not in self.numbers:
                raise OptionError(f"the answer {self.sentence!r} names {name!r}, which is not among its numbers.")

    def _named(self) -> list[str]:
        return [name for _, name, _, _ in Formatter().parse(self.sentence) if name is not None]

    @property
    def text(self) -> str:
        """The sentence with its numbers."""
        return self.sentence.format_map({name: str(number) for name, number in self.numbers.items()})

    def differences(self, said: str, *, widened: float = 1.0) -> list[str]:
        """What a sentence says that these results do not; emphasis by `**` does not count, and limits may be widened."""
        pattern = "".join(
            re.escape(words) + (self.numbers[name].pattern if name is not None else "")
            for words, name, _, _ in Formatter().parse(self.sentence.replace("**", ""))
        )
        match = re.fullmatch(pattern, said.replace("**", ""))
        if match is None:
            return [f"the sentence is {said!r}; of these results it is {self.text!r}"]
        wrong = []
        for name, estimate in zip(self._named(), match.groups(), strict=True):
            number = self.numbers[name].widened(widened)
            if not number.holds(estimate):
                low, found, high = (_written(one, number.form) for one in (number.low, number.value, number.high))
                allowed = f"{low} to {high} are allowed" if low != high else "nothing else is allowed"
                wrong.append(f"{name}: {estimate} is said, {found} is found, {allowed}")
        return wrong

    def to_json(self) -> dict[str, Any]:
        """Mapping of plain values, with all texts filled in."""
        numbers = {name: {**asdict(number), "text": str(number)} for name, number in self.numbers.items()}
        return {"sentence": self.sentence, "text": self.text, "numbers": numbers}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The answer that `to_json` wrote."""
        numbers = {
            name: Number(**{key: value for key, value in number.items() if key != "text"})
            for name, number in values["numbers"].items()
        }
        return cls(values["sentence"], numbers)


def _written(value: float, form: str) -> str:
    return minus(f"{value:{form}}".replace("%", " %"))


def _read(said: str) -> tuple[float, float]:
    """A written number, and one unit of its last digit."""
    text = said.replace("−", "-").replace(",", "")
    scale = 0.01 if text.endswith("%") else 1.0
    digits = text.rstrip(" %")
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(digits) * scale, scale * 10.0 ** (int(exponent or 0) - decimals)
