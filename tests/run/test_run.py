"""Runs: only what is missing is computed, in any process, and failures leave everything finished in place."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest

from uqkd.errors import OptionError, StoreError, WorkerError
from uqkd.run import Options, Run, Workers, load_study
from uqkd.run.progress import Progress
from uqkd.run.provenance import fingerprint as provenance
from uqkd.run.provenance.fingerprint import method_fingerprint
from uqkd.run.workers import LocalPool, make_executor, perform
from uqkd.store import Store

STUDY = '''
"""What is the square of i?

More words.
"""
import os
import signal
import pandas as pd
from uqkd import run
TITLE = "Squares"
SCALE = 1
class Options(run.Options):
    n: int = 6
    bad: tuple[int, ...] = ()
    killer: int | None = None
    pid: int = 0
PRESETS = {"quick": Options(), "full": Options(n=12)}
def cells(options):
    return [{"i": i, "bad": i in options.bad, "kill": i == options.killer} for i in range(options.n)]
def square(i):
    """A docstring."""
    return SCALE * i * i
def measure(cell):
    if cell["bad"]:
        raise ValueError(f"{cell['i']} cannot be squared.")
    if cell["kill"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return pd.DataFrame({"i": [cell["i"]], "square": [square(cell["i"])]})
def plot(table):
    return TITLE
def main(options, run):
    return run.cells(cells(options), measure)
'''


@pytest.fixture
def file(tmp_path) -> Path:
    """A small study file."""
    path = tmp_path / "squares.py"
    path.write_text(STUDY)
    return path


@pytest.fixture
def go(file, tmp_path):
    """Run the study file; returns the run and its table."""

    def start(*, workers=None, **options):
        study = load_study(file)
        run = Run(study, Store(tmp_path / "results"), workers=workers)
        return run, study.main(study.options("quick", options), run)

    return start


def test_only_what_is_missing_is_computed(go):
    run, table = go(n=4)
    assert (run.computed, run.reused) == (4, 0)
    run, longer = go(n=6)
    assert (run.computed, run.reused) == (2, 4)
    assert longer["square"].tolist() == [0, 1, 4, 9, 16, 25]
    pd.testing.assert_frame_equal(longer.head(4), table, check_exact=True)


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 2])
def test_a_failing_cell_lets_the_others_finish_and_is_named(go, count):
    with Workers(count) as workers:
        with pytest.raises(WorkerError) as caught:
            go(workers=workers, bad=(1, 4))
        assert str(caught.value).startswith('study \'squares\': cell {"bad": true, "i": 1')
        assert "1 cannot be squared; 2 of 6 cells failed; 4 of 6 units are committed, 2 remain" in str(caught.value)
        run, _ = go(workers=workers)  # the other options make other cells of 1 and 4
        assert (run.computed, run.reused) == (2, 4)


@pytest.mark.process
def test_a_killed_worker_keeps_what_is_finished_and_says_what_remains(go, tmp_path):
    with Workers(2) as workers:
        with pytest.raises(
            WorkerError, match=r"a worker process was killed .*; \d of 6 units are committed, \d remain\."
        ):
            go(workers=workers, killer=5)
        committed = len(Store(tmp_path / "results").committed("squares"))
        run, table = go(workers=workers)  # a new pool takes over
    assert run.computed == 6 - committed
    assert table["i"].tolist() == list(range(6))


@pytest.mark.process
def test_one_killed_worker_costs_nothing_and_the_rest_is_done_by_one(file, go, tmp_path, capfd):
    marker = tmp_path / "killed once"
    first = f'if cell["kill"] and not os.path.exists({str(marker)!r}):\n        open({str(marker)!r}, "w").close()'
    file.write_text(STUDY.replace('if cell["kill"]:', first))
    with Workers(2) as workers:
        run, table = go(workers=workers, killer=2)
    assert marker.exists()
    assert (run.computed, table["i"].tolist()) == (6, list(range(6)))
    assert (
        "note: a worker process was killed (out of memory, or by hand); going on with one worker"
        in capfd.readouterr().err
    )


@pytest.mark.process
def test_workers_are_other_processes_and_one_worker_is_this_one(file, go, tmp_path):
    text = STUDY.replace('"square": [square(cell["i"])]', '"pid": [os.getpid()]')
    file.write_text(text)
    with Workers(2) as workers:
        _, table = go(workers=workers)
        assert os.getpid() not in set(table["pid"])
        assert workers._started is not None
    file.write_text(text.replace("SCALE = 1", "SCALE = 2").replace("[os.getpid()]", "[os.getpid() * SCALE // 2]"))
    _, table = go()
    assert set(table["pid"]) == {os.getpid()}


def test_no_process_is_started_for_nothing_or_for_one_cell(go):
    go(n=5)
    with Workers(2) as workers:
        go(workers=workers, n=5)
        go(workers=workers, n=6)
        assert workers._started is None


def test_measure_gets_the_cell_as_its_canonical_form(file, go):
    file.write_text(
        STUDY.replace('"i": i,', '"i": i, "pair": (1, 2),').replace('square(cell["i"])', "repr(cell['pair'])")
    )
    _, table = go(n=1)
    assert table["square"].tolist() == ["[1, 2]"]  # equal keys, equal inputs


def test_equal_cells_no_cells_and_a_foreign_measure_are_refused(file, tmp_path):
    study = load_study(file)
    run = Run(study, Store(tmp_path / "results"))
    cell = {"i": 1, "bad": False, "kill": False}
    with pytest.raises(OptionError, match="cells 0 and 1 are equal"):
        run.cells([cell, dict(cell)], study.module.measure)
    with pytest.raises(OptionError, match="got no cells"):
        run.cells([], study.module.measure)
    with pytest.raises(OptionError, match=r"<lambda> is not a function of squares\.py"):
        run.cells([cell], lambda _: pd.DataFrame())


def test_a_cell_whose_library_is_missing_says_which_extra(file, go):
    gone = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n    return pd.DataFrame("
    file.write_text(STUDY.replace("return pd.DataFrame(", gone))
    with pytest.raises(WorkerError, match=r"LibraryError: measure\(\) needs torch, .*: pip install 'uqkd\[torch\]'"):
        go(n=1)


def test_what_is_not_a_table_is_refused(file, go):
    file.write_text(STUDY.replace("return pd.DataFrame(", "return dict("))
    with pytest.raises(WorkerError, match=r"measure\(\) returned a dict; it must return a pandas\.DataFrame"):
        go(n=1)


def test_units_that_vanish_while_it_runs_are_an_error_not_a_shorter_table(go, monkeypatch):
    read, calls = Store.read_units, []

    def once(self, inputs):
        calls.append(inputs)
        found = read(self, inputs)
        return found if len(calls) == 1 else [None, *found[1:]]

    monkeypatch.setattr(Store, "read_units", once)
    with pytest.raises(StoreError, match="1 of 6 units vanished or were damaged while it ran"):
        go()


def test_a_run_sweeps_what_dead_writers_left_before_and_while_it_ran(file, go, tmp_path):
    folder = tmp_path / "results" / ".tmp"
    go(n=1)
    (folder / "unfinished-before").write_bytes(b"x")
    go(n=1)
    assert list(folder.iterdir()) == []
    leave = f"    open('{folder}/unfinished-during', 'w').close()\n    if cell['bad']:"
    file.write_text(STUDY.replace('    if cell["bad"]:', leave))
    go(n=1)
    assert list(folder.iterdir()) == []


def _tasks(file, root, n):
    study = load_study(file)
    run = Run(study, Store(root))
    return run._tasks(study.module.cells(study.options("quick", {"n": n})), study.module.measure)


def test_a_root_that_vanished_is_not_made_again_by_a_worker(file, tmp_path):
    (task,) = _tasks(file, tmp_path / "results", 1)
    shutil.rmtree(tmp_path / "results")
    assert perform(task).error.startswith("StoreError: there is no folder")
    assert not (tmp_path / "results").exists()


@pytest.mark.process
def test_workers_closed_now_do_not_finish_their_cells(file, tmp_path):
    file.write_text(STUDY.replace("    if cell[", "    import time\n    time.sleep(60 * cell['i'])\n    if cell[", 1))
    pool = LocalPool(2)
    next(pool.outcomes(_tasks(file, tmp_path / "results", 2)))  # the other sleeps for a minute
    started = time.monotonic()
    pool.close(now=True)
    assert time.monotonic() - started < 20.0


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 2])
def test_cells_have_one_thread_each_and_ctrl_c_is_left_to_the_parent(file, go, count):
    seen = (
        '"threads": [max([pool["num_threads"] for pool in threadpoolctl.threadpool_info()], default=1)], '
        '"ignored": [signal.getsignal(signal.SIGINT) == signal.SIG_IGN], '
        '"held": [signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])], "i"'
    )
    text = STUDY.replace('"i": [cell', f"{seen}: [cell").replace(
        "import signal\n", "import signal\nimport threadpoolctl\n"
    )
    file.write_text(text.replace("import threadpoolctl\n", "import threadpoolctl\nimport numpy.linalg\n"))
    with Workers(count) as workers:
        _, table = go(workers=workers)
    assert set(table["threads"]) == {1}
    assert set(table["ignored"]) == set(table["held"]) == {count > 1}


def test_the_environment_is_as_before_a_run(go, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    before = dict(os.environ)
    go(n=1)
    assert dict(os.environ) == before


def test_data_counts_by_fingerprint_and_name_not_by_folder(file, tmp_path):
    study = load_study(file)
    run = Run(study, Store(tmp_path / "results"))
    base = {"i": 1, "bad": False, "kill": False}
    for cell, computed in [
        ({**base, "data": "/here/wine.csv", "data_fingerprint": "a"}, 1),
        ({**base, "data": "/there/wine.csv", "data_fingerprint": "a"}, 1),
        ({**base, "data": "/here/wine.csv", "data_fingerprint": "b"}, 2),
        ({**base, "data": "/here/iris.csv", "data_fingerprint": "b"}, 3),
    ]:
        run.cells([cell], study.module.measure)
        assert run.computed == computed
    (unit, *_) = run.store.read_study("squares", data="a").to_dict("records")
    assert unit == {"i": 1, "square": 1}


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("SCALE = 1", "SCALE = 2", True),  # a constant that measure reaches through a function
        ("return SCALE * i * i", "return SCALE * i**2", True),
        ("import os\n", "import os\nfrom uqkd import seeds\nprint(seeds.seed63(1))\n", True),  # runs when loaded
        ("import os\n", "import os\nfrom os.path import *\n", True),  # might replace any name
        ("from uqkd import run\n", "from uqkd import run, seeds as pd\n", True),  # another thing under the same name
        ('TITLE = "Squares"', 'TITLE = "SQUARES"', False),
        ("return TITLE", "return TITLE.upper()", False),
        ('"full": Options(n=12)', '"full": Options(n=13)', False),
        ('"""A docstring."""', '"""Another."""', False),
        ("SCALE * i * i", "(SCALE  *  i * i)  # a comment", False),
    ],
)
def test_what_changes_the_method(file, old, new, counts):
    before = method_fingerprint(file)
    assert old in STUDY
    changed = file.with_name("changed.py")
    changed.write_text(STUDY.replace(old, new))
    assert (method_fingerprint(changed) != before) == counts


def test_a_module_beside_the_study_and_those_of_uqkd_count(file):
    beside = file.with_name("beside.py")
    beside.write_text("SCALE = 1\n")
    file.write_text(STUDY.replace("SCALE = 1", "from beside import SCALE"))
    copy = file.with_name("copy.py")
    copy.write_text(file.read_text())
    before = method_fingerprint(file)
    beside.write_text("SCALE = 2\n")
    assert method_fingerprint(copy) != before
    copy.write_text(STUDY.replace("SCALE = 1", "from uqkd.seeds import _PERSON as SCALE"))
    assert method_fingerprint(copy) != before


PACKAGE = {
    "__init__.py": "",
    "seeds.py": "SIZE = 1\nOTHER = 1\n",
    "errors.py": "SIZE = 1\n",
    "figures.py": "SIZE = 1\n",
    "run/__init__.py": "Options = object\nSIZE = 1\n",
    "estimators/__init__.py": "SIZE = 1\n",
    "estimators/variance.py": "def mean(): return 1\nSIZE = 1\n",
    "linear/__init__.py": "from .teacher import fit\nSIZE = 1\n",
    "linear/teacher.py": "from ..estimators import variance\nfrom uqkd.errors import SIZE\nfit = variance.mean()\nSLOPE = 1\n",
    "linear/unused.py": "SIZE = 1\n",
}


@pytest.mark.parametrize(
    ("name", "line", "counts"),
    [
        ("seeds.py", "SIZE = 2", True),
        ("seeds.py", "OTHER = 2", False),
        ("seeds.py", "print(SIZE)", True),  # acts when it is loaded
        ("linear/__init__.py", "fit = 2", True),
        ("linear/__init__.py", "SIZE = 2", False),
        ("linear/teacher.py", "fit = 2", True),  # reached by `from .teacher import`
        ("linear/teacher.py", "SLOPE = 2", False),
        ("estimators/variance.py", "def mean(): return 2", True),  # and from there by `from ..estimators import`
        ("estimators/variance.py", "SIZE = 2", False),
        ("estimators/variance.py", "mean.size = 2", True),
        ("errors.py", "SIZE = 2", False),  # imported, and not used
        ("figures.py", "SIZE = 2", False),  # used where the study draws
        ("run/__init__.py", "SIZE = 2", False),
        ("linear/unused.py", "print(1)", False),  # never loaded
    ],
)
def test_what_of_uqkd_counts(file, tmp_path, monkeypatch, name, line, counts):
    """A package that stands in for uqkd, one module of it changed: the study's own text stays the same."""
    package = tmp_path / "lib" / "uqkd"
    for path, text in PACKAGE.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    file.write_text(
        STUDY.replace("from uqkd import run\n", "from uqkd import figures, run, seeds\nfrom uqkd.linear import fit\n")
        .replace("SCALE * i * i", "SCALE * i * i * fit * seeds.SIZE")
        .replace("return TITLE", "return TITLE * figures.SIZE")
    )  # fmt: skip
    before = provenance._fingerprint(file, "measure", -1)
    (package / name).write_text(f"{PACKAGE[name]}{line}\n")
    assert (provenance._fingerprint(file, "measure", -2) != before) == counts


