"""Stacked students against a PyTorch loop, JAX and the products alone; the designs tried; the published study; memory.

All times are per student and step, on every core of the machine, interleaved in one run.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.measuring import Row
from uqkd import seeds
from uqkd.mlp import batch_orders, initialisation, mlp
from uqkd.stacked import Recipe, Stacked, train
from uqkd.stacked.engines.building import build

CORES = os.cpu_count() or 1
ROUNDS = 7


@dataclass(frozen=True)
class Problem:
    """S students of one shape; full batches of all rows, or batches in an order of each student's own."""

    name: str
    widths: tuple[int, ...]
    students: int
    rows: int
    batch: int | None
    steps: int

    @property
    def recipe(self) -> Recipe:
        """Adam at .01."""
        return Recipe(steps=self.steps, batch=self.batch)

    @property
    def flops(self) -> float:
        """Of the products of one step of one student: forward, gradients of weights, and of all inputs but the first."""
        layers = list(zip(self.widths[:-1], self.widths[1:], strict=True))
        weights = sum(i * o for i, o in layers)
        return 2.0 * (self.batch or self.rows) * (3 * weights - self.widths[0] * self.widths[1])


PROBLEMS = (
    Problem("13→16→1, 404 rows full batch, S=256", (13, 16, 1), 256, 404, None, 200),
    Problem("8→64→64→1, batch 64, S=64", (8, 64, 64, 1), 64, 404, 64, 200),
)
GOALS = {PROBLEMS[0].name: (60.0, 3.0, 3.0), PROBLEMS[1].name: (0.0, 2.0, 2.5)}  # loop, JAX, products


class Data:
    """Rows, labels, orders and initial parameters of a problem."""

    def __init__(self, problem: Problem) -> None:
        generator = seeds.generator("bench", "mlp", problem.name, shared=True)
        p, students = problem, np.arange(problem.students)
        self.X = generator.standard_normal((p.rows, p.widths[0]), dtype=np.float32)
        self.y = generator.standard_normal((p.students, p.rows, 1), dtype=np.float32)
        self.begin = initialisation(p.widths, students, key=("bench", "mlp"), shared=True)
        self.orders = None
        if p.batch is not None:
            self.orders = batch_orders(p.rows, p.batch, p.steps, students, key=("bench", "mlp"), shared=True)


def stacked(problem: Problem, data: Data, engine: str) -> Callable[[], object]:
    """Our own `train`, whole: arguments checked, data gathered, students trained and put back."""
    model = Stacked.of(mlp(problem.widths), problem.students)
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y)

    def work() -> None:
        model.load(data.begin)
        assert train(model, X, y, problem.recipe, orders=data.orders, engine=engine).engine == engine

    return work


def pytorch_loop(problem: Problem, data: Data) -> Callable[[], object]:
    """One student by nn.Module and torch.optim, as the published scripts train theirs one after another."""
    layers: list[nn.Module] = []
    for i, o in zip(problem.widths[:-1], problem.widths[1:], strict=True):
        layers += [nn.utils.skip_init(nn.Linear, i, o), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.y[0])
    orders = None if data.orders is None else torch.from_numpy(data.orders[0].astype(np.int64))

    def work() -> None:
        model.load_state_dict({name: torch.from_numpy(values[0]) for name, values in data.begin.items()})
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        for t in range(problem.steps):
            rows, labels = (X, y) if orders is None else (X[orders[t]], y[orders[t]])
            optimiser.zero_grad()
            nn.functional.mse_loss(model(rows), labels).backward()
            optimiser.step()

    return work


def jax_scan(problem: Problem, data: Data) -> Callable[[], object]:
    """The same training in JAX: a step under lax.scan, vmapped over students, compiled."""
    import jax
    import jax.numpy as jnp

    tree = jax.tree_util.tree_map
    X, y = jnp.asarray(data.X), jnp.asarray(data.y[..., 0])
    orders = None if data.orders is None else jnp.asarray(data.orders)
    names = list(data.begin)
    begin = [
        (jnp.asarray(data.begin[w].transpose(0, 2, 1), jnp.float32), jnp.asarray(data.begin[b], jnp.float32))
        for w, b in zip(names[::2], names[1::2], strict=True)
    ]

    def loss(parameters: Any, rows: Any, labels: Any) -> Any:
        for layer, (weight, bias) in enumerate(parameters):
            rows = rows @ weight + bias
            rows = jax.nn.relu(rows) if layer + 1 < len(parameters) else rows
        return ((rows[:, 0] - labels) ** 2).mean()

    def one(parameters: Any, labels: Any, order: Any) -> Any:
        def step(carry: Any, t: Any) -> Any:
            p, m, v = carry
            rows, aims = (X, labels) if order is None else (X[order[t]], labels[order[t]])
            g = jax.grad(loss)(p, rows, aims)
            m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            size, root = 0.01 / (1 - 0.9 ** (t + 1.0)), 1 / (1 - 0.999 ** (t + 1.0))
            return (tree(lambda p, m, v: p - size * m / (jnp.sqrt(v * root) + 1e-8), p, m, v), m, v), None

        zeros = tree(jnp.zeros_like, parameters)
        return jax.lax.scan(step, (parameters, zeros, zeros), jnp.arange(problem.steps))[0][0]

    run = jax.jit(jax.vmap(one, (0, 0, None if orders is None else 0)))
    return lambda: jax.block_until_ready(run(begin, y, orders))


