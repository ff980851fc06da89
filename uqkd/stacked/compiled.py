"""The training step traced once to a flat graph and compiled by torch's inductor, without guards."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from uqkd.stacked.stepping import Carry, Data, Step

KEPT = 64  # compiled steps held in memory; each is a small library
_CACHE: dict[str, Callable[[list[Any]], Any]] = {}


def available(device: torch.device) -> bool:
    """Whether what inductor compiles with is there: a C++ compiler on a CPU, Triton on a GPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return any(name and shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "c++"))


def compile_step(step: Step, carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> Step:
    """The step compiled for arguments of these shapes; raises whatever torch raises where it cannot be.

    A step with the same graph and shapes is compiled once per process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own internals
        return _compiled(step, (carry, data, rows, rate), tree_flatten(carry)[1])


def _compiled(step: Step, arguments: tuple[Any, ...], form: TreeSpec) -> Step:
    from torch._inductor import compile as build
    from torch.fx.experimental.proxy_tensor import make_fx

    flat, spec = tree_flatten(arguments)
    present = [isinstance(v, Tensor) for v in flat]

    def on_tensors(*tensors: Tensor) -> list[Any]:
        given = iter(tensors)
        refilled = tree_unflatten([next(given) if there else None for there in present], spec)
        return tree_flatten(step(*refilled))[0]

    example = [v for v in flat if isinstance(v, Tensor)]
    graph = make_fx(on_tensors, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
    name = _fingerprint(graph, example)
    if name not in _CACHE:
        while len(_CACHE) >= KEPT:
            _CACHE.pop(next(iter(_CACHE)))
        _CACHE[name] = build(graph, list(example))
    compiled = _CACHE[name]

    @torch.no_grad()
    def run(carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> Carry:
        tensors = [v for v in tree_flatten((carry, data, rows, rate))[0] if v is not None]
        return tree_unflatten(list(compiled(*tensors)), form)

    return run


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
