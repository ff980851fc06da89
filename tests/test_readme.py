"""The README is true: its code runs, its commands run, what it names exists, and its counts are those of the code."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from uqkd import seeds
from uqkd.store import Store
from uqkd.theory.checks import register
from uqkd.theory.statements import combine, graybill_deal_ratio

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^\.venv/bin/uqkd .*$", TEXT, re.MULTILINE)]


def test_the_examples_run_and_measure_what_theory_says(capsys):
    """T1: the mean inter-student variance is σ²/k·q/n = .5/8·2/100 = .00125; T3: the intra-student variance is .5."""
    linear, networks, classifiers, _ = BLOCKS
    scope: dict = {}
    exec(linear, scope)
    parts = scope["parts"]
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
    """A folder with the studies and a table of one's own, as a reader of the README has it."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "studies", folder / "studies")
    shutil.copytree(ROOT / "docs", folder / "docs")
    (folder / ".real").symlink_to(ROOT / ".real")  # as `make models` leaves it
    generator = seeds.generator("test", "readme")
    size, rooms = generator.standard_normal(80), generator.integers(1, 9, size=80)
    price = 3 * size + rooms + generator.standard_normal(80)
    pd.DataFrame({"size": size, "rooms": rooms, "price": price}).to_csv(folder / "my.csv", index=False)
    classes = np.arange(240) % 3
    images = generator.random((240, 8, 8)) + (np.arange(8)[:, None] // 3 == classes[:, None, None])
    np.savez(folder / "my.npz", images=images, labels=np.array(["up", "middle", "down"])[classes])
    words = np.array(["red", "green", "blue", "dog", "cat", "tree", "sun", "rain"])
    rows = [" ".join(generator.permutation([words[c], *generator.choice(words, 4)])) for c in classes]
    pd.DataFrame({"text": rows, "label": words[classes]}).to_csv(folder / "texts.csv", index=False)
    _save_bert(folder / "my-bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    return folder


def _save_bert(folder, vocabulary):
    """A small BERT with its tokenizer, as a reader has one of their own."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    BertTokenizer(vocab={word: n for n, word in enumerate(vocabulary)}).save_pretrained(folder)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with seeds.torch_stream("test", "readme", "bert"):
        BertForSequenceClassification(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(folder)


def test_there_are_commands():
    assert len(COMMANDS) >= 3


SAYS = {
    "new": "then: uqkd study mine",
    "compact": "mine: 45 units in 45 files",
    "sample": "tests of independence passed",
    "show": "most divided prompts",
    "distill": "2 students saved, mean loss",
    "measure": "2 students, 12 prompts, 4 answers each",
    "import": "independence of these responses cannot be shown",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(command, folder):
    """In the order of the README, since the last one verifies what the first ones made."""
    words = [sys.executable, "-m", "uqkd", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "verify" in words:
        assert "0 bad" in done.stdout
    elif "list" in words:
        assert "theory_checks: Does every statement hold" in done.stdout
    elif words[3] in SAYS:
        assert SAYS[words[3]] in done.stdout
    else:
        assert (folder / "my-results" / "index.html").is_file()


def test_a_results_folder_is_read_as_the_readme_says(folder, monkeypatch):
    """After the commands: the units of the new study, packed by now, are the table behind its figure."""
    monkeypatch.chdir(folder)
    (read,) = re.findall(r"`(Store\(\S+\)\.read_study\(\S+\))`", TEXT)
    units, drawn = eval(read, {"Store": Store}), pd.read_csv("my-results/tables/mine.csv")
    assert sorted(units["simulated"]) == pytest.approx(sorted(drawn["simulated"]), rel=1e-12)


def test_a_student_is_used_as_the_readme_says(folder, monkeypatch, capsys):
    """After the commands: the student that one of them made answers."""
    monkeypatch.chdir(folder)
    exec(BLOCKS[3], {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("study", re.findall(r"\]\(docs/(\w+)\.png\)", TEXT))
def test_the_picture_is_what_the_study_draws(folder, study):
    """Pixel by pixel, under the pinned versions, to one of 256 levels: the last bit of a sum differs between processors, and
    a rounded shade with it. A stale picture moves lines and letters, by a hundred levels."""
    words = [sys.executable, "-m", "uqkd", "study", study, "--out", "picture"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    fresh, shown = (plt.imread(path) for path in (folder / f"picture/figures/{study}.png", ROOT / f"docs/{study}.png"))
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
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)", TEXT))
    assert named <= targets
    assert {"figures", "test", "check", "bench", "faults"} <= named


def test_studies_pictures_and_rooms_exist():
    named = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert named == {path.stem for path in (ROOT / "studies").glob("*.py") if not path.stem.startswith("_")}
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / picture).is_file()
    (rooms,) = re.findall(r"## Rooms\n\n```\n(.*?)```", TEXT, re.DOTALL)
    for room in re.findall(r"(?:uqkd|studies|tests|bench)/[a-z_]*(?:\.py|/)?", rooms):
        assert (ROOT / room).exists(), room


def test_the_counts_are_those_of_the_code():
    checks, wrong = map(int, re.search(r"(\d+) checks, (\d+) wrong versions", TEXT).groups())
    assert checks == len(register())
    assert wrong == sum(len(c.wrong_theory) + len(c.wrong_simulation) for c in register().values())
