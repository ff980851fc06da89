"""Fault 22: flipped, truncated, extended, empty and foreign files are all caught, set aside and recomputed."""

from __future__ import annotations

import pandas as pd
import pytest

from uqkd import seeds
from uqkd.store import Inputs, Store, packs
from uqkd.store.unit_index import UnitIndex
from uqkd.store.units import fault_of

FLIPS = 1000
INPUTS = Inputs("damaged", {"k": 1}, method="m")


@pytest.fixture
def unit(tmp_path):
    """A store with one unit: the store, the unit's path and its bytes."""
    store = Store(tmp_path / "store")
    draws = seeds.generator("faults", "corruption", "table").normal(size=(200, 3))
    name = store.commit(INPUTS, pd.DataFrame(draws, columns=["a", "b", "c"]))
    path = tmp_path / "store" / "units" / "damaged" / name
    return store, path, path.read_bytes()


def _flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def _damages(data: bytes) -> list[bytes]:
    generator = seeds.generator("faults", "corruption", "places")
    flips = [_flipped(data, int(bit)) for bit in generator.integers(8 * len(data), size=FLIPS)]
    cuts = [data[: int(length)] for length in generator.integers(len(data), size=100)]
    tails = [data + generator.bytes(int(length)) for length in generator.integers(1, 100, size=100)]
    return [*flips, *cuts, *tails, b"", data + b"\0", data[1:], generator.bytes(len(data))]


def test_every_damage_is_caught_when_the_unit_is_read(unit, capsys):
    store, path, data = unit
    expected = store.read(INPUTS)
    for damaged in _damages(data):
        assert damaged != data
        path.write_bytes(damaged)
        assert store.read(INPUTS) is None
        assert not path.exists()  # out of the way of its replacement
    assert "was moved to quarantine/" in capsys.readouterr().err
    assert len(list((path.parents[2] / "quarantine" / "damaged").iterdir())) > FLIPS * 0.9  # equal flips share a name
    path.write_bytes(data)
    pd.testing.assert_frame_equal(store.read(INPUTS), expected, check_exact=True)


def test_every_damage_is_listed_and_nothing_is_moved_unless_asked(unit):
    store, path, data = unit
    for damaged in _damages(data)[::50]:
        path.write_bytes(damaged)
        report = store.verify()
        assert (report.ok, [bad for bad, _ in report.bad]) == (0, [f"units/damaged/{path.name}"])
        assert path.read_bytes() == damaged
    assert store.verify(move=True).bad != ()
    assert not path.exists()


def test_foreign_files_are_listed_and_never_read_as_units(unit, tmp_path):
    store, path, data = unit
    (path.parent / "notes.txt").write_text("hello")
    (path.parent / f"{'0' * 32}-{path.name[33:]}").write_bytes(data)  # a good unit under the key of another
    (tmp_path / "store" / "units" / "stray.parquet").write_bytes(data)
    reasons = dict(store.verify().bad)
    assert reasons == {
        "units/damaged/notes.txt": "foreign file: not named like a unit",
        f"units/damaged/{'0' * 32}-{path.name[33:]}": "the inputs inside do not match the name",
        "units/stray.parquet": "foreign file: not in the folder of a study",
    }
    assert len(store.read_study("damaged")) == 200  # the stranger under a false key is set aside, not read twice


def test_parquet_of_another_program_with_a_fitting_content_hash_is_foreign():
    from uqkd.store.units import content_hash

    data = pd.DataFrame({"x": [1]}).to_parquet()
    assert fault_of(f"{'0' * 32}-{content_hash(data)}.parquet", data) == "foreign file: not a Parquet file of uqkd"


def test_damaged_units_are_recomputed_and_the_result_is_the_same(toy_run, contents, tmp_path, capsys):
    toy_run(tmp_path)
    before = contents(tmp_path)
    units = sorted((tmp_path / "units" / "toy_study").iterdir())
    units[0].write_bytes(b"")
    units[1].write_bytes(_flipped(units[1].read_bytes(), 4321))
    units[2].unlink()
    run = toy_run(tmp_path)
    assert (run.computed, run.reused) == (3, 17)
    assert capsys.readouterr().err.count("moved to quarantine/") == 2
    assert {name: data for name, data in contents(tmp_path).items() if "quarantine" not in name} == before


def test_a_flip_in_a_pack_never_gives_a_wrong_table_and_is_listed(tmp_path, capsys):
    store = Store(tmp_path)
    inputs = [Inputs("packed", {"i": i}, method="m") for i in range(20)]
    for i, one in enumerate(inputs):
        store.commit(one, pd.DataFrame({"x": [float(i)]}))
    assert store.compact("packed") == 20
    (pack,) = (tmp_path / "units" / "packed").iterdir()
    data = pack.read_bytes()
    generator = seeds.generator("faults", "corruption", "pack")
    missing = 0
    for bit in generator.integers(8 * len(data), size=100):
        for left in (tmp_path / "units" / "packed").iterdir():
            left.unlink()
        pack.write_bytes(_flipped(data, int(bit)))
        assert len(store.verify().bad) == 1
        for i, unit in enumerate(Store(tmp_path).read_units(inputs)):
            missing += unit is None
            assert unit is None or unit.table["x"].to_pylist() == [float(i)]
    assert 0 < missing < 100 * 20  # some flips cost units, and the good units of a damaged pack are saved


def test_what_is_saved_of_a_damaged_pack_is_found_by_the_reading_that_saves_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packs, "_ROWS_PER_GROUP", 2)
    store = Store(tmp_path)
    inputs = [Inputs("packed", {"i": i}, method="m") for i in range(8)]
    for i, one in enumerate(inputs):
        store.commit(one, pd.DataFrame({"x": [float(i)]}))
    assert store.compact("packed") == 8
    (pack,) = (tmp_path / "units" / "packed").iterdir()
    data, names = pack.read_bytes(), [name for (name,) in store.committed("packed").values()]
    some = 0
    for bit in seeds.generator("faults", "corruption", "groups").integers(8 * len(data), size=60):
        for left in (tmp_path / "units" / "packed").iterdir():
            left.unlink()
        pack.write_bytes(_flipped(data, int(bit)))
        first, second = (dict(UnitIndex(store.folder, "packed").verified(names)).keys() for _ in range(2))
        assert first == second
        some += 0 < len(first) < len(names)
    assert some > 0
