"""Bad data through the real command: one clear line, exit code 2, no traceback, and nothing that was finished is touched."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from uqkd import seeds
from uqkd.cli import main

ROOT = Path(__file__).parents[2]


def table(rows=40):
    generator = seeds.generator("test", "bad data command")
    x = generator.standard_normal((rows, 2))
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": x[:, 0] - x[:, 1] + generator.standard_normal(rows)})


def words(folder, *more):
    return ["study", "teacher_noise", "--out", str(folder / "results"), "--workers", "1", *more]


def run(folder, *more):
    command = [sys.executable, "-m", "uqkd", *words(folder, *more)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def run_here(capsys, monkeypatch):
    """The same without a process of its own, which takes seconds to start."""
    monkeypatch.chdir(ROOT)

    def run_here(folder, *more):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(words(folder, *more))
        printed = capsys.readouterr()
        return subprocess.CompletedProcess((), stop.value.code, printed.out, printed.err)

    return run_here


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with good data and finished results of it."""
    folder = tmp_path_factory.mktemp("bad-data")
    table().to_csv(folder / "good.csv", index=False)
    done = run(folder, "--data", str(folder / "good.csv"), "--target", "y", "--set", "replicates=50")
    assert done.returncode == 0, done.stderr
    return folder


FAULTS = {
    "missing file": (None, "y", "does not exist"),
    "wrong column": (lambda f: f, "yy", "no column 'yy'; did you mean 'y'"),
    "no target": (lambda f: f, None, "--target"),
    "text": (
        lambda f: f.astype({"a": object}).assign(a=["many", *f["a"][1:]]),
        "y",
        "column 'a' .* text ('many') in row 1",
    ),
    "nan": (lambda f: f.assign(a=f["a"].where(f.index != 3)), "y", "column 'a' .* missing or infinite value in row 4"),
    "constant": (lambda f: f.assign(b=2.0), "y", "column 'b' .* constant"),
    "n <= p": (lambda f: f.iloc[:3], "y", "n=3 rows and 2 feature columns"),
    "too few to split": (lambda f: f.iloc[:4], "y", "training rows for 3 coefficients"),
    "empty file": ("", "y", "cannot be read as csv"),
    "repeated column": (lambda f: f.assign(c=f["a"] * 2), "y", "linearly dependent: .*c"),
}


@pytest.mark.process
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_data_is_one_line(finished, fault, run_here):
    spoil, target, message = FAULTS[fault]
    path = finished / f"{fault.replace(' ', '_').replace('<=', 'le')}.csv"
    if isinstance(spoil, str):
        path.write_text(spoil)
    elif spoil is not None:
        spoil(table()).to_csv(path, index=False)
    before = contents(finished / "results")
    more = ["--data", str(path), *([] if target is None else ["--target", target])]
    done = run_here(finished, *more)
    if fault == "text":  # once as a user meets it: the same line
        real = run(finished, *more)
        assert (real.returncode, real.stderr) == (done.returncode, done.stderr)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    pieces = message.split(" .* ") if " .* " in message else message.split(": .*")
    assert all(piece in lines[0] for piece in pieces), lines[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert contents(finished / "results") == before


@pytest.mark.process
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--preset", "quik"), "did you mean 'quick'"),
        (("--set", "replicats=5"), "did you mean 'replicates'"),
        (("--set", "replicates=many"), "replicates"),
        (("--set", "alphas=[-1]"), "greater than or equal to 0"),
        (("--set", "replicates=1"), "greater than or equal to 2"),
        (("--data", "diabets"), "did you mean 'diabetes'"),
        (("--workers", "0"), "workers"),
        (("--executor", "slurm"), "'local'"),
    ],
)
def test_bad_options_are_one_line(finished, more, message, run_here):
    before = contents(finished / "results")
    done = run_here(finished, *more)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line
    assert contents(finished / "results") == before