def test_versions_of_imported_libraries_count_and_are_found_under_their_own_names(file, monkeypatch):
    assert provenance._version("sklearn") != ""
    version, before = provenance._version, provenance._fingerprint(file, "measure", -1)
    monkeypatch.setattr(provenance, "_version", lambda name: "0.0" if name == "pandas" else version(name))
    assert provenance._fingerprint(file, "measure", -2) != before


def test_dynamic_lookups_make_everything_but_drawing_count(file):
    dynamic = STUDY.replace("SCALE * i * i", 'globals()["SCALE"] * i * i')
    copies = []
    for i, text in enumerate(
        [dynamic, dynamic.replace("Squares", "Other"), dynamic.replace("return TITLE", "return 1")]
    ):
        copy = file.with_name(f"copy{i}.py")
        copy.write_text(text)
        copies.append(method_fingerprint(copy))
    assert copies[0] != copies[1]
    assert copies[0] == copies[2]


def test_a_study_edited_while_it_runs_is_not_mixed_under_one_name(file, go, tmp_path):
    edited = "Path(__file__).write_text(Path(__file__).read_text() + 'def square(i): return 0')"
    line = f"    if cell['i'] == 2:\n        {edited}\n"
    text = STUDY.replace("import os\n", "from pathlib import Path\nimport os\n")
    file.write_text(text.replace('    if cell["bad"]:', line + '    if cell["bad"]:'))
    with pytest.raises(WorkerError, match=r"squares\.py changed while it ran; .* 3 of 6 cells failed"):
        go()
    assert Store(tmp_path / "results").read_study("squares")["square"].tolist() == [0, 1, 4]


