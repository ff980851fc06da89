"""Scores of Gaussian predictions: numerical integration, published values, properness, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import (
    gaussian_crps,
    gaussian_interval,
    gaussian_log_score,
    gaussian_mixture_crps,
    interval_coverage,
    interval_score,
)
from uqkd.seeds import generator


def integrated(cdf, observed):
    """∫ (F(x) − 1[x ≥ observed])² dx, the definition, by SciPy's quadrature on either side of what came."""
    below = integrate.quad(lambda x: cdf(x) ** 2, -40, observed, limit=400, epsabs=1e-11)[0]
    above = integrate.quad(lambda x: (1 - cdf(x)) ** 2, observed, 40, limit=400, epsabs=1e-11)[0]
    return below + above


@pytest.mark.parametrize(("mean", "variance", "observed"), [(0.0, 1.0, 0.0), (1.0, 4.0, -2.0), (-0.5, 0.09, 0.4)])
def test_crps_is_its_integral(mean, variance, observed):
    expected = integrated(stats.norm(mean, np.sqrt(variance)).cdf, observed)
    assert gaussian_crps([mean], [variance], [observed])[0] == pytest.approx(expected, abs=1e-8)


def test_crps_of_the_literature():
    """Gneiting & Raftery (2007), equation 21 at z = 0: σ (√2 − 1)/√π; a unit Gaussian at 2.5: 2.5 (2Φ − 1) + 2φ − 1/√π."""
    assert gaussian_crps([0.0], [4.0], [0.0])[0] == pytest.approx(2 * (np.sqrt(2) - 1) / np.sqrt(np.pi), rel=1e-12)
    z = 2.5
    expected = z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi)
    assert gaussian_crps([0.0], [1.0], [z])[0] == pytest.approx(expected, rel=1e-12)


def test_mixture_is_its_integral_and_no_worse_than_its_students():
    means, variances, observed = np.array([[-1.0], [0.5], [2.0]]), np.array([[0.3], [1.0], [0.04]]), 0.2

    def cdf(x):
        return np.mean([stats.norm.cdf(x, m, np.sqrt(v)) for m, v in zip(means[:, 0], variances[:, 0], strict=True)])

    found = gaussian_mixture_crps(means, variances, [observed])[0]
    assert found == pytest.approx(integrated(cdf, observed), abs=1e-7)
    assert found < gaussian_crps(means, variances, [observed]).mean()
    same = np.repeat([[0.3, 1.0]], 4, axis=0)  # four students alike are one
    assert gaussian_mixture_crps(same, same, [1.0, 1.0]) == pytest.approx(gaussian_crps(same[0], same[0], [1.0, 1.0]))


def test_log_score_is_scipys():
    expected = -stats.norm.logpdf([0.5, 9.0], [0.0, 1.0], [2.0, 0.5])
    np.testing.assert_allclose(gaussian_log_score([0.0, 1.0], [4.0, 0.25], [0.5, 9.0]), expected, rtol=1e-12)


def test_the_true_distribution_scores_best():
    """20,000 draws of N(0, 1), differences of scores on the same draws: wrong spreads and a wrong level lose by over 3.9 sd."""
    came = generator("test", "proper").normal(size=20_000)
    zero = np.zeros_like(came)
    low, high = gaussian_interval(zero, zero + 1)
    for factor in (0.5, 0.8, 1.25, 2.0):
        for score in (
            lambda v: gaussian_crps(zero, zero + v, came),
            lambda v: gaussian_log_score(zero, zero + v, came),
            lambda v: interval_score(low * np.sqrt(v), high * np.sqrt(v), came),
        ):
            lost = score(factor**2) - score(1.0)
            assert lost.mean() > 3.9 * lost.std() / np.sqrt(20_000), factor
    # a variance taken for a standard deviation (σ² = 4 passed as 2) is such a wrong version, and covers too little
    assert interval_coverage(low, high, came) == pytest.approx(0.95, abs=3.9 * np.sqrt(0.95 * 0.05 / 20_000))
    assert interval_coverage(low / np.sqrt(2), high / np.sqrt(2), came) < 0.9


def test_interval_score_by_hand_and_students():
    # level .8: a miss costs 10 per unit; widths 2 and 1
    np.testing.assert_allclose(
        interval_score([[0.0, 0.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 2.0]], [0.5, 2.5], level=0.8), [[2, 7], [6, 6]]
    )
    np.testing.assert_array_equal(interval_coverage([[0.0, 0.0], [1.0, 1.0]], [[2.0] * 2] * 2, [0.5, 2.0]), [1.0, 0.5])
    low, high = gaussian_interval([[1.0, 2.0]], [[1.0, 4.0]], level=0.8)
    np.testing.assert_allclose([low[0], high[0]], stats.norm.interval(0.8, [1.0, 2.0], [1.0, 2.0]))


@pytest.mark.parametrize("score", [gaussian_crps, gaussian_mixture_crps, gaussian_log_score])
def test_refusals(score):
    with pytest.raises(DataError, match="must not be negative"):
        score([[0.0]], [[-1.0]], [0.0])
    with pytest.raises(ShapeError, match="variances needs the shape of means"):
        score([[0.0, 1.0]], [[1.0]], [0.0, 0.0])
    with pytest.raises(ShapeError, match="one number for each of 1 prompts; got 2"):
        score([[0.0]], [[1.0]], [0.0, 0.0])
    with pytest.raises(NotFiniteError, match="means"):
        score([[np.nan]], [[1.0]], [0.0])


def test_more_refusals():
    with pytest.raises(ShapeError, match=r"needs means \(S, P\)"):
        gaussian_mixture_crps([0.0], [1.0], [0.0])
    with pytest.raises(DataError, match="above 0"):
        gaussian_log_score([0.0], [0.0], [0.0])
    with pytest.raises(DataError, match="low must not exceed high"):
        interval_score([1.0], [0.0], [0.0])
    with pytest.raises(ShapeError, match="high needs the shape of low"):
        interval_coverage([1.0], [2.0, 3.0], [0.0])
    with pytest.raises(OptionError, match="level"):
        gaussian_interval([0.0], [1.0], level=95)
