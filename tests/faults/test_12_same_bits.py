"""Fault 12: worker count, cell order, local or Ray: the same bytes."""

from __future__ import annotations

import pandas as pd
import pytest

from uqkd.run import Run, Workers
from uqkd.store import Store


@pytest.fixture
def reference(toy_run, contents, tmp_path):
    """Bytes of the results of one worker in this process."""
    toy_run(tmp_path / "reference")
    return contents(tmp_path / "reference")


@pytest.mark.process
@pytest.mark.parametrize("count", [2, 3])
def test_worker_count(toy_run, contents, tmp_path, reference, count):
    with Workers(count) as workers:
        toy_run(tmp_path / "a", workers=workers)
        assert contents(tmp_path / "a") == reference
        toy_run(tmp_path / "b", workers=workers)  # the same processes serve a second run
        assert contents(tmp_path / "b") == reference


def test_cell_order(toy, contents, tmp_path, reference):
    options = toy.options()
    run = Run(toy, Store(tmp_path / "backwards"))
    backwards = run.cells(toy.module.cells(options)[::-1], toy.module.measure)
    forwards = run.cells(toy.module.cells(options), toy.module.measure)
    units = {name: data for name, data in reference.items() if name.startswith("units")}
    assert contents(tmp_path / "backwards") == units
    assert backwards["cell"].tolist() == sorted(forwards["cell"], reverse=True)
    assert forwards.to_csv(index=False).encode() == reference["toy_study/table.csv"]


@pytest.mark.slow
@pytest.mark.process
def test_ray(command, contents, tmp_path, reference, toy):
    # In a process of its own: Ray's threads and warnings are no part of this test.
    process = command("study", toy.file, "--executor", "ray", "--workers", 2, "--out", tmp_path / "ray")
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    found = contents(tmp_path / "ray")
    assert {name: found.get(name) for name in reference} == reference


@pytest.mark.process
def test_memory_and_local_folder_hold_the_same_units(toy_run, tmp_path):
    toy_run(tmp_path)
    with Workers(2) as workers:  # memory:// lives in this process, so that no other is asked
        toy_run("memory://same-bits", workers=workers)
    local, memory = Store(tmp_path), Store("memory://same-bits")
    assert local.committed("toy_study") == memory.committed("toy_study")
    pd.testing.assert_frame_equal(local.read_study("toy_study"), memory.read_study("toy_study"), check_exact=True)
