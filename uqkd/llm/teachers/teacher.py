"""What a teacher is, whichever backend draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from uqkd.errors import WorkerError
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.requests import Answers, Completion, Refusal, Request, TeacherInfo
from uqkd.llm.responses import Responses
from uqkd.llm.sampling import Sampling

if TYPE_CHECKING:
    from uqkd.llm.bank.bank import Bank

DTYPES = ("auto", "float32", "bfloat16", "float16")


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
        """See `uqkd.llm.teachers.responding.Responding.respond`."""


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
