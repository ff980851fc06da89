"""What the fault tests share: the toy study, the real command, and the bytes of a results folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from uqkd.run import Run, Study, Workers, load_study
from uqkd.store import Store

TOY = Path(__file__).with_name("toy_study.py")


@pytest.fixture
def toy() -> Study:
    """The toy study, loaded."""
    return load_study(TOY)


@pytest.fixture
def toy_run(toy: Study) -> Callable[..., Run]:
    """Run the toy study as the command does, in this process unless `workers` says otherwise."""

    def go(root: Path | str, *, workers: Workers | None = None, **options: object) -> Run:
        run = Run(toy, Store(root), workers=workers)
        toy.main(toy.options("quick", options), run)
        return run

    return go


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A file of three prompts."""
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"w{i}"}) for i in range(3)))
    return file


@pytest.fixture
def command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the real command in a process group of its own; what is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "uqkd", *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            line, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env={**os.environ, **(env or {})}
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a piece of Python in a fresh process; it must end with exit code 0."""

    def run(text: str, *arguments: object, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        line = [*wrapper, sys.executable, "-c", text, *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, by its relative path, but the records of what was written by name."""

    def read(root: Path) -> dict[str, bytes]:
        files = [path for path in sorted(root.rglob("*")) if path.is_file() and ".uqkd" not in path.parts]
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    return read
