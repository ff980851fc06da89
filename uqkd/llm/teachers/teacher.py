"""What a teacher is asked and what it answers, whichever engine draws."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from uqkd.errors import LibraryError, OptionError, one_of
from uqkd.llm.encoding import Encoder, Ids
from uqkd.llm.sampling import Sampling

BACKENDS = ("vllm", "server", "transformers")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Request:
    """One response wanted: the prompt's token ids and the seed of this draw alone."""

    prompt_token_ids: Ids
    seed: int


@dataclass(frozen=True)
class Completion:
    """One response drawn.

    Attributes
    ----------
    token_ids : tuple of int
        As drawn, with the token that ended it.
    text : str
        Without tokens that stand for no text.
    token_logprobs : tuple of float
        Natural logarithm of each token's probability, the ending token's too.
    finish_reason : str
        "stop" if the model ended it, "length" if it was cut.
    """

    token_ids: Ids
    text: str
    token_logprobs: tuple[float, ...]
    finish_reason: str


@dataclass(frozen=True)
class TeacherInfo:
    """Where draws come from, as it stands in every row of the bank.

    Attributes
    ----------
    name : str
        Name of the folder or on the hub.
    revision : str
        Fingerprint of the model's files; of a server what it tells.
    backend, engine_version, dtype : str
    logprobs : str
        "processed": of the distribution that was sampled. "raw": before temperature and cuts.
    chat : bool
        Prompts went through the chat template.
    """

    name: str
    revision: str
    backend: str
    engine_version: str
    dtype: str
    logprobs: str
    chat: bool


class Teacher(Protocol):
    """An engine that answers requests; each draw depends on its own seed, not on what it is batched with (beyond rounding)."""

    @property
    def about(self) -> TeacherInfo:
        """Where the draws come from."""

    @property
    def encoder(self) -> Encoder:
        """Its tokenizer."""

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion for each request, in their order.

        Raises
        ------
        WorkerError
            The engine died or ran out of memory.
        """

    def close(self) -> None:
        """Let go of the engine and its memory."""


def open_teacher(
    name_or_path: str | Path,
    *,
    backend: str = "vllm",
    dtype: str = "auto",
    device: str = "auto",
    chat: bool | None = None,
    url: str | None = None,
    **engine: Any,
) -> Teacher:
    """Open a teacher with one of the three engines.

    Parameters
    ----------
    name_or_path : str or path
        A model's folder, or its name on the hub; see `check_model`.
    backend : str
        "vllm" (in this process or beside it), "server" (any OpenAI-compatible endpoint that returns token ids) or
        "transformers" (no further engine).
    dtype : str
        "float32", "bfloat16", "float16", or "auto", the one that the model was saved in. What was used is in `.about`.
    device : str
        "auto" takes the GPU if there is one; "cpu" and "cuda" insist.
    chat : bool, optional
        Use the chat template; if not given, when there is one.
    url : str, optional
        Of the server, with its /v1.
    **engine
        Options of the engine, see its class.

    Raises
    ------
    OptionError, DataError, LibraryError
        Unknown option, unusable model, or an engine that is not installed; no engine is started.
    """
    one_of("backend", backend, BACKENDS)
    one_of("dtype", dtype, DTYPES)
    one_of("device", device, ("auto", "cpu", "cuda"))
    if (backend == "server") != (url is not None):
        raise OptionError(
            f"backend {backend!r} got url={url!r}; 'server' needs the server's url, the others take none."
        )
    if backend == "vllm":
        from uqkd.llm.teachers.vllm import VllmTeacher

        return VllmTeacher(name_or_path, dtype=dtype, device=device, chat=chat, **engine)
    if backend == "server":
        from uqkd.llm.teachers.server import ServerTeacher

        return ServerTeacher(name_or_path, url=url or "", chat=chat, **engine)
    if importlib.util.find_spec("torch") is None:
        raise LibraryError(
            "backend 'transformers' needs torch, which is not installed: pip install 'uqkd[torch]' transformers."
        )
    from uqkd.llm.teachers.transformers import TransformersTeacher

    return TransformersTeacher(name_or_path, dtype=dtype, device=device, chat=chat, **engine)
