"""Words of which generated texts are made: some that any request has, names of topics, and pronounceable ones of no language."""

from __future__ import annotations

from typing import Any

from uqkd import seeds
from uqkd.errors import OptionError

COMMON = (
    "a", "about", "am", "and", "any", "are", "ask", "can", "could", "do", "for", "from", "get", "have", "hello", "help",
    "how", "i", "in", "is", "it", "know", "like", "me", "my", "need", "now", "of", "on", "please", "that", "the", "there",
    "this", "to", "want", "what", "when", "why", "with", "would", "you",
)  # fmt: skip
TOPICS = (
    "account", "alarm", "balance", "booking", "calendar", "card", "cash", "contact", "currency", "delivery", "exchange",
    "flight", "hotel", "insurance", "kitchen", "light", "loan", "music", "order", "payment", "phone", "pin", "refund",
    "rent", "salary", "tax", "transfer", "travel", "voucher", "weather",
)  # fmt: skip
_ONSETS, _VOWELS, _CODAS = "bdfgklmnprstvz", "aeiou", ("", "n", "r", "s")


def pseudo_words(count: int, *, key: tuple[Any, ...]) -> list[str]:
    """Different words of two syllables, none of them in `COMMON` or `TOPICS`.

    Parameters
    ----------
    count : int
    key : tuple
        Names the stream; see `uqkd.seeds.generator`.

    Raises
    ------
    OptionError
        More words than there are.

    Examples
    --------
    >>> pseudo_words(3, key=("doc",))
    ['zogor', 'zilor', 'zudor']
    """
    every = [a + v + b + w + c for a in _ONSETS for v in _VOWELS for b in _ONSETS for w in _VOWELS for c in _CODAS]
    free = sorted(set(every).difference(COMMON, TOPICS))
    if count > len(free):
        raise OptionError(f"this world needs {count} words; there are {len(free)}. Make it smaller.")
    order = seeds.generator(*key, "words", shared=True).permutation(len(free))
    return [free[i] for i in order[:count]]
