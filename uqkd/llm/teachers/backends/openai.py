"""Any OpenAI-compatible chat API: text goes out, and text comes back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uqkd.errors import OptionError, one_of
from uqkd.llm.prompts.prompts import messages
from uqkd.llm.requests import Completion, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.servers.cards import cards, chosen, version_of
from uqkd.llm.teachers.servers.served import CONCURRENCY, RETRIES, TIMEOUT_S, ServedTeacher, ServerOptions, own_type
from uqkd.llm.teachers.servers.text_only import TextOnly

KEY_ENV = "OPENAI_API_KEY"
SEEDS = ("sent", "none")
MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")

# Sampling parameters beside the API, as the servers that take them call them.
_MORE = {
    "vllm": {"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repetition_penalty"},
    "llamacpp": {"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty"},
}
# What else changes the distribution, and can be set where the server was started: none of it.
_NEUTRAL: dict[str, dict[str, Any]] = {
    "vllm": {},
    "llamacpp": {
        "typical_p": 1.0, "top_n_sigma": -1.0, "xtc_probability": 0.0, "dry_multiplier": 0.0, "dynatemp_range": 0.0, "mirostat": 0,
    },
}  # fmt: skip
_CHARACTERS = 4  # of one token, roughly: only foreseen for tokens_per_minute, and put right by the answer
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
    seeds: str = "sent",
    max_tokens_field: str = "max_tokens",
    api_key_env: str | None = None,
    headers: Mapping[str, str] | None = None,
    concurrency: int = CONCURRENCY,
    retries: int = RETRIES,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    timeout_s: float = TIMEOUT_S,
) -> OpenAITeacher:
    """A model behind an OpenAI-compatible chat API, of which only the text of a response is seen.

    A seed of its own goes with every request; what a server makes of it is its own affair. vLLM draws with it as it stands;
    llama.cpp takes its lowest 32 bits; hosted APIs promise no more than their best effort, and some refuse it: with
    ``seeds="none"`` the bank says that its seeds are unknown, and independence is what the audit finds.

    Parameters
    ----------
    name_or_path : str
        Name of the model there, unless `model` gives it.
    dtype, device : str
        The server's own: only "auto".
    chat : bool, optional
        Only True: prompts go out as chats.
    template_args : mapping, optional
        Arguments of the chat template, for vLLM's server and llama.cpp's.
    url : str, optional
        With its /v1; if not given, what OPENAI_BASE_URL names, or the client library's own.
    model : str, optional
        Name of the model there.
    seeds : str
        "sent" or "none".
    max_tokens_field : str
        "max_tokens", or "max_completion_tokens" for APIs that want it.
    api_key_env : str, optional
        Name of the environment variable that holds the key; if not given, OPENAI_API_KEY if that is set.
    headers : mapping, optional
        Sent with every request; "$NAME" stands for an environment variable.
    concurrency, retries, requests_per_minute, tokens_per_minute, timeout_s
        See `ServerOptions`.

    Raises
    ------
    LibraryError
        The client library is not installed.
    OptionError
        A bad URL or option, a model that the server does not have, an environment variable that is not set.
    WorkerError
        The server does not answer, or refuses the key.

    Examples
    --------
    >>> open_backend("some-model", url="localhost:8000")
    Traceback (most recent call last):
    uqkd.errors.OptionError: url got 'localhost:8000'; write it as http://host:port/v1.
    """
    if chat is False:
        raise OptionError("backend 'openai' sends prompts as chats; chat=False (--no-chat) needs backend='server'.")
    own_type(dtype, device, backend="openai")
    one_of("seeds", seeds, SEEDS)
    one_of("max_tokens_field", max_tokens_field, MAX_TOKENS_FIELDS)
    key_env = api_key_env or (KEY_ENV if os.environ.get(KEY_ENV) else None)
    options = ServerOptions(
        url, key_env, headers, concurrency, retries, requests_per_minute, tokens_per_minute, timeout_s
    )
    connection = options.connection()
    card = chosen(cards(connection), model or str(name_or_path), connection)
    return OpenAITeacher(
        connection,
        card,
        options,
        seeds=seeds,
        max_tokens_field=max_tokens_field,
        template_args=dict(template_args or {}),
    )


class OpenAITeacher(ServedTeacher):
    """See `open_backend`."""

    def __init__(self, *service: Any, seeds: str, max_tokens_field: str, template_args: dict[str, Any]) -> None:
        super().__init__(*service)
        card = self._card
        self._known = card.owner in _MORE
        if template_args and not self._known:
            raise OptionError(
                f"template arguments {sorted(template_args)} were given, but the server at {self._connection.shown} does not say "
                "that it is vLLM's or llama.cpp's, which take them."
            )
        self._seeds, self._max_tokens_field, self._template_args = seeds, max_tokens_field, template_args
        note = (
            "" if self._known else "the server does not say what it is, so neither are cuts of its own (top_k, min_p)"
        )
        self.encoder = TextOnly(template_args=template_args, note=note)
        version = version_of(self._connection) if self._known else "unknown"
        told = "keyed" if seeds == "sent" else "unknown"
        self.about = TeacherInfo(card.short, card.revision, "openai", version, "unknown", "none", True, told)

    def check(self, sampling: Sampling) -> None:
        """Refuse parameters that are no part of the API at servers that may not know them, and more than the model holds."""
        if 0 < self._card.context <= sampling.max_tokens:
            raise OptionError(
                f"max_tokens={sampling.max_tokens} leaves no room for a prompt: the server at {self._connection.shown} takes "
                f"{self._card.context} tokens with the response; lower it."
            )
        neutral = Sampling()
        for name in _MORE["vllm"]:
            if not self._known and getattr(sampling, name) != getattr(neutral, name):
                raise OptionError(
                    f"{name}={getattr(sampling, name)!r} is no part of the chat API, and the server at {self._connection.shown} "
                    f"does not say that it is vLLM's or llama.cpp's, which take it; leave {name} at {getattr(neutral, name)!r}."
                )

    async def _post(self, client: Any, request: Request, sampling: Sampling) -> Any:
        owner = self._card.owner
        more = {theirs: getattr(sampling, ours) for ours, theirs in _MORE.get(owner, {}).items()} | _NEUTRAL.get(
            owner, {}
        )
        if self._template_args:
            more["chat_template_kwargs"] = self._template_args
        return await client.chat.completions.create(
            model=self._card.name,
            messages=messages(request.turns),
            n=1,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            **{self._max_tokens_field: sampling.max_tokens},
            **({"seed": request.seed} if self._seeds == "sent" else {}),
            extra_body=more or None,
        )

    def _completion(self, answer: Any) -> Completion | None:
        choices = getattr(answer, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None or choices[0].finish_reason in _GIVEN_UP:
            return None
        tokens = getattr(getattr(answer, "usage", None), "completion_tokens", None)
        text = choices[0].message.content
        reason = str(choices[0].finish_reason or "unknown")
        return Completion(
            None, text if isinstance(text, str) else "", None, reason, tokens if isinstance(tokens, int) else None
        )

    def _prompt_tokens(self, request: Request) -> int:
        return sum(len(content) for _, content in request.turns) // _CHARACTERS
