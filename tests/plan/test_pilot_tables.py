"""Pilots from files: what `uqkd measure` writes, recorded answers, tidy tables; each against the arrays behind it."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd import seeds
from uqkd.cli.models.measure import _write
from uqkd.errors import DataError, OptionError
from uqkd.llm.measuring.tables.sheet import Sheet, Values
from uqkd.plan import components_at_several_k, components_of_draws, components_of_table
from uqkd.plan.tables import components_of_file, pilot_of_table

RECORDED = str(Path(__file__).parents[2] / "docs/llm_real/answers.csv")
S, P, R = 4, 7, 3


def scores(key):
    generator = seeds.generator("test", "plan", "tables", key)
    chance = np.clip(0.5 + 0.3 * generator.standard_normal(P) + 0.1 * generator.standard_normal((S, 1)), 0.05, 0.95)
    return (generator.random((S, P, R)) < chance[..., None]).astype(float)


def tidy(path, draws, **columns):
    index = np.indices(draws.shape).reshape(3, -1)
    table = {"student": index[0], "prompt": [f"p{p}" for p in index[1]], "value": draws.ravel(), **columns}
    pd.DataFrame(table).to_csv(path, index=False)
    return str(path)


def same(found, expected):
    assert found.effects == expected.effects
    np.testing.assert_allclose(found.estimate, expected.estimate, rtol=1e-9, atol=1e-12)
    assert dict(found.held) == dict(expected.held)


def test_a_tidy_table_is_its_draws(tmp_path):
    draws = scores("tidy")
    same(pilot_of_table(tidy(tmp_path / "a.csv", draws), limits={"k": (8, 8)}), components_of_draws(draws, k=8))


def test_tables_of_measure_give_back_the_mean_squares_behind_them(tmp_path):
    """Written by the command's own writer from the sheet that `uqkd measure` fills: three numbers of it, three mean squares."""
    draws = scores("measure")
    sheet = Sheet([f"student-{s}" for s in range(S)], P)
    own = Values.of(draws.mean(axis=2))
    sheet.add("accuracy", own, unit="share", note="")
    sheet.add_each("accuracy", [Values.of(row[None]) for row in own.table], unit="share")
    _write(str(tmp_path / "seen.csv"), sheet.done({"prompt": ("x",)}, {"student": (), "prompt": ()}), "bank")
    found = pilot_of_table(str(tmp_path / "seen.csv"), quantity="accuracy", limits={"k": (8, 8), "draws": (R, R)})
    same(found, components_of_table(draws.mean(axis=2), k=8, draws=R))
    with pytest.raises(OptionError, match="--quantity says what is planned for: one of accuracy"):
        pilot_of_table(str(tmp_path / "seen.csv"))
    sheet.add("inter_gini", own, unit="share", note="")
    _write(str(tmp_path / "seen.csv"), sheet.done({"prompt": ("x",)}, {"student": (), "prompt": ()}), "bank")
    with pytest.raises(DataError, match="not measured of each student alone.*; accuracy are"):
        pilot_of_table(str(tmp_path / "seen.csv"), quantity="inter_gini")
    with pytest.raises(OptionError, match="did you mean 'accuracy'"):
        pilot_of_table(str(tmp_path / "seen.csv"), quantity="acuracy")


def recorded(method, k, part="held out"):
    """The answers that hold no reference answer, read without the planner."""
    cells: dict = {}
    with open(RECORDED, newline="") as file:
        for row in csv.DictReader(file):
            if (row["method"], row["k"], row["part"]) == (method, str(k), part):
                cells.setdefault(row["student"], {})[row["prompt"]] = [float(c == "0") for c in row["supported"]]
    prompts = sorted(cells["0"])
    return np.array([[cells[s][p] for p in prompts] for s in sorted(cells)])


def test_recorded_answers_of_a_real_model_are_a_pilot():
    found = pilot_of_table(RECORDED, where={"part": "held out", "method": "multi", "k": "8"})
    same(found, components_of_draws(recorded("multi", 8), k=8))
    assert found.size == {"students": 5, "draws": 8, "prompts": 24}


def test_recorded_answers_at_several_k():
    found = pilot_of_table(RECORDED, where={"part": "held out", "method": "single,multi"})
    by_hand = {k: recorded(name, k) for name, k in (("single", 1), ("multi", 4), ("multi", 8))}
    same(found, components_at_several_k(by_hand))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"part": "held out"}, "several of the column 'method'"),
        ({"part": "held out", "method": "mutli"}, "did you mean 'multi'"),
        ({"prat": "held out"}, "did you mean 'part'"),
        ({"part": "held out", "method": "undistilled"}, "has k='0'"),
    ],
)
def test_rows_that_are_no_pilot_are_refused(where, said):
    with pytest.raises((DataError, OptionError), match=said):
        pilot_of_table(RECORDED, where=where)


def test_a_table_with_gaps_names_the_first(tmp_path):
    path = tidy(tmp_path / "a.csv", scores("gaps"))
    lines = Path(path).read_text().splitlines()
    Path(path).write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match="student 3 has 2 answers to prompt 'p6' where others have 3"):
        pilot_of_table(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no rows"), ("a,b\n1,2\n", "is no table of a pilot"), ("student,prompt,value\n0,a,x\n", "holds 'x'")],
)
def test_what_is_no_table_is_refused(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        pilot_of_table(str(tmp_path / "a.csv"))
    with pytest.raises(DataError, match="cannot be read"):
        pilot_of_table(str(tmp_path / "none.csv"))


def test_components_from_json(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"student": 0.01, "decoding": 0.1, "k": 8}))
    assert components_of_file(str(path)).as_mapping() == {"student": 0.01, "decoding": 0.1}
    assert components_of_file(str(path)).held == {"k": 8}
    for text, said in (("[1]", "object of numbers"), ("{", "is no JSON"), ('{"student": "a"}', "object of numbers")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            components_of_file(str(path))
