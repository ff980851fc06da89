"""The averaging law's intervals and test keep their level where k hang together and students are few; wrong versions do not."""

from dataclasses import replace

import numpy as np
import pytest

from uqkd.estimators.averaging import gamma, students
from uqkd.estimators.averaging.laws import fit_averaging_law, law_of
from uqkd.estimators.intervals.level import LEVEL, normal_half_width
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.seeds import generator
from uqkd.theory.coverage import averaging

EXPERIMENTS = 200
SLACK = 3.9 * np.sqrt(0.95 * 0.05 / EXPERIMENTS)  # 3.9 sd of a share of .95 in 200: .06; in 1,000 less than half of it


def _cell(size, floor, *, ks=averaging.DOUBLING, effects="own"):
    number, prompts = size
    return {"students": number, "design": "nested", "prompts": prompts, "floor": floor, "ks": ks, "effects": effects}


def ignores_covariance(k, means, design):
    """The variances at nested k taken for independent."""
    value = means.var(axis=1, ddof=1).mean(axis=-1)
    return fit_averaging_law(k, value, value * np.sqrt(2 / (means.shape[1] - 1) / means.shape[2]), proportional=True)


def normal_quantiles(k, means, design):
    """Estimate ± 1.96 standard errors."""
    law = averaging.own_fit(k, means, design)

    def about(value, error):
        reach = float(normal_half_width(error))
        return Interval(value, value - reach, value + reach, LEVEL, "normal")

    return replace(law, floor_interval=about(law.floor, law.floor_se), slope_interval=about(law.slope, law.slope_se))


def _with_dof(factor):
    def fit(k, means, design):
        squares = students.mean_squares(k, means, design)
        return law_of(gamma.MeanSquares(squares.value, factor(squares, means), squares.design), LEVEL)

    return fit


counts_every_k = _with_dof(lambda squares, means: squares.dof * len(means))
counts_every_prompt = _with_dof(lambda squares, means: np.full(len(means), (means.shape[1] - 1.0) * means.shape[2]))


@pytest.mark.slow
@pytest.mark.parametrize(("size", "floor", "effects"), [
    ((5, 1), 0.3, "own"), ((5, 1), 0.0, "own"), ((30, 1), 0.02, "own"), ((5, 20), 0.3, "common"),
])  # fmt: skip
def test_floor_slope_and_false_alarms_keep_their_level(size, floor, effects):
    for name, covered in averaging.accepted(_cell(size, floor, effects=effects), 5 * EXPERIMENTS).items():
        assert 0.93 - SLACK / 2 <= covered <= 0.97 + SLACK / 2, (name, covered)


def test_a_value_is_accepted_where_the_interval_holds_it():
    cell = _cell((5, 1), 0.02)
    found, accepted = averaging.shares(cell, averaging.own_fit, 40), averaging.accepted(cell, 40)
    assert {name: covered for name, (covered, _) in found.items()} == accepted


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "cell", "quantity"), [
    (ignores_covariance, _cell((30, 1), 0.3, ks=averaging.MANY), "slope"),
    (normal_quantiles, _cell((5, 1), 0.3), "floor"),
    (counts_every_k, _cell((5, 1), 0.3), "floor"),
    (counts_every_k, _cell((5, 1), 0.3), "no lack of fit"),
    (counts_every_prompt, _cell((5, 20), 0.3, effects="common"), "floor"),
])  # fmt: skip
def test_wrong_versions_do_not(wrong, cell, quantity):
    assert averaging.shares(cell, wrong, EXPERIMENTS)[quantity][0] < 0.95 - SLACK


def test_students_vary_as_they_should():
    """V(k) = floor + 1/k at every k, and nested students err together; 20,000 students: an error of a variance of 1 %."""
    k = np.array([1.0, 4.0])
    for design, shared in (("nested", 0.3 + 0.25), ("shared", 0.3), ("independent", 0.0)):
        world = averaging.students_at(
            k, (1, 20_000, 1), 0.3, design=design, generator=generator("test", "world", design)
        )
        found = np.cov(world[0, :, :, 0])
        expected = [[1.3, shared], [shared, 0.55]]
        np.testing.assert_allclose(found, expected, atol=0.05)  # 3.9 times √((1.3² + .55²)·…/20,000) < .05


@pytest.mark.slow
def test_rows_name_what_was_simulated():
    table = averaging.rows(1)
    assert {row["quantity"] for row in table} == {"floor", "slope", "no lack of fit"}
    assert {row["students"] for row in table} == set(averaging.STUDENTS)
    assert all(row["nominal"] == LEVEL and 0.0 <= row["covered"] <= 1.0 for row in table)
