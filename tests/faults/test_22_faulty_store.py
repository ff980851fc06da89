"""Fault 22 far away: a store that drops connections, cuts answers, refuses for a moment and is slow changes no byte."""

from __future__ import annotations

import os
import threading

import pandas as pd
import pytest
from s3_server import FAULTS

from uqkd import seeds
from uqkd.store import Inputs, Mirror, Store, commit_folder

FULL = os.environ.get("UQKD_FAULTS") == "full"
UNITS = 400 if FULL else 40
FOLDERS = 20 if FULL else 2


def inputs(i):
    return Inputs("far", {"i": i}, method="m")


def table(i):
    return pd.DataFrame({"x": seeds.generator("tests", "faulty", i).normal(size=200)})


def write_all(root, twins):
    """What a run, a set of students and a packing write."""
    store, mirror = Store(root), Mirror(root, twins)
    for i in range(UNITS):
        store.commit(inputs(i), table(i), check_twins=i % 8 == 0)
    store.compact("far")
    for i in range(UNITS, UNITS + 8):
        store.commit(inputs(i), table(i), check_twins=False)
    for name in ("figures/a.pdf", "tables/a.csv", "index.html"):
        store.write_bytes(name, seeds.generator("tests", "faulty", name).bytes(50_000))
    for s in range(FOLDERS):
        weights = seeds.generator("tests", "faulty", "student", s).bytes(300_000)
        commit_folder(
            mirror.root,
            f"student-{s}",
            lambda folder, weights=weights: (folder / "w.bin").write_bytes(weights) and None,
        )
        mirror.push(f"student-{s}")
    return store


@pytest.mark.slow
def test_the_same_bytes_in_the_end_and_nothing_half_written_is_ever_read(s3, tmp_path):
    write_all(s3.root + "/well", tmp_path / "well")
    start = len(s3.root.removeprefix("s3://bucket/")) + len("/well/")
    expected = {key[start:]: s3.keys()[key] for key in s3.keys_below(s3.root + "/well")}
    whole = [table(i)["x"].tolist() for i in range(UNITS + 8)]
    root, stop, seen, wrong = s3.root + "/ill", threading.Event(), [0], []

    def read_meanwhile():
        """As another machine does: whatever it gets is whole."""
        try:
            while not stop.is_set():
                for i, unit in enumerate(Store(root).read_units([inputs(i) for i in range(0, UNITS, 5)])):
                    seen[0] += unit is not None
                    if unit is not None and unit.table["x"].to_pylist() != whole[5 * i]:
                        wrong.append(i)
                for name in Mirror(root, tmp_path / "reader").pull("student-"):
                    if (tmp_path / "reader" / name / "w.bin").read_bytes() != expected[f"{name}/w.bin"]:
                        wrong.append(name)
        except Exception as problem:
            wrong.append(problem)

    reader = threading.Thread(target=read_meanwhile)
    with s3.faulty("same bytes", share=0.12) as faults:
        reader.start()
        try:
            store = write_all(root, tmp_path / "ill")
        finally:
            stop.set()
            reader.join()
        report = store.verify()
    assert wrong == []
    assert seen[0] > 0
    assert all(faults[kind] for kind in FAULTS), faults
    assert (report.ok, report.bad) == (UNITS + 8, ())
    # Packs hold what was loose when they were made; the reader moves nothing.
    found = {key[start - 1 :]: s3.keys()[key] for key in s3.keys_below(root)}
    assert found == expected


@pytest.mark.slow
def test_a_study_writes_the_same_bytes_as_on_disk_and_goes_on_from_them(toy_run, contents, s3, tmp_path):
    toy_run(tmp_path)
    with s3.faulty("study", share=0.1):
        assert toy_run(s3.root).computed == 20
    start = len(s3.root.removeprefix("s3://bucket/")) + 1
    found = {key[start:]: s3.keys()[key] for key in s3.keys_below(s3.root) if ".uqkd" not in key}
    assert found == contents(tmp_path)
    lost = next(key for key in s3.keys_below(s3.root) if "/units/" in key)
    s3.place(lost, found[lost[start:]][:-1])
    again = toy_run(s3.root)
    assert (again.computed, again.reused) == (1, 19)
    assert s3.keys()[lost] == found[lost[start:]]
