"""Folders of files: there wholly or not at all, whatever happens while they are written or afterwards."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from uqkd import seeds
from uqkd.errors import StoreError
from uqkd.store import commit_folder, faults_of_folder, verified_folder

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 4, "more/words.txt": b"a b"}


def fill(folder, files=FILES):
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("harm", ["flip", "shorten", "delete", "manifest"])
@pytest.mark.parametrize("name", list(FILES))
def test_a_damaged_folder_is_set_aside_and_made_anew(tmp_path, capsys, harm, name):
    made = commit_folder(tmp_path, "models/a", fill)
    assert verified_folder(tmp_path, "models/a") == made
    target, data = made / name, bytearray((made / name).read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        target.write_bytes(bytes(data))
    elif harm == "shorten":
        target.write_bytes(bytes(data[:-1]))
    elif harm == "delete":
        target.unlink()
    else:
        (made / "uqkd.json").write_text("{")
    assert faults_of_folder(made)
    assert verified_folder(tmp_path, "models/a") is None
    assert "moved to quarantine" in capsys.readouterr().err
    (aside,) = (tmp_path / "quarantine").glob("a-*/a")
    assert faults_of_folder(aside)  # nothing is thrown away
    assert contents(commit_folder(tmp_path, "models/a", fill)) == FILES


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path):
    def half(folder):
        fill(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"):
        commit_folder(tmp_path, "a", half)
    assert verified_folder(tmp_path, "a") is None
    assert not list((tmp_path / ".tmp").iterdir())
    made = commit_folder(tmp_path, "a", fill)
    with pytest.raises(StoreError, match="No space left"):
        commit_folder(tmp_path, "a", half)
    assert contents(made) == FILES
    assert faults_of_folder(made) == []


def test_the_first_of_two_writers_is_kept(tmp_path):
    def second(folder):
        commit_folder(tmp_path, "a", fill)
        fill(folder, {**FILES, "config.json": b"{1}"})

    made = commit_folder(tmp_path, "a", second)
    assert contents(made) == FILES
    assert not list((tmp_path / ".tmp").iterdir())


WRITER = """
import sys, time
from pathlib import Path
from uqkd.store import commit_folder
def write(folder):
    print("writing", flush=True)
    for i in range(20):
        (folder / f"{i}.bin").write_bytes(bytes([i]) * 4096)
        time.sleep(0.005)
commit_folder(sys.argv[1], "a", write)
print("done", flush=True)
time.sleep(10)
"""


@pytest.mark.slow
@pytest.mark.process
def test_killed_at_random_instants_it_is_there_wholly_or_not_at_all(tmp_path):
    begun = time.monotonic()
    commit_folder(tmp_path / "in peace", "a", fill)
    # A machine in use syncs slowly: kills lie between the first file and some time after the last sync.
    reach = 0.2 + 3.0 * (time.monotonic() - begun)
    for attempt in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path / str(attempt)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "writing\n"
        if (
            attempt == 1
        ):  # of a machine however slow one writer is killed after its last sync, and one (0) at its first file
            assert process.stdout.readline() == "done\n"
        elif attempt > 1:
            time.sleep(seeds.generator("tests", "folder kill", attempt).uniform(0.0, reach))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        place = tmp_path / str(attempt)
        whole = (place / "a").exists()
        if attempt < 2:
            assert whole == (attempt == 1)
        if whole:
            assert faults_of_folder(place / "a") == []
            assert len(json.loads((place / "a/uqkd.json").read_bytes())) == 20
        commit_folder(place, "a", fill)  # what the dead writer left is swept away
        assert not list((place / ".tmp").iterdir())
        assert verified_folder(place, "a") is not None
