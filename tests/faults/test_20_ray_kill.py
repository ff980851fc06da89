"""Fault 20 on Ray: kill -9 of an engine in the middle of `uqkd sample`, and Ctrl-C: the bank ends as on one machine."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import read_prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher
from uqkd.store import Store

K, TOKENS, CHUNK, COUNT = 40, 40, 8, 1200  # COUNT responses of 30 prompts
EXACT = ["prompt_id", "prompt", "response_index", "seed", "token_ids", "text", "finish_reason", "flags"]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    file = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"w{i} w{i + 1}" + " w9" * (i % 4)}) for i in range(30)))
    return file


@pytest.fixture(scope="module")
def reference(tiny, prompts, tmp_path_factory):
    """The bank of one engine in this process."""
    bank = Bank(tmp_path_factory.mktemp("reference") / "bank")
    teacher = open_teacher(tiny, backend="transformers", dtype="float32", device="cpu")
    fill_bank(teacher, read_prompts(prompts), K, bank=bank, sampling=Sampling(max_tokens=TOKENS), key=("llm", "bank"))
    return bank


@pytest.fixture
def sample(command, tiny, prompts, tmp_path):
    def start():
        return command(
            "sample", "--teacher", tiny, "--prompts", prompts, "--bank", tmp_path / "bank", "--backend", "transformers",
            "--dtype", "float32", "--max-tokens", TOKENS, "--k", K, "--chunk", CHUNK, "--executor", "ray", "--workers", 2,
            "--device", "cpu", env={"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    return start


def committed(root: Path) -> int:
    return len(list(root.glob("units/bank/*.parquet")))


def wait_for_units(process, root, *, at_least):
    until = time.monotonic() + 400.0
    while committed(root) < at_least:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "the command commits nothing"
        time.sleep(0.01)


def engines(process) -> list[int]:
    """Actors below a command."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            names[int(place.name)] = (place / "cmdline").read_bytes().decode(errors="replace")
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue

    def below(pid: int) -> bool:
        while pid > 1 and pid != process.pid:
            pid = parents.get(pid, 0)
        return pid == process.pid

    return [pid for pid, name in names.items() if name.startswith("ray::_Actor") and below(pid)]


def same(root, reference):
    """Row for row, to the bit; probabilities of tokens up to the rounding of other batches."""
    a, b = Bank(root).table(), reference.table()
    assert len(a) == COUNT
    assert a[EXACT].astype(str).equals(b[EXACT].astype(str))
    for first, second in zip(a["token_logprobs"], b["token_logprobs"], strict=True):
        assert first == pytest.approx(second, abs=1e-4)  # float32 logits
    assert Bank(root).fingerprint == reference.fingerprint
    assert Store(root).verify().bad == ()


@pytest.mark.wide
@pytest.mark.slow
@pytest.mark.process
def test_an_engine_killed_in_the_middle_is_replaced_and_the_bank_is_the_same(sample, reference, tmp_path):
    root = tmp_path / "bank"
    process = sample()
    wait_for_units(process, root, at_least=20)
    both = engines(process)
    assert len(both) == 2
    os.kill(both[0], signal.SIGKILL)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    [lost] = re.findall(r"note: a worker was lost: .*; another one starts, (\d+) responses that it had", errors)
    assert 0 < int(lost) <= CHUNK  # one piece of one worker
    assert f"{COUNT} responses drawn, 0 reused" in output
    same(root, reference)


@pytest.mark.wide
@pytest.mark.slow
@pytest.mark.process
def test_stopped_on_ray_says_how_to_go_on_and_goes_on(sample, reference, tmp_path):
    root = tmp_path / "bank"
    process = sample()
    wait_for_units(process, root, at_least=20)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    there = Bank(root).rows
    assert 0 < there < COUNT
    lines = [line for line in errors.splitlines() if not line.startswith("sample: ")]  # progress
    state = f"{there} of {COUNT} responses are committed, {COUNT - there} remain"
    assert lines == [f"interrupted: {state}; run the same again to draw those."]
    again = sample()
    output, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert f"{COUNT - there} responses drawn, {there} reused" in output
    same(root, reference)
