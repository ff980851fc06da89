"""Markers that cannot be forgotten: a test that starts a process or an engine without saying so fails.

`process`: starts commands or processes of Python. `engine`: starts vLLM. `slow`: took more than `SLOW_S` of a core when
`make durations` last recorded it in `durations.csv`, or is marked so by hand; the run ends with those that are neither and
took much longer. What `make test-fast` leaves out are these three.
"""

from __future__ import annotations

import csv
import gc
import multiprocessing.process
import os
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

# Who uses one of these, or is a case named so, starts what it is for.
BY_FIXTURE = {
    "vllm": "engine", "vllm_teacher": "engine", "vllm_server": "engine", "smollm2_server": "engine", "server_teacher": "engine",
    "command": "process", "script": "process",
}  # fmt: skip
# Seconds of a test that is not recorded, by marker; the files that take longest are handed out first, or one process waits.
SECONDS = {"slow": 5.0, "engine": 8.0, "process": 3.0}
QUICK_S, SLOW_S, UNMARKED_S = 0.02, 0.1, 3.0
DURATIONS = Path(__file__).with_name("durations.csv")
RECORD = "UQKD_RECORD_DURATIONS"  # set by `make durations`

_STANDARD = sysconfig.get_paths()["stdlib"]
_started: list[tuple[str, str]] = []  # (marker, what) of the test that runs
_long: list[tuple[float, str]] = []
_aside = {"modules": 0, "objects": 0}  # as of the last time that the heap was set aside
_took: Counter[str] = Counter()  # seconds by test, with what was set up for it


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
    known = recorded()
    for item in items:
        if item.nodeid in known:
            item.add_marker("slow")
        for marker in {BY_FIXTURE[name] for name in _named(item) if name in BY_FIXTURE}:
            item.add_marker(marker)
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = longest_first(items, known)


def recorded() -> dict[str, float]:
    """Seconds of the tests that took long enough to be recorded."""
    with DURATIONS.open(newline="") as file:
        return {row["test"]: float(row["seconds"]) for row in csv.DictReader(file)}


def record(took: Mapping[str, float]) -> None:
    """Write down the tests that took longer than `SLOW_S`."""
    rows = sorted((name, f"{seconds:.1f}") for name, seconds in took.items() if seconds > SLOW_S)
    with DURATIONS.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("test", "seconds"), *rows])


def pytest_collection_finish() -> None:
    """Set aside what was imported: a collection of garbage by statsmodels or vLLM goes through all of it otherwise, in a second."""
    _set_aside()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The same after a file of tests that imported much more, or whose engine took back what was set aside as it ended."""
    other_file = nextitem is not None and nextitem.path != item.path
    if other_file and (len(sys.modules) > _aside["modules"] + 100 or gc.get_freeze_count() < _aside["objects"]):
        _set_aside()


def _set_aside() -> None:
    gc.collect()
    gc.freeze()
    _aside.update(modules=len(sys.modules), objects=gc.get_freeze_count())


def pytest_unconfigure() -> None:
    """Nothing stays set aside when the process ends, or libraries report what they take for leaks."""
    gc.unfreeze()


def _named(item: pytest.Item) -> Iterator[str]:
    """The fixtures of a test, and the words among its parameters, of which some are names of fixtures or engines."""
    yield from getattr(item, "fixturenames", ())
    if (call := getattr(item, "callspec", None)) is not None:
        yield from (value for value in call.params.values() if isinstance(value, str))


def longest_first(items: Sequence[pytest.Item], known: Mapping[str, float]) -> list[pytest.Item]:
    """Tests of a file stay together; the files that should take longest come first."""
    seconds: Counter[object] = Counter()
    for item in items:
        typical = max((SECONDS[mark.name] for mark in item.iter_markers() if mark.name in SECONDS), default=QUICK_S)
        seconds[item.path] += known.get(item.nodeid, typical)
    return sorted(items, key=lambda item: -seconds[item.path])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _took[report.nodeid] += report.duration
    if report.when == "call" and report.duration > UNMARKED_S and "slow" not in report.keywords:
        _long.append((report.duration, report.nodeid))


def pytest_terminal_summary(terminalreporter) -> None:
    """Tests that took longer than a test that is not marked slow should; a busy machine lengthens all of them."""
    for duration, name in sorted(_long, reverse=True)[:20]:
        terminalreporter.write_line(f"neither recorded nor marked as slow: {duration:.1f} s {name}")
    if os.environ.get(RECORD) and "PYTEST_XDIST_WORKER" not in os.environ:
        record(_took)
