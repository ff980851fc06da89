"""The command line: what it runs, and that every error is one line with exit code 2."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from uqkd import cli
from uqkd.cli.studies import study
from uqkd.run import Workers, load_study
from uqkd.store import Store

TOY = Path(__file__).parents[1] / "faults" / "toy_study.py"
BUNDLED = Path(__file__).parents[2] / "studies"


@pytest.fixture
def call(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("study", "nope"), "there is no study 'nope'"),
        (("study", TOY, "--preset", "quik"), "has no preset 'quik'; did you mean 'quick'?"),
        (("study", TOY, "--set", "drws=3"), "has no option 'drws'; did you mean 'draws'?"),
        (("study", TOY, "--set", "draws=many"), "option 'draws' got 'many': Input should be a valid integer"),
        (("study", TOY, "--set", "draws"), "--set got 'draws'; write it as --set name=value"),
        (("study", TOY, "--data", "wine"), "has no option 'data'; Valid: 'cells'"),
        (("study", TOY, "--workers", "0"), "workers must be at least 1; got 0"),
        (("study", TOY, "--workers", "two"), "Invalid value for '--workers'"),
        (("study", TOY, "--executor", "rya"), "executor got 'rya'; did you mean 'ray'?"),
        (("study", TOY, "--config", "missing.yaml"), "--config missing.yaml: No such file"),
        (("study", TOY, "--bogus"), "No such option"),
        (("study",), "Missing argument 'NAME_OR_FILE...'"),
        (("stdy", TOY), "No such command 'stdy'"),
        (("study", "teacher_nois"), "no study 'teacher_nois' in ./studies or with uqkd; did you mean 'teacher_noise'?"),
        (("verify", "nowhere"), "there is no folder"),
        (("compact", "nowhere"), "there is no folder"),
        (("compact", "."), "'.' holds no units"),
        (("new", "../mine"), "NAME got '../mine'; begin with a letter"),
        (("new", "_mine"), "NAME got '_mine'; begin with a letter"),
        (("new", "all"), "NAME got 'all'"),
        (("new", "teacher_noise"), "a study 'teacher_noise' comes with uqkd"),
        (("new", "mine", "--like", "teacher_nois"), "did you mean 'teacher_noise'?"),
        (("new", "mine", "--like", "nowhere.py"), "there is no study file 'nowhere.py'"),
        (("study", TOY, "--set", "fail_at=1", "--workers", "1"), "this cell was told to fail"),
        (("study", TOY, "--set", "share_seed=true", "--workers", "1"), "was used by two units of one run"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(call, elsewhere, arguments, message):
    code, _, errors = call(*arguments)
    assert code == 2
    assert errors.count("\n") == 1
    assert errors.startswith("error: ")
    assert message in errors


def test_wrong_options_stop_before_any_study_runs(call, elsewhere):
    other = elsewhere / "other.py"
    other.write_text(TOY.read_text().replace("draws: int", "throws: int").replace("draws=", "throws="))
    code, _, errors = call("study", TOY, other, "--set", "draws=10")
    assert code == 2
    assert "'other' has no option 'draws'" in errors
    assert not (elsewhere / "results").exists()


@pytest.mark.process
def test_study_by_name_then_again_then_verify(call, elsewhere):
    (elsewhere / "studies").mkdir()
    (elsewhere / "studies" / "toy.py").write_text(TOY.read_text())
    for name, said in (("toy", "toy: 20 units computed, 0 read"), ("all", "toy: 0 units computed, 20 read")):
        code, output, errors = call("study", name, "--workers", "1")
        assert (code, errors) == (0, "")
        assert output.startswith(said)
    code, output, _ = call("verify", "results")
    assert (code, output) == (0, "3 files, 20 units verified, 0 bad\n")


def test_verify_lists_and_moves_only_when_asked(call, elsewhere):
    call("study", TOY, "--workers", "1")
    unit, *_ = sorted((elsewhere / "results" / "units" / "toy_study").iterdir())
    unit.write_bytes(b"")
    code, output, _ = call("verify", "results")
    assert code == 1
    assert output.splitlines() == [f"bad: units/toy_study/{unit.name}: empty file", "3 files, 19 units verified, 1 bad"]
    assert unit.exists()
    assert call("verify", "results", "--quarantine")[0] == 1
    assert not unit.exists()
    assert call("verify", "results")[0] == 0


def test_all_is_what_lies_in_studies_or_else_what_comes_with_uqkd(elsewhere):
    def planned(name: str) -> list[Path]:
        return [loaded.file for loaded, _ in study._planned([name], "quick", {})]

    assert [file.stem for file in planned("all")] == sorted(file.stem for file in BUNDLED.glob("*.py"))
    (elsewhere / "studies").mkdir()
    own = elsewhere / "studies" / "toy.py"
    own.write_text(TOY.read_text())
    assert planned("all") == planned("toy") == [own]
    assert planned("teacher_noise") == [BUNDLED / "teacher_noise.py"]
    (elsewhere / "studies" / "teacher_noise.py").write_text(TOY.read_text())
    assert planned("teacher_noise") == [elsewhere / "studies" / "teacher_noise.py"]


def test_list_says_where_each_study_is_and_which_do_not_load(call, elsewhere):
    (elsewhere / "studies").mkdir()
    (elsewhere / "studies" / "teacher_noise.py").write_text(TOY.read_text())
    (elsewhere / "studies" / "broken.py").write_text("import no_such_module")
    code, output, errors = call("list")
    assert (code, errors) == (0, "")
    here, bundled = output.split("with uqkd:\n")
    first, broken, own, options = here.splitlines()
    assert (first, own) == ("in ./studies:", f"teacher_noise: {load_study(TOY).question}")
    assert broken.startswith("broken: study file broken.py does not load: ModuleNotFoundError")
    assert "draws=" in options
    names = re.findall(r"^(\w+): .*\?$", bundled, re.MULTILINE)
    assert names == sorted({file.stem for file in BUNDLED.glob("*.py")} - {"teacher_noise"})


@pytest.mark.parametrize("like", sorted(file.stem for file in BUNDLED.glob("*.py")))
def test_a_new_study_is_the_old_one_under_its_own_name(call, elsewhere, like):
    assert call("new", "my_own", "--like", like)[0] == 0
    old, mine = load_study(like), load_study("my_own")
    assert mine.file == elsewhere / "studies" / "my_own.py"
    assert mine.question == f"my_own: {old.question}"
    changed = {"folder": ".real/my_own"} if like == "llm_real" else {}
    for preset in old.module.PRESETS:
        assert mine.options(preset).model_dump() == {**old.options(preset).model_dump(), **changed}
    text, before = mine.file.read_text(), old.file.read_text()
    assert f'"{like.replace("_", " ")}"' not in text  # no seed key is that of the other study
    assert len(set(before.splitlines()) - set(text.splitlines())) <= 8


def test_a_new_study_draws_numbers_of_its_own_and_overwrites_nothing(call, elsewhere):
    code, output, _ = call("new", "mine.py")
    assert (code, output) == (
        0,
        "studies/mine.py begins as teacher_noise; change what it asks, then: uqkd study mine\n",
    )
    small = ("--set", "replicates=10", "--set", "alphas=[1.0]", "--set", "data=diabetes", "--workers", "1")
    assert call("study", "mine", "teacher_noise", *small)[0] == 0
    mine, old = (pd.read_csv(elsewhere / f"results/tables/{name}.csv") for name in ("mine", "teacher_noise"))
    assert mine["predicted"].tolist() == old["predicted"].tolist()
    assert (mine["simulated"] != old["simulated"]).all()
    text = (elsewhere / "studies" / "mine.py").read_text() + "# changed"
    (elsewhere / "studies" / "mine.py").write_text(text)
    code, _, errors = call("new", "mine", "--like", "estimator_bias")
    assert (code, errors) == (2, "error: studies/mine.py exists, and is not overwritten; choose another name.\n")
    assert (elsewhere / "studies" / "mine.py").read_text() == text
    (elsewhere / "broken.py").write_text("def measure(:")
    code, _, errors = call("new", "other", "--like", "broken.py")
    assert (code, errors.count("\n")) == (2, 1)
    assert "--like broken.py: broken.py is no Python file" in errors


def test_compact_says_what_it_did_and_loses_nothing(call, elsewhere):
    call("study", TOY, "--workers", "1")
    units = elsewhere / "results" / "units" / "toy_study"
    before = Store("results").read_study("toy_study")
    loose = sum(path.stat().st_size for path in units.iterdir())
    code, output, errors = call("compact")
    (pack,) = units.iterdir()
    packed = f"20 units in 1 file, {pack.stat().st_size:,} bytes"
    assert (code, errors) == (0, "")
    assert output == f"toy_study: 20 units in 20 files, {loose:,} bytes -> {packed}\n"
    assert call("compact", "results")[:2] == (0, f"toy_study: {packed}, compact already\n")
    assert call("verify")[1] == "3 files, 20 units verified, 0 bad\n"
    pd.testing.assert_frame_equal(Store("results").read_study("toy_study"), before, check_exact=True)
    assert call("study", TOY, "--workers", "1")[1].startswith("toy_study: 0 units computed, 20 read")


def test_compact_sets_damaged_units_aside_and_says_so(call, elsewhere):
    call("study", TOY, "--workers", "1")
    unit, *_ = sorted((elsewhere / "results" / "units" / "toy_study").iterdir())
    unit.write_bytes(unit.read_bytes()[:-1])
    code, output, errors = call("compact")
    assert code == 1
    assert "20 units in 20 files" in output
    assert "-> 19 units in 1 file" in output
    assert errors.endswith("error: 1 damaged unit was moved to quarantine; run again what made it.\n")
    assert call("study", TOY, "--workers", "1")[1].startswith("toy_study: 1 units computed, 19 read")


@pytest.mark.process
def test_options_come_from_preset_then_file_then_flags(call, elsewhere):
    (elsewhere / "options.yaml").write_text("cells: 3\ndraws: 50\n")
    call("study", TOY, "--workers", "1", "--config", "options.yaml", "--set", "cells=2")
    units = Store(elsewhere / "results").committed("toy_study")
    assert len(units) == 2
    table = Store(elsewhere / "results").read_study("toy_study")
    assert len(table) == 8
    for text, message in (("- 1", "holds a list; it must map"), ("a: [", "is not YAML")):
        (elsewhere / "options.yaml").write_text(text)
        code, _, errors = call("study", TOY, "--config", "options.yaml")
        assert (code, errors.count("\n")) == (2, 1)
        assert message in errors


ECHO = '''
"""What was asked for?"""
import pandas as pd
from uqkd import run
class Options(run.Options):
    data: str = "a.csv"
    target: str = "x"
    sizes: tuple[int, ...] = (1,)
    k: int = 1
PRESETS = {"quick": Options()}
def cells(options):
    return [options.model_dump()]
def measure(cell):
    if cell["k"] == 13:
        raise ValueError("of two\\nlines")
    return pd.DataFrame({**cell, "sizes": [str(cell["sizes"])]})
def main(options, run):
    run.cells(cells(options), measure)
'''


@pytest.fixture
def echo(elsewhere):
    """A study whose table says which options reached it."""
    file = elsewhere / "echo.py"
    file.write_text(ECHO)
    return file


def test_flags_of_data_and_single_options_reach_the_study_together(call, echo, elsewhere):
    code, _, errors = call("study", echo, "--data", "b.csv", "--target", "y", "--set", "k=2", "--set", "sizes=[3, 4]")
    assert (code, errors) == (0, "")
    (seen,) = Store(elsewhere / "results").read_study("echo").to_dict("records")
    assert seen == {"data": "b.csv", "target": "y", "sizes": "[3, 4]", "k": 2}


def test_an_error_of_many_lines_is_one_line(call, echo):
    code, _, errors = call("study", echo, "--set", "k=13")
    assert (code, errors.count("\n")) == (2, 1)
    assert "failed with ValueError (echo.py:" in errors
    assert "of two lines" in errors


def test_what_failed_among_several_studies_is_said_once_more_at_the_end(call, echo, elsewhere):
    (elsewhere / "other.py").write_text(ECHO)
    code, out, errors = call("study", echo, elsewhere / "other.py", "--set", "k=13")
    assert code == 2
    assert "index.html" not in out
    lines = errors.splitlines()
    assert lines[2] == "2 of 2 studies failed:"
    assert lines[3:] == lines[:2]
    assert all("failed with ValueError" in line for line in lines[3:])


@pytest.mark.process
def test_workers_are_one_per_core_unless_said_and_of_the_kind_asked_for(call, echo, monkeypatch):
    asked = []

    class Recorded(Workers):
        def __init__(self, count, *, executor, address):
            asked.append((count, executor, address))
            super().__init__(1)

    monkeypatch.setattr("uqkd.run.Workers", Recorded)
    monkeypatch.setattr("uqkd.run.cluster.usable_cores", lambda: 7)
    for options in ((), ("--workers", 3), ("--executor", "ray", "--address", "auto")):
        assert call("study", echo, *options)[0] == 0
    assert asked == [(7, "local", None), (3, "local", None), (7, "ray", "auto")]


def test_the_signal_handler_of_the_caller_comes_back(call, echo):
    def mine(*_arguments: object) -> None:
        """Never called."""

    before = signal.signal(signal.SIGTERM, mine)
    try:
        call("study", echo)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.process
def test_help_names_the_commands_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom uqkd import cli\n"
        "try:\n    cli.main(['--help'])\n"
        "except SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'pandas', 'pyarrow', 'numpy', 'scipy', 'pydantic', 'matplotlib', 'torch', 'ray', 'rich.progress'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "study" in done.stdout
    assert "verify" in done.stdout


def test_the_bare_command_shows_its_use(call):
    code, output, errors = call()
    assert code == 2
    assert "Usage: uqkd" in output + errors


def test_an_error_that_uqkd_does_not_know_keeps_its_traceback(monkeypatch, elsewhere):
    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Store, "__init__", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["verify", "results"])
