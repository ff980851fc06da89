"""Prompts and requests that were left out of a bank, listed in a file beside its rows; a rerun tries each of them again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from uqkd.store import Store

FILE = "left_out.jsonl"


@dataclass(frozen=True)
class LeftOut:
    """One response (or, with index -1, every response to a prompt) that was not drawn, and why."""

    prompt_id: str
    response_index: int
    reason: str


def write_left_out(store: Store, rows: Sequence[LeftOut]) -> None:
    """Replace the list; an empty one says that nothing is left out any more."""
    if rows or read_left_out(store):
        lines = [json.dumps(asdict(row), ensure_ascii=False) for row in rows]
        store.write_bytes(FILE, "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))


def read_left_out(store: Store) -> tuple[LeftOut, ...]:
    """What the last run left out.

    Examples
    --------
    >>> store = Store("memory://left-out-doc")
    >>> write_left_out(store, [LeftOut("a", -1, "has 9,000 tokens")])
    >>> read_left_out(store)
    (LeftOut(prompt_id='a', response_index=-1, reason='has 9,000 tokens'),)
    """
    try:
        text = store.folder.read(FILE).decode("utf-8")
    except FileNotFoundError:
        return ()
    return tuple(LeftOut(**json.loads(line)) for line in text.splitlines())
