"""Intervals for variances and bootstrap intervals: textbook cases, limits that must agree, refusals."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from uqkd.errors import NotFiniteError, OptionError, ShapeError, VarianceError
from uqkd.estimators.intervals import pivotal
from uqkd.estimators.intervals.bootstrap import _influence, bootstrap_interval
from uqkd.estimators.intervals.each_prompt import variance_interval
from uqkd.estimators.intervals.mean_squares import Interval, chi_square_interval, mean_square_interval
from uqkd.estimators.intervals.pivotal import pivotal_cdf
from uqkd.seeds import generator


def _mean(sample):
    return sample.mean(axis=0)


def _se(sample):
    return sample.std(axis=0, ddof=1) / np.sqrt(len(sample))


def test_chi_square_interval_against_scipy():
    interval = chi_square_interval([1.0, 4.0], 7, level=0.9)
    np.testing.assert_allclose(interval.low, np.array([7.0, 28.0]) / stats.chi2.ppf(0.95, 7), rtol=1e-12)
    np.testing.assert_allclose(interval.high, np.array([7.0, 28.0]) / stats.chi2.ppf(0.05, 7), rtol=1e-12)
    low, high = chi_square_interval(1.0, 7)
    assert low < 1.0 < high


def test_one_mean_square_is_the_exact_interval():
    exact = chi_square_interval(3.0, 8)
    for method in ("mls", "generalized", "satterthwaite"):
        interval = mean_square_interval([6.0, 9.0], [8, 3], [0.5, 0.0], method=method)
        np.testing.assert_allclose([*interval], [*exact], rtol=1e-12)
    for method in ("mls", "generalized"):  # a second term that vanishes must change nothing
        interval = mean_square_interval([6.0, 1e-9], [8, 3], [0.5, -0.5], method=method)
        np.testing.assert_allclose([*interval], [*exact], rtol=1e-5)


def test_modified_large_sample_by_hand():
    """Ting et al. (1990) for two terms, written out once more from the paper's formulas with scipy's F quantiles."""
    s, n, c = np.array([9.0, 2.0]), np.array([6, 12]), np.array([0.25, 0.25])
    x, y = c * s
    g = 1 - n / stats.chi2.isf(0.025, n)
    h = n / stats.chi2.isf(0.975, n) - 1
    f = stats.f.isf(0.025, 6, 12)
    cross = ((f - 1) ** 2 - g[0] ** 2 * f**2 - h[1] ** 2) / f
    low = x - y - np.sqrt(g[0] ** 2 * x**2 + h[1] ** 2 * y**2 + cross * x * y)
    f = stats.f.isf(0.975, 6, 12)
    cross = ((1 - f) ** 2 - h[0] ** 2 * f**2 - g[1] ** 2) / f
    high = x - y + np.sqrt(h[0] ** 2 * x**2 + g[1] ** 2 * y**2 + cross * x * y)
    interval = mean_square_interval(s, n, [0.25, -0.25])
    np.testing.assert_allclose([*interval], [low, high], rtol=1e-12)
    both = mean_square_interval(s, n, c)
    np.testing.assert_allclose(both.low, x + y - np.hypot(g[0] * x, g[1] * y), rtol=1e-12)
    np.testing.assert_allclose(both.high, x + y + np.hypot(h[0] * x, h[1] * y), rtol=1e-12)


def test_modified_large_sample_of_two_positive_terms_against_a_negative_by_hand():
    """Ting et al. (1990): beside the terms of each pair of unlike signs, one for the pair of like signs."""
    s, n, c = np.array([9.0, 4.0, 2.0]), np.array([6, 8, 12]), np.array([0.5, 0.25, 0.25])
    x = c * s
    g = 1 - n / stats.chi2.isf(0.025, n)
    h = n[2] / stats.chi2.isf(0.975, n[2]) - 1
    f = stats.f.isf(0.025, n[:2], n[2])
    unlike = ((f - 1) ** 2 - g[:2] ** 2 * f**2 - h**2) / f
    both = 1 - 14 / stats.chi2.isf(0.025, 14)
    like = (
        both**2 * 14**2 / (6 * 8) - g[0] ** 2 * 6 / 8 - g[1] ** 2 * 8 / 6
    )  # divided by the two positive terms less one
    square = (g[:2] ** 2 * x[:2] ** 2).sum() + h**2 * x[2] ** 2 + (unlike * x[:2]).sum() * x[2] + like * x[0] * x[1]
    interval = mean_square_interval(s, n, [0.5, 0.25, -0.25])
    np.testing.assert_allclose(interval.low, x[0] + x[1] - x[2] - np.sqrt(square), rtol=1e-12)
    assert abs(like * x[0] * x[1]) > 0.01 * square  # leaving it out would be seen


@pytest.mark.parametrize(("dof", "share"), [((4.0, 5.0), 2e-3), ((1.0, 1.0), 4e-2)])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_quadrature_is_as_fine_as_said(monkeypatch, dof, share, sign):
    """Against a grid eight times finer the generalized limits move by less than the stated share of their width."""
    squares = np.array([[9.0, 0.3, 40.0, 2.0], [2.0, 3.0, 0.1, 2.0]])

    def limits():
        return np.array([*mean_square_interval(squares, dof, [0.5, sign * 0.5], method="generalized")])

    coarse = limits()
    monkeypatch.setattr(pivotal, "_NODES", {terms: 8 * nodes for terms, nodes in pivotal._NODES.items()})
    fine = limits()
    assert np.all(np.abs(coarse - fine).max(axis=0) <= share * (fine[1] - fine[0]))


@given(st.floats(0.5, 20), st.floats(0.5, 20), st.sampled_from(["mls", "generalized"]))
def test_zero_is_in_the_interval_exactly_when_the_f_test_says_so(between, within, method):
    """Both methods invert the exact F test of inter = 0; margin 1e-3 around the critical value for the quadrature."""
    ratio = between / within
    critical = stats.f.isf(0.025, 6, 14)
    interval = mean_square_interval([between, within], [6, 14], [1 / 3, -1 / 3], method=method)
    if abs(ratio / critical - 1) > 1e-3:
        assert (interval.low > 0) == (ratio > critical)


def test_pivotal_cdf_against_random_numbers():
    """1,000,000 draws: sd 5e-4 at most; accepted 3.9 sd. Mutants: signs forgotten, dof swapped."""
    rng = generator("test", "intervals", "pivotal")
    terms, dof = np.array([2.0, -1.5, 0.7]), np.array([4.0, 9.0, 3.0])
    draws = ((terms * dof) / rng.chisquare(dof, size=(1_000_000, 3))).sum(axis=1)
    at = np.array([-1.0, 0.0, 1.0, 3.0, 10.0])
    empirical = (draws[:, None] <= at).mean(axis=0)
    wide = np.repeat(terms[:, None], at.size, axis=1)
    assert np.abs(pivotal_cdf(at, wide, dof) - empirical).max() < 3.9 * 5e-4
    assert np.abs(pivotal_cdf(at, np.abs(wide), dof) - empirical).max() > 3.9 * 5e-4
    assert np.abs(pivotal_cdf(at, wide, dof[::-1].copy()) - empirical).max() > 3.9 * 5e-4


@pytest.mark.parametrize("coefficient", [-0.5, 0.5])
def test_generalized_limits_are_quantiles(coefficient):
    squares = np.array([[9.0, 0.3, 40.0, 2.0], [2.0, 3.0, 0.1, 2.0]])
    interval = mean_square_interval(squares, [5, 6], [0.5, coefficient], method="generalized", level=0.9)
    terms = squares * np.array([[0.5], [coefficient]])
    for limit, chance in ((interval.low, 0.05), (interval.high, 0.95)):
        np.testing.assert_allclose(pivotal_cdf(limit, terms, np.array([5.0, 6.0]), near=chance), chance, atol=1e-6)
    mls = mean_square_interval(squares, [5, 6], [0.5, coefficient], level=0.9)
    assert np.all(np.abs(interval.high - mls.high) < 0.25 * (mls.high - mls.low))


def test_three_terms():
    squares, dof = [9.0, 4.0, 1.0], [9, 12, 30]
    mls = mean_square_interval(squares, dof, [0.5, -0.25, -0.25])
    generalized = mean_square_interval(squares, dof, [0.5, -0.25, -0.25], method="generalized")
    width = mls.high - mls.low
    assert abs(mls.low - generalized.low) < 0.1 * width
    assert abs(mls.high - generalized.high) < 0.1 * width
    assert mean_square_interval(squares, dof, [0.5, 0.25, -0.25]).low < 5.25  # two positive terms face a negative one
    with pytest.raises(ShapeError, match="at most 3"):
        mean_square_interval([1.0] * 4, [5] * 4, [1, 1, 1, -1], method="generalized")


@pytest.mark.parametrize("method", ["mls", "generalized"])
@pytest.mark.parametrize("component", ["inter", "intra", "total"])
def test_variance_interval_mean_squares_and_scale(component, method):
    draws = generator("test", "intervals", "draws").normal(size=(6, 4, 3))
    interval = variance_interval(draws, component=component, method=method)
    intra = draws.var(axis=2, ddof=1).mean(axis=0)
    inter = draws.mean(axis=2).var(axis=0, ddof=1) - intra / 3
    expected = {"inter": inter, "intra": intra, "total": inter + intra}[component]
    np.testing.assert_allclose(interval.estimate, expected, rtol=1e-12, atol=1e-13)
    assert interval.low.shape == interval.high.shape == (4,)
    assert np.all((interval.low < interval.estimate) & (interval.estimate < interval.high))
    for scale in (1e-60, 1e60):  # the generalized limits are roots to 1e-9 of their width
        scaled = variance_interval(scale * draws, component=component, method=method)
        tolerance = 1e-12 if method == "mls" else 1e-7
        np.testing.assert_allclose([*scaled], scale**2 * np.array([*interval]), rtol=tolerance, atol=1e-7 * scale**2)


def test_negative_estimates_and_limits_are_returned():
    # means 2 and 2, spread 2 within: inter = 0 − 2 / 2 = −1
    interval = variance_interval([[[1.0, 3.0]], [[3.0, 1.0]]], component="inter")
    assert interval.estimate[0] == -1.0
    assert interval.low[0] < -1.0
    for component in ("inter", "intra", "total"):
        alike = variance_interval(np.ones((3, 2, 2)), component=component)  # numbers have no largest variance
        assert (alike.low.tolist(), alike.high.tolist()) == ([0.0, 0.0], [np.inf, np.inf])


def test_notes_carry_the_coverage():
    draws = generator("test", "intervals", "notes").normal(size=(10, 2, 3))
    assert "94.9-95.8 %" in variance_interval(draws, component="total").note
    assert "93.2-95.3 %" in variance_interval(draws[:2], component="inter").note
    assert "exact" in variance_interval(draws, component="intra").note
    assert "69 %" in mean_square_interval([1.0, 1.0], [4, 4], [1, 1], method="satterthwaite").note


def test_low_precision_and_offset():
    draws = np.array([[[1, 3]], [[5, 7]], [[2, 2]]])
    exact = variance_interval(draws, component="inter")
    for other in (draws.astype(np.float16), draws + 1e8):
        np.testing.assert_allclose([*variance_interval(other, component="inter")], [*exact], rtol=1e-12)


def test_refusals():
    with pytest.raises(ShapeError, match=r"draws needs R >= 2 .* \(S=3, P=1, R=1\)"):
        variance_interval(np.ones((3, 1, 1)), component="inter")
    with pytest.raises(ShapeError, match="S >= 2"):
        variance_interval(np.ones((1, 1, 3)), component="inter")
    with pytest.raises(ShapeError, match="got 2 axes"):
        variance_interval(np.ones((3, 3)), component="inter")
    with pytest.raises(NotFiniteError, match=r"index \(0, 1, 0\)"):
        variance_interval([[[1.0, 2.0], [np.nan, 1.0]], [[1.0, 2.0], [1.0, 1.0]]], component="intra")
    with pytest.raises(OptionError, match="did you mean 'inter'"):
        variance_interval(np.ones((3, 1, 2)), component="inters")
    with pytest.raises(OptionError, match="did you mean 'mls'"):
        variance_interval(np.ones((3, 1, 2)), component="inter", method="mlss")
    for level in (0.0, 1.0, 95, True, "x"):
        with pytest.raises(OptionError, match="level"):
            chi_square_interval(1.0, 3, level=level)
    with pytest.raises(VarianceError, match="dof must be positive"):
        chi_square_interval(1.0, 0)
    with pytest.raises(VarianceError, match="cannot be negative"):
        mean_square_interval([-1.0, 1.0], [3, 3], [1, 1])
    with pytest.raises(VarianceError, match="one sign"):
        mean_square_interval([1.0, 1.0], [3, 3], [1, -1], method="satterthwaite")
    with pytest.raises(ShapeError, match="one length"):
        mean_square_interval([1.0, 1.0], [3, 3], [1])
    with pytest.raises(VarianceError, match="all coefficients are zero"):
        mean_square_interval([1.0, 1.0], [3, 3], [0, 0])


def test_interval_unpacks_and_covers():
    interval = Interval(np.array([1.0, 2.0]), np.array([0.0, 1.5]), np.array([2.0, 3.0]), 0.95, "any")
    low, _ = interval
    assert low[1] == 1.5
    np.testing.assert_array_equal(interval.covers(1.0), [True, False])


# ------------------------------------------------------------------ bootstrap


@pytest.mark.parametrize("method", ["expanded", "percentile", "basic", "bca"])
def test_bootstrap_is_keyed_and_equivariant(method):
    sample = generator("test", "bootstrap", "sample").exponential(size=30)

    def interval(data):
        return bootstrap_interval(data, np.mean, generator=generator("test", "bootstrap", "key"), method=method)

    one, again, moved = interval(sample), interval(sample), interval(3.0 * sample + 1.0)
    assert [*one] == [*again]
    np.testing.assert_allclose([*moved], 3.0 * np.array([*one]) + 1.0, rtol=1e-12)
    assert one.note


def test_percentile_against_scipy():
    """Same statistic, 4,000 replicates each: quantiles of the mean's bootstrap agree to 3.9 Monte Carlo sd."""
    sample = generator("test", "bootstrap", "scipy").exponential(size=40)
    for method, name in (("percentile", "percentile"), ("basic", "basic"), ("bca", "BCa")):
        ours = bootstrap_interval(
            sample, np.mean, generator=generator("test", "bootstrap", "a"), replicates=4000, method=method
        )
        theirs = stats.bootstrap(
            (sample,), np.mean, n_resamples=4000, method=name, rng=generator("test", "bootstrap", "b")
        ).confidence_interval
        # sd of a 2.5 % quantile from B draws: √(.025 · .975 / B) / φ(1.96) = 0.042 se; of a difference 0.06 se
        tolerance = 3.9 * 0.06 * sample.std() / np.sqrt(40)
        np.testing.assert_allclose([*ours], [*theirs], atol=tolerance)


