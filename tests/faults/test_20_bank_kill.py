"""Fault 20 for the bank: kill -9 at random instants, finish, and every response is as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from uqkd import seeds
from uqkd.llm.bank import Bank
from uqkd.llm.prompts import read_prompts
from uqkd.store import Store

KILLS = int(os.environ.get("UQKD_KILLS", "20"))  # of a forked sampler, some 0.3 s each
COMMAND_KILLS = max(3, KILLS // 50)  # of the whole command, some 8 s each
EXACT = ["prompt_id", "prompt", "response_index", "seed", "token_ids", "text", "finish_reason", "flags"]

SAMPLER = """
import json, os, signal, sys, time
import torch
torch.set_num_threads(1)  # a forked child has none of its parent's threads
from uqkd import seeds
from uqkd.llm.bank import Bank
from uqkd.llm.prompts import read_prompts
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher
model, prompts, root, kills = sys.argv[1], read_prompts(sys.argv[2]), sys.argv[3], int(sys.argv[4])
teacher = open_teacher(model, backend="transformers", dtype="float32", device="cpu")
def fill(place):
    fill_bank(teacher, prompts, 4, bank=Bank(place), sampling=Sampling(max_tokens=6), max_flagged=1.0, chunk=3)
started = time.monotonic()
fill(root + "-reference")
duration_s = time.monotonic() - started
done, attempt, torn = 0, 0, 0
place = f"{root}-{attempt}"
finished = []
while done < kills:
    child = os.fork()
    if child == 0:
        fill(place)
        os._exit(0)
    time.sleep(seeds.generator("faults", "bank kill", attempt).uniform(0.0, duration_s / 2))
    attempt += 1
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        done += 1
    else:
        finished.append(place)
        place = f"{root}-{attempt}"
fill(place)
print(json.dumps(finished + [place]))
"""


@pytest.fixture
def prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"w{i} w{i + 1}" + " w9" * (i % 4)}) for i in range(30)))
    return file


def same(root, reference, prompts):
    """Whether two banks hold the same rows; token probabilities up to the rounding of other batches."""
    wanted = read_prompts(prompts)
    a, b = Bank(root).table(wanted), Bank(reference).table(wanted)
    assert a[EXACT].astype(str).equals(b[EXACT].astype(str))
    for first, second in zip(a["token_logprobs"], b["token_logprobs"], strict=True):
        assert first == pytest.approx(second, abs=1e-4)  # float32 logits, other batches
    assert Bank(root).fingerprint == Bank(reference).fingerprint
    assert Store(root).verify().bad == ()
    return True


@pytest.mark.slow
@pytest.mark.process
def test_sampler_killed_at_random_instants(script, tiny, prompts, tmp_path):
    root = tmp_path / "bank"
    places = json.loads(script(SAMPLER, tiny, prompts, root, KILLS).stdout.splitlines()[-1])
    assert all(same(place, f"{root}-reference", prompts) for place in places)
    assert len(Bank(f"{root}-reference").table()) == 120


def command_line(tiny, prompts, root, *, backend):
    return (
        "sample", "--teacher", tiny, "--prompts", prompts, "--bank", root, "--backend", backend, "--dtype", "float32",
        "--max-tokens", 6, "--k", 2, "--students", 2, "--max-flagged", 1, "--chunk", 3,
    )  # fmt: skip


def finished(command, line):
    process = command(*line, env={"OMP_NUM_THREADS": "1"})
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def wait_for_units(process, root, *, more_than):
    until = time.monotonic() + 200.0
    while len(list(root.glob("units/bank/*.parquet"))) <= more_than:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "the command commits nothing"
        time.sleep(0.01)


def killed(command, line, root, *, attempt):
    """Kill the command at a random instant after its first new unit; how many units there are."""
    before = len(list(root.glob("units/bank/*.parquet")))
    process = command(*line, env={"OMP_NUM_THREADS": "1"})
    wait_for_units(process, root, more_than=before)
    time.sleep(seeds.generator("faults", "bank command", attempt).uniform(0.0, 0.1))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    return len(list(root.glob("units/bank/*.parquet")))


@pytest.mark.slow
@pytest.mark.process
def test_command_killed_and_continued(command, tiny, prompts, tmp_path):
    whole, root = tmp_path / "whole", tmp_path / "bank"
    finished(command, command_line(tiny, prompts, whole, backend="transformers"))
    units = 0
    for attempt in range(COMMAND_KILLS):
        line = command_line(tiny, prompts, root, backend="transformers")
        after = killed(command, line, root, attempt=attempt)
        assert units < after <= 40
        units = after
    output = finished(command, command_line(tiny, prompts, root, backend="transformers"))
    assert f"{120 - 3 * units} responses drawn, {3 * units} reused" in output
    assert same(root, whole, prompts)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.process
def test_command_with_vllm_killed_and_continued(command, tiny, prompts, tmp_path, vllm_teacher):
    from uqkd.llm.bank.filling import fill_bank
    from uqkd.llm.sampling import Sampling

    whole, root = tmp_path / "whole", tmp_path / "bank"
    line = command_line(tiny, prompts, root, backend="vllm")
    units = killed(command, line, root, attempt="vllm")
    assert 0 < units <= 40
    options = {"sampling": Sampling(max_tokens=6), "max_flagged": 1.0, "chunk": 3}
    wanted = read_prompts(prompts)
    fill_bank(vllm_teacher, wanted, 4, bank=Bank(root), **options)
    fill_bank(vllm_teacher, wanted, 4, bank=Bank(whole), **options)
    assert same(root, whole, prompts)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_command_stopped_says_how_to_go_on(command, tiny, prompts, tmp_path, stop, code):
    root = tmp_path / "bank"
    line = command_line(tiny, prompts, root, backend="transformers")
    process = command(*line, env={"OMP_NUM_THREADS": "1"})
    wait_for_units(process, root, more_than=2)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    units = len(list(root.glob("units/bank/*.parquet")))
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    last = errors.strip().splitlines()[-1]
    assert last == (
        f"interrupted: {3 * units} of 120 responses are committed, {120 - 3 * units} remain; run the same again to draw those."
    )


@pytest.mark.slow
@pytest.mark.process
def test_verify_command_finds_a_corrupt_unit_and_sampling_mends_it(command, tiny, prompts, tmp_path):
    root = tmp_path / "bank"
    line = command_line(tiny, prompts, root, backend="transformers")
    finished(command, line)
    file = sorted(root.glob("units/bank/*.parquet"))[5]
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(bytes(data))
    process = command("verify", root)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"bad: units/bank/{file.name}: contents do not match the name" in output
    assert "3 responses drawn, 117 reused" in finished(command, line)
    process = command("verify", root)
    assert "40 units verified, 0 bad" in process.communicate(timeout=60)[0]
