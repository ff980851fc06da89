"""The README is true: its code runs, its commands run, what it names exists, and its counts are those of the code."""

import re
import shlex
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from documents import ROOT, call, commands, make_targets, python_blocks, reader_folder, save_images_and_texts

from uqkd.store import Store
from uqkd.theory.checks import register
from uqkd.theory.statements import combine, graybill_deal_ratio

TEXT = (ROOT / "README.md").read_text()
BLOCKS = python_blocks(TEXT)
COMMANDS = commands(TEXT)


@pytest.mark.slow
def test_the_examples_run_and_measure_what_theory_says(capsys):
    """T1: the mean inter-student variance is σ²/k·q/n = .5/8·2/100 = .00125; T3: the intra-student variance is .5."""
    linear, networks, classifiers, _ = BLOCKS
    scope: dict = {}
    exec(linear, scope)
    parts = scope["mean"]
    assert abs(parts.inter - 0.00125) < 4 * parts.inter_se
    assert abs(parts.intra - 0.5) < 4 * parts.intra_se
    assert parts.inter_se < 0.005
    assert "inter-student" in capsys.readouterr().out
    exec(networks, scope)
    found = scope["parts"]
    assert found.effects == ("responses", "initialisation", "residual")
    assert found.low[0] > 0  # a hundred students of noisy labels: the teacher's answers count
    assert found.total == pytest.approx(found.estimate.sum())
    assert capsys.readouterr().out.startswith("responses ")
    exec(classifiers, scope)
    assert 0.9 < float(capsys.readouterr().out.split()[1].rstrip(",")) <= 1.0  # a digit is told in nine cases of ten
    found = scope["parts"]
    assert 0 < found.inter < found.intra  # all learn from one distribution: most of their doubt is their own


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a reader of the README has it, with images and texts of one's own."""
    folder = reader_folder(tmp_path_factory.mktemp("readme"))
    save_images_and_texts(folder)
    return folder


def test_there_are_commands():
    assert len(COMMANDS) >= 3


SAYS = {
    "new": "then: uqkd study mine",
    "compact": "mine: 45 units in 45 files",
    "sample": "tests of independence passed",
    "show": "most divided prompts",
    "distill": "2 students saved, mean loss",
    "measure": "2 students, 12 prompts, 4 answers each",
    "report": "a folder of students, ",
    "import": "independence of these responses cannot be shown",
    "plan": "answers to each of 24 prompts: standard error ± 0.0044 [",
}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=[pytest.mark.engine] if "vllm" in c else []) for c in COMMANDS]
)
def test_every_command_runs(command, folder):
    """In the order of the README, since the last one verifies what the first ones made."""
    words, done = shlex.split(command), call(command, folder)
    assert done.returncode == 0, done.stderr
    if "verify" in words:
        assert "0 bad" in done.stdout
    elif "list" in words:
        assert "theory_checks: Does every statement hold" in done.stdout
    elif words[1] in SAYS:
        assert SAYS[words[1]] in done.stdout
    else:
        assert (folder / "my-results" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.process
def test_a_results_folder_is_read_as_the_readme_says(folder, monkeypatch):
    """After the commands: the units of the new study, packed by now, are the table behind its figure."""
    monkeypatch.chdir(folder)
    (read,) = re.findall(r"`(Store\(\S+\)\.read_study\(\S+\))`", TEXT)
    units, drawn = eval(read, {"Store": Store}), pd.read_csv("my-results/tables/mine.csv")
    assert sorted(units["simulated"]) == pytest.approx(sorted(drawn["simulated"]), rel=1e-12)


@pytest.mark.slow
@pytest.mark.process
def test_a_student_is_used_as_the_readme_says(folder, monkeypatch, capsys):
    """After the commands: the student that one of them made answers."""
    monkeypatch.chdir(folder)
    exec(BLOCKS[3], {})
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("study", re.findall(r"\]\(docs/(\w+)\.png\)", TEXT))
def test_the_picture_is_what_the_study_draws(tmp_path, study):
    """Pixel by pixel, under the pinned versions, to one of 256 levels: the last bit of a sum differs between processors, and
    a rounded shade with it. A stale picture moves lines and letters, by a hundred levels."""
    words = [sys.executable, "-m", "uqkd", "study", study, "--out", "picture"]
    subprocess.run(words, cwd=reader_folder(tmp_path), check=True, capture_output=True)
    fresh, shown = (
        plt.imread(path) for path in (tmp_path / f"picture/figures/{study}.png", ROOT / f"docs/{study}.png")
    )
    np.testing.assert_allclose(fresh, shown, rtol=0, atol=1.01 / 255)


def test_the_table_of_graybill_deal_is_exact():
    """Every number of docs/theory.md's table, to the four digits printed."""
    rows = re.findall(r"^\| (\d+) ((?:\| \d?\.\d+ )+)\|$", (ROOT / "docs/theory.md").read_text(), re.MULTILINE)
    assert [int(ratio) for ratio, _ in rows] == [1, 2, 4, 10, 30]
    for ratio, cells in rows:
        *exact, known = map(float, cells.replace("|", " ").split())
        for k, printed in zip((3, 5, 10, 11, 20), exact, strict=True):
            assert abs(printed - graybill_deal_ratio(k, float(ratio))) <= 0.5e-4
        assert abs(known - combine(1.0, float(ratio)).variance) <= 0.5e-4


def test_the_make_commands_exist():
    named = set(re.findall(r"\bmake ([a-z]+)", TEXT))
    assert named <= make_targets()
    assert {"figures", "test", "check", "bench", "faults"} <= named


def test_studies_pictures_and_rooms_exist():
    named = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert named == {path.stem for path in (ROOT / "studies").glob("*.py") if not path.stem.startswith("_")}
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / picture).is_file()
    (rooms,) = re.findall(r"## Package layout\n\n```\n(.*?)```", TEXT, re.DOTALL)
    for room in re.findall(r"(?:uqkd|studies|tests|bench)/[a-z_]*(?:\.py|/)?", rooms):
        assert (ROOT / room).exists(), room


def test_the_counts_are_those_of_the_code():
    checks, wrong = map(int, re.search(r"(\d+) checks, (\d+) wrong versions", TEXT).groups())
    assert checks == len(register())
    assert wrong == sum(len(c.wrong_theory) + len(c.wrong_simulation) for c in register().values())
