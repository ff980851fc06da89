"""Fault 28: a million small units are listed in seconds; packs are verified before their parts go."""

from __future__ import annotations

import hashlib
import os
import time

import pandas as pd
import pytest

from uqkd.errors import StoreError
from uqkd.store import Inputs, Store, packs
from uqkd.store.durable import LocalFolder
from uqkd.store.unit_index import UnitIndex
from uqkd.store.units import fault_of

UNITS = int(os.environ.get("UQKD_UNITS", "30000"))  # `make faults` asks for the full million
SECONDS_PER_MILLION = 8.0  # "in seconds"; 1.5 to 3 s seen on two busy cores, loose or packed


def _name(i: int) -> str:
    key, content = (hashlib.blake2b(f"{what}{i}".encode(), digest_size=16).hexdigest() for what in ("key", "content"))
    return f"{key}-{content}.parquet"


def _listing_seconds(root) -> float:
    store = Store(root)  # a new one, that remembers no index
    started = time.perf_counter()
    assert len(store.committed("many")) == UNITS
    return time.perf_counter() - started


def test_listing_of_loose_units(tmp_path):
    folder = tmp_path / "units" / "many"
    folder.mkdir(parents=True)
    for i in range(UNITS):
        os.close(os.open(folder / _name(i), os.O_CREAT | os.O_WRONLY))
    assert _listing_seconds(tmp_path) < SECONDS_PER_MILLION * UNITS / 1e6


def test_listing_of_packed_units(tmp_path):
    store = Store(tmp_path)
    for first in range(0, UNITS, 10_000):
        name, data = packs.encode_pack({_name(i): b"unit" for i in range(first, min(UNITS, first + 10_000))})
        store.folder.write(f"units/many/{name}", data)
    assert _listing_seconds(tmp_path) < SECONDS_PER_MILLION * UNITS / 1e6


@pytest.fixture
def inputs():
    """Names of 600 units: more than two row groups of a pack."""
    return [Inputs("many", {"i": i}, method="m") for i in range(600)]


@pytest.fixture
def store(tmp_path, inputs):
    """A store that holds them."""
    store = Store(tmp_path)
    for i, one in enumerate(inputs):
        store.commit(one, pd.DataFrame({"i": [i]}), check_twins=False)
    return store


def _values(store, inputs):
    return [unit and unit.table["i"][0].as_py() for unit in store.read_units(inputs)]


def test_packed_units_read_like_loose_ones(store, inputs, tmp_path):
    loose = store.read_study("many")
    keys = store.committed("many")
    assert store.compact("many") == 600
    assert [name[:5] for name in os.listdir(tmp_path / "units" / "many")] == ["pack-"]
    for reader in (store, Store(tmp_path)):
        assert reader.committed("many") == keys
        assert _values(reader, inputs) == list(range(600))
        pd.testing.assert_frame_equal(reader.read_study("many"), loose, check_exact=True)
        assert (reader.verify().ok, reader.verify().bad) == (600, ())
    assert store.compact("many") == 0


def test_units_committed_after_a_compaction_are_found_beside_it(store, inputs):
    store.compact("many")
    more = Inputs("many", {"i": 600}, method="m")
    store.commit(more, pd.DataFrame({"i": [600]}))
    assert _values(store, [*inputs, more]) == list(range(601))
    assert store.compact("many") == 1
    assert _values(store, [*inputs, more]) == list(range(601))


def test_a_reader_with_an_old_listing_survives_a_compaction(store, inputs, monkeypatch):
    before = store.committed("many")
    store.compact("many")
    monkeypatch.setattr(store, "committed", lambda _study: before)
    assert _values(store, inputs) == list(range(600))


def test_a_reader_whose_listing_is_overtaken_by_a_compaction_looks_again(store, inputs, monkeypatch):
    stale, listing = store._shelf("many")._listing(), UnitIndex._listing
    store.compact("many")
    answers = iter([stale, stale])  # one for the names, one for the reading; then the truth
    monkeypatch.setattr(UnitIndex, "_listing", lambda self: next(answers, None) or listing(self))
    assert _values(store, inputs) == list(range(600))


