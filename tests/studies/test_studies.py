"""Every study runs on small, large and awkward data, and draws what it measured."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd import data, seeds
from uqkd.run import Run, load_study, study_names
from uqkd.store import Store
from uqkd.testbeds import cells as tasks
from uqkd.theory import statements as theory

ROOT = Path(__file__).parents[2]


def table(rows, columns=2):
    generator = seeds.generator("test", "studies", rows)
    x = generator.standard_normal((rows, columns))
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(columns)])
    return frame.assign(y=x.sum(axis=1) + generator.standard_normal(rows))


def uqkd(folder, *words):
    command = [sys.executable, "-m", "uqkd", "study", *words, "--out", str(folder / "results"), "--workers", "1"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("name", study_names(ROOT / "studies"))
@pytest.mark.parametrize("preset", ["quick", "paper", "full"])
def test_every_preset_can_be_planned(name, preset, monkeypatch):
    """Tasks that only a network brings are planned with digits in their place."""
    offline = data.load_task
    known = ("digits", "intents")
    monkeypatch.setattr(
        tasks, "load_task", lambda name, **how: offline(name if name.split(":")[0] in known else "digits")
    )
    study = load_study(name, folder=ROOT / "studies")
    cells = study.module.cells(study.options(preset))
    assert cells
    assert study.question.endswith("?")


@pytest.mark.slow
@pytest.mark.process
def test_all_on_eight_rows_with_few_replicates(tmp_path):
    """Small, awkward, and every study still draws its figure."""
    table(8).to_csv(tmp_path / "small.csv", index=False)
    done = uqkd(tmp_path, "all", "--data", str(tmp_path / "small.csv"), "--target", "y", "--set", "replicates=20")
    assert done.returncode == 0, done.stderr
    assert "small.csv: 8 rows, features x0, x1; target y" in done.stdout
    drawn = {path.stem for path in (tmp_path / "results/figures").glob("*.png")}
    takes_data = {
        name for name in study_names(ROOT / "studies") if "data" in type(load_study(name).options()).model_fields
    }
    assert drawn == takes_data - {"student_output"}
    assert {"teacher_noise", "student_output", "mlp_teacher_noise"} <= takes_data
    assert "theory_checks: left out, it takes no data" in done.stdout
    assert "student_output: left out, " in done.stdout  # fractions are no classes
    page = (tmp_path / "results/index.html").read_text()
    assert 'class="out"' not in page
    assert str(tmp_path) not in page  # the folder of one's data stays private


@pytest.mark.slow
@pytest.mark.process
def test_own_classes_from_a_file(tmp_path):
    """A class column of words: the study of classifiers draws its figure, those of regressions are left out."""
    frame = table(60).drop(columns="y")
    kinds = np.where(frame["x0"] + frame["x1"] > 0, "high", "low")
    frame.assign(kind=kinds).to_csv(tmp_path / "kinds.csv", index=False)
    words = ("--data", str(tmp_path / "kinds.csv"), "--target", "kind", "--set", "students=4", "--set", "epochs=5")
    done = uqkd(tmp_path, "all", *words)
    assert done.returncode == 0, done.stderr
    assert {path.stem for path in (tmp_path / "results/figures").glob("*.png")} == {"student_output"}
    assert "teacher_noise: left out, column 'kind' of data" in done.stdout


@pytest.mark.process
def test_an_index_taken_for_a_feature_is_pointed_out(tmp_path):
    table(30).assign(id=range(30)).to_csv(tmp_path / "d.csv", index=False)
    done = uqkd(tmp_path, "intra_suppression", "--data", str(tmp_path / "d.csv"), "--target", "y", "--set", "ks=[2]")
    assert done.returncode == 0, done.stderr
    assert "note: 'id' holds a different whole number in every row" in done.stdout


@pytest.mark.process
def test_a_failing_study_does_not_stop_the_others(tmp_path):
    study = "import pandas as pd\nfrom uqkd.run import Options\nPRESETS = {'quick': Options()}\n"
    study += "def cells(options): return [{'i': 1}]\ndef main(options, run): run.cells(cells(options), measure)\n"
    (tmp_path / "bad.py").write_text(study + "def measure(cell): return 1 / 0\n")
    (tmp_path / "good.py").write_text(study + "def measure(cell): return pd.DataFrame({'x': [1.0]})\n")
    done = uqkd(tmp_path, str(tmp_path / "bad.py"), str(tmp_path / "good.py"))
    assert done.returncode == 2
    assert "ZeroDivisionError (bad.py:6)" in done.stderr
    said, *again = done.stderr.strip().splitlines()
    assert again == ["1 of 2 studies failed:", said]
    assert "good: 1 units computed" in done.stdout


def test_memory_stays_flat_in_the_number_of_rows():
    """T9 on 200,000 rows: a rows × rows array would hold 320 GB."""
    X = np.column_stack([np.ones(200_000), np.linspace(-1, 1, 200_000)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    variance = theory.bootstrap_variance(X, np.ones(200_000), X, drawn=200_000)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # MiB
    assert variance.shape == (200_000,)
    assert grown < 200


def test_the_studies_of_many_rows_finish(tmp_path):
    """60,000 rows: chunks shrink so that none holds more than 64 MB of responses."""
    study = load_study("data_bootstrap", folder=ROOT / "studies")
    table(60_000).to_parquet(tmp_path / "large.parquet")
    options = study.options(
        overrides={"data": str(tmp_path / "large.parquet"), "target": "y", "fractions": [0.1], "replicates": 20}
    )
    study.main(options, Run(study, Store(tmp_path / "results")))
    assert (tmp_path / "results/figures/data_bootstrap.png").is_file()
