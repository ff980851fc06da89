"""Limits of another run: as often as they promise they hold what it finds, and the limits of one run do not."""

import numpy as np
import pandas as pd
import pytest

from uqkd import seeds
from uqkd.estimators import LEVEL, normal_quantile
from uqkd.report.answers import elsewhere
from uqkd.report.answers.elsewhere import count_beyond, counts, difference, estimate, inflation, named, rows_of

RUNS = 1_000  # a share of .95 is seen to ± .034 with five of its standard errors; one run's limits hold .83
FIVE = 5 * np.sqrt(LEVEL * (1 - LEVEL) / RUNS)


def rows(value, error, students=100_000, **more):
    return pd.DataFrame([{"simulated": value, "standard_error": error, "students": students, **more}])


def held(limits, other):
    """Share of runs whose limits hold what another run found."""
    return np.mean([low <= found <= high for (low, high), found in zip(limits, other, strict=True)])


def covered(monkeypatch, widened):
    monkeypatch.setattr(elsewhere, "TWO_RUNS", widened)
    generator = seeds.generator("test", "elsewhere", "estimate")
    here, there = generator.normal(2.0, 0.1, size=(2, RUNS))
    found = [estimate(rows(value, 0.1), positive=False) for value in here]
    return held([(one.low, one.high) for one in found], there)


def test_another_run_is_held_as_often_as_the_level_says(monkeypatch):
    assert covered(monkeypatch, np.sqrt(2.0)) == pytest.approx(LEVEL, abs=FIVE)


@pytest.mark.parametrize("wrong", [1.0, 2.0])
def test_wrong_versions_are_seen(monkeypatch, wrong):
    """The interval of one run, and variances taken for standard errors."""
    assert abs(covered(monkeypatch, wrong) - LEVEL) > FIVE


def inflated(monkeypatch, widened):
    """A plug-in whose excess is fixed noise over a variance between 12 normal students, on 10 prompts, of two runs."""
    monkeypatch.setattr(elsewhere, "TWO_RUNS", widened)
    generator = seeds.generator("test", "elsewhere", "inflation")
    truth = generator.normal(size=(2, RUNS, 12, 10)).var(axis=2, ddof=1).mean(axis=-1)
    row = {"students": 12, "prompts": 10}
    found = [inflation(pd.Series({"simulated": v + 0.4, "predicted": v, **row})) for v in truth[0]]
    return held([(one.low, one.high) for one in found], 0.4 / truth[1])


def test_an_inflation_is_held_by_another_run(monkeypatch):
    """Its error is that of the first order: .02 beside the simulation's."""
    assert inflated(monkeypatch, np.sqrt(2.0)) == pytest.approx(LEVEL, abs=FIVE + 0.02)
    assert inflated(monkeypatch, 1.0) < LEVEL - FIVE - 0.02  # of one run


def test_rows_of_one_table_share_their_students():
    """Exact: the mean of .4 and .6, its error the mean of theirs."""
    both = pd.concat([rows(0.4, 0.1), rows(0.6, 0.3)])
    found = estimate(both, positive=False)
    reach = normal_quantile() * np.sqrt(2.0) * 0.2
    assert (found.value, found.high - found.value) == (pytest.approx(0.5), pytest.approx(reach, rel=1e-4))
    apart = difference(rows(0.6, 0.3), rows(0.4, 0.4))
    assert apart.high - apart.value == pytest.approx(normal_quantile() * np.sqrt(2.0) * 0.5, rel=1e-4)


def test_what_is_not_known_is_none():
    empty = rows(0.5, 0.1)[:0]
    assert estimate(empty) is difference(empty, rows(0.5, 0.1)) is None
    assert estimate(rows(0.5, np.nan)) is estimate(rows(np.nan, 0.1)) is None
    assert counts(k=np.nan) == {"k": None}
    assert inflation(pd.Series({"simulated": 1.0, "predicted": 0.0, "students": 9, "prompts": 100})) is None
    assert inflation(pd.Series({"simulated": 2.0, "predicted": 1.0, "students": 2, "prompts": 1})) is None
    assert named(pd.DataFrame([{"a": "x y", "estimate": 1.0, "low": np.nan, "high": 2.0}]), ["a"]) == {"x_y": None}


def test_counts_at_the_limit_may_be_others_elsewhere():
    found = count_beyond([4.1, 1.0, 9.0, np.inf], 4.0)
    assert (found.value, found.low, found.high) == (3, 2, 3)
    assert str(found) == "3 [2, 3]"


def test_rows_are_chosen_by_all_columns():
    table = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "found": [1.0, 2.0, 3.0]})
    assert rows_of(table, a=1, b="x")["found"].tolist() == [1.0]
    assert len(rows_of(table)) == 3
