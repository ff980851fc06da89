"""Fault 21: a full, read-only or vanished disk gives one clear error, and leaves everything earlier intact."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pandas as pd
import pytest

from uqkd.errors import StoreError
from uqkd.store import Inputs, Store
from uqkd.store.durable import LocalFolder

COMMIT = """
import json, os, sys
import numpy as np, pandas as pd
from uqkd import seeds
from uqkd.errors import StoreError
from uqkd.store import Inputs, Store

def commit(store, unit, size):
    table = pd.DataFrame({"x": seeds.generator("faults", "disk", unit).normal(size=size)})
    store.commit(Inputs("disk", {"unit": unit}, method="m"), table)

def report(store, error, committed):
    checked = store.verify()
    left = os.listdir(store.root + "/.tmp")
    print(json.dumps({"error": error, "committed": committed, "ok": checked.ok, "bad": checked.bad, "left": left}))
"""

LIMITED = """
import resource
store = Store(sys.argv[1])
for unit in range(3):
    commit(store, unit, 1_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    commit(store, 3, 25_000)
except StoreError as problem:
    report(store, str(problem), 3)
"""

FULL = """
import subprocess
store = Store(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", sys.argv[1]], check=True)
unit = 0
try:
    while True:
        commit(store, unit, 10_000)
        unit += 1
except StoreError as problem:
    report(store, str(problem), unit)
"""

READ_ONLY = """
import subprocess
store = Store(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", sys.argv[1]], check=True)
commit(store, 0, 1_000)
subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
try:
    commit(store, 1, 1_000)
except StoreError as problem:
    report(store, str(problem), 1)
"""


@pytest.fixture
def own_mounts() -> tuple[str, ...]:
    """Command that lets an ordinary user mount a small disk; some containers forbid it."""
    line = ("unshare", "--user", "--map-root-user", "--mount")
    try:
        probe = subprocess.run([*line, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare; the file-size limit covers the full disk")
    if probe.returncode:
        pytest.skip("this system forbids mounts of one's own; the file-size limit covers the full disk")
    return line


def _check(answer: str, *, reason: str, at_least: int) -> None:
    report = json.loads(answer)
    assert reason in report["error"]
    assert "disk/" in report["error"]  # the path
    assert " bytes)" in report["error"]
    assert report["committed"] >= at_least
    assert (report["ok"], report["bad"], report["left"]) == (report["committed"], [], [])


def test_a_write_cut_short_by_the_system_leaves_no_trace(script, tmp_path):
    _check(script(COMMIT + LIMITED, tmp_path).stdout, reason="File too large", at_least=3)


@pytest.mark.process
def test_a_full_disk(script, tmp_path, own_mounts):
    # A unit of 10,000 random doubles takes 80 to 100 kB: 1 MiB holds at least 5 and surely not all that are tried.
    _check(script(COMMIT + FULL, tmp_path, wrapper=own_mounts).stdout, reason="No space left on device", at_least=5)


@pytest.mark.process
def test_a_read_only_disk(script, tmp_path, own_mounts):
    _check(script(COMMIT + READ_ONLY, tmp_path, wrapper=own_mounts).stdout, reason="Read-only file system", at_least=1)


def test_a_place_that_cannot_be_created_is_named():
    with pytest.raises(StoreError, match=r"could not create /sys/uqkd-results: .*run again"):
        Store("/sys/uqkd-results")  # not even root may


def test_a_vanished_root_is_an_error_and_is_not_silently_recreated(tmp_path):
    store = Store(tmp_path / "results")
    table = pd.DataFrame({"x": [1.0]})
    store.commit(Inputs("disk", {"unit": 0}, method="m"), table)
    shutil.rmtree(tmp_path / "results")
    with pytest.raises(StoreError, match=r"units/disk/\w{32}-\w{32}\.parquet \(\d+ bytes\): No such file or directory"):
        store.commit(Inputs("disk", {"unit": 1}, method="m"), table)
    assert not (tmp_path / "results").exists()


def test_a_write_is_synced_then_renamed_and_every_folder_it_changed_is_synced(tmp_path, monkeypatch):
    """No test can cut the power, but the order of the system calls that a power cut tests can be seen."""
    calls, sync, rename = [], os.fsync, os.rename

    def place(path: object) -> str:
        name = os.path.relpath(str(path), tmp_path)
        return "unfinished" if "unfinished-" in name else name

    def watched_sync(descriptor: int) -> None:
        calls.append(("sync", place(os.readlink(f"/proc/self/fd/{descriptor}"))))
        sync(descriptor)

    def watched_rename(source: object, target: object) -> None:
        calls.append(("rename", place(target)))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "rename", watched_rename)
    store = Store(tmp_path / "results")
    assert calls == [("sync", ".")]  # the new root is in its parent
    calls.clear()
    store.write_bytes("figures/a.csv", b"x")
    record = "results/.uqkd/hashes/figures%2Fa.csv.json"
    assert calls == [
        ("sync", "results"),  # holds .uqkd/
        ("sync", "results/.uqkd"),  # holds hashes/
        ("sync", "results"),  # holds .tmp/
        ("sync", "unfinished"),
        ("rename", record),
        ("sync", "results/.uqkd/hashes"),
        ("sync", "results"),  # holds figures/
        ("sync", "unfinished"),
        ("rename", "results/figures/a.csv"),
        ("sync", "results/figures"),
    ]


def test_results_are_readable_for_others(tmp_path):
    Store(tmp_path).write_bytes("figures/a.csv", b"x")
    assert (tmp_path / "figures" / "a.csv").stat().st_mode & 0o777 == 0o644


def test_a_disk_that_cannot_be_read_or_moved_on_is_an_error_not_a_missing_unit(tmp_path, monkeypatch):
    """A read error taken for a missing unit would be computed anew, and a corrupt file that stays would come back."""
    store, inputs = Store(tmp_path), Inputs("disk", {"unit": 0}, method="m")
    name = store.commit(inputs, pd.DataFrame({"x": [1.0]}))

    def refuse(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "read", refuse)
        with pytest.raises(StoreError, match=rf"could not read units/disk/{name}: Input/output error"):
            store.read(inputs)
    (tmp_path / "units" / "disk" / name).write_bytes(b"")
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StoreError, match=rf"could not move .*{name}: Input/output error"):
        store.read(inputs)


def test_a_failed_replacement_leaves_the_older_figure(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.write_bytes("figures/a.csv", b"older")

    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=r"a\.csv.* \(\d+ bytes\): No space left on device"):
        store.write_bytes("figures/a.csv", b"newer")
    assert (tmp_path / "figures" / "a.csv").read_bytes() == b"older"
    assert os.listdir(tmp_path / ".tmp") == []
