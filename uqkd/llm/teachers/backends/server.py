"""Any server with OpenAI's completions endpoint that takes token ids and returns them, such as vLLM's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, OptionError, one_of
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.requests import Completion, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.servers.cards import cards, chosen, version_of
from uqkd.llm.teachers.servers.served import CONCURRENCY, RETRIES, TIMEOUT_S, ServedTeacher, ServerOptions, own_type

_GIVEN_UP = ("abort", "error")  # of a server that is shut down: the response is not whole


def open_backend(
    name_or_path: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    chat: bool | None = None,
    template_args: Mapping[str, Any] | None = None,
    url: str | None = None,
    model: str | None = None,
    logprobs: str = "raw",
    api_key_env: str | None = None,
    headers: Mapping[str, str] | None = None,
    concurrency: int = CONCURRENCY,
    retries: int = RETRIES,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    timeout_s: float = TIMEOUT_S,
) -> ServerTeacher:
    """A model behind an OpenAI-compatible server that takes and returns token ids.

    The tokenizer is loaded here, so that prompts go out, and responses come back, as token ids.

    Parameters
    ----------
    name_or_path, chat, template_args
        The model's folder or name on the hub, for its tokenizer; see `Encoder.of`.
    dtype, device : str
        The server's own: only "auto".
    url : str
        With its /v1.
    model : str, optional
        Name that the server knows; if not given, the only one it has, or `name_or_path`.
    logprobs : str
        "raw" (a server's default) or "processed": what its probabilities are of; it does not tell.
    api_key_env : str, optional
        Name of the environment variable that holds the key.
    headers : mapping, optional
        Sent with every request; "$NAME" stands for an environment variable.
    concurrency, retries, requests_per_minute, tokens_per_minute, timeout_s
        See `ServerOptions`.

    Raises
    ------
    LibraryError
        The client library is not installed.
    OptionError
        No or a bad URL, a model that the server does not have, an environment variable that is not set.
    WorkerError
        The server does not answer, or refuses the key.

    Examples
    --------
    >>> open_backend("some-model")
    Traceback (most recent call last):
    uqkd.errors.OptionError: backend 'server' needs the server's url: url='http://host:port/v1' (--url).
    """
    if url is None:
        raise OptionError("backend 'server' needs the server's url: url='http://host:port/v1' (--url).")
    own_type(dtype, device, backend="server")
    one_of("logprobs", logprobs, ("raw", "processed"))
    options = ServerOptions(
        url, api_key_env, headers, concurrency, retries, requests_per_minute, tokens_per_minute, timeout_s
    )
    connection = options.connection()
    encoder = Encoder.of(name_or_path, chat=chat, template_args=template_args)
    known = cards(connection)
    card = chosen(known, model or _named(str(name_or_path), [card.name for card in known]), connection)
    return ServerTeacher(connection, card, options, encoder=encoder, logprobs=logprobs)


def _named(name: str, known: list[str]) -> str:
    return name if name in known or len(known) != 1 else known[0]


class ServerTeacher(ServedTeacher):
    """See `open_backend`."""

    def __init__(self, *service: Any, encoder: Encoder, logprobs: str) -> None:
        super().__init__(*service)
        card = self._card
        if card.context and card.context < (encoder.context or card.context + 1):
            encoder = replace(encoder, context=card.context)
        self.encoder = encoder
        version = version_of(self._connection)
        self.about = TeacherInfo(card.short, card.revision, "server", version, "unknown", logprobs, encoder.chat)

    def check(self, sampling: Sampling) -> None:
        """Nothing: what is not neutral is a part of this API."""

    async def _post(self, client: Any, request: Request, sampling: Sampling) -> Any:
        return await client.completions.create(
            model=self._card.name,
            prompt=list(request.prompt_token_ids),
            n=1,
            seed=request.seed,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            logprobs=0,
            extra_body={
                "top_k": sampling.top_k,
                "min_p": sampling.min_p,
                "repetition_penalty": sampling.repetition_penalty,
                "stop_token_ids": list(self.encoder.stop_ids),
                "return_token_ids": True,
            },
        )

    def _completion(self, answer: Any) -> Completion | None:
        choices = getattr(answer, "choices", None)
        if not choices or choices[0].finish_reason in _GIVEN_UP:
            return None
        ids = getattr(choices[0], "token_ids", None)
        logs = getattr(choices[0].logprobs, "token_logprobs", None)
        if not ids or logs is None or len(logs) != len(ids):
            raise DataError(
                f"the server at {self._connection.shown} returned no token ids or no logprobs; a server that knows "
                "return_token_ids is needed (vLLM's does); backend='openai' takes text only."
            )
        return Completion(tuple(ids), self.encoder.decode(ids), tuple(logs), str(choices[0].finish_reason or "stop"))

    def _prompt_tokens(self, request: Request) -> int:
        return len(request.prompt_token_ids)
