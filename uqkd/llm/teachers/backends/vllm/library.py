"""Everything that is asked of vLLM itself: the only file that imports it."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from uqkd.errors import OptionError, WorkerError
from uqkd.llm.requests import Request
from uqkd.llm.sampling import Sampling
from uqkd.seeds import global_states_kept, torch_global_state

_RUNNING: weakref.WeakSet[Any] = weakref.WeakSet()  # engines of this process
_LINE = 300  # characters of an engine's error that are shown


def first_line(problem: BaseException) -> str:
    """The first line of an error, cut."""
    return (str(problem).splitlines() or [""])[0][:_LINE]


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
        return f"its code does not load ({type(problem).__name__}: {first_line(problem)})"
    lacking = hasattr(code, "MambaMixer") and not hasattr(torch.ops._C, "selective_scan_fwd")
    return "its build for CPUs lacks the selective scan of the first Mamba" if lacking else ""


def prepare(device: str, isolated: bool | None) -> bool:
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


def started(path: Path, **options: Any) -> tuple[Any, Any]:
    """The engine, and torch's global state as the engine left it when it had seeded it."""
    import torch
    from vllm import LLM

    set_threads = torch.set_num_threads
    try:
        # It seeds the global states, which no draw of a bank uses.
        with global_states_kept(), class_kept(path), _heap_set_aside():
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
        raise WorkerError(
            f"vLLM's engine did not start ({type(problem).__name__}: {first_line(problem)})."
        ) from problem
    finally:
        torch.set_num_threads = set_threads  # the CPU engine replaces it by one that does nothing


@contextmanager
def _heap_set_aside() -> Iterator[None]:
    """While an engine starts in this process, collect no garbage of what was there before it.

    vLLM collects five times as it starts, every time through all that was ever imported: 1.9 of a small model's 2.6 seconds. It
    sets the heap aside itself when it has started, and takes it back when it shuts down.
    """
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") != "0":
        yield
        return
    gc.freeze()
    try:
        yield
    except BaseException:
        gc.unfreeze()
        raise


def shut_down(engine: Any) -> None:
    """End an engine without what it shares with the other engines of this process, if there are any.

    vLLM's process groups are the process's own: torn down with the first engine, every other one would be dead.
    """
    from vllm.v1.engine import core

    _RUNNING.discard(engine)
    whole = core.cleanup_dist_env_and_memory
    if _RUNNING:
        core.cleanup_dist_env_and_memory = lambda *_given, **_more: None
    try:
        engine.llm_engine.engine_core.shutdown()
    finally:
        core.cleanup_dist_env_and_memory = whole


def parameters(sampling: Sampling, seed: int | None, stop_ids: tuple[int, ...], *, n: int = 1) -> Any:
    """What a request asks for."""
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


def prompt_of(ids: tuple[int, ...]) -> Any:
    """A prompt of token ids."""
    from vllm.inputs import TokensPrompt

    return TokensPrompt(prompt_token_ids=list(ids))


def ask(engine: Any, name: str, request: Request, wanted: Any, adapter: tuple[int, Path] | None) -> None:
    """Hand a request to an engine, to be answered under this name by the model or by its adapter of this number and folder.

    Raises
    ------
    ValueError
        The engine does not take it; says why.
    """
    from vllm.exceptions import VLLMClientError
    from vllm.lora.request import LoRARequest

    more = {}
    if adapter is not None:
        number, folder = adapter
        more["lora_request"] = LoRARequest(str(folder), number, str(folder))
    try:
        engine.llm_engine.add_request(name, prompt_of(request.prompt_token_ids), wanted, **more)
    except VLLMClientError as problem:
        raise ValueError(first_line(problem)) from None


@contextmanager
def without_ranks() -> Iterator[None]:
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
def grouped_adapters() -> Iterator[None]:
    """Inside the block an engine on a CPU applies an adapter to all its tokens in one product.

    vLLM's own code for CPUs copies the adapter's matrices for every token (a third of the time of a step, and 400 MB where a
    prompt pass has 8,192 tokens), those of the head, of 49,152 rows, even where it has no adapter, and gives tokens without an
    adapter the last one's where both are in a step.
    """
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU as Wrapper

    before = Wrapper.add_lora_linear, Wrapper.add_lora_logits
    Wrapper.add_lora_linear, Wrapper.add_lora_logits = _add_to_layer, _add_to_logits  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        Wrapper.add_lora_linear, Wrapper.add_lora_logits = before  # type: ignore[method-assign]


def _add_to_layer(
    wrapper: Any, y: Any, x: Any, first: Any, second: Any, scale: float, slices: Any, **_more: Any
) -> None:
    _add_grouped(wrapper.token_lora_indices, y, x, first, second, scale, slices)


def _add_to_logits(wrapper: Any, y: Any, x: Any, first: Any, second: Any, scale: float, **_more: Any) -> None:
    if second.any():  # an adapter of the head
        _add_grouped(wrapper.sampler_indices, y, x, (first,), (second,), scale, (min(second.shape[2], y.shape[-1]),))


def _add_grouped(which: Any, y: Any, x: Any, first: Any, second: Any, scale: float, slices: Any) -> None:
    """y[rows of an adapter] += scale · x A' B' for each adapter; the parts of a packed layer lie side by side in y."""
    y, x = y.view(-1, y.shape[-1])[: len(which)], x.view(-1, x.shape[-1])[: len(which)]
    for adapter in which.unique().tolist():
        if adapter < 0:
            continue
        rows: Any = which == adapter
        rows = slice(None) if bool(rows.all()) else rows
        own, begin = x[rows].to(first[0].dtype), 0
        for a, b, size in zip(first, second, slices, strict=True):
            part = own @ a[adapter, 0].T @ b[adapter, 0, :size].T
            y[rows, begin : begin + size] += (part if scale == 1 else scale * part).to(y.dtype)
            begin += size


@contextmanager
def class_kept(path: Path) -> Iterator[None]:
    """Inside the block transformers' own class of a model may be changed for the whole process; afterwards it is as before.

    vLLM runs families that it has no code for (SmolLM3, OLMo 2, GPT-NeoX) by transformers' class, which it gives another
    `__init__` and another base: without this no such model could be loaded by transformers any more, as students are.

    Examples
    --------
    >>> import tempfile
    >>> from transformers import GPTNeoXModel
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "config.json").write_text('{"model_type": "gpt_neox"}')
    ...     with class_kept(Path(place)):
    ...         GPTNeoXModel.forward = None
    >>> GPTNeoXModel.forward is None
    False
    """
    from transformers import MODEL_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    kinds: list[Any] = [
        MODEL_MAPPING[type(one)] for one in (config, config.get_text_config()) if type(one) in MODEL_MAPPING
    ]
    before = [(kind, kind.__bases__, dict(vars(kind))) for kind in kinds]
    try:
        yield
    finally:
        for kind, bases, own in before:
            kind.__bases__ = bases
            for name, value in list(vars(kind).items()):
                if name not in own:
                    delattr(kind, name)
                elif value is not own[name]:
                    setattr(kind, name, own[name])
