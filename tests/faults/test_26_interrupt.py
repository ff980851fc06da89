"""Fault 26: Ctrl-C and SIGTERM end with a summary and their exit code; a rerun continues and ends the same."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

TOY = Path(__file__).with_name("toy_study.py")


def _wait_for_units(root: Path, *, at_least: int) -> None:
    until = time.monotonic() + 60.0
    while len(list(root.glob("units/toy_study/*"))) < at_least:
        assert time.monotonic() < until, "the command commits nothing"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_command_says_how_to_continue_and_continues(command, contents, tmp_path, toy_run, stop, code, workers):
    arguments = ("study", TOY, "--workers", workers, "--set", "cells=12", "--set", "pause_s=0.1", "--out")
    process = command(*arguments, tmp_path / "a")
    _wait_for_units(tmp_path / "a", at_least=3)
    os.killpg(process.pid, stop) if stop == signal.SIGINT else process.send_signal(stop)  # a terminal sends to all
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    committed = len(list((tmp_path / "a").glob("units/toy_study/*")))
    assert 3 <= committed < 12
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"interrupted: {committed} of 12 units are committed, {12 - committed} remain; run the same")

    again = command(*arguments, tmp_path / "a")
    output, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert f"{12 - committed} units computed, {committed} read" in output
    toy_run(tmp_path / "b", cells=12, pause_s=0.1)
    units = {name: data for name, data in contents(tmp_path / "a").items() if name.startswith(("units", "toy_study"))}
    assert units == contents(tmp_path / "b")
