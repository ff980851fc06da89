"""Faults 12 and 18 for trained networks: workers, chunks and threads change no bit of the fused kernel's students."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from uqkd.mlp import Recipe, SeedDesign, Teacher, distill, weigh
from uqkd.run import Run, Workers, load_study
from uqkd.seeds import generator
from uqkd.store import Store

STUDIES = Path(__file__).parents[2] / "studies"
SMALL = {"ks": (1, 4), "alphas": (0.5,), "replicates": 150}


def run_study(root, *, workers=None, executor="local"):
    study = load_study(STUDIES / "mlp_response_averaging.py")
    with Workers(workers or 1, executor=executor) as pool:
        study.main(study.options("quick", SMALL), Run(study, Store(root), workers=pool))


@pytest.mark.slow
@pytest.mark.process
def test_worker_count_changes_no_byte(contents, tmp_path):
    run_study(tmp_path / "one")
    run_study(tmp_path / "two", workers=2)
    one = contents(tmp_path / "one")
    assert len(one) > 5
    assert contents(tmp_path / "two") == one


@pytest.fixture
def problem():
    X = generator("test", "fault 12", "X").standard_normal((60, 5))
    teacher = Teacher.fit(X, X[:, 0] - X[:, 1] ** 2, noise_var=0.5, key=("test", "fault 12"))
    return X, teacher


def students(problem, total, chunk, *, engine="auto"):
    X, teacher = problem
    found = []
    for first in range(0, total, chunk):
        sources = SeedDesign.independent(min(chunk, total - first), first=first)
        responses = teacher.respond(X, 3, students=sources, key=("test",))
        options = {"recipe": Recipe(steps=100), "seed_design": sources, "key": ("test",), "engine": engine}
        found.append(distill(X, weigh(responses), **options).parameters)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


@pytest.mark.parametrize("chunk", [1, 3, 10])
@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_and_threads_change_no_bit(problem, chunk, threads):
    before = torch.get_num_threads()
    reference = students(problem, 10, 10)
    try:
        torch.set_num_threads(threads)
        found = students(problem, 10, chunk)
    finally:
        torch.set_num_threads(before)
    for name in reference:
        assert np.array_equal(found[name], reference[name]), name


def test_engines_agree_within_the_stated_bound(problem):
    """The kernel and the stacked modules sum in other orders: 1e-5 in float32 (200 steps; here 100)."""
    fused, eager = students(problem, 6, 6), students(problem, 6, 6, engine="eager")
    for name in fused:
        gap = np.abs(fused[name] - eager[name]) / np.maximum(1, np.abs(eager[name]))
        assert gap.max() < 1e-5, name


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_asking_for_one_says_so():
    from torch import nn

    from uqkd.errors import UqkdError
    from uqkd.stacked import Stacked

    with pytest.raises(UqkdError, match="cuda"):
        Stacked.of(nn.Linear(2, 1), 3, device="cuda")
