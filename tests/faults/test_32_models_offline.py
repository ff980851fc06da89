"""Fault 32: sampling a model from its folder needs no network; a name that is not there says so in one line."""

from __future__ import annotations

import os

import pytest

NO_NETWORK = """
import socket
real = socket.socket.connect
def refuse(self, address, *rest):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError("this test has no network")
    return real(self, address, *rest)
socket.socket.connect = refuse
def nobody(*arguments, **options):
    raise OSError("this test has no network")
socket.create_connection = socket.getaddrinfo = nobody
"""


@pytest.fixture
def offline(tmp_path):
    """Environment in which every Python process is refused connections to others, and has fetched nothing before."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    paths = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": paths, "HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.process
def test_sampling_from_a_folder(command, offline, tiny, prompts, tmp_path):
    line = ("sample", "--teacher", tiny, "--prompts", prompts, "--bank", tmp_path / "b", "--backend", "transformers")
    process = command(*line, "--max-tokens", "16", "--k", "2", env=offline)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "6 responses drawn, 0 reused" in output


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("what", ["teacher", "prompts"])
def test_a_name_on_the_hub_is_one_clear_line(command, offline, tiny, prompts, tmp_path, what):
    names = {"teacher": tiny, "prompts": prompts, what: "someone/something"}
    process = command(
        "sample", "--teacher", names["teacher"], "--prompts", names["prompts"], "--bank", tmp_path / "b", "--backend",
        "transformers", env=offline,
    )  # fmt: skip
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 2, output
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "'someone/something'" in last
    assert "offline, give" in last
    assert "Traceback" not in errors