def test_expanded_reaches_the_t_interval_for_normal_data():
    sample = generator("test", "bootstrap", "t").normal(size=15)
    interval = bootstrap_interval(sample, np.mean, generator=generator("test", "bootstrap", "t2"), replicates=20_000)
    reach = stats.t.isf(0.025, 14) * sample.std(ddof=1) / np.sqrt(15)
    assert interval.high - interval.low == pytest.approx(2 * reach, rel=0.06)
    plain = bootstrap_interval(
        sample, np.mean, generator=generator("test", "bootstrap", "t2"), replicates=20_000, method="percentile"
    )
    assert plain.high - plain.low < 0.92 * 2 * reach  # mutant: not expanded


def test_pigeonhole_variance_against_owen():
    """Var of the pigeonhole mean over replicates is, up to O(1/n), a² / S + b² / P + ab-noise counted thrice.

    Without noise, var* = v_a (S−1)/S² … exactly (ΣΣ means): the mean of row and column effects resampled independently.
    Mutants: one index for both axes; students only.
    """
    rng = generator("test", "bootstrap", "owen")
    row, column = rng.normal(size=12), rng.normal(size=12)
    data = row[:, None] + column[None, :]
    expected = row.var() / 12 + column.var() / 12

    def half_width(resample, table=data):
        interval = bootstrap_interval(
            table, np.mean, generator=generator("test", "bootstrap", "owen2"), replicates=4000, resample=resample,
            method="percentile", level=0.6826894921370859,
        )  # fmt: skip
        return (interval.high - interval.low) / 2

    assert half_width((0, 1)) == pytest.approx(np.sqrt(expected), rel=0.08)
    assert half_width(0) < 0.9 * np.sqrt(expected)
    assert half_width(1) < 0.9 * np.sqrt(expected)


