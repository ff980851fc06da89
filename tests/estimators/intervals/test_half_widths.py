"""Intervals for means over few students, and for differences of them."""

import numpy as np
import pytest
from scipy import stats

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.estimators import difference_half_width, half_width

EXPERIMENTS = 20_000


def test_a_mean_has_the_interval_of_scipy():
    values = np.array([1.0, 4.0, 2.0, 7.0])
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert half_width(stats.sem(values), 4) == pytest.approx((high - low) / 2, rel=1e-12)


def test_a_difference_has_the_interval_of_scipys_welch_test():
    rng = seeds.generator("test", "half widths")
    first, second = rng.normal(size=5), rng.normal(scale=3.0, size=9)
    low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.9)
    found = difference_half_width((stats.sem(first), 5), (stats.sem(second), 9), level=0.9)
    assert found == pytest.approx((high - low) / 2, rel=1e-10)


def test_five_students_are_covered_as_said_and_the_normal_quantile_covers_too_few():
    draws = seeds.generator("test", "half widths", "coverage").normal(size=(EXPERIMENTS, 5))
    error = draws.std(axis=1, ddof=1) / np.sqrt(5)
    covered = (np.abs(draws.mean(axis=1)) <= half_width(error, np.full(EXPERIMENTS, 5))).mean()
    # binomial standard deviation √(.95·.05/20,000) = .0015; 4.4 of them leave one false alarm in 100,000 runs
    assert abs(covered - 0.95) < 4.4 * 0.00154
    assert (np.abs(draws.mean(axis=1)) <= 1.96 * error).mean() < 0.90


def test_no_spread_is_no_width_and_one_student_has_none():
    assert difference_half_width((0.0, 3), (0.0, 4)) == 0.0
    unknown = [half_width(np.nan, 3), half_width(1.0, 1), half_width(1.0, 0), difference_half_width((1.0, 2), (1.0, 1))]
    assert np.isnan(unknown).all()
    assert np.isfinite(half_width([1.0, 1.0], [1, 2])).tolist() == [False, True]
    with pytest.raises(OptionError, match="level"):
        half_width(1.0, 3, level=95)