def test_load_study_by_name_and_by_file(file):
    by_name = load_study("squares", folder=file.parent)
    assert by_name.file == load_study(file).file
    assert by_name.question == "What is the square of i?"
    with pytest.raises(OptionError, match=r"there is no study 'square' .*did you mean 'squares'"):
        load_study("square", folder=file.parent)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def measure(:", "broken.py does not load: SyntaxError"),
        ("import no_such_module", "broken.py does not load: ModuleNotFoundError: No module named 'no_such_module'"),
        ("cells = measure = main = 1", "broken.py lacks Options, PRESETS"),
        (STUDY.replace("Options(n=12)", "Options(m=12)"), "broken.py has bad presets: option 'm' got 12: Extra inputs"),
    ],
)
def test_a_broken_study_file_is_named(tmp_path, text, message):
    (tmp_path / "broken.py").write_text(textwrap.dedent(text))
    with pytest.raises(OptionError, match=message):
        load_study(tmp_path / "broken.py")


def test_options_name_the_nearest(file):
    study = load_study(file)
    assert study.options("full").n == 12
    assert study.options("full", {"n": 3}).n == 3
    assert study.options("quick", {"bad": 3}).bad == (3,)
    with pytest.raises(OptionError, match="no preset 'ful'; did you mean 'full'"):
        study.options("ful")
    with pytest.raises(OptionError, match="no option 'bda'; did you mean 'bad'"):
        study.options("quick", {"bda": 1})
    with pytest.raises(OptionError, match="'squares': option 'n' got 'many': Input should be a valid integer"):
        study.options("quick", {"n": "many"})


