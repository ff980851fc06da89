"""`uqkd plan`: the sentence, the curve as a table, and one clear line for what cannot be planned."""

import csv
import json
import re
import shlex

import pytest
from documents import ROOT, commands

from uqkd.cli import main

RECORDED = str(ROOT / "docs/llm_real/answers.csv")
PILOT = ["--answers", RECORDED, "--where", "part=held out", "--where", "method=multi", "--where", "k=8"]
COSTS = ["--cost-response", "0.02", "--cost-student", "300", "--cost-draw", "0.01", "--train-prompts", "48"]


def call(*words):
    with pytest.raises(SystemExit) as ended:
        main(["plan", *words])
    return ended.value.code


def test_a_real_pilot_is_planned_by_one_command(capsys, tmp_path):
    out, picture = tmp_path / "curve.csv", tmp_path / "curve.png"
    assert call(*PILOT, *COSTS, "--budget", "3600", "--out", str(out), "--figure", str(picture)) == 0
    said = capsys.readouterr().out
    assert "8 responses to each of 48 prompts, " in said
    assert " buys " in said
    assert "note: k (responses) held at the pilot's 8" in said
    assert "a pilot of 5 students, 8 draws, 24 prompts" in said
    assert picture.read_bytes()[1:4] == b"PNG"
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["varied"] for row in rows} == {"students", "draws", "prompts", "budget"}
    assert all(float(row["cost"]) <= 3600 for row in rows if row["varied"] != "budget")
    assert all(float(row["low"]) <= float(row["standard_error"]) <= float(row["high"]) for row in rows)


def test_the_page_shows_what_the_command_of_the_readme_prints(capsys, monkeypatch):
    (command,) = [one for one in commands((ROOT / "README.md").read_text(encoding="utf-8")) if " plan " in one]
    page = (ROOT / "docs/planning.md").read_text(encoding="utf-8")
    assert command in page
    monkeypatch.chdir(ROOT)
    assert call(*shlex.split(command.partition(" --out")[0])[2:]) == 0
    shown = " ".join(re.search(r"An hour buys:\n\n```text\n(.*?)```", page, re.DOTALL)[1].split())
    assert shown in capsys.readouterr().out


def test_known_components_and_a_target(capsys, tmp_path):
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"prompt": 0.04, "teacher": 0.02, "student": 0.001, "decoding": 0.2}))
    assert call("--components", str(path), *COSTS, "--target", "0.02") == 0
    assert "standard error ± 0.02 for " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "10"], "needs the table of a pilot"),
        ([*PILOT, *COSTS], "either a budget or a target"),
        ([*PILOT, *COSTS, "--budget", "10"], "below the smallest design, k=8, S=2, R=1, P=2, which costs 615.4"),
        ([*PILOT, *COSTS, "--target", "0.01", "--prompts", "2:50"], "cannot be reached"),
        ([*PILOT, "--budget", "10"], "all costs are 0"),
        ([*PILOT, *COSTS, "--budget", "99", "--students", "many"], "--students got 'many'"),
        ([*PILOT, *COSTS, "--budget", "99", "--out", "curve.txt"], "ends in .csv"),
        ([*PILOT, *COSTS, "--budget", "99", "--figure", "curve.svg"], "ends in .png or .pdf"),
        ([*PILOT[:4], *COSTS, "--budget", "99"], "several of the column 'method'"),
        ([*PILOT, "--where", "k", *COSTS, "--budget", "99"], "--where got 'k'"),
    ],
)
def test_what_cannot_be_planned_is_one_line(capsys, words, said):
    assert call(*words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