def test_influence_of_an_entry_on_a_mean_is_its_deviation_over_n():
    """Exact, and on one scale for all axes: students and prompts add up in the acceleration of a pigeonhole BCa."""
    table = generator("test", "bootstrap", "influence").exponential(size=(4, 9))
    for axis, size in ((0, 4), (1, 9)):
        expected = (table.mean(axis=1 - axis) - table.mean()) / size
        np.testing.assert_allclose(_influence(table, axis, np.mean), expected, rtol=1e-10)


def test_ties_with_the_estimate_count_half_in_bca():
    """A symmetric sample of few values: without a bias the limits are symmetric, though many replicates equal 0."""
    sample = np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    interval = bootstrap_interval(
        sample, np.mean, generator=generator("test", "bootstrap", "ties"), replicates=3999, method="bca", level=0.8
    )
    assert interval.low == pytest.approx(-interval.high, abs=1e-12)
    assert interval.low < 0.0


def test_the_fewest_replicates_have_a_tail_inside_the_sample():
    options = {"generator": generator("test", "bootstrap", "fewest")}
    assert bootstrap_interval(np.arange(10.0), np.mean, replicates=39, **options).low > 0.0
    with pytest.raises(OptionError, match="at least 39; got 38"):
        bootstrap_interval(np.arange(10.0), np.mean, replicates=38, **options)


