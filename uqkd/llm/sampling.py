"""How a teacher is sampled: every parameter explicit, none left to a model's or an engine's own default."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from uqkd.errors import OptionError


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters; the defaults draw from the model's own distribution.

    Attributes
    ----------
    temperature : float
        0 takes the most probable token: then there is no randomness.
    top_p : float
        Keep the most probable tokens of this total probability; 1 keeps all.
    top_k : int
        Keep so many of the most probable tokens; 0 keeps all.
    min_p : float
        Drop tokens less probable than this share of the most probable one.
    repetition_penalty : float
        1 is none; above 1 tokens that were there before become less probable.
    max_tokens : int
        Greatest length of a response, with the token that ends it.

    Raises
    ------
    OptionError
        A value outside its range.

    Examples
    --------
    >>> Sampling().is_plain, Sampling(temperature=0.7).is_plain, Sampling(top_k=1).is_random
    (True, False, False)
    >>> Sampling(top_p=1.5)
    Traceback (most recent call last):
    uqkd.errors.OptionError: top_p must be a number in (0, 1]; got 1.5.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 16

    def __post_init__(self) -> None:
        for name, low, high, words in _RANGES:
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not (low <= value <= high) or (words.startswith("a number in (") and value == low):
                raise OptionError(f"{name} must be {words}; got {value!r}.")
            object.__setattr__(self, name, float(value))
        if 0 < self.temperature < _COLDEST:
            raise OptionError(
                f"temperature must be 0 or at least {_COLDEST}, or engines change it by themselves; got {self.temperature!r}."
            )
        for name, least in (("top_k", 0), ("max_tokens", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} must be a whole number >= {least}; got {value!r}.")

    @property
    def is_random(self) -> bool:
        """Whether two draws can differ at all."""
        return self.temperature > 0 and self.top_k != 1

    @property
    def is_plain(self) -> bool:
        """Whether draws follow the model's own distribution, untouched by temperature, cuts or penalties."""
        same = (self.temperature, self.top_p, self.min_p, self.repetition_penalty) == (1.0, 1.0, 0.0, 1.0)
        return same and self.top_k == 0

    def columns(self) -> dict[str, float | int]:
        """The parameters as columns of the bank.

        Examples
        --------
        >>> sorted(Sampling().columns())
        ['max_tokens', 'min_p', 'repetition_penalty', 'temperature', 'top_k', 'top_p']
        """
        return asdict(self)


_COLDEST = 0.01  # vLLM raises lower temperatures to this one
_RANGES = (
    ("temperature", 0.0, 100.0, "a number in [0, 100]"),
    ("top_p", 0.0, 1.0, "a number in (0, 1]"),
    ("min_p", 0.0, 1.0, "a number in [0, 1]"),
    ("repetition_penalty", 0.0, 100.0, "a number in (0, 100]"),
)
