"""Engines in Ray actors: every unit answered once, whoever dies, and pieces that depend on nothing but what was taken before."""

from __future__ import annotations

import sys

import pytest

from uqkd.errors import OptionError
from uqkd.run.actors import _Queue
from uqkd.run.cluster import connect

SCRIPT = """
import json, os, sys, time
from pathlib import Path
from uqkd.errors import DataError, WorkerError
from uqkd.run.actors import Actors
marks, what = Path(sys.argv[1]), sys.argv[2]

class Engine:
    # Doubles numbers. Number 7 kills its actor the first time, number 9 its engine; "always" kills whoever is asked.
    def __call__(self, units):
        for place, unit in enumerate(units):
            with open(marks / f"{os.getpid()}.log", "a") as log:
                print(unit, file=log)
            if what == "always" or (unit == 7 and first(7)):
                os._exit(1)
            if unit == 9 and first(9):
                raise WorkerError("the engine died")
            if what == "refused" and unit == 20:
                raise DataError("20 is no number")
            yield [(place, 2 * unit)]

def first(unit):
    try:
        os.close(os.open(marks / str(unit), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def numbers(taken):
    for number in range(40):
        taken.append(number)
        yield number

if __name__ == "__main__":
    said, taken, ahead = [], [], 0
    actors = Actors(Engine, workers=2, say=said.append)
    found, problem = [], ""
    try:
        for number, result in actors.results(numbers(taken), at_once=2):
            found.append((number, result))
            ahead = max(ahead, len(taken) - len(found))
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    actors.close()
    print(json.dumps([found, said, ahead, problem]))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the script says, and the units that each actor worked on."""
    import json
    import subprocess

    def go(what):
        folder = tmp_path_factory.mktemp(what)
        (folder / "script.py").write_text(SCRIPT)
        line = [sys.executable, str(folder / "script.py"), str(folder), what]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        worked = [int(unit) for log in folder.glob("*.log") for unit in log.read_text().split()]
        return *json.loads(done.stdout.splitlines()[-1]), worked, done.stderr

    return go


@pytest.mark.process
@pytest.mark.slow
def test_an_actor_and_an_engine_that_die_are_replaced_and_every_unit_is_answered_once(run):
    found, said, ahead, problem, worked, errors = run("once")
    assert problem == ""
    assert sorted(found) == [[number, 2 * number] for number in range(40)]
    assert len(said) == 2
    assert any("killed" in line for line in said)
    assert any("the engine died" in line for line in said)
    # Done again: of each of the two losses the piece of 2 units under way, at most; of 40 units 16 are held ahead of work, and
    # each of 2 actors has 2 pieces of 2 units.
    assert 40 < len(worked) <= 44
    assert ahead <= 16 + 8
    assert errors == ""


@pytest.mark.process
@pytest.mark.slow
def test_work_that_kills_every_engine_is_an_error_and_so_is_what_an_engine_refuses(run):
    found, said, _, problem, worked, _ = run("always")
    assert problem.startswith(
        "WorkerError: 3 engines in a row were lost before one gave a result: killed, by hand or out"
    )
    assert found == []
    assert len(said) == 2
    assert len(worked) <= 4
    found, _, _, problem, _, _ = run("refused")
    assert problem == "DataError: 20 is no number"
    assert len(found) >= 10


def test_pieces_are_large_at_first_and_small_at_the_end_and_what_comes_back_goes_out_next():
    queue = _Queue(iter(range(100)), 2, 10)
    sizes = []
    while piece := queue.take():
        sizes.append(len(piece))
        assert list(piece) == list(piece.values()) == list(range(sum(sizes) - len(piece), sum(sizes)))
    assert sum(sizes) == 100
    assert sizes[:3] == [10, 10, 10]  # 80 units ahead for 4 pieces of each of 2 actors
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    queue.give_back({3: 3, 4: 4})
    assert [queue.take(), queue.take(), queue.take()] == [{3: 3}, {4: 4}, {}]


def test_an_address_where_nothing_listens_is_one_line_at_once():
    with pytest.raises(
        OptionError, match=r"no Ray cluster answers at 127.0.0.1:1 \(.*refused.*begin one with ray start"
    ):
        connect(address="127.0.0.1:1")
