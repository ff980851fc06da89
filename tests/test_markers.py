"""The guard of the markers: what starts a process or an engine and does not say so fails, and nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import multiprocessing, os, subprocess, sys
import pytest
import uqkd.llm.teachers

def spawn():
    process = multiprocessing.get_context("spawn").Process(target=print)
    process.start()
    process.join()

def fork():
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)

def engine():
    from uqkd.llm.teachers.backends.vllm import library
    sys.modules["vllm"] = None  # as if it were not installed
    with pytest.raises(ImportError):
        library.started("nowhere")

STARTS = {
    "run": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "spawn": spawn,
    "fork": fork,
    "engine": engine,
}

@pytest.fixture(params=STARTS)
def started(request):
    STARTS[request.param]()

@pytest.mark.parametrize("name", STARTS)
def test_unsaid(name):
    STARTS[name]()

def test_unsaid_in_a_fixture(started):
    pass

@pytest.mark.process
@pytest.mark.parametrize("name", ["run", "spawn", "fork"])
def test_said(name):
    STARTS[name]()

@pytest.mark.engine
@pytest.mark.parametrize("name", STARTS)
def test_said_as_an_engine(name):
    STARTS[name]()

def test_compilers_are_not_meant():
    subprocess.run(["true"], check=True)
"""


@pytest.mark.process
@pytest.mark.slow
def test_what_starts_a_process_or_an_engine_must_say_so(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text("from markers import pytest_runtest_call, pytest_runtest_setup\n")
    line = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    outcomes = dict(reversed(row.split()[:2]) for row in done.stdout.splitlines() if " test_suite.py::" in f" {row}")
    failed = {name.split("::")[1] for name, how in outcomes.items() if how in ("FAILED", "ERROR")}
    kinds = ("run", "spawn", "fork", "engine")
    assert failed == {f"test_unsaid{where}[{kind}]" for where in ("", "_in_a_fixture") for kind in kinds}
    assert len(outcomes) == 16
    assert "mark it process" in done.stdout
    assert "mark it engine" in done.stdout