@pytest.fixture
def damaged_pack(store, inputs, tmp_path, monkeypatch):
    """Loose units beside a pack of the same, whose index is whole but some of whose units are not; what it can give."""

    def stop(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "remove", stop)
        with pytest.raises(KeyboardInterrupt):
            store.compact("many")
    (pack,) = (tmp_path / "units" / "many").glob("pack-*")
    data = pack.read_bytes()
    for place in range(len(data) // 3, len(data), 101):
        pack.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        names = packs.index(store.folder, f"units/many/{pack.name}")
        good = sum(not fault_of(name, unit) for name, unit in packs.units_of_bytes(pack.read_bytes()))
        if len(set(names)) == 600 and 0 < good < 600:
            return good
    raise AssertionError("no flip spoilt a unit and spared the index")


@pytest.mark.slow
def test_loose_units_stay_when_the_pack_of_a_stopped_compaction_is_damaged(damaged_pack, inputs, tmp_path):
    Store(tmp_path).compact("many")
    assert _values(Store(tmp_path), inputs) == list(range(600))


def test_the_good_units_of_a_damaged_pack_are_saved_for_later_reads(damaged_pack, inputs, tmp_path):
    for path in (tmp_path / "units" / "many").iterdir():
        if not path.name.startswith("pack-"):
            path.unlink()
    for _ in range(2):  # the first read sets the pack aside
        assert sum(value is not None for value in _values(Store(tmp_path), inputs)) == damaged_pack
    assert len(os.listdir(tmp_path / "quarantine" / "many")) == 1


def test_a_compaction_stopped_at_any_deletion_is_finished_by_the_next(store, inputs, monkeypatch, tmp_path):
    remove, calls = LocalFolder.remove, []

    def stop_midway(self, path):
        calls.append(path)
        if len(calls) == 300:
            raise KeyboardInterrupt
        remove(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "remove", stop_midway)
        with pytest.raises(KeyboardInterrupt):
            store.compact("many")
    assert _values(Store(tmp_path), inputs) == list(range(600))
    assert max(map(len, Store(tmp_path).committed("many").values())) == 1  # in the pack and loose, but one unit
    Store(tmp_path).compact("many")
    assert len(os.listdir(tmp_path / "units" / "many")) == 1
    assert _values(Store(tmp_path), inputs) == list(range(600))


def test_parts_stay_when_the_pack_reads_back_differently(store, inputs, monkeypatch, tmp_path):
    write = LocalFolder.write

    def flip(self, path, data):
        middle = len(data) // 2
        write(self, path, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "write", flip)
        with pytest.raises(StoreError, match=r"reads back differently \(\d+ of 600 units\); nothing was deleted"):
            store.compact("many")
    assert len([name for name in os.listdir(tmp_path / "units" / "many") if name[:5] != "pack-"]) == 600
    assert _values(Store(tmp_path), inputs) == list(range(600))


INDEXED = """
import sys
from pathlib import Path
import pandas as pd
from uqkd.store import Inputs, Store, packs

def threads():  # but for the one in which the allocator tidies up, whenever it likes
    return sum("jemalloc" not in one.read_text() for one in Path("/proc/self/task").glob("*/comm"))

store = Store(sys.argv[1])
for i in range(20):
    store.commit(Inputs("few", {"i": i}, method="m"), pd.DataFrame({"x": [i]}))
before = threads()
store.compact("few")
(pack,) = [name for name in store.folder.names("units/few") if name.startswith("pack-")]
assert len(packs.index(store.folder, f"units/few/{pack}")) == 20
print(before, threads())
"""


@pytest.mark.slow
@pytest.mark.process
def test_packs_are_written_and_read_by_one_thread(script, tmp_path):
    """A command that ended just after Arrow's threads had begun was aborted (SIGABRT), once in forty times on a busy machine."""
    before, after = script(INDEXED, tmp_path).stdout.split()
    assert before == after


@pytest.mark.parametrize("kill_after_s", [0.0, 0.05, 0.2])
def test_a_killed_command_loses_nothing_and_the_next_finishes_its_work(store, inputs, tmp_path, command, kill_after_s):
    """Killed so long after the first pack, or a part of it, is on its way."""
    first = command("compact", tmp_path)
    while first.poll() is None and not any((tmp_path / ".tmp").glob("*")):
        time.sleep(0.001)
    time.sleep(kill_after_s)
    first.kill()
    first.communicate()
    assert _values(Store(tmp_path), inputs) == list(range(600))
    second = command("compact", tmp_path)
    output, errors = second.communicate(timeout=60)
    assert (second.returncode, errors) == (0, "")
    assert "600 units in 1 file, " in output
    assert os.listdir(tmp_path / ".tmp") == []
    assert _values(Store(tmp_path), inputs) == list(range(600))
