"""Fault 24: two processes, the same cells. Equal contents are one file; different contents are an error, both kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from uqkd.errors import ProvenanceError
from uqkd.store import Inputs, Store

UNITS = 40
TOY = Path(__file__).with_name("toy_study.py")

RACER = """
import os, sys, time
import pandas as pd
from uqkd.errors import ProvenanceError
from uqkd.store import Inputs, Store
root, me, value, units = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
store = Store(root)
open(f"{root}/ready-{me}", "w").close()
while len([name for name in os.listdir(root) if name.startswith("ready-")]) < 2:
    time.sleep(0.001)
refused = 0
for unit in range(units):
    try:
        store.commit(Inputs("race", {"unit": unit}, method="m"), pd.DataFrame({"x": [value]}))
    except ProvenanceError:
        refused += 1
print(refused)
"""


def _race(root: Path, values: tuple[float, float]) -> int:
    """Two processes that commit the same units at the same time; how many commits were refused."""
    lines = [[sys.executable, "-c", RACER, str(root), str(me), str(v), str(UNITS)] for me, v in enumerate(values)]
    racers = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for line in lines]
    answers = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    return sum(map(int, answers))


@pytest.mark.process
def test_equal_contents_are_one_file(tmp_path):
    assert _race(tmp_path, (1.0, 1.0)) == 0
    store = Store(tmp_path)
    assert len(os.listdir(tmp_path / "units" / "race")) == UNITS
    assert store.verify().ok == UNITS
    assert store.read_study("race")["x"].tolist() == [1.0] * UNITS


@pytest.mark.process
def test_different_contents_are_refused_and_both_are_kept(tmp_path):
    # Of two commits of one unit, the later listing sees both files: at least one refusal a unit.
    assert UNITS <= _race(tmp_path, (1.0, 2.0)) <= 2 * UNITS
    store = Store(tmp_path)
    assert (store.verify().ok, store.verify().bad) == (2 * UNITS, ())
    with pytest.raises(ProvenanceError, match="2 different results for the same inputs"):
        store.read(Inputs("race", {"unit": 0}, method="m"))
    with pytest.raises(ProvenanceError, match="2 different results for the same inputs"):
        store.read_study("race")


def test_a_run_refuses_two_results_for_one_cell(toy_run, tmp_path):
    toy_run(tmp_path)
    store = Store(tmp_path)
    (name,) = next(iter(store.committed("toy_study").values()))
    (unit,) = (unit for found, unit in store._shelf("toy_study").verified([name]) if found == name)
    with pytest.raises(ProvenanceError, match="different results"):
        store.commit(unit.inputs, pd.DataFrame({"cell": [-1]}))
    with pytest.raises(ProvenanceError, match="different results"):
        toy_run(tmp_path)


@pytest.mark.slow
@pytest.mark.process
def test_two_commands_in_one_folder_end_with_the_same_bytes(command, contents, tmp_path, toy_run):
    arguments = ("study", TOY, "--workers", 1, "--set", "pause_s=0.02", "--out", tmp_path / "both")
    racers = [command(*arguments), command(*arguments)]
    for racer in racers:
        _, errors = racer.communicate(timeout=60)
        assert racer.returncode == 0, errors
    toy_run(tmp_path / "one", pause_s=0.02)
    both = contents(tmp_path / "both")
    assert {name: data for name, data in both.items() if name.startswith(("units", "toy_study"))} == contents(
        tmp_path / "one"
    )
