"""Rows of responses that people already have: which prompt each row is of, and what was said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from uqkd.errors import DataError
from uqkd.llm.prompts.cells import absent, as_text, listed, listed_texts, shown
from uqkd.llm.prompts.chats import chat_turns, one_prompt
from uqkd.llm.prompts.prompts import Turns, chat_json
from uqkd.llm.prompts.reading import prompt_id, row_id, row_turns
from uqkd.llm.prompts.records import Records
from uqkd.llm.prompts.rendering import turns_hash

COLUMNS = ("prompt", "messages", "id", "answers", "response", "responses", "finish_reason", "seed", "model")
_OTHERS = (
    "completion",
    "completions",
    "output",
    "outputs",
    "generation",
    "generations",
    "generated_text",
    "prediction",
)
_FINISHED = {  # what servers and libraries call the two ends of a response
    "stop": "stop", "end_turn": "stop", "stop_sequence": "stop", "eos": "stop", "eos_token": "stop",
    "length": "length", "max_tokens": "length", "max_length": "length",
}  # fmt: skip


class Prompt(NamedTuple):
    """What was asked.

    Attributes
    ----------
    key : str
        The prompt's id.
    text : str
    messages : str, optional
        Of a chat.
    code : str
        The same for the same turns; see `turns_hash`.
    named : bool
        The id was given.
    """

    key: str
    text: str
    messages: str | None
    code: str
    named: bool


class Given(NamedTuple):
    """One row: its prompt; of each response text (None where it is missing), finish reason and seed; its answers as given."""

    where: str
    prompt: Prompt
    responses: Sequence[tuple[str | None, str | None, int | None]]
    answers: Any
    model: str


def given_rows(records: Records) -> Iterator[Given]:
    """The rows of a file or data set.

    Raises
    ------
    DataError
        One line that names the place.
    """
    for place, row in records:
        where = f"{records.name}, {place}"
        turns = row_turns(where, row, records)
        texts, turns = _texts(where, row, turns, records)
        prompt, model = _asked(where, turns), row.get("model")
        if given := row_id(where, row):
            prompt = prompt._replace(key=given, named=True)
        model = "" if absent(model) else str(model)
        yield Given(where, prompt, _responses(where, row, texts, records.typed), row.get("answers"), model)


def _responses(
    where: str, row: Mapping[str, Any], texts: list[str | None], typed: bool
) -> list[tuple[str | None, str | None, int | None]]:
    """Text, finish reason and seed of each response of a row."""
    reason, seed = row.get("finish_reason"), row.get("seed")
    if seed is None and (reason is None or (isinstance(reason, str) and reason in _FINISHED)):  # most rows
        reason = _FINISHED.get(reason) if reason else None
        return [(text, reason, None) for text in texts]
    reasons = [_reason(where, one) for one in _aligned(where, "finish_reason", reason, len(texts), typed)]
    seeds = [_seed(where, one) for one in _aligned(where, "seed", seed, len(texts), typed)]
    return list(zip(texts, reasons, seeds, strict=True))


def _asked(where: str, turns: Turns) -> Prompt:
    """The prompt of these turns, with an id of its own."""
    try:
        return _remembered(turns)
    except DataError:
        one_prompt(where, turns)  # says where
        raise


@lru_cache(maxsize=2**16)
def _remembered(turns: Turns) -> Prompt:
    text, chat = one_prompt("", turns)
    messages = chat_json(chat) or None
    return Prompt(prompt_id(messages or text), text, messages, turns_hash(turns), False)


def _texts(where: str, row: Mapping[str, Any], turns: Turns, records: Records) -> tuple[list[str | None], Turns]:
    """The responses of a row, None for each that is missing, and the turns that they answer."""
    value = row.get("response")
    if isinstance(value, str) and row.get("responses") is None and turns[-1][0] != "assistant":  # most rows
        # A cell of a column `response` is one response, even one that is a list: models say such things.
        return [value], turns
    there = [name for name in ("response", "responses") if row.get(name) is not None]
    if len(there) > 1:
        raise DataError(f"{where} has both 'response' and 'responses'; leave one unread: --column response=")
    if turns[-1][0] == "assistant":
        if there:
            raise DataError(
                f"{where} has {there[0]!r}, and its chat ends with the assistant's turn too; leave one unread: "
                f"--column {there[0]}="
            )
        if len(turns) < 2:
            raise DataError(f"{where}: the chat is the assistant's turn alone; put what was asked before it.")
        return [turns[-1][1]], turns[:-1]
    if not there:
        if "response" not in row and "responses" not in row:
            raise _missing(where, records)
        return [None], turns
    value = row[there[0]]
    if isinstance(value, str):
        found = listed_texts(where, there[0], value, typed=records.typed)
        value = [value] if found is None else found
    return [_text(where, there[0], one) for one in (value if isinstance(value, (list, tuple)) else [value])], turns


def _text(where: str, column: str, value: Any) -> str | None:
    """A response: a text or number, or the assistant's turn."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, Mapping) and "role" in value:
        ((role, text),) = chat_turns(f"{where}, {column}", [value])
        if role != "assistant":
            raise DataError(f"{where}: {column} holds a turn of the {role}; only the assistant's are responses.")
        return text
    text = as_text(value)  # type: ignore[assignment]
    if text is None:
        raise DataError(f"{where}: {column} holds {shown(value)}; it must be a text, or a list of texts.")
    return text


def _aligned(where: str, column: str, value: Any, many: int, typed: bool) -> list[Any]:
    """What a row says of each of its responses: one value for all, or a list of as many."""
    if not typed and isinstance(value, str) and value.startswith("["):
        value = listed_texts(where, column, value, typed=False) or value
    if not isinstance(value, (list, tuple)):
        return [None if absent(value) else value] * many
    if len(value) != many:
        raise DataError(
            f"{where}: {column} holds {len(value)} values for {many} responses; give one of each, or one for all."
        )
    return [None if absent(one) else one for one in value]


def _reason(where: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: finish_reason is {shown(value)}; it must be a text ('stop', 'length').")
    return None if value is None else _FINISHED.get(value.lower(), value)


def _seed(where: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        seed = int(value) if not isinstance(value, float) or value.is_integer() else None
    except (TypeError, ValueError):
        seed = None
    if seed is None or not -(2**63) <= seed < 2**63:
        raise DataError(
            f"{where}: seed is {shown(value)}; it must be an integer of 64 bits; leave the column unread: --column seed="
        )
    return seed


def _missing(where: str, records: Records) -> DataError:
    """The error of a row without responses."""
    records.require_mapped()
    theirs = [records.columns.get(name, name) for name in ("response", "responses")]
    if there := [name for name in theirs if name in records.seen]:
        return DataError(f"{where} has no {there[0]!r}; leave the row out, or write null where a response is missing.")
    named = next((name for name in records.seen if name.lower() in _OTHERS), "NAME")
    return DataError(
        f"{where}: there is no column 'response' or 'responses', only {listed(records.seen)}; say which one it is: --column "
        f"response={named}."
    )


def prompt_line(prompt: Prompt, answers: Mapping[str, None]) -> str:
    """A prompt as a line of a prompts file.

    Examples
    --------
    >>> prompt_line(Prompt("a", "two plus two ?", None, "", True), {"four": None})
    '{"id": "a", "prompt": "two plus two ?", "answers": ["four"]}'
    """
    asked = {"messages": json.loads(prompt.messages)} if prompt.messages else {"prompt": prompt.text}
    return json.dumps({"id": prompt.key, **asked, "answers": list(answers)}, ensure_ascii=False)
