"""Fault 20: kill -9 at any instant. Nothing committed is lost, and the finished result is the same, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from uqkd import seeds
from uqkd.store import Inputs, Store

TOY = Path(__file__).with_name("toy_study.py")
KILLS = int(os.environ.get("UQKD_KILLS", "5"))  # of the whole command, 1-3 s each; `make faults` asks for 500
STORE_KILLS = max(150, KILLS)  # of a writer alone, 20 ms each
REAL = Path(__file__).parents[2] / "studies" / "teacher_noise.py"
NETWORKS = REAL.with_name("mlp_response_averaging.py")
FEW = ["--set", "replicates=24", "--set", "alphas=[0.1,0.5]", "--set", "ks=[1,2,4,8]"]
COMMANDS = {  # what is killed, and how often: a study of many quick cells, and real ones with their figures and their page
    "toy_study": (("study", TOY, "--workers", 2, "--set", "pause_s=0.02", "--out"), KILLS),
    "teacher_noise": (("study", REAL, "--workers", 2, "--out"), max(2, KILLS // 20)),
    "mlp_response_averaging": (("study", NETWORKS, "--workers", 2, *FEW, "--out"), max(2, KILLS // 20)),
}


def _group_is_gone(leader: int, *, within_s: float) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def uninterrupted(arguments, command, contents, tmp_path):
    """Bytes of a run without kills, and its duration."""
    started = time.monotonic()
    process = command(*arguments, tmp_path / "reference")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return contents(tmp_path / "reference"), time.monotonic() - started


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("study", COMMANDS)
def test_command_killed_at_random_instants_ends_with_the_same_bytes(study, command, contents, tmp_path):
    arguments, wanted = COMMANDS[study]
    reference, duration_s = uninterrupted(arguments, command, contents, tmp_path)
    assert len(reference) > 10  # the units and the table
    kills, attempt, root, seen = 0, 0, tmp_path / "0", set()
    while kills < wanted or seen:
        process = command(*arguments, root)
        delay_s = seeds.generator("faults", "kill", study, attempt).uniform(0.0, duration_s)
        attempt += 1
        if kills < wanted:
            time.sleep(delay_s)
            process.kill()  # only the command itself: its workers must notice
        _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            assert contents(root) == reference
            root, seen = tmp_path / str(attempt), set()
            continue
        assert process.returncode == -signal.SIGKILL, errors
        assert _group_is_gone(process.pid, within_s=5.0), "worker processes outlived the command"
        kills += 1
        store = Store(root)
        now = {name for names in store.committed(study).values() for name in names}
        assert seen <= now, "a committed unit was lost"
        assert store.verify().bad == ()
        seen = now
    assert kills == wanted


WRITER = """
import json, os, signal, sys, time
import pandas as pd
from uqkd import seeds
from uqkd.store import Inputs, Store
root, kills = sys.argv[1], int(sys.argv[2])
acknowledged = []
for kill in range(kills):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        store = Store(root)
        for unit in range(10_000):
            store.commit(Inputs("killed", {"kill": kill, "unit": unit}, method="m"), pd.DataFrame({"x": [kill, unit]}))
            os.write(theirs, unit.to_bytes(4, "big"))
    os.close(theirs)
    os.read(ours, 4)  # the writer is at work
    time.sleep(seeds.generator("faults", "writer", kill).uniform(0.0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = os.read(ours, 60_000)
    os.close(ours)
    acknowledged.append(1 + len(done) // 4)
print(json.dumps(acknowledged))
"""


@pytest.mark.slow
@pytest.mark.process
def test_no_acknowledged_unit_is_lost_and_no_file_is_torn_when_a_writer_is_killed(script, tmp_path):
    acknowledged = json.loads(script(WRITER, tmp_path, STORE_KILLS).stdout)
    store = Store(tmp_path)
    units = [(kill, unit) for kill, count in enumerate(acknowledged) for unit in range(count)]
    inputs = [Inputs("killed", {"kill": kill, "unit": unit}, method="m") for kill, unit in units]
    found = store.read_units(inputs)
    values = [None if unit is None else tuple(unit.table["x"].to_pylist()) for unit in found]
    assert len(acknowledged) == STORE_KILLS
    assert values == units
    assert store.verify().bad == ()
    # The instants must hit the inside of commits, or the test shows nothing: a temporary file lives for more than
    # half of the writer's time, so that none left after 150 kills has probability below 2⁻¹⁵⁰.
    assert store.sweep() > 0
    assert os.listdir(tmp_path / ".tmp") == []
