"""Fault 25: temporary files of dead writers are swept; those of living writers stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uqkd.store import Store

WRITER = """
import sys
from uqkd.store import Store
store = Store(sys.argv[1])
data = bytes(20_000_000)
while True:
    store.write_bytes("big.csv", data)
"""


@pytest.fixture
def halted_writer(tmp_path):
    """A writer stopped (not dead) in the middle of a write, with its temporary file."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
    folder, until = tmp_path / ".tmp", time.monotonic() + 60
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        # A file already renamed is gone from here; one just made may not be locked yet, so it must have bytes.
        if folder.is_dir() and any(path.stat().st_size for path in folder.iterdir()):
            break
        process.send_signal(signal.SIGCONT)
        assert time.monotonic() < until
        time.sleep(0.003)
    yield process
    process.kill()
    process.wait()


@pytest.mark.process
def test_the_file_of_a_living_writer_stays_and_that_of_a_dead_one_goes(halted_writer, tmp_path):
    store, folder = Store(tmp_path), tmp_path / ".tmp"
    assert store.sweep() == 0
    assert len(list(folder.iterdir())) == 1
    halted_writer.kill()
    halted_writer.wait()
    assert store.sweep() == 1
    assert list(folder.iterdir()) == []


def test_files_of_others_in_the_folder_are_left_alone(tmp_path):
    store = Store(tmp_path)
    store.write_bytes("a.csv", b"x")
    (tmp_path / ".tmp" / "mine.txt").write_text("mine")
    assert store.sweep() == 0
    assert (tmp_path / ".tmp" / "mine.txt").exists()


SWEEPER = """
import sys
from uqkd.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
while True:
    store.sweep()
"""


@pytest.mark.process
def test_a_writer_beside_a_busy_sweeper_loses_nothing(tmp_path: Path):
    # The sweeper may lock or delete a new file between its creation and its lock; the writer must then take another.
    store = Store(tmp_path)
    store.write_bytes("0.csv", b"0")
    with subprocess.Popen([sys.executable, "-c", SWEEPER, str(tmp_path)], stdout=subprocess.PIPE) as sweeper:
        assert sweeper.stdout is not None
        sweeper.stdout.readline()
        for i in range(500):
            store.write_bytes(f"{i}.csv", str(i).encode())
        sweeper.kill()
    assert [(tmp_path / f"{i}.csv").read_text() for i in range(500)] == [str(i) for i in range(500)]
