"""Prompts as people have them: a text or the turns of a chat in each row of a file or data set, with reference answers."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from uqkd.errors import DataError
from uqkd.llm.prompts.cells import SHOWN, absent, answer_texts, as_text, listed, shown, sound
from uqkd.llm.prompts.chats import chat_turns, json_chat, one_prompt, text_or_chat
from uqkd.llm.prompts.prompts import Prompts, Turns, chat_json
from uqkd.llm.prompts.records import Records

COLUMNS = ("prompt", "messages", "id", "answers")
_OTHERS = ("question", "query", "input", "instruction", "text", "content", "conversation", "conversations", "chat")


def prompt_id(text: str) -> str:
    """The id of a prompt that was given none: it depends on the text alone, so that adding lines keeps the others'.

    Of a chat of several turns it is that of its `chat_json`.

    Examples
    --------
    >>> prompt_id("two plus two ?")
    'p05f20d5541f1'
    """
    return "p" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def read_prompts(
    source: str | Path,
    *,
    split: str = "train",
    system: str | None = None,
    columns: Mapping[str, str] | None = None,
    note: Callable[[str], None] | None = None,
) -> Prompts:
    """Read prompts from a file, or from a data set of the `datasets` library.

    Parameters
    ----------
    source : path or str
        A `.jsonl`, `.json`, `.csv` or `.parquet` file, a folder saved by `save_to_disk`, or a data set's folder or name on the
        hub, which needs a network the first time. Each row has `prompt` (a text, or a list of messages) or `messages` (a list
        of {role, content}; in CSV a JSON list), and perhaps `id` and `answers` (a list, or one text or number; in CSV a JSON
        list, or else the cell is the one answer). Further columns are not read.
    split : str
        Of a data set; files have none.
    system : str, optional
        A turn of the system to put before every prompt; see `Prompts.with_system`.
    columns : mapping of str to str, optional
        Our names to those of this file, {"prompt": "question"}; an empty name leaves a column unread.
    note : callable, optional
        Called with one line that names the columns that were not read.

    Returns
    -------
    Prompts
        A chat that is one turn of the user alone is a text.

    Raises
    ------
    DataError
        Missing file, missing column, bad JSON or UTF-8, a prompt that cannot be asked, no prompts, the same id or prompt twice:
        one line that names the place.
    OptionError
        A mapping of an unknown column, or a pickle file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = Path(place, "prompts.jsonl")
    ...     _ = path.write_text('{"question": "two plus two ?", "answers": 4}')
    ...     prompts = read_prompts(path, columns={"prompt": "question"})
    >>> prompts.ids, prompts.texts, prompts.answers
    (('p05f20d5541f1',), ('two plus two ?',), (('4',),))
    """
    records = Records(source, COLUMNS, columns=columns, split=split)
    ids: dict[str, str] = {}
    texts, answers, chats = [], [], []
    for place, row in records:
        where = f"{records.name}, {place}"
        text, turns = one_prompt(where, row_turns(where, row, records))
        own = row_id(where, row)
        key = own or prompt_id(chat_json(turns) or text)
        if key in ids:
            what, value, remedy = ("id", key, "keep one") if own else ("prompt", text, "keep one, or give each an id")
            raise DataError(
                f"{records.name}: the same {what} {value[:SHOWN]!r} stands in {ids[key]} and in {place}; {remedy}."
            )
        ids[key] = place
        texts.append(text)
        chats.append(turns)
        answers.append(answer_texts(where, row.get("answers"), typed=records.typed))
    if not ids:
        raise DataError(f"{records.name} holds no prompts; give at least one line with a 'prompt'.")
    if note and (line := records.note()):
        note(line)
    prompts = Prompts(tuple(ids), tuple(texts), tuple(answers), tuple(chats))
    return prompts if system is None else prompts.with_system(system)


def row_turns(where: str, row: Mapping[str, Any], records: Records) -> Turns:
    """All turns of a row, of whichever role the last one is.

    Raises
    ------
    DataError
        No prompt, an empty one, or a turn that cannot be used.
    """
    prompt, chat = row.get("prompt"), row.get("messages")
    if chat is None and isinstance(prompt, str) and records.typed and prompt.strip():
        return (("user", prompt),)
    if isinstance(chat, str):
        chat = json_chat(where, "messages", chat) if chat.strip() else None
    if isinstance(prompt, str) and not records.typed:
        prompt = text_or_chat(where, prompt)
    if "prompt" not in row and "messages" not in row:
        raise _missing(where, records)
    if chat is not None and not absent(chat):
        turns = chat_turns(where, chat)
        if isinstance(prompt, str) and prompt.strip() and ("user", prompt) not in turns:
            raise DataError(
                f"{where}: prompt {prompt[:SHOWN]!r} is none of the turns in messages; give one of the two."
            )
        return turns
    if isinstance(prompt, list):
        return chat_turns(where, prompt)
    if not isinstance(prompt, str) or not prompt.strip():
        raise DataError(
            f"{where}: prompt is {shown(prompt)}; it must be text that is not empty, or a list of messages."
        )
    return (("user", prompt),)


def row_id(where: str, row: Mapping[str, Any]) -> str:
    """The id that a row was given; empty for none."""
    value = row.get("id")
    if absent(value):
        return ""
    text = as_text(value)
    if text is None:
        raise DataError(f"{where}: id is {shown(value)}; it must be a text or a number.")
    return sound(where, "id", text)


def _missing(where: str, records: Records) -> DataError:
    """The error of a row without a prompt: misspelt, or named otherwise."""
    records.require_mapped()
    theirs = [records.columns.get(name, name) for name in ("prompt", "messages")]
    if there := [name for name in theirs if name in records.seen]:
        return DataError(f"{where} has no {there[0]!r}; leave the row out, or fill it.")
    close = [(name, difflib.get_close_matches(name.lower(), COLUMNS[:2], n=1)) for name in records.seen]
    if likely := [(name, found[0]) for name, found in close if found]:
        name, ours = likely[0]
        remedy = f"did you mean {ours!r}? --column {ours}={name}"
    else:
        named = next((name for name in records.seen if name.lower() in _OTHERS), "NAME")
        remedy = f"say which one it is: --column prompt={named}"
    return DataError(f"{where}: there is no column 'prompt' or 'messages', only {listed(records.seen)}; {remedy}.")
