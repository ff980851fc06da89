"""Any server with OpenAI's completions endpoint that takes token ids and returns them, such as vLLM's own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from uqkd.errors import DataError, LibraryError, OptionError, WorkerError
from uqkd.llm.encoding import Encoder
from uqkd.llm.revision import model_revision
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Completion, Request, TeacherInfo

_TOGETHER = 64  # requests under way: keeps a small engine's batch full, and a large one answers as fast
_RETRIES = 3  # of one request, by the client, with growing pauses
_PATIENCE_S = 600.0  # for one answer


class ServerTeacher:
    """A model behind an OpenAI-compatible server.

    One request for each response: a server gives all prompts of one request the same noise. The tokenizer is loaded here, so
    that prompts go out, and responses come back, as token ids.

    Parameters
    ----------
    name_or_path, chat
        The model's folder or name on the hub, for its tokenizer; see `open_teacher`.
    url : str
        With its /v1.
    model : str, optional
        Name that the server knows; if not given, the only one it has, or `name_or_path`.
    logprobs : str
        "raw" (a server's default) or "processed": what its probabilities are of; it does not tell.
    together : int
        Requests under way at the same time.
    retries : int
        Of one request.
    api_key : str
        For servers that want one.

    Raises
    ------
    LibraryError
        The client library is not installed.
    OptionError
        A bad URL, or a model that the server does not have.
    WorkerError
        The server does not answer.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        url: str,
        chat: bool | None = None,
        model: str | None = None,
        logprobs: str = "raw",
        together: int = _TOGETHER,
        retries: int = _RETRIES,
        api_key: str = "none",
    ) -> None:
        try:
            from openai import OpenAI
        except ImportError:
            raise LibraryError("backend 'server' needs the library openai: pip install openai.") from None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"url got {url!r}; write it as http://host:port/v1.")
        self.encoder = Encoder.of(name_or_path, chat=chat)
        self._url, self._together = url, together
        self._client: Any = OpenAI(base_url=url, api_key=api_key, max_retries=retries, timeout=_PATIENCE_S)
        card = self._card(model, str(name_or_path))
        self._model = str(card.id)
        self.about = TeacherInfo(
            self._model.rstrip("/").rsplit("/", 1)[-1],
            _revision(card),
            "server",
            self._version(),
            "unknown",
            logprobs,
            self.encoder.chat,
        )

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """See `Teacher.complete`."""
        if self._client is None:
            raise WorkerError("the teacher is closed; open it again.")
        pool = ThreadPoolExecutor(self._together)
        try:
            return list(pool.map(lambda request: self._one(request, sampling), requests))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # after a failure the rest is not asked for

    def _one(self, request: Request, sampling: Sampling) -> Completion:
        from openai import OpenAIError

        try:
            answer = self._client.completions.create(
                model=self._model,
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
        except OpenAIError as problem:
            raise WorkerError(
                f"the server at {self._url} failed ({type(problem).__name__}: {_line(problem)})."
            ) from problem
        return self._completion(answer.choices[0])

    def _completion(self, choice: Any) -> Completion:
        ids = getattr(choice, "token_ids", None)
        if not ids or choice.logprobs is None or choice.logprobs.token_logprobs is None:
            raise DataError(
                f"the server at {self._url} returned no token ids or no logprobs; a server that knows return_token_ids is "
                "needed (vLLM's does), or use backend='vllm' or 'transformers'."
            )
        reason = "length" if choice.finish_reason == "length" else "stop"
        return Completion(tuple(ids), self.encoder.decode(ids), tuple(choice.logprobs.token_logprobs), reason)

    def _card(self, model: str | None, name: str) -> Any:
        """What the server says about the model."""
        from openai import OpenAIError

        try:
            cards = list(self._client.models.list())
        except OpenAIError as problem:
            raise WorkerError(
                f"the server at {self._url} does not answer ({type(problem).__name__}: {_line(problem)}); check the url and that "
                "it is running."
            ) from problem
        known = [str(card.id) for card in cards]
        wanted = model or (name if name in known or len(known) != 1 else known[0])
        if wanted not in known:
            raise OptionError(f"the server at {self._url} has no model {wanted!r}; it has {known}.")
        return cards[known.index(wanted)]

    def _version(self) -> str:
        """The server's version where it tells it, as vLLM does beside /v1."""
        from openai import OpenAIError

        parts = urlsplit(self._url)
        try:
            answer = self._client.get(f"{parts.scheme}://{parts.netloc}/version", cast_to=object)
            return str(answer.get("version", "unknown"))
        except (OpenAIError, AttributeError, ValueError):
            return "unknown"

    def close(self) -> None:
        """See `Teacher.close`."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _revision(card: Any) -> str:
    """Fingerprint of the model's folder if the server's lies here; otherwise unknown, with the name that the server uses."""
    root = str(getattr(card, "root", None) or "")
    if root and (Path(root) / "config.json").is_file():
        return model_revision(root)
    return f"unknown:{card.id}"


def _line(problem: Exception) -> str:
    return (str(problem).splitlines() or [""])[0][:200]
