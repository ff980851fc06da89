"""Cells of a table as texts: answers, ids, numbers, and lists that somebody wrote as text."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from uqkd.errors import DataError

_SURROGATE = re.compile(r"[\ud800-\udfff]")
SHOWN = 60  # characters of a value in a message
_LISTED = 12  # columns that a message names


def answer_texts(where: str, value: Any, *, typed: bool) -> tuple[str, ...]:
    """Reference answers as texts.

    Examples
    --------
    >>> answer_texts("line 1", [4, 0.5, True, "four", None], typed=True)
    ('4', '0.5', 'true', 'four')
    >>> answer_texts("line 1", '["four", 4]', typed=False), answer_texts("line 1", "four", typed=False)
    (('four', '4'), ('four',))
    """
    if absent(value) or (isinstance(value, str) and not value.strip()):
        return ()
    if isinstance(value, str) and (found := listed_texts(where, "answers", value, typed=typed)) is not None:
        value = found
    many = value if isinstance(value, (list, tuple)) else [value]
    texts = [as_text(one) for one in many if not absent(one)]
    if (wrong := next((place for place, text in enumerate(texts) if text is None), None)) is not None:
        raise DataError(f"{where}: answers holds {shown(many[wrong])}; it must be a list of texts or numbers.")
    return tuple(text for text in texts if text is not None)


def absent(value: Any) -> bool:
    """Whether this says that there is nothing: null, NaN, or the empty text.

    Examples
    --------
    >>> absent(None), absent(float("nan")), absent(""), absent(0)
    (True, True, True, False)
    """
    return value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and value != value)


def as_text(value: Any) -> str | None:
    """A text or number as text; None if it is neither.

    Examples
    --------
    >>> as_text(1), as_text(0.5), as_text(1963.0), as_text(True), as_text(["a"])
    ('1', '0.5', '1963', 'true', None)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if (
        isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    ):  # numbers beside a missing one become floats
        value = int(value)
    return str(value) if isinstance(value, (int, float)) else None


def listed_texts(where: str, column: str, cell: str, *, typed: bool) -> list[Any] | None:
    """The list that a cell of text stands for, if it is one.

    Where lists have a form of their own (`typed`), a text that begins like a list of numbers is a text; one that begins like
    a list of quoted texts was made of a list by somebody.

    Raises
    ------
    DataError
        A list as Python prints it: it cannot be read back safely.
    """
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")) or (typed and not re.match(r"\[\s*['\"]", text)):
        return None
    with suppress(ValueError):  # no JSON: perhaps a list as Python prints it
        return list(json.loads(text))
    try:
        printed = isinstance(ast.literal_eval(text), list)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if printed:
        raise DataError(
            f'{where}: {column} is {shown(cell)}, a list as Python prints it; write it as JSON (["a", "b"]: json.dumps) or '
            "save the table as Parquet."
        )
    return None


def sound(where: str, what: str, text: str) -> str:
    """The text, refused if it holds half of a surrogate pair.

    Examples
    --------
    >>> sound("row 1", "prompt", "à Rome")
    'à Rome'
    """
    if not text.isascii() and _SURROGATE.search(text):
        raise DataError(f"{where}: {what} {shown(text)} holds half of a surrogate pair; it is no text.")
    return text


def shown(value: Any) -> str:
    """A value as messages show it: its beginning, if it is long.

    Examples
    --------
    >>> shown("Rome")
    "'Rome'"
    """
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def listed(names: Iterable[str]) -> str:
    """Some names in quotes.

    Examples
    --------
    >>> listed(["b", "a"])
    "'b', 'a'"
    """
    every = list(map(str, names))
    return ", ".join(map(repr, every[:_LISTED])) + (f" and {len(every) - _LISTED} more" if len(every) > _LISTED else "")


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    Examples
    --------
    >>> counted(1, "prompt"), counted(2000, "prompt")
    ('1 prompt', '2,000 prompts')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
