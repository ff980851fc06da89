"""The compiled step is the eager one; where it cannot be compiled, the eager one runs and says so."""

import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uqkd import seeds
from uqkd.errors import UqkdWarning
from uqkd.stacked import Recipe, Stacked, stack, train
from uqkd.stacked.engines import compiled, running

FULL = os.environ.get("UQKD_FAULTS") == "full"
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
needs_compiler = pytest.mark.skipif(not compiled.available(torch.device("cpu")), reason="no C++ compiler")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
RECIPES = {
    "sgd": Recipe(steps=200, batch=6, optimiser="sgd", lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": Recipe(steps=200, batch=6, clip_norm=0.5, weight_decay=0.01),
    "adamw": Recipe(steps=200, batch=6, optimiser="adamw", weight_decay=0.1, schedule="cosine"),
}


# Compiling takes 10 to 40 seconds a graph: `make test` does two, `make faults` all.
GRAPHS = [
    ("convolution and batch norm", "sgd", "float64"),
    ("tied embedding and head", "adamw", "float32"),
    *([
        ("convolution and batch norm", "sgd", "float32"),
        ("convolution with stride, padding, groups, no bias", "adam", "float64"),
        ("convolution with stride, padding, groups, no bias", "adam", "float32"),
        ("tied embedding and head", "adamw", "float64"),
        ("group norm of images", "adam", "float64"),
        ("group norm of images", "adam", "float32"),
    ] if FULL else []),
]  # fmt: skip


@needs_compiler
@pytest.mark.parametrize(("name", "recipe", "dtype"), GRAPHS)
def test_compiled_together_is_plain_torch_alone(kinds, problem, plainly, difference, name, recipe, dtype):
    p = problem(kinds[name], dtype=dtype)
    alone = [p.model.student(s) for s in range(3)]
    seen = train(p.model, p.X, p.targets, RECIPES[recipe], orders=p.orders, shared=False, engine="compiled")
    assert seen.engine == "compiled"
    last = [plainly(a, p.X[s], p.targets[s], RECIPES[recipe], p.orders[s]) for s, a in enumerate(alone)]
    largest, mean = difference(p.model, alone)
    assert largest <= TOLERANCE[dtype], f"largest {largest:.1e}, mean {mean:.1e}"
    np.testing.assert_allclose(seen.loss, last, rtol=0, atol=10 * TOLERANCE[dtype])


def network():
    return nn.Sequential(nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 2))


DRAW = seeds.generator("test", "compiled", shared=True)
X, TARGETS = DRAW.standard_normal((12, 5)), DRAW.standard_normal((5, 12, 2))


def trained(engine, *, chunk=None, steps=60, students=5, dtype="float64", **options):
    model = stack(network, students, key=("test", "compiled"), dtype=dtype)
    seen = train(model, X, TARGETS[:students], Recipe(steps=steps, **options), engine=engine, chunk=chunk)
    return model, seen


@needs_compiler
@pytest.mark.parametrize("chunk", [2, 5])
def test_chunks_of_any_size_are_the_eager_students(chunk):
    """Five students in chunks of two: the last is filled up, and what fills it leaves no trace."""
    eager, one = trained("eager")
    model, seen = trained("compiled", chunk=chunk)
    assert seen.engine == "compiled"
    assert seen.loss.shape == (5,)
    np.testing.assert_allclose(seen.loss, one.loss, rtol=1e-12)
    for name, values in eager.parameters_by_name(buffers=True).items():
        torch.testing.assert_close(model.parameters_by_name(buffers=True)[name], values, rtol=1e-12, atol=1e-12)
    for name, values in eager.named_buffers():
        assert values.is_floating_point() or torch.equal(values, dict(model.named_buffers())[name])


@needs_compiler
def test_a_step_is_compiled_once_per_process(monkeypatch):
    trained("compiled")
    monkeypatch.setattr(torch._inductor, "compile", None)  # a second compilation would fail and warn
    assert trained("compiled", steps=7)[1].engine == "compiled"


