"""One engine of vLLM: started when it is first asked, as small as the prompts allow, shared by a model and its adapters."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uqkd.errors import WorkerError
from uqkd.llm.models.configuration import configuration
from uqkd.llm.requests import Request
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.backends.vllm import library
from uqkd.llm.teachers.backends.vllm.memory import cache_bytes, context_for, fewer_positions
from uqkd.llm.teachers.backends.vllm.quiet import quiet, silent
from uqkd.seeds import global_states_kept, torch_global_state

_BATCHED = 8192  # tokens of one step: on a CPU the prompts of a step must fit in whole
# A block of the key-value cache on a CPU. Responses to one prompt share its full blocks: with vLLM's own 128 a chat prompt of
# 41 tokens shares none (229 tokens/s on two cores), with 32 it shares most of it (372).
_BLOCK = 32


@dataclass(frozen=True)
class Options:
    """How an engine is started; see `VllmTeacher`."""

    dtype: str
    device: str
    isolated: bool | None
    sequences: int
    memory_share: float
    cache_gib: float | None


class Engine:
    """A model that vLLM runs, with adapters that it puts on request by request.

    Parameters
    ----------
    path : Path
        Folder of the model.
    options : Options
    adapters : sequence of Path
        Folders of adapters of this model.
    rank : int
        The largest rank of an adapter that vLLM is to make room for.

    Attributes
    ----------
    llm : vllm.LLM or None
        None before the first request, and after the last.
    context : int
        Tokens that a sequence may have.
    users : int
        Teachers that still need it; the last one to let go shuts it down.
    """

    def __init__(self, path: Path, options: Options, *, adapters: Sequence[Path] = (), rank: int = 0) -> None:
        self.path, self.options = path, options
        self.llm: Any = None
        self.context, self.users = 0, 0
        self._adapters, self._rank = tuple(adapters), rank
        self._usable, self._taken = True, False
        self._own_state: Any = None
        self._numbers = itertools.count()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside the block the engine answers one stream of requests; a second one would be given the first one's answers.

        Raises
        ------
        WorkerError
            It does already.
        """
        if self._taken:
            raise WorkerError("the engine is answering another stream of requests; finish or close that one first.")
        self._taken = True
        try:
            yield
        finally:
            self._taken = False

    def fit(self, longest: int, max_tokens: int, *, limit: int) -> None:
        """Start with a context that holds the longest prompt and its response; start again if the old one is too small.

        Parameters
        ----------
        longest, max_tokens : int
        limit : int
            The model's own context; 0 where it is not known.

        Raises
        ------
        WorkerError
            The engine is closed, has died or does not start.
        """
        if not self._usable:
            raise WorkerError("the engine is closed or has died; open the teacher again.")
        context = context_for(longest, max_tokens, limit)
        if self.llm is not None and context <= self.context:
            return
        self._shut_down()
        config, own = configuration(self.path), self.options
        with silent(), quiet():
            on_cpu = library.prepare(own.device, own.isolated)
            options: dict[str, Any] = {"gpu_memory_utilization": own.memory_share}
            if on_cpu:
                cache = cache_bytes(config, own.dtype, context=context, sequences=own.sequences)
                options = {
                    "enforce_eager": True, "distributed_executor_backend": "uni", "enable_chunked_prefill": False,
                    "max_num_batched_tokens": max(_BATCHED, context), "block_size": _BLOCK,
                    "kv_cache_memory_bytes": cache if own.cache_gib is None else int(own.cache_gib * 2**30),
                }  # fmt: skip
            if self._adapters:  # one at a time: the teachers of an engine are asked one after another
                kept = len(self._adapters)
                options |= {"enable_lora": True, "max_loras": 1, "max_cpu_loras": kept, "max_lora_rank": self._rank}
            self.llm, self._own_state = library.started(
                self.path, dtype=own.dtype, max_model_len=context, max_num_seqs=own.sequences,
                hf_overrides=fewer_positions(config, context), **options,
            )  # fmt: skip
        self.context = context

    def ask(self, request: Request, sampling: Sampling, stop_ids: tuple[int, ...], *, adapter: Path | None) -> str:
        """Hand over a request; the name by which its output comes back.

        Raises
        ------
        ValueError
            The engine does not take it; says why.
        """
        name = str(next(self._numbers))
        numbered = None if adapter is None else (self._adapters.index(adapter) + 1, adapter)
        library.ask(self.llm, name, request, library.parameters(sampling, request.seed, stop_ids), numbered)
        return name

    def finished(self) -> list[Any]:
        """Let the engine work until some responses are finished."""
        engine, found = self.llm.llm_engine, list[Any]()
        with self._drawing():
            while not found:
                found = [output for output in engine.step() if output.finished]
        return found

    def abort(self, names: Sequence[str]) -> None:
        """Give up requests that are under way."""
        if names and self.llm is not None:
            self.llm.llm_engine.abort_request(list(names))

    def generate(
        self, prompts: Sequence[tuple[int, ...]], sampling: Sampling, stop_ids: tuple[int, ...], *, n: int, seeds: Any
    ) -> list[Any]:
        """vLLM's own `generate`, n responses to a request."""
        import torch

        wanted = [library.parameters(sampling, seed, stop_ids, n=n) for seed in seeds]
        asked = [library.prompt_of(ids) for ids in prompts]
        with global_states_kept():
            # An engine in this process draws without a seed from torch's global state; between calls that is the user's own.
            torch.default_generator.set_state(self._own_state)
            with self._drawing(kept=False):
                outputs = list(self.llm.generate(asked, wanted, use_tqdm=False))
            self._own_state = torch_global_state()
        return outputs

    def release(self) -> None:
        """One teacher less; with the last one the engine is shut down for good."""
        self.users -= 1
        if self.users <= 0:
            self._usable = False
            self._shut_down()

    @contextmanager
    def _drawing(self, *, kept: bool = True) -> Iterator[None]:
        """What surrounds the engine's work; if it fails it is not used again."""
        grouped = library.grouped_adapters() if self._adapters else nullcontext()
        try:
            with quiet(), library.without_ranks(), grouped, global_states_kept() if kept else nullcontext():
                yield
        except BaseException as problem:
            self.llm, self._usable = None, False  # it may hold requests that would come back with the next ones
            if not isinstance(problem, Exception):
                raise
            raise WorkerError(
                f"vLLM's engine died while drawing ({type(problem).__name__}: {library.first_line(problem)})."
            ) from problem

    def _shut_down(self) -> None:
        llm, self.llm = self.llm, None
        if llm is not None:
            with quiet():
                library.shut_down(llm)
            del llm
            gc.collect()  # the cache of the old engine, before there is a new one
