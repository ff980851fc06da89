"""The table of comparisons: what the README and the page of estimators say of it, and that a cell of it comes out again."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from uqkd.seeds import generator
from uqkd.theory.coverage.comparing import EFFECTS, RESPONSES, Cell, cells, drawn, simulated, true_difference

TABLE = Path(__file__).parents[3] / "docs/coverage/comparing.csv"


@pytest.fixture(scope="module")
def rows():
    with TABLE.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return [
        {**row, **{name: float(row[name]) for name in ("S", "P", "effect", "covered", "rejected", "experiments")}}
        for row in found
    ]


def test_the_table_has_the_cells(rows):
    wanted = [(c.measure, c.data, c.effects, str(c.paired), c.S, c.P, c.effect) for c in cells()]
    assert [
        tuple(row[name] for name in ("measure", "data", "effects", "paired", "S", "P", "effect")) for row in rows
    ] == wanted


def test_what_is_said_of_sizes(rows):
    """At most 8 % anywhere; 3 to 7 % from five students and twenty prompts on, but for variances between students that all
    prompts share. The edges are wider by three standard errors of the simulation."""
    nothing = [row for row in rows if row["effect"] == 0.0 and row["data"] != "unequal"]
    for row in nothing:
        wide = 3 * math.sqrt(0.05 * 0.95 / row["experiments"])
        assert row["rejected"] <= 0.08 + wide, row
        if (row["measure"], row["effects"]) == ("inter", "students"):
            assert row["S"] == 30 or row["rejected"] <= 0.04 + wide, row
        elif row["S"] >= 5 and row["P"] >= 20:
            assert 0.03 - wide <= row["rejected"] <= 0.07 + wide, row


def test_what_is_said_of_unequal_variances_and_of_power(rows):
    covered = [row["covered"] for row in rows if row["data"] == "unequal"]
    assert 0.87 - 0.02 <= min(covered) <= max(covered) <= 0.94 + 0.02  # two standard errors of 800 experiments
    powers = {(row["paired"], row["S"], row["effect"]): row["rejected"] for row in rows if row["effect"] > 0}
    asked = [
        (pairs, powers["True", s, effect])
        for (p, s, effect), pairs in powers.items()
        if p == "False" and 0.2 <= pairs <= 0.3
    ]
    assert asked
    assert all(pairs >= 2 * apart for apart, pairs in asked)


def test_the_worlds_are_what_they_say():
    """Students of variance 1 who correlate by .7; variances between students as they are drawn. 3,000 students: standard errors
    of 1.3 % of a correlation and 2.6 % of a variance, four of them are the edges."""
    rng = generator("test", "coverage", "comparing")
    for effects in EFFECTS:
        cell = Cell("inter", "normal", effects, True, 3_000, 2, 0.7, 0.0)
        first, second, _ = drawn(cell, rng)
        assert first.shape == (3_000, 2, RESPONSES)
        means = first[:, 0].mean(axis=1), second[:, 0].mean(axis=1)
        assert np.cov(*means)[0, 1] == pytest.approx(0.7, abs=0.11)
        assert means[0].var() == pytest.approx(1 + 1 / RESPONSES, rel=0.11)
    assert true_difference(Cell("inter", "unequal", "mixed", True, 3, 5, 0.7, 0.0)) == -1.0


def test_a_cell_comes_out_again(rows):
    """Its first 200 experiments, drawn as then: a share within what 200 experiments can be off by, four standard errors."""
    cell = Cell("score", "normal", "mixed", True, 5, 20, 0.7, 0.0)
    there = next(
        row
        for row in rows
        if all(
            str(row[n]) == str(v)
            for n, v in (("measure", "score"), ("data", "normal"), ("effects", "mixed"), ("paired", "True"))
        )
        and (row["S"], row["P"], row["effect"]) == (5, 20, 0)
    )
    found = simulated(cell, 200)
    assert abs(found["rejected"] - there["rejected"]) <= 4 * math.sqrt(0.06 * 0.94 / 200)