def products(problem: Problem) -> Callable[[], object]:
    """The products of one step of all students by torch.bmm, and nothing else."""
    generator = seeds.generator("bench", "products", shared=True)
    rows, S = problem.batch or problem.rows, problem.students

    def random(*shape: int) -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))

    pairs = []
    for layer, (i, o) in enumerate(zip(problem.widths[:-1], problem.widths[1:], strict=True)):
        x, w, g = random(S, rows, i), random(S, o, i), random(S, rows, o)
        pairs += [(x, w.transpose(1, 2)), (g.transpose(1, 2), x), *([(g, w)] if layer else [])]
    outs = [torch.bmm(a, b) for a, b in pairs]

    def work() -> None:
        for _ in range(20):
            for (a, b), out in zip(pairs, outs, strict=True):
                torch.bmm(a, b, out=out)

    return work


def peak() -> float:
    """GFLOP/s of multiply-adds on the registers of all cores at once."""
    library = build(Path(__file__).with_name("peak.cpp"))
    assert library is not None
    library.peak.restype, library.peak.argtypes = ctypes.c_double, [ctypes.c_double]
    with ThreadPoolExecutor(CORES) as pool:
        return sum(pool.map(library.peak, [0.5] * CORES))


def interleaved(works: dict[str, tuple[Callable[[], object], float]]) -> dict[str, list[float]]:
    """Microseconds per student-step of each work, round by round in turn; each is run once before."""
    for work, _ in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (work, count) in works.items():
            start = time.perf_counter()
            work()
            times[name].append(1e6 * (time.perf_counter() - start) / count)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def compare(problem: Problem, most: float) -> list[Row]:
    """One problem: peers, limits and the designs that were tried."""
    data, each = Data(problem), problem.students * problem.steps
    works = {
        "fused": (stacked(problem, data, "fused"), each),
        "compiled": (stacked(problem, data, "compiled"), each),
        "eager": (stacked(problem, data, "eager"), each),
        "loop": (pytorch_loop(problem, data), problem.steps),
        "JAX": (jax_scan(problem, data), each),
        "products": (products(problem), 20 * problem.students),
    }
    times = interleaved(works)
    us = {name: statistics.median(values) for name, values in times.items()}
    ours, (loop, scan, limit) = f"{us['fused']:.2f} µs", GOALS[problem.name]
    by_loop, by_jax = ratio(times["loop"], times["fused"]), ratio(times["JAX"], times["fused"])
    by_products, rate = ratio(times["fused"], times["products"]), problem.flops / us["fused"] / 1e3
    goal, bmm = f"≥ {loop:g}×" if loop else "", f"torch.bmm alone {us['products']:.2f} µs"
    found = [
        Row(problem.name, ours, f"PyTorch loop {us['loop']:.0f} µs", by_loop, goal, by_loop >= loop),
        Row("  the same", ours, f"JAX vmap+jit+scan {us['JAX']:.2f} µs", by_jax, f"≥ {scan:g}×", by_jax >= scan),
        Row("  the same", ours, bmm, by_products, f"≤ {limit:g}×", by_products <= limit),
        Row("  share of peak", f"{rate:.0f} GFLOP/s", f"registers {most:.0f} GFLOP/s", rate / most, "", True),
    ]
    for name, what in (("compiled", "one graph per step"), ("eager", "stacked modules, eager")):
        slower = ratio(times[name], times["fused"])
        found.append(Row(f"  tried: {what}", f"{us[name]:.1f} µs", f"fused kernel {ours}", slower, "", True))
    return found


def published() -> Row:
    """The published study through the command line: 16 k × 4 α × 1,000 networks, averaged and weighted."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = 0.0
        for extra in (["mlp_response_averaging"], ["mlp_variance_weighting", "--set", 'methods=["average", "oracle"]']):
            command = [sys.executable, "-m", "uqkd", "study", *extra, "--preset", "paper", "--out", folder]
            start = time.perf_counter()
            subprocess.run([*command, "--workers", str(CORES)], check=True, capture_output=True)
            seconds += time.perf_counter() - start
    return Row(
        "published study, ≥ 128,000 networks × 200 steps", f"{seconds:.0f} s", "", seconds, "≤ 300 s", seconds <= 300
    )


def students_of_a_study(students: int) -> None:
    """So many students through the layer's own verbs, chunk by chunk."""
    from uqkd.estimators import Moments
    from uqkd.mlp import SeedDesign, Teacher, distill, weigh

    X = seeds.generator("bench", "memory", shared=True).standard_normal((404, 13))
    teacher = Teacher.fit(X, X[:, 0], noise_var=0.5, key=("bench",))
    spread = Moments.about(teacher.predict_mean(X))
    for chunk, size in seeds.chunks(students, values=5 * len(X)):
        seed_design = SeedDesign.independent(size, first=chunk * seeds.CHUNK)
        targets = weigh(teacher.respond(X, 5, students=seed_design, key=("bench",)))
        spread = spread.add(
            distill(X, targets, recipe=Recipe(steps=20), seed_design=seed_design, key=("bench",)).predict_mean(X)
        )


def memory() -> Row:
    """Peak memory of fresh processes: eight chunks of students, and ten times as many."""
    found = []
    for students in (8 * seeds.CHUNK, 80 * seeds.CHUNK):
        code = f"from bench import mlp; mlp.students_of_a_study({students}); print(mlp.resident())"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found.append(float(out.stdout))
    small, large = found
    texts = f"{large:.1f} MiB", f"{small:.1f} MiB"
    return Row("memory, ten times the students", *texts, large / small, "≤ 1.02×", large / small <= 1.02)


def resident() -> float:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def rows() -> list[Row]:
    """The networks' part of the bench."""
    torch.set_num_threads(CORES)
    most = peak()
    found = [row for problem in PROBLEMS for row in compare(problem, most)]
    return [*found, memory(), published()]
