"""Markers that cannot be forgotten: a test that starts a process or an engine without saying so fails.

`process`: starts commands or processes of Python. `engine`: starts vLLM. `slow`: takes more than a second or so of
a core; the run ends with those that are not marked and took five. What `make test-fast` leaves out are these three.
"""

from __future__ import annotations

import gc
import multiprocessing.process
import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

# Who uses one of these, or is a case named so, starts what it is for.
BY_FIXTURE = {
    "vllm": "engine", "vllm_teacher": "engine", "vllm_server": "engine", "smollm2_server": "engine", "server_teacher": "engine",
    "command": "process", "script": "process",
}  # fmt: skip
# Seconds of a typical test, by marker: the files that take longest are handed out first, or one of two processes waits.
SECONDS = {"slow": 20.0, "engine": 8.0, "process": 3.0}
QUICK_S, SLOW_S = 0.05, 5.0

_STANDARD = sysconfig.get_paths()["stdlib"]
_started: list[tuple[str, str]] = []  # (marker, what) of the test that runs
_long: list[tuple[float, str]] = []


def _of_ours() -> bool:
    """Whether the first caller outside the standard library is a file of the project, not of a library."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        library = "site-packages" in file
        if library or not (file.startswith(_STANDARD) or file.startswith("<") or file == __file__):
            return not library
        frame = frame.f_back
    return False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "subprocess.Popen":
        line = arguments[1]
        words = [line] if isinstance(line, str | bytes | os.PathLike) else list(line)  # type: ignore[call-overload]
        words = [os.fsdecode(word) if isinstance(word, bytes | os.PathLike) else str(word) for word in words]
        text = " ".join(words)
        # Compilers are not meant, nor what a library starts by itself, such as torch's helpers that call them.
        if "python" in text and _of_ours():
            _started.append(
                (("engine" if any(word.split(".")[0] == "vllm" for word in words) else "process"), text[:200])
            )
    elif event == "os.fork":
        _started.append(("process", "os.fork"))


def _watched_start(start, self) -> None:
    _started.append(("process", f"multiprocessing: {self.name}"))
    start(self)


sys.addaudithook(_watch)
_start = multiprocessing.process.BaseProcess.start
multiprocessing.process.BaseProcess.start = lambda self: _watched_start(_start, self)


def _watch_engines() -> None:
    """Note every start of vLLM in this process, once the teachers are imported."""
    if "uqkd.llm.teachers" not in sys.modules:
        return
    from uqkd.llm.teachers.backends.vllm import library

    started = library.started
    if getattr(started, "watched", False) or not hasattr(started, "__code__"):
        return

    def watched(path, **options):
        _started.append(("engine", f"vLLM with {path}"))
        return started(path, **options)

    watched.watched = True
    library.started = watched


def missing(item: pytest.Item) -> list[str]:
    """What this test started and does not say."""
    return [
        f"{item.name} starts {what}: mark it {marker}"
        for marker, what in _started
        if item.get_closest_marker(marker) is None
        and not (marker == "process" and item.get_closest_marker("engine") is not None)  # an engine is processes
    ]


def _guarded(item: pytest.Item) -> Iterator[None]:
    _started.clear()
    _watch_engines()
    yield
    if found := missing(item):
        raise AssertionError("\n".join(found))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _guarded(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    return (yield from _guarded(item))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in {BY_FIXTURE[name] for name in _named(item) if name in BY_FIXTURE}:
            item.add_marker(marker)
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = longest_first(items)


def pytest_collection_finish() -> None:
    """Set aside what was imported: a collection of garbage by statsmodels or vLLM goes through all of it otherwise, in 0.4 s."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Nothing stays set aside when the process ends, or libraries report what they take for leaks."""
    gc.unfreeze()


def _named(item: pytest.Item) -> Iterator[str]:
    """The fixtures of a test, and the words among its parameters, of which some are names of fixtures or engines."""
    yield from getattr(item, "fixturenames", ())
    if (call := getattr(item, "callspec", None)) is not None:
        yield from (value for value in call.params.values() if isinstance(value, str))


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests of a file stay together; the files that should take longest come first."""
    seconds: Counter[object] = Counter()
    for item in items:
        marks = [SECONDS[mark.name] for mark in item.iter_markers() if mark.name in SECONDS]
        seconds[item.path] += max(marks, default=QUICK_S)
    return sorted(items, key=lambda item: -seconds[item.path])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.duration > SLOW_S and "slow" not in report.keywords:
        _long.append((report.duration, report.nodeid))


def pytest_terminal_summary(terminalreporter) -> None:
    """Tests that took longer than a test that is not marked slow should; a busy machine lengthens all of them."""
    for duration, name in sorted(_long, reverse=True)[:20]:
        terminalreporter.write_line(f"not marked slow: {duration:.1f} s {name}")
