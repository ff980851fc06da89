"""Intervals of shares: statsmodels, the exact tails, exact coverage, bounds at 0 and 100 %."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators import proportion_interval

HITS = np.array([0, 1, 7, 24, 25])


@pytest.mark.parametrize(("method", "peer"), [("clopper-pearson", "beta"), ("wilson", "wilson")])
@pytest.mark.parametrize("level", [0.8, 0.99])
def test_against_statsmodels(method, peer, level):
    found = proportion_interval(HITS, 25, method=method, level=level)
    low, high = proportion_confint(HITS, 25, alpha=1 - level, method=peer)
    np.testing.assert_allclose(found.low, low, atol=1e-10)
    np.testing.assert_allclose(found.high, high, atol=1e-10)


def test_mid_p_limits_leave_half_of_the_number_in_each_tail():
    found = proportion_interval(HITS, 25)
    for k, hits in enumerate(HITS):
        if hits > 0:
            assert stats.binom.sf(hits, 25, found.low[k]) + stats.binom.pmf(
                hits, 25, found.low[k]
            ) / 2 == pytest.approx(0.025)
        if hits < 25:
            below = stats.binom.cdf(hits - 1, 25, found.high[k]) + stats.binom.pmf(hits, 25, found.high[k]) / 2
            assert below == pytest.approx(0.025)


@pytest.mark.parametrize("method", ["mid-p", "clopper-pearson", "wilson"])
def test_nothing_and_everything_leave_a_bound(method):
    """S7: never 0 ± 0."""
    found = proportion_interval([0, 30], 30, method=method)
    assert (found.low[0], found.high[1]) == (0.0, 1.0)
    assert 0.09 < found.high[0] < 0.13  # one-sided exact .095, two-sided .116
    assert found.low[1] == pytest.approx(1 - found.high[0], abs=1e-12)


@pytest.mark.parametrize(("method", "least"), [("mid-p", 0.926), ("clopper-pearson", 0.95), ("wilson", 0.905)])
def test_exact_coverage(method, least):
    """Sums over all numbers of successes, no simulation. The textbook's normal interval covers .09 where the share is .002."""
    counts = np.arange(51)
    found = proportion_interval(counts, 50, method=method)
    shares = np.linspace(0.002, 0.998, 499)
    mass = stats.binom.pmf(counts, 50, shares[:, None])
    covered = (mass * ((found.low <= shares[:, None]) & (shares[:, None] <= found.high))).sum(axis=1)
    assert covered.min() >= least - 5e-4  # the note's digits
    assert covered.mean() < 0.972
    estimate = counts / 50
    reach = stats.norm.ppf(0.975) * np.sqrt(estimate * (1 - estimate) / 50)
    normal = (mass * (np.abs(estimate - shares[:, None]) <= reach)).sum(axis=1)
    assert normal.min() < 0.1


def test_refusals():
    for hits, trials in ((3, 2), (-1, 5), (0, 0)):
        with pytest.raises(DataError, match="0 <= successes <= trials"):
            proportion_interval(hits, trials)
    with pytest.raises(DataError, match="must be counts"):
        proportion_interval(0.5, 1)
    with pytest.raises(ShapeError, match="do not fit"):
        proportion_interval([1, 2], [3, 4, 5])
    with pytest.raises(OptionError, match="method"):
        proportion_interval(1, 2, method="wald")
    with pytest.raises(OptionError, match="level"):
        proportion_interval(1, 2, level=95)
