"""`--dry-run`: what a command will take is said before it is done, nothing is kept of it, and what then happened stands beside."""

from __future__ import annotations

import json
import time

import pytest

from uqkd.cli import main
from uqkd.llm.bank import Bank
from uqkd.run import predictions
from uqkd.run.dry_run import spread_out
from uqkd.store import Store

STUDY = '''
"""How long do sums of sorted draws take?"""
import numpy as np, pandas as pd
from uqkd import run, seeds

class Options(run.Options):
    replicates: int = 16

PRESETS = {"quick": Options(), "paper": Options(), "full": Options()}

def cells(options):
    return [{"replicate": r, "size": size} for r in range(options.replicates) for size in (100_000, 1_000_000, 3_000_000)]

def measure(cell):
    draws = seeds.generator("dry run", cell["replicate"], cell["size"]).normal(size=cell["size"])
    return pd.DataFrame({"sum": [float(np.sort(draws).sum())]})

def main(options, run):
    run.store.write_bytes("sums/table.csv", run.cells(cells(options), measure).to_csv().encode())
'''


def uqkd(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


@pytest.fixture
def clock(monkeypatch):
    """Seconds of this process: others on the machine change neither the pilot nor the run."""
    monkeypatch.setattr(predictions, "clock", time.process_time)


def files(folder):
    """Those for people: what the store keeps for itself is left out."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if ".uqkd" not in path.parts)


@pytest.mark.wide
@pytest.mark.slow
def test_a_study_takes_what_was_predicted(tmp_path, clock, capsys):
    (tmp_path / "sums.py").write_text(STUDY)
    words = ("study", tmp_path / "sums.py", "--workers", 1, "--out", tmp_path / "out")
    assert uqkd(*words[:-1], tmp_path / "first", "--set", "replicates=1") == 0  # libraries are loaded, for both alike
    capsys.readouterr()
    assert uqkd(*words, "--dry-run", "--price-hour", 3) == 0
    said = capsys.readouterr().out
    assert "48 cells are missing; 6 were measured" in said
    assert "at 3 an hour of a worker" in said
    assert "open " not in said
    assert files(tmp_path / "out") == ["predictions.jsonl"]
    assert uqkd(*words) == 0
    assert "48 units computed" in (said := capsys.readouterr().out)
    assert "predicted " in said
    predicted, happened = predictions.rows(Store(tmp_path / "out"))
    assert predicted["count"] == happened["count"] == 48
    assert 0.75 < happened["ratio"] < 1.25, (predicted, happened)
    assert uqkd(*words, "--dry-run") == 0
    assert "no cells are missing" in capsys.readouterr().out


@pytest.mark.wide
@pytest.mark.slow
def test_a_sample_takes_what_was_predicted(tiny, tmp_path, clock, capsys):
    lines = [json.dumps({"prompt": f"w{i} w{i + 1}" + " w9" * (i % 4)}) for i in range(40)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    words = ("sample", "--teacher", tiny, "--prompts", tmp_path / "prompts.jsonl", "--backend", "transformers",
             "--device", "cpu", "--max-tokens", 40)  # fmt: skip
    assert uqkd(*words, "--k", 1, "--bank", tmp_path / "first") == 0  # libraries are loaded
    there = files(tmp_path)
    assert uqkd(*words, "--k", 30, "--bank", tmp_path / "bank", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "1,200 responses are missing; 197 were measured" in said  # 37 of 37 prompts, then 4 of each of 40
    assert " tokens" in said
    assert files(tmp_path) == sorted([*there, "bank/predictions.jsonl"])
    assert uqkd(*words, "--k", 30, "--bank", tmp_path / "bank") == 0
    predicted, happened = predictions.rows(Store(tmp_path / "bank"))
    assert predicted["count"] == happened["count"] == 1200
    assert 0.75 < happened["ratio"] < 1.25, (predicted, happened)
    stored = sum(path.stat().st_size for path in (tmp_path / "bank" / "units").rglob("*.parquet"))
    assert 0.75 < stored / predicted["predicted_bytes"] < 1.25
    assert Bank(tmp_path / "bank").rows == 1200


def test_a_pilot_has_cells_of_every_kind():
    cells = [{"replicate": r, "k": k, "name": "a"} for r in range(10) for k in (1, 2, 4, 8, 16)]
    assert sorted(cells[place]["k"] for place in spread_out(cells, 5)) == [1, 2, 4, 8, 16]
    assert sorted(spread_out(cells, 50)) == list(range(50))
