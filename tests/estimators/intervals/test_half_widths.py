"""Intervals for means over few students, and for differences of them."""

import numpy as np
import pytest
from scipy import stats

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.estimators import difference_half_width, half_width, variance_half_widths

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


def noisy_variances(students, noise=4.0, responses=8):
    """Estimates of a variance of 1 at one prompt, with the noise within students subtracted; and their errors."""
    rng = seeds.generator("test", "half widths", "near zero", students)
    effects = rng.normal(size=(EXPERIMENTS // 4, students, 1))
    means = effects + np.sqrt(noise / responses) * rng.normal(size=effects.shape)
    within = noise * rng.chisquare(responses - 1, size=means.shape) / (responses - 1) / responses
    own = ((means - means.mean(axis=1, keepdims=True)) ** 2 * students / (students - 1) - within).mean(axis=2)
    return own.mean(axis=1), own.std(axis=1, ddof=1) / np.sqrt(students)


def test_limits_of_variances_near_zero_do_not_explode_and_cover_as_much():
    """At 8 students a quarter of the reaches are beyond the straight line's beginning; 92.4 % are covered with it and without."""
    value, error = noisy_variances(8)
    down, up = variance_half_widths(value, error, 8)
    reach = half_width(error, 8) * np.sqrt(9 / 7)
    logarithmic = np.where(value > 0, value * np.expm1(np.minimum(reach / np.abs(value), 25.0)), reach)

    def covered(low, high):
        return float(((low <= 1.0) & (high >= 1.0)).mean())

    ours = covered(value - down, value + up)
    assert ours >= 0.92 - 3 * np.sqrt(0.92 * 0.08 / len(value))  # what the docstring says, less three standard errors
    assert ours >= covered(value - down, value + logarithmic) - 0.002  # ten experiments of five thousand
    assert np.quantile(up, 0.97) < np.quantile(logarithmic, 0.97) / 2
    assert ours - 0.02 > covered(value - down, value + reach)  # wrong version: as much above as below
    assert ours - 0.01 > covered(value - down, value + up / 3)  # wrong version: a straight line too low


def test_the_straight_line_goes_on_where_the_logarithmic_scale_ends():
    below, above = (variance_half_widths(1.0, error / stats.norm.isf(0.025))[1] for error in (3.0999, 3.1001))
    assert above - below == pytest.approx(2e-4 * np.exp(3.1), rel=1e-3)
    assert variance_half_widths(1e-9, 1.0)[1] == pytest.approx(np.exp(3.1) * stats.norm.isf(0.025), rel=1e-6)
