"""Fault 32: studies and checks run without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).with_name("toy_study.py")
NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    raise OSError("this test has no network")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""


@pytest.fixture
def offline(tmp_path):
    """Environment in which every Python process, workers too, is refused any connection."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.process
def test_study_and_verify(command, offline, tmp_path):
    for arguments in (("study", TOY, "--workers", 2, "--out", tmp_path / "out"), ("verify", tmp_path / "out")):
        process = command(*arguments, env=offline)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


@pytest.mark.process
def test_the_refusal_is_real(offline):
    code = "import socket; socket.create_connection(('localhost', 9))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **offline}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "this test has no network" in done.stderr
