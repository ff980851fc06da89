"""Fault 12 for language-model students: trained and asked in groups on Ray they are what one process makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import read_prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher

STUDENTS, ON_RAY = 3, ("--executor", "ray", "--workers", 2)


@pytest.fixture(scope="module")
def place(make_model, tmp_path_factory):
    """A teacher of which half of the answers end by themselves, its bank, and one that nobody learns."""
    root = tmp_path_factory.mktemp("ray students")
    make_model(root / "teacher", spread=0.2, tie_word_embeddings=False)
    lines = [json.dumps({"prompt": f"w{i} w{i + 1}", "answers": ["w7"]}) for i in range(8)]
    (root / "prompts.jsonl").write_text("\n".join(lines))
    teacher = open_teacher(root / "teacher", backend="transformers", dtype="float32", device="cpu")
    for name, k in (("bank", 2 * STUDENTS), ("held", 3)):
        sampling = Sampling(max_tokens=40)
        fill_bank(
            teacher,
            read_prompts(root / "prompts.jsonl"),
            k,
            bank=Bank(root / name),
            sampling=sampling,
            key=("llm", name),
        )
    return root


@pytest.fixture(scope="module")
def uqkd(place):
    """The real command on one thread, as each engine on Ray has it here."""

    def run(*words):
        line = [sys.executable, "-m", "uqkd", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def distil(uqkd, place, name, *more):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / name, "--students", STUDENTS)
    return uqkd("distill", *words, "--steps", 6, "--batch", 4, "--lr", 0.01, *more)


def weights(place, name):
    return [load_file(place / name / f"student-{s}" / "model.safetensors") for s in range(STUDENTS)]


def largest_difference(place, one, other):
    return max(
        float(np.abs(a[name] - b[name]).max())
        for a, b in zip(weights(place, one), weights(place, other), strict=True)
        for name in a
    )


@pytest.mark.slow
@pytest.mark.process
def test_students_trained_one_after_another_are_the_same_bits(uqkd, place):
    distil(uqkd, place, "local", "--engine", "sequential")
    said = distil(uqkd, place, "ray", "--engine", "sequential", *ON_RAY)
    assert "3 students saved" in said
    assert "trained sequential" in said
    assert largest_difference(place, "local", "ray") == 0.0
    assert largest_difference(place, "local", "local") == 0.0
    first, second, _ = weights(place, "local")
    assert any((first[name] != second[name]).any() for name in first)  # each learnt responses of its own
    about = [json.loads((place / name / "student-2" / "distilled.json").read_text()) for name in ("local", "ray")]
    assert about[0] == about[1]


@pytest.mark.wide
@pytest.mark.slow
@pytest.mark.process
def test_students_trained_in_one_pass_are_the_same_up_to_rounding(uqkd, place):
    distil(uqkd, place, "passed", "--engine", "stacked")
    distil(uqkd, place, "passed on ray", "--engine", "stacked", *ON_RAY)
    # Six steps of Adam at 0.01: products of two students in one call are summed in another order than those of three.
    assert largest_difference(place, "passed", "passed on ray") < 1e-5
    assert "all 3 students are there already" in distil(uqkd, place, "passed on ray", "--engine", "stacked", *ON_RAY)


@pytest.mark.wide
@pytest.mark.slow
@pytest.mark.process
def test_answers_and_losses_on_ray_give_the_same_tables(uqkd, place):
    distil(uqkd, place, "asked", "--engine", "sequential")
    words = ("--students", place / "asked", "--prompts", place / "prompts.jsonl", "--draws", 3, "--device", "cpu")
    for name, more in (("one", ()), ("two", ON_RAY)):
        uqkd("measure", *words, "--teacher-bank", place / "held", "--out", place / f"{name}.csv", *more)
    for part in ("", ".students", ".prompts", ".cells"):
        assert (place / f"one{part}.csv").read_bytes() == (place / f"two{part}.csv").read_bytes()
    assert Bank(place / "two.draws" / "student-1").fingerprint == Bank(place / "one.draws" / "student-1").fingerprint
