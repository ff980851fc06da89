"""Fault 9: the same seed key in two units of one run is an error that names both, now and in every rerun."""

from __future__ import annotations

import pytest

from uqkd import run as runs
from uqkd.errors import SeedReuseError
from uqkd.store import Store

TWICE = '''
"""Does a cell that draws twice from one key get caught?"""
import pandas as pd
from uqkd import run, seeds
class Options(run.Options):
    n: int = 2
PRESETS = {"quick": Options()}
def cells(options):
    return [{"i": i} for i in range(options.n)]
def measure(cell):
    same = [seeds.generator("twice", cell["i"]).random() for _ in range(2)]
    return pd.DataFrame({"x": same})
def main(options, run):
    run.cells(cells(options), measure)
'''


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 2])
def test_two_units_with_one_key(toy_run, tmp_path, count):
    with (
        runs.Workers(count) as workers,
        pytest.raises(SeedReuseError, match=r"\('toy', 0, 1000\).*two units of one run.*\"cell\": \d+.*\"cell\": \d+"),
    ):
        toy_run(tmp_path, workers=workers, share_seed=True)


def test_a_rerun_finds_the_reuse_among_committed_units(toy_run, tmp_path):
    for _ in range(25):  # each rerun commits at least one unit more, until both of a pair come from the store
        with pytest.raises(SeedReuseError, match="two units of one run"):
            toy_run(tmp_path, share_seed=True, cells=20)
    with pytest.raises(SeedReuseError, match=r"the seed key of digest [0-9a-f]{32} was used by two units"):
        toy_run(tmp_path, share_seed=True, cells=20)


def test_one_unit_with_one_key_twice(tmp_path):
    file = tmp_path / "twice.py"
    file.write_text(TWICE)
    study = runs.load_study(file)
    run = runs.Run(study, Store(tmp_path / "results"))
    with pytest.raises(SeedReuseError, match=r"cell \{\"i\": 0\} failed with .*\('twice', 0\) was used twice"):
        study.main(study.options(), run)
    assert run.store.committed("twice") == {}


def test_without_reuse_nothing_is_raised(toy_run, tmp_path):
    assert toy_run(tmp_path).computed == 20
    assert toy_run(tmp_path).reused == 20
