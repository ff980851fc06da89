"""The training step traced once to a flat graph and compiled by torch's inductor, without guards."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from uqkd.stacked.engines.stepping import Carry, Data, Step

CACHE_STEPS = 64  # compiled steps held in memory; each is a small library
_CACHE: dict[str, Callable[..., list[Tensor]]] = {}


def available(device: torch.device) -> bool:
    """Whether what inductor compiles with is there: a C++ compiler on a CPU, Triton on a GPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(name and shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "c++"))


def compile_step(step: Step, carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> Step:
    """The step compiled for arguments of these shapes; raises whatever torch raises where it cannot be.

    A step with the same graph and shapes is compiled once per process.
    """
    example = _flat(carry, data, rows, rate)
    changing, fixed = len(carry.flat()), len(data.flat())

    def on_tensors(*tensors: Tensor) -> list[Tensor]:
        order = None if rows is None else tensors[-2]
        held = data.refilled(tensors[changing : changing + fixed])
        return step(carry.refilled(tensors[:changing]), held, order, tensors[-1]).flat()

    compiled = build(on_tensors, example)

    @torch.no_grad()
    def run(carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> Carry:
        return carry.refilled(compiled(*_flat(carry, data, rows, rate)))

    return run


def _flat(carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> list[Tensor]:
    return [*carry.flat(), *data.flat(), *(() if rows is None else (rows,)), rate]


def build(function: Callable[..., list[Tensor]], example: list[Tensor]) -> Callable[..., list[Tensor]]:
    """The function traced on tensors like these and compiled; taken from memory where its graph was compiled before."""
    from torch._inductor import compile as compile_graph
    from torch.fx.experimental.proxy_tensor import make_fx

    with warnings.catch_warnings(), _sound_tiles():
        warnings.simplefilter("ignore")  # torch's own, about its own internals
        graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
        name = _fingerprint(graph, example)
        if name not in _CACHE:
            while len(_CACHE) >= CACHE_STEPS:
                _CACHE.pop(next(iter(_CACHE)))
            _CACHE[name] = compile_graph(graph, list(example))
    return _CACHE[name]


@contextmanager
def _sound_tiles() -> Iterator[None]:
    """Keep inductor from tiling two axes that are not adjacent loops.

    In such a kernel a reduction stores whole vectors past the end of its rows, and so corrupts memory
    (https://github.com/pytorch/pytorch/issues/196681, in torch 2.13). Without tiles the kernel is scalar, and right.
    """
    from torch._inductor.codegen.cpp import KernelOpStats, TilingSelect

    honest = TilingSelect.select_tiling

    def select(self: Any, *arguments: Any) -> Any:
        factors, axes, stats = honest(self, *arguments)
        return ([], [], KernelOpStats()) if len(axes) == 2 and axes[1] != axes[0] + 1 else (factors, axes, stats)

    TilingSelect.select_tiling = select  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        TilingSelect.select_tiling = honest  # type: ignore[method-assign]


def _fingerprint(graph: torch.fx.GraphModule, example: list[Tensor]) -> str:
    """Equal for equal graphs on equal kinds of inputs; constants in the graph count with their values."""
    kinds = [(tuple(t.shape), t.stride(), str(t.dtype), str(t.device)) for t in example]
    constants = [
        (n.target, v.detach().cpu().numpy().tobytes())
        for n in graph.graph.nodes
        if n.op == "get_attr" and isinstance(v := getattr(graph, str(n.target), None), Tensor)
    ]
    text = repr((graph.code, kinds, constants, torch.get_num_threads()))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
