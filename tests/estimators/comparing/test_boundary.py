"""Where a difference never varied: bounds that hold at their level, and no 0 ± 0."""

import math

import numpy as np
import pytest
from scipy import stats

from uqkd.estimators import compare
from uqkd.estimators.comparing.boundary import unvaried
from uqkd.seeds import generator


def test_the_share_is_clopper_pearsons_one_sided_limit():
    for units in (1, 3, 20, 100):
        exact = stats.binomtest(0, units, alternative="less").proportion_ci(0.95).high
        assert unvaried(0.0, units, limit=1.0, level=0.95).share == pytest.approx(exact, rel=1e-9)


def test_the_p_value_is_the_sign_tests_where_values_are_at_their_limit():
    for units in (1, 5, 12):
        exact = stats.binomtest(units, units).pvalue
        assert unvaried(1.0, units, limit=1.0, level=0.95).p_value == pytest.approx(exact, rel=1e-12)
    assert unvaried(-0.5, 4, limit=1.0, level=0.95).p_value == pytest.approx(2 * (1 / 1.5) ** 4)


def test_equal_answers_are_no_proof():
    """Five students, 100 prompts: five cells share neither, so 1 − .05^(1/5) = 45 %; for these students 1 − .05^(1/100)."""
    answers = np.ones((5, 100), dtype=int)
    found = compare(answers, answers, measure="accuracy", labels=np.ones(100, dtype=int), names=("A", "B"))
    assert (found.low, found.high, found.p_value) == (
        pytest.approx(-0.4507, abs=1e-4),
        pytest.approx(0.4507, abs=1e-4),
        1.0,
    )
    assert math.isnan(found.standard_error)
    assert math.isnan(found.more_students)
    assert not found.decided
    assert "45.1 % of new students and prompts" in found.sentence()
    assert "2.95 % of new prompts" in found.sentence()
    assert "5 independent trials" in found.note
    free = compare(np.ones((5, 100)), np.ones((5, 100)))
    assert math.isnan(free.low)
    assert free.p_value == 1.0


def test_a_constant_difference_is_decided_by_the_number_of_trials():
    one, other = np.ones((6, 9), dtype=int), np.zeros((6, 9), dtype=int)
    found = compare(one, other, measure="accuracy", labels=np.ones(9, dtype=int))
    assert found.p_value == pytest.approx(2 / 2**6)
    assert found.decided
    assert "was 1 everywhere" in found.sentence()
    assert not compare(one[:3], other[:3], measure="accuracy", labels=np.ones(9, dtype=int)).decided


def test_fixed_prompts_on_which_all_students_are_right_equally_often():
    """Students differ prompt by prompt and not on the whole: with fixed prompts nothing varied, S trials."""
    one = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]])
    found = compare(one, one[:, ::-1], measure="accuracy", labels=np.ones(4, dtype=int), prompts="fixed")
    assert found.bound.units == 3
    assert compare(one, one[:, ::-1], measure="accuracy", labels=np.ones(4, dtype=int)).bound is None


def test_unpaired_students_without_variation():
    same = np.tile(np.arange(5) % 2, (4, 1))
    found = compare(same, same[:3], measure="accuracy", labels=np.ones(5, dtype=int), paired=False)
    assert found.bound.units == 3
    assert compare(same, 1 - same, measure="accuracy", labels=np.ones(5, dtype=int), paired=False).bound is None


def wrong_by_all_cells(students, prompts):
    """S·P trials."""
    return students * prompts


def wrong_by_prompts(students, prompts):
    return prompts


@pytest.mark.parametrize("common", [True, False])
def test_bounds_hold_and_bolder_ones_do_not(common):
    """A share π of students (or of cells) differ, with the largest chance of (1 − π)^n that nothing is seen: bounds are missed
    in at most 5 % of experiments. 4,000 experiments: four standard errors above is .064. Where whole students differ, counts of
    cells or prompts miss far more."""
    rng, students, prompts = generator("test", "comparing", "bound", common), 4, 20
    share = unvaried(0.0, students, limit=1.0, level=0.95).share + 1e-9  # just outside of the bound
    shape = (4_000, students, 1 if common else prompts)
    unseen = float(
        (rng.random(shape) >= share).all(axis=(1, 2)).mean()
    )  # nothing was seen, and the bound left the truth out
    assert unseen <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4_000)
    if common:
        for wrong in (wrong_by_all_cells, wrong_by_prompts):
            bold = unvaried(0.0, wrong(students, prompts), limit=1.0, level=0.95).share + 1e-9
            assert (rng.random(shape) >= bold).all(axis=(1, 2)).mean() > 0.5