def test_bootstrap_of_arrays_and_studentized():
    sample = generator("test", "bootstrap", "arrays").normal(size=(25, 3))
    for method in ("expanded", "percentile", "basic", "bca", "studentized"):
        interval = bootstrap_interval(
            sample, _mean, generator=generator("test", "bootstrap", "arrays2"), method=method, replicates=199,
            standard_error=_se if method == "studentized" else None,
        )  # fmt: skip
        assert interval.low.shape == (3,)
        assert np.all((interval.low < interval.estimate) & (interval.estimate < interval.high))


def test_bootstrap_refuses():
    rng = generator("test", "bootstrap", "refuse")
    sample = np.arange(10.0)
    with pytest.raises(ShapeError, match="different axes"):
        bootstrap_interval(sample, np.mean, generator=rng, resample=(0, 0))
    with pytest.raises(ShapeError, match="different axes"):
        bootstrap_interval(sample, np.mean, generator=rng, resample=1)
    with pytest.raises(ShapeError, match="one entry"):
        bootstrap_interval(np.ones((1, 5)), np.mean, generator=rng, resample=(0, 1))
    with pytest.raises(OptionError, match="replicates"):
        bootstrap_interval(sample, np.mean, generator=rng, replicates=10)
    with pytest.raises(OptionError, match="'percentile'"):
        bootstrap_interval(sample, np.mean, generator=rng, method="percentil")
    with pytest.raises(OptionError, match="standard_error belongs"):
        bootstrap_interval(sample, np.mean, generator=rng, method="studentized")
    with pytest.raises(VarianceError, match="standard errors must be positive"):
        bootstrap_interval(np.ones(9), np.mean, generator=rng, method="studentized", standard_error=_se)
    with pytest.raises(NotFiniteError, match="data"):
        bootstrap_interval([1.0, np.nan], np.mean, generator=rng)
    with pytest.raises(NotFiniteError, match="statistic"):
        bootstrap_interval(sample, lambda x: np.nan, generator=rng)


def test_the_pigeonhole_of_a_variance_says_that_it_is_off_centre_and_that_of_a_mean_does_not():
    """S14: of five students some are drawn twice, so that replicates of their variance are centred a fifth or more too low."""
    draws = generator("test", "pigeonhole", "off").normal(size=(5, 12, 1)) + np.zeros((5, 12, 1))
    options = {"resample": (0, 1), "replicates": 400}

    def mean_variance(table):
        return table[..., 0].var(axis=0, ddof=1).mean()

    found = bootstrap_interval(draws, mean_variance, generator=generator("test", "pigeonhole", "v"), **options)
    low = int(re.search(r"centred ([-+]\d+) %", found.note)[1])
    assert -45 < low < -10  # −20 % on average from drawing students twice
    assert "mean.interval()" in found.note
    plain = bootstrap_interval(draws, np.mean, generator=generator("test", "pigeonhole", "m"), **options)
    assert "centred" not in plain.note
