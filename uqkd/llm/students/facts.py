"""What decided a set of students, as plain facts that cards and reports are written from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from uqkd.llm.bank.bank import Bank
from uqkd.llm.prompts.prompts import Prompts, chat_json
from uqkd.llm.students.distilling import Students
from uqkd.llm.students.groups import Trained

TRACED = 20_000  # prompts, at most, of which it is written which they were: 17 bytes each


def prompt_keys(prompts: Prompts) -> list[str]:
    """What each prompt asks, as 16 hexadecimal digits, whatever its id.

    Examples
    --------
    >>> prompt_keys(Prompts(("a", "b"), ("yes ?", "yes ?")))
    ['aa6946f20434c744', 'aa6946f20434c744']
    """
    asked = (chat_json(prompts.turns(place)).encode("utf-8", "surrogatepass") for place in range(len(prompts)))
    return [hashlib.blake2b(one, digest_size=8).hexdigest() for one in asked]


def bank_facts(bank: Bank, prompts: Prompts, k: int, *, place: str, fingerprint: str) -> dict[str, Any]:
    """Teacher, sampling and size of a bank.

    Parameters
    ----------
    bank : Bank
    prompts : Prompts
        Of the bank.
    k : int
        Responses to each of them.
    place : str
        Where it lies, as it was asked for.
    fingerprint : str
        Of the bank.
    """
    identity = bank.identity or {}
    held = bank.inventory(prompts, k)
    names = {name for table in bank.scan(("teacher",)) for name in table["teacher"].unique().to_pylist()}
    keys = sorted(set(prompt_keys(prompts))) if len(prompts) <= TRACED else None
    return {
        "teacher": ", ".join(sorted(map(str, names))),
        "place": place,
        "fingerprint": fingerprint,
        "prompts": len(prompts),
        "responses": k,
        "cut": held.flags["length"],
        "empty": held.flags["empty"],
        "identity": {name: value for name, value in identity.items() if name != "stop_ids"},
        "prompt_keys": keys,
    }


def training_facts(
    about: Mapping[str, Any], made: Students | Trained, bank: Mapping[str, Any], *, command: Sequence[str]
) -> dict[str, Any]:
    """All that a card says of how its students came to be.

    Parameters
    ----------
    about : mapping
        What stands in every student's folder.
    made : Students or Trained
    bank : mapping
        Of `bank_facts`.
    command : sequence of str
        The words of the command line.
    """
    failed = {str(s): int(step) for s, step in enumerate(made.failed_at.tolist()) if step >= 0}
    return {
        **about,
        "bank": dict(bank),
        "failed": failed,
        "engine": made.engine,
        "notes": list(made.notes),
        "command": list(command),
    }
