"""Teachers behind servers: what the backends that speak HTTP have in common."""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from uqkd.errors import OptionError, WorkerError
from uqkd.llm.requests import Answers, Completion, Refusal, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.responding import Responding
from uqkd.llm.teachers.servers.cards import Card
from uqkd.llm.teachers.servers.connection import Connection
from uqkd.llm.teachers.servers.in_flight import Ask, in_flight
from uqkd.llm.teachers.servers.limits import Gate, PerMinute
from uqkd.llm.teachers.servers.problems import refused
from uqkd.llm.teachers.servers.spending import Spent

CONCURRENCY = 64  # requests under way: keeps a small engine's batch full, and a large one answers as fast
RETRIES = 5  # pauses of 0.5, 1, 2, 4 and 8 s, unless the server names others
TIMEOUT_S = 600.0
_RANGES: tuple[tuple[str, type, float], ...] = (
    ("concurrency", int, 1),
    ("retries", int, 0),
    ("requests_per_minute", float, 1),
    ("tokens_per_minute", float, 1),
    ("timeout_s", float, 0.001),
)
_FAILED_IN_A_ROW = 8  # with all their retries, and none answered between: the server is gone


@dataclass(frozen=True)
class ServerOptions:
    """Options of every teacher behind a server.

    Attributes
    ----------
    concurrency : int
        Requests under way at the same time.
    retries : int
        Of one request; see `Connection`.
    requests_per_minute, tokens_per_minute : float, optional
        Limits. What is sent again counts too; a request's tokens are foreseen as its prompt and max_tokens, and put right when
        it is answered.
    timeout_s : float
        For one answer.

    Raises
    ------
    OptionError
        A value outside its range.

    Examples
    --------
    >>> ServerOptions(concurrency=0)
    Traceback (most recent call last):
    uqkd.errors.OptionError: concurrency must be a whole number >= 1; got 0.
    """

    url: str | None = field(default=None, repr=False)  # may hold a password
    api_key_env: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    concurrency: int = CONCURRENCY
    retries: int = RETRIES
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        for name, kind, low in _RANGES:
            value = getattr(self, name)
            number = isinstance(value, (int, kind)) and not isinstance(value, bool)
            if value is not None and not (number and low <= value < math.inf):
                raise OptionError(f"{name} must be a {'whole ' if kind is int else ''}number >= {low}; got {value!r}.")
        if self.headers is not None and not isinstance(self.headers, Mapping):
            raise OptionError(f"headers must map names to values; got {type(self.headers).__name__}.")

    def connection(self) -> Connection:
        """See `Connection.of`."""
        return Connection.of(
            self.url, key_name=self.api_key_env, headers=self.headers, retries=self.retries, timeout_s=self.timeout_s
        )


class ServedTeacher(Responding, ABC):
    """A model behind a server, asked with one request for each response.

    A request that the server refuses is a `Refusal` and the others go on; so is one whose retries are used up, until eight of
    these come in a row.

    Attributes
    ----------
    about : TeacherInfo
    encoder : Encoder or TextOnly
    spent : Spent
        What was asked and counted since the teacher was opened.
    """

    about: TeacherInfo
    encoder: Any

    def __init__(self, connection: Connection, card: Card, options: ServerOptions) -> None:
        self.spent = Spent()
        self._connection, self._card, self._options = connection, card, options
        self._limits = tuple(
            None if limit is None else PerMinute(limit)
            for limit in (options.requests_per_minute, options.tokens_per_minute)
        )
        self._streams: weakref.WeakSet[Answers] = weakref.WeakSet()
        self._closed = False

    @abstractmethod
    async def _post(self, client: Any, request: Request, sampling: Sampling) -> Any:
        """Send one request; return the client's object."""

    @abstractmethod
    def _completion(self, answer: Any) -> Completion | None:
        """What an answer says; None where it says nothing that can be used."""

    @abstractmethod
    def _prompt_tokens(self, request: Request) -> int:
        """Length of a prompt, roughly where it is not known."""

    @abstractmethod
    def check(self, sampling: Sampling) -> None:
        """Raise `OptionError` for what this server cannot be asked, before anything is."""

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """See `Teacher.stream`."""
        if self._closed:
            raise WorkerError("the teacher is closed; open it again.")
        self.check(sampling)
        answers = in_flight(lambda: self._asking(sampling), requests, concurrency=self._options.concurrency)
        self._streams.add(answers)
        return answers

    def close(self) -> None:
        """See `Teacher.close`."""
        self._closed = True
        for answers in list(self._streams):
            answers.close()

    @asynccontextmanager
    async def _asking(self, sampling: Sampling) -> AsyncIterator[Ask]:
        """What answers one request, for as long as the block lasts."""
        requests, tokens = (Gate(limit) for limit in self._limits)
        failed = 0  # in a row

        async def before(sent: Any) -> None:
            await requests.enter()
            self.spent.requests += 1
            self.spent.retries += sent.headers.get("x-stainless-retry-count", "0") != "0"

        async def ask(request: Request) -> Completion | Refusal:
            nonlocal failed
            taken = await tokens.enter(self._prompt_tokens(request) + sampling.max_tokens)
            try:
                answer = await self._post(client, request, sampling)
            except Exception as problem:
                taken.amount = 0
                refusal, gone = refused(problem, self._connection)
            else:
                counted = self.spent.note(answer)
                taken.amount = taken.amount if counted is None else counted
                completion = self._completion(answer)
                if completion is not None:
                    failed = 0
                    return completion
                refusal, gone = Refusal("the server's answer holds no response"), True
            self.spent.refused += 1
            failed = failed + 1 if gone else 0
            if failed >= _FAILED_IN_A_ROW:
                raise WorkerError(
                    f"the server at {self._connection.shown} failed {failed} times in a row, at last: {refusal.reason}."
                )
            return refusal

        async with self._connection.async_client(before) as client:
            yield ask


def own_type(dtype: str, device: str, *, backend: str) -> None:
    """Refuse a number type or device for a server, which has its own."""
    for name, value in (("dtype", dtype), ("device", device)):
        if value != "auto":
            raise OptionError(
                f"{name}={value!r} was asked for, but with backend {backend!r} it is the server's own; leave it out."
            )
