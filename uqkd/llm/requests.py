"""What a teacher is asked and what it answers, whichever backend draws."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from uqkd.llm.prompts.prompts import Turns

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Request:
    """One response wanted.

    Attributes
    ----------
    prompt_token_ids : tuple of int
        The rendered prompt; empty for teachers that take text only.
    seed : int
        Of this draw alone.
    turns : tuple of (role, content)
        The prompt as a chat, for teachers that render it themselves.
    """

    prompt_token_ids: Ids
    seed: int
    turns: Turns = ()


@dataclass(frozen=True)
class Completion:
    """One response drawn.

    Attributes
    ----------
    token_ids : sequence of int, optional
        As drawn, with the token that ended it; None from teachers that give text only.
    text : str
        Without tokens that stand for no text.
    token_logprobs : sequence of float, optional
        Natural logarithm of each token's probability, the ending token's too; None where they are not told.
    finish_reason : str, optional
        "stop" if the model ended it, "length" if it was cut; servers have further ones ("content_filter"). None where nobody
        knows.
    tokens : int, optional
        Length in tokens where a teacher tells it and gives no ids.
    """

    token_ids: Sequence[int] | None
    text: str
    token_logprobs: Sequence[float] | None
    finish_reason: str | None
    tokens: int | None = None


@dataclass(frozen=True)
class Refusal:
    """A request that was not answered, and why, in one line. The others go on; a rerun asks again."""

    reason: str


@dataclass(frozen=True)
class TeacherInfo:
    """Where draws come from, as it stands in every row of the bank.

    Attributes
    ----------
    name : str
        Name of the folder or on the hub; of an API the name of the model.
    revision : str
        Fingerprint of the model's files; of a server what it tells.
    backend, engine_version, dtype : str
    logprobs : str
        "processed": of the distribution that was sampled. "raw": before temperature and cuts. "none": not told.
    chat : bool
        Prompts went through the chat template.
    seeds : str
        "keyed": every response was drawn with the seed of its row. "unknown": nobody knows; what it takes for independence
        cannot be shown.
    """

    name: str
    revision: str
    backend: str
    engine_version: str
    dtype: str
    logprobs: str
    chat: bool
    seeds: str = "keyed"


Answers = Generator[tuple[int, Completion | Refusal], None, None]
