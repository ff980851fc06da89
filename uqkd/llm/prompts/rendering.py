"""Prompts as a model sees them: chat templates with a fixed day, and what a preflight shows."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from uqkd.errors import DataError, OptionError, PreflightError
from uqkd.llm.prompts.prompts import Prompts, Turns, chat_json, messages

Ids = tuple[int, ...]
_SHOWN = 40  # tokens of a preflight that are printed
_LISTED = 20  # wrong prompts that are named one by one


@dataclass(frozen=True)
class Preflight:
    """One prompt and response as a student will see them: which tokens are the prompt, which are supervised.

    Attributes
    ----------
    prompt_id : str
    ids : tuple of int
        Prompt, response and the token that ends it.
    tokens : tuple of str
    mask : tuple of bool
        Supervised or not.
    notes : tuple of str
        What the reader should know, and is not wrong.
    """

    prompt_id: str
    ids: Ids
    tokens: tuple[str, ...]
    mask: tuple[bool, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Lines for people: id, token and whether it is prompt or supervised."""
        shown = list(zip(self.ids, self.tokens, self.mask, strict=True))
        lines = [f"preflight: prompt {self.prompt_id!r}, {len(shown)} tokens, {sum(self.mask)} supervised"]
        cut = shown if len(shown) <= _SHOWN else [*shown[: _SHOWN // 2], None, *shown[-_SHOWN // 2 :]]
        for row in cut:
            if row is None:
                lines.append(f"  ... {len(shown) - 2 * (_SHOWN // 2)} tokens not shown")
            else:
                lines.append(f"  {row[0]:>8}  {'supervised' if row[2] else 'prompt    '}  {row[1]!r}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class Rendered:
    """All prompts as one teacher is asked them.

    Attributes
    ----------
    ids : tuple of P tuples of int
        Token ids; empty ones for teachers that take text only.
    hashes : tuple of P str
        16 hexadecimal digits of each rendered prompt: the same prompt in another template, with another system text or on
        another day is another prompt.
    too_long : dict of int to str
        Places of the prompts that leave no room for a response, and why.
    view : object
        What is shown before any work.
    identity : dict
        What the rendering adds to the identity of a bank: arguments of the template, and the day where it prints one.
    """

    ids: tuple[Ids, ...]
    hashes: tuple[str, ...]
    too_long: Mapping[int, str]
    view: Any = ""
    identity: Mapping[str, Any] = field(default_factory=dict)


def ids_hash(ids: Sequence[int]) -> str:
    """16 hexadecimal digits of token ids.

    Examples
    --------
    >>> ids_hash((5, 7)) == ids_hash([5, 7]) != ids_hash((57,))
    True
    """
    return hashlib.blake2b(np.asarray(ids, dtype="<i4").tobytes(), digest_size=8).hexdigest()


def turns_hash(turns: Turns) -> str:
    """16 hexadecimal digits of a chat, where the one who renders it is out of sight."""
    return hashlib.blake2b(chat_json(turns).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def through_template(
    tokenizer: Any, turns: Turns, *, day: datetime.date, arguments: Mapping[str, Any]
) -> tuple[str, bool]:
    """The text that a chat template makes of a chat, and whether it asked for the date: it is told that it is `day`.

    Raises
    ------
    DataError
        The template refuses these turns.
    """
    asked: list[str] = []

    def strftime_now(form: str) -> str:
        asked.append(form)
        return day.strftime(form)

    try:
        text = tokenizer.apply_chat_template(
            messages(turns), add_generation_prompt=True, tokenize=False, strftime_now=strftime_now, **arguments
        )
    except Exception as problem:  # jinja raises many kinds, and templates raise their own: one line for all
        line = (str(problem).splitlines() or [""])[0]
        raise DataError(
            f"the chat template refuses a prompt of {len(turns)} turns ({', '.join(role for role, _ in turns)}): {line[:200]}"
        ) from None
    return str(text), bool(asked)


def check_arguments(tokenizer: Any, arguments: Mapping[str, Any], chat: bool) -> None:
    """Refuse arguments that the chat template does not use: a misspelt one would change nothing and say nothing."""
    if not arguments:
        return
    if not chat:
        raise OptionError(f"template arguments {sorted(arguments)} were given, but no chat template is used.")
    template = tokenizer.chat_template
    whole = "\n".join(template.values()) if isinstance(template, dict) else str(template)
    words = sorted(set(re.findall(r"[A-Za-z_]\w*", whole)))
    for name in arguments:
        if name not in words:
            close = difflib.get_close_matches(name, words, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "it would change nothing."
            raise OptionError(f"the chat template has no argument {name!r}; {hint}")


def listed(what: str, wrong: Mapping[int, str], prompts: Prompts) -> str:
    """One line that names the prompts that something is wrong with, and what.

    Examples
    --------
    >>> listed("do not fit", {1: "has 9 tokens"}, Prompts(("a", "b"), ("x", "y")))
    "1 of 2 prompts do not fit: prompt 'b' has 9 tokens"
    """
    named = [f"prompt {prompts.ids[place]!r} {reason}" for place, reason in list(wrong.items())[:_LISTED]]
    more = f"; and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    return f"{len(wrong)} of {len(prompts)} prompts {what}: {'; '.join(named)}{more}"


def refuse_wrong(
    wrong: Mapping[int, str], prompts: Prompts, ids: Sequence[Ids], tokenizer: Any, remedy: str = ""
) -> None:
    """Raise `PreflightError` that lists every wrong prompt and shows the first one's tokens, if there are any."""
    if not wrong:
        return
    first = next(iter(wrong))
    tokens = tuple(map(str, tokenizer.convert_ids_to_tokens(list(ids[first]))))
    view = Preflight(prompts.ids[first], ids[first], tokens, (False,) * len(tokens))
    raise PreflightError(f"{listed('cannot be used', wrong, prompts)}{remedy}.\n{view}")
