"""Fault 22 in every room: units, banks, figures, tables, records and trained students, damaged at random, on disk and on S3.

`uqkd verify` finds all of them, repairing puts them aside, and what a run writes then is what was there before.
"""

from __future__ import annotations

import os

import pandas as pd
import pytest

from uqkd import cli, seeds
from uqkd.store import Inputs, Mirror, Store, commit_folder, verified_folder
from uqkd.store.records import _place
from uqkd.store.verifying import verify_all

DAMAGES = 1000 if os.environ.get("UQKD_FAULTS") == "full" else 40
AT_ONCE = 10
KINDS = ("flip", "flip", "cut", "empty", "foreign", "delete")
STRANGERS = (
    "units/far/notes.txt",
    "figures/stray.png",
    "student-0/extra.bin",
    "table.draws/student-0/units/bank/x.parquet",
)


def write_missing(root, twins):
    """As a run does: what is there is left, what is missing is made; the same bytes whenever."""
    for place, study in ((root, "far"), (f"{root}/table.draws/student-0", "bank")):
        store = Store(place)
        there = store.committed(study)
        for i in range(6):
            one = Inputs(study, {"i": i}, method="m")
            if one.key not in there:
                draws = seeds.generator("tests", "repair", study, i).normal(size=50)
                store.commit(one, pd.DataFrame({"x": draws}))
    for name in ("figures/a.png", "figures/a.json", "tables/a.csv", "index.html"):
        Store(root).write_bytes(name, seeds.generator("tests", "repair", name).bytes(500))
    mirror = Mirror(root, twins) if "://" in root else None
    if mirror is not None:
        mirror.pull("student-")
    for s in range(2):
        place, weights = (twins if mirror else root), seeds.generator("tests", "repair", "student", s).bytes(2000)
        if verified_folder(place, f"student-{s}") is None:
            commit_folder(place, f"student-{s}", lambda folder, w=weights: (folder / "w.bin").write_bytes(w) and None)
            if mirror is not None:
                mirror.push(f"student-{s}")


def contents(store):
    """Every file that counts."""
    return {path: store.folder.read(path) for path in store.folder.files() if not path.startswith(("quarantine/", ".tmp/"))
            and "/quarantine/" not in path}  # fmt: skip


def thing(path):
    """What a damage of this file is found by: the student, or the file itself."""
    return path.split("/")[0] if path.startswith("student-") else path


def damaged(data, kind, generator):
    if kind == "flip":
        place, bit = int(generator.integers(len(data))), int(generator.integers(8))
        return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
    return {"cut": data[: int(generator.integers(len(data)))], "empty": b"", "foreign": b'{"of": "another program"}'}[
        kind
    ]


def leaves_no_trace(path, harm, before):
    """A unit, a record or a student that was deleted was never made, as far as anybody knows; so was a file with its record."""
    if path.startswith("student-"):
        return all(harm.get(other) == "delete" for other in before if thing(other) == thing(path))
    if "units/" in path or ".uqkd/" in path:
        return harm[path] == "delete"
    record = _place(path)
    return (harm[path] == "delete" and record in harm) or ("/" not in path and harm.get(record) == "delete")


@pytest.fixture(params=["disk", "s3"])
def place(request, tmp_path):
    """Root, how its files are changed without the store, and a folder for twins."""
    if request.param == "disk":
        root = tmp_path / "results"

        def change(path, data):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).unlink() if data is None else (root / path).write_bytes(data)

        return str(root), change, tmp_path / "twins"
    server = request.getfixturevalue("s3")
    prefix = server.root.removeprefix("s3://bucket/")
    return (
        server.root,
        lambda path, data: (
            server.delete(f"{prefix}/{path}") if data is None else server.place(f"{prefix}/{path}", data)
        ),
        tmp_path / "twins",
    )


@pytest.mark.slow
def test_every_damage_is_found_put_aside_and_made_anew(place, capsys):
    root, change, twins = place
    write_missing(root, twins)
    store = Store(root)
    before = contents(store)
    found = verify_all(root)
    assert (found.units, found.files, found.folders, found.bad) == (12, 4, 2, ())
    for turn in range(DAMAGES // AT_ONCE):
        generator = seeds.generator("tests", "repair", "damage", turn)
        paths = [sorted(before)[int(i)] for i in generator.choice(len(before), AT_ONCE - 1, replace=False)]
        harm = {path: KINDS[int(generator.integers(len(KINDS)))] for path in paths}
        lost = {thing(path) for path in paths if leaves_no_trace(path, harm, before)}
        for path, kind in harm.items():
            change(path, None if kind == "delete" else damaged(before[path], kind, generator))
        stranger = STRANGERS[turn % len(STRANGERS)]
        change(stranger, b"hello")
        listed = {thing(path) for path, _ in verify_all(root).bad}
        assert {thing(path) for path in [*paths, stranger]} - listed <= lost
        harmed = {thing(path) for path in [*paths, stranger]}
        assert all(one in harmed or _place(one) in harm for one in listed)
        verify_all(root, quarantine=True)
        assert verify_all(root).bad == ()
        write_missing(root, twins)
        assert contents(store) == before
    capsys.readouterr()


STUDY = '''
"""How far is a coin from fair?"""
import matplotlib.pyplot as plt
import pandas as pd
from uqkd import run, seeds
from uqkd.report.figures import publish

class Options(run.Options):
    flips: int = 10

PRESETS = {"quick": Options()}

def cells(options):
    return [{"coin": i, "flips": options.flips} for i in range(4)]

def measure(cell):
    draws = seeds.generator("coins", cell["coin"]).random(cell["flips"])
    return pd.DataFrame({"coin": [cell["coin"]], "heads": [(draws < 0.5).mean()]})

def main(options, run):
    table = run.cells(cells(options), measure)
    publish(run, plt.figure(), table=table, caption="Heads.")
'''


@pytest.mark.slow
def test_repair_runs_the_study_again_with_the_options_that_it_had(tmp_path, monkeypatch, capsys):
    def uqkd(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main(list(words))
        return stop.value.code, capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "coins.py").write_text(STUDY)
    assert uqkd("study", "coins", "--workers", "1", "--set", "flips=7")[0] == 0
    before = contents(Store("results"))
    units = sorted((tmp_path / "results/units/coins").iterdir())
    units[0].write_bytes(b"")
    (tmp_path / "results/tables/coins.csv").write_text("coin,heads\n0,1.0\n")
    (tmp_path / "results/index.html").write_text("")
    code, said = uqkd("verify", "results")
    assert code == 1
    assert [line.split(": ")[1] for line in said.out.splitlines()[:-1]] == [
        f"units/coins/{units[0].name}", "index.html", "tables/coins.csv",
    ]  # fmt: skip
    code, said = uqkd("verify", "results", "--repair")
    assert code == 0, said
    assert "coins: 1 units computed, 3 read, figure and tables written" in said.out
    assert contents(Store("results")) == before
    assert uqkd("verify", "results")[0] == 0
    (tmp_path / "results/figures/coins.json").write_text("{}")  # with the options in it
    code, said = uqkd("verify", "results", "--repair")
    assert code == 1
    assert "run again: uqkd study coins (which options it had is not known any more)" in said.out