def test_options_are_frozen_and_closed():
    class Mine(Options):
        k: int = 1

    with pytest.raises(ValueError, match="frozen"):
        Mine().k = 2
    with pytest.raises(ValueError, match="Extra inputs"):
        Mine(j=2)


def test_bad_workers_and_executors_are_named_before_any_work():
    with pytest.raises(OptionError, match="workers must be at least 1; got 0"):
        Workers(0)
    with pytest.raises(OptionError, match="executor got 'lokal'; did you mean 'local'"):
        Workers(1, executor="lokal")


@pytest.fixture
def slow_clock(monkeypatch):
    """Every reading of the clock is three seconds after the one before."""
    readings = iter(range(0, 10**6, 3))
    monkeypatch.setattr("time.monotonic", lambda: float(next(readings)))


def test_progress_is_a_few_plain_lines_where_there_is_no_terminal(slow_clock, capsys):
    with Progress("demo", total=1000, done=500) as progress:
        for _ in range(500):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) <= 10
    assert lines[-1].startswith("demo: 1000 of 1000 units, ")


def test_progress_is_a_bar_on_a_terminal(slow_clock, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("demo", total=4) as progress:
        for _ in range(3):
            progress.advance()
        (task,) = progress._bar.tasks
        assert (task.completed, task.total) == (3, 4)
    assert "3 of 4" not in capsys.readouterr().err


def test_progress_is_silent_for_what_is_quick(capsys):
    with Progress("demo", total=5) as progress:
        for _ in range(5):
            progress.advance()
    assert capsys.readouterr().err == ""


def test_ray_is_asked_for_by_name_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(OptionError, match=r"needs the package ray.*pip install 'uqkd\[ray\]', or use 'local'"):
        make_executor("ray", 2)
