"""What a teacher is asked and what it answers, whichever backend draws."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from uqkd.errors import OptionError, WorkerError
from uqkd.llm.prompts.prompts import Prompts, Turns
from uqkd.llm.responses import Responses
from uqkd.llm.sampling import Sampling

if TYPE_CHECKING:
    from uqkd.llm.bank.bank import Bank

Ids = tuple[int, ...]
DTYPES = ("auto", "float32", "bfloat16", "float16")


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


class Teacher(Protocol):
    """A model that answers requests; each draw depends on its own seed, not on what it is batched with (beyond rounding)."""

    @property
    def about(self) -> TeacherInfo:
        """Where the draws come from."""

    @property
    def encoder(self) -> Any:
        """Its tokenizer (`Encoder`), or what stands for it where only text goes out and comes back (`TextOnly`)."""

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """The answers as they come, each with the place of its request; every place once.

        Requests are taken as there is room for them, so that a million need no memory. A generator: closing it gives up what is
        under way.

        Raises
        ------
        WorkerError
            The engine died or ran out of memory. What was yielded before stays good.
        """

    def close(self) -> None:
        """Let go of the engine and its memory."""

    def respond(
        self, prompts: Prompts, k: int, *, students: int, key: tuple[Any, ...], sampling: Sampling, bank: Bank
    ) -> Responses:
        """See `Responding.respond`."""


class Responding:
    """The verb of all teachers of text, in terms of what a `Teacher` streams."""

    def respond(
        self: Teacher, prompts: Prompts, k: int, *, students: int, key: tuple[Any, ...], sampling: Sampling, bank: Bank
    ) -> Responses:
        """k independent responses per prompt for each of S students; those that the bank has are not drawn again.

        Parameters
        ----------
        prompts : Prompts
        k : int
            Responses per prompt, >= 1.
        students : int
            S, the number of independent sets of responses.
        key : tuple
            Names the draws: one seed for each response.
        sampling : Sampling
        bank : Bank
            Of this teacher, sampling and key, or empty. `uqkd.llm.fill_bank`, which fills it, has options for long runs.

        Returns
        -------
        Responses
            (S, P, k).
        """
        from uqkd.llm.bank.responding import fill_bank

        if k < 1 or students < 1:
            raise OptionError(f"respond needs k >= 1 and students >= 1; got k={k}, students={students}.")
        fill_bank(self, prompts, students * k, bank=bank, sampling=sampling, key=key)
        return bank.responses(prompts, students=students, k=k, per_student=k)


def complete(teacher: Teacher, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
    """One completion for each request, in their order.

    Raises
    ------
    WorkerError
        The engine died, or a request was refused.
    """
    found: list[Completion | None] = [None] * len(requests)
    for place, answer in teacher.stream(requests, sampling):
        if isinstance(answer, Refusal):
            raise WorkerError(f"request {place} of {len(requests)} was refused: {answer.reason}.")
        found[place] = answer
    return [one for one in found if one is not None]