@needs_compiler
def test_other_constants_make_another_graph():
    """Two forwards that differ only in the value of a tensor they close over must not share a compiled step."""

    class Shifted(nn.Module):
        def __init__(self, by):
            super().__init__()
            self.layer, self.by = nn.Linear(5, 2), torch.full((2,), by)

        def forward(self, x):
            return self.layer(x) + self.by

    ends = {}
    for by in (0.0, 3.0):
        for engine in ("eager", "compiled"):
            model = stack(lambda by=by: Shifted(by), 2, key=("test", "shift"))
            seen = train(model, X, TARGETS[:2], Recipe(steps=20), engine=engine)
            assert seen.engine == engine
            ends[by, engine] = model.parameters_by_name()["layer.bias"]
        torch.testing.assert_close(ends[by, "eager"], ends[by, "compiled"], rtol=1e-5, atol=1e-5)
    assert (ends[0.0, "compiled"] - ends[3.0, "compiled"]).abs().min() > 1e-3


NOT_ADJACENT = """
import torch, torch._inductor.config
from torch.nn import functional as F
from uqkd.stacked.engines import compiled
torch._inductor.config.force_disable_caches = True
def f(x):
    v = x * 0.5 * (torch.erf(x * 0.7) + 1)
    p = F.pad(v.permute(3, 2, 1, 0), (0, 0, 0, 58), value=0.5)
    return [F.pad(v, (0, 0, 0, 0, 0, 58), value=0.5) @ p]
x = torch.linspace(-2, 2, 8 * 66 * 66).reshape(1, 8, 66, 66).contiguous(memory_format=torch.channels_last)
step = compiled.build(f, [x])
for _ in range(3):
    torch.testing.assert_close(step(x)[0], f(x)[0], rtol=1e-4, atol=1e-4)
"""


@needs_compiler
def test_tiles_that_corrupt_memory_are_not_made():
    """The example of pytorch issue 196681: without our guard torch 2.13 ends it by SIGABRT, or gives wrong numbers."""
    done = subprocess.run([sys.executable, "-c", NOT_ADJACENT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_the_eager_step_runs_and_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.warns(UqkdWarning, match=r"runs eagerly: no C\+\+ compiler found") as caught:
        _, seen = trained("compiled", chunk=2, steps=3)
    assert seen.engine == "eager"
    assert len(caught) == 1  # not one per chunk
    monkeypatch.setattr(running, "WORTH_COMPILING", 1)
    assert trained("auto", steps=3)[1].engine == "eager"  # and without a warning where nobody asked


def test_a_compilation_that_fails_is_one_warning(monkeypatch):
    def broken(*_):
        raise RuntimeError("internal\ncompiler error")

    monkeypatch.setattr(compiled, "compile_step", broken)
    monkeypatch.setattr(compiled, "available", lambda _: True)
    monkeypatch.setattr(running, "WORTH_COMPILING", 1)
    for engine in ("auto", "compiled"):
        with pytest.warns(UqkdWarning, match="runs eagerly: internal compiler error") as caught:
            _, seen = trained(engine, steps=3)
        assert seen.engine == "eager"
        assert len(caught) == 1


@needs_compiler
def test_auto_compiles_where_it_pays(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trained("auto", steps=60)[1].engine == "eager"
        monkeypatch.setattr(running, "WORTH_COMPILING", 5 * 60)
        assert trained("auto", steps=60)[1].engine == "compiled"


@needs_gpu
@pytest.mark.parametrize("engine", ["eager", "compiled"])
def test_on_a_gpu_students_are_those_of_the_cpu(engine):
    there = stack(network, 5, key=("test", "compiled"), dtype="float64", device="cuda")
    seen = train(there, X, TARGETS, Recipe(steps=60), engine=engine)
    assert seen.engine == engine
    here, _ = trained("eager")
    for name, values in here.parameters_by_name(buffers=True).items():
        torch.testing.assert_close(there.parameters_by_name(buffers=True)[name].cpu(), values, rtol=1e-9, atol=1e-9)
    assert there.student(1)(torch.as_tensor(X, device="cuda")).shape == (12, 2)


@needs_gpu
def test_on_a_gpu_chunks_fit_its_memory():
    model = Stacked.of(nn.Sequential(nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 1)), 64, device="cuda")
    seen = train(model, torch.randn(256, 512), torch.zeros(1, 256, 1), Recipe(steps=3))
    assert seen.healthy.all()
    assert not seen.halved
    assert F.mse_loss(model(torch.zeros(1, 512)), torch.zeros(64, 1, 1, device="cuda")).isfinite()
