"""The turns of a chat as people write them, checked: a list of {role, content}, in CSV as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from uqkd.errors import DataError, nearest
from uqkd.llm.prompts.cells import listed, shown, sound
from uqkd.llm.prompts.prompts import ROLES, Turns


def one_prompt(where: str, turns: Turns) -> tuple[str, Turns]:
    """Text and turns of what is asked; no turns where the text says it all.

    Raises
    ------
    DataError
        A chat that ends with another turn than the user's (or a tool's), or a text that is none.

    Examples
    --------
    >>> one_prompt("line 1", (("user", "hello"),))
    ('hello', ())
    >>> one_prompt("line 1", (("system", "Be brief."), ("user", "hello")))
    ('hello', (('system', 'Be brief.'), ('user', 'hello')))
    """
    last = turns[-1][0]
    if last == "assistant":
        raise DataError(
            f"{where}: the chat ends with the assistant's turn, which is a response; leave that turn out (or the column: "
            "--column messages=), or bring responses with `uqkd import`."
        )
    text = next((content for role, content in reversed(turns) if role == "user"), "")
    if last not in ("user", "tool") or not text.strip():
        raise DataError(
            f"{where}: the chat ({', '.join(role for role, _ in turns)}) must end with a user's turn that is not empty."
        )
    for role, content in turns:
        sound(where, "prompt" if len(turns) == 1 else f"the turn of the {role}", content)
    return (text, ()) if len(turns) == 1 else (text, turns)


def json_chat(where: str, column: str, cell: str) -> Any:
    """The chat in a cell of text, not yet checked.

    Raises
    ------
    DataError
        It is not JSON.
    """
    try:
        return json.loads(cell)
    except ValueError as problem:
        raise DataError(
            f"{where}: {column} is {shown(cell)}, which is not JSON ({problem}); write a JSON list of messages "
            '([{"role": "user", "content": "..."}]: json.dumps), or use JSONL or Parquet.'
        ) from None


def text_or_chat(where: str, cell: str) -> Any:
    """A prompt in a table of texts: a chat where it is a JSON list of messages, or else the text.

    Raises
    ------
    DataError
        A chat as Python prints it.
    """
    if not cell.startswith("[{"):
        return cell
    try:
        chat = json.loads(cell)
    except ValueError:
        return json_chat(where, "prompt", cell) if "'role'" in cell and "'content'" in cell else cell
    return chat if all(isinstance(turn, dict) and "role" in turn for turn in chat) else cell


def chat_turns(where: str, chat: Any) -> Turns:
    """Checked turns of a list of messages; texts of several parts are joined.

    Raises
    ------
    DataError
        Naming the turn that is wrong.

    Examples
    --------
    >>> chat_turns("line 1", [{"role": "user", "content": [{"type": "text", "text": "hello"}]}])
    (('user', 'hello'),)
    """
    if not isinstance(chat, (list, tuple)) or not chat:
        raise DataError(
            f"{where}: messages is {shown(chat)}; it must be a list of {{role, content}} that is not empty."
        )
    return tuple(_turn(f"{where}, turn {number}", turn) for number, turn in enumerate(chat, start=1))


def _turn(where: str, turn: Any) -> tuple[str, str]:
    if not isinstance(turn, Mapping) or "role" not in turn or "content" not in turn:
        seen = f"has {listed(turn)}" if isinstance(turn, Mapping) else f"is {shown(turn)}"
        raise DataError(f'{where} {seen}; write {{"role": "user", "content": "..."}}.')
    role = turn["role"]
    if role not in ROLES:
        raise DataError(f"{where} has the role {shown(role)}; {nearest(role, ROLES)}.")
    for name in ("tool_calls", "function_call"):
        if turn.get(name):
            raise DataError(
                f"{where} has {name}, which cannot be asked here; write what was called as text, or leave the row out."
            )
    return role, _content(where, turn["content"])


def _content(where: str, content: Any) -> str:
    """The text of a turn: a text, or a list of parts that are texts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, (list, tuple)) else [content]
    texts = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        if not isinstance(part, Mapping) or kind != "text" or not isinstance(part.get("text"), str):
            raise DataError(f"{where} has content of type {str(kind)!r}; only texts can be asked ({shown(part)}).")
        texts.append(part["text"])
    return "".join(texts)
