"""Averaging k responses and the laws of its variance: hand cases, statsmodels, simulation, mutants."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats
from statsmodels.tools.sm_exceptions import DomainWarning

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, VarianceError
from uqkd.estimators.averaging import gamma
from uqkd.estimators.averaging.averaged import average_responses
from uqkd.estimators.averaging.boundary import allowed
from uqkd.estimators.averaging.laws import fit_averaging_law, fit_power_law
from uqkd.estimators.averaging.lines import Line, line_interval
from uqkd.seeds import generator

K = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def test_average_carries_the_spread_of_one_response():
    averaged = average_responses([[1.0, 3.0], [5.0, 9.0]])
    np.testing.assert_array_equal(averaged.mean, [2.0, 7.0])
    np.testing.assert_array_equal(averaged.within_var, [2.0, 8.0])
    np.testing.assert_array_equal(averaged.mean_var, [1.0, 4.0])
    assert averaged.k == 2
    assert averaged.note == ""


@pytest.mark.parametrize(("shape", "axis", "out"), [
    ((5,), None, ()), ((4, 5), None, (4,)), ((4, 5, 3), 1, (4, 3)), ((2, 4, 5), 2, (2, 4)),
    ((2, 4, 5, 3), None, (2, 4, 3)), ((2, 4, 5), -1, (2, 4)),
])  # fmt: skip
def test_average_axes(shape, axis, out):
    responses = generator("test", "averaging", "axes", shape).normal(size=shape)
    averaged = average_responses(responses, axis=axis)
    assert averaged.k == 5
    assert averaged.mean.shape == averaged.within_var.shape == averaged.mean_var.shape == out
    where = shape.index(5)
    np.testing.assert_allclose(averaged.mean, np.mean(responses, axis=where), rtol=1e-15)
    np.testing.assert_allclose(averaged.within_var, np.var(responses, axis=where, ddof=1), rtol=1e-15)


def test_single_response_has_no_variance_and_says_so():
    averaged = average_responses([[1.0], [2.0]])
    assert averaged.within_var is None
    assert averaged.mean_var is None
    assert "draw k >= 2" in averaged.note


def test_average_refuses():
    with pytest.raises(ShapeError, match="axis=1 or axis=2"):
        average_responses(np.zeros((2, 3, 4)))
    with pytest.raises(ShapeError, match="1 to 4 axes"):
        average_responses(1.0)
    with pytest.raises(ShapeError, match="empty"):
        average_responses(np.zeros((0, 3)))
    with pytest.raises(ShapeError, match="axis=7"):
        average_responses(np.zeros((2, 3)), axis=7)
    with pytest.raises(NotFiniteError, match=r"2 values .* among 4; the first is nan at index \(0, 1\)"):
        average_responses([[1.0, np.nan], [np.inf, 1.0]])
    with pytest.raises(NotFiniteError, match="1 masked value"):
        average_responses(np.ma.array([[1.0, 2.0]], mask=[[False, True]]))
    with pytest.raises(DataError, match="real numbers"):
        average_responses([["a", "b"]])
    with pytest.raises(DataError, match="dtype complex"):
        average_responses([[1j, 2.0]])
    with pytest.raises(ShapeError, match="ragged"):
        average_responses([[1.0, 2.0], [3.0]])


@given(arrays(np.float16, (3, 4), elements=st.floats(-1000, 1000, width=16)))
def test_low_precision_is_computed_in_float64(responses):
    averaged = average_responses(responses)
    assert averaged.within_var.dtype == np.float64
    np.testing.assert_array_equal(averaged.within_var, responses.astype(float).var(axis=1, ddof=1))


def test_integers_and_large_offset():
    assert average_responses([[1, 2]]).within_var[0] == 0.5
    # 1e8 + {1, 2, 3}: exact in float64, so two-pass gives 1 exactly; the one-pass formula loses all 16 digits
    assert average_responses([1e8 + 1, 1e8 + 2, 1e8 + 3]).within_var == 1.0


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 3.0, 1e100])
def test_scale_equivariance(scale):
    responses = generator("test", "averaging", "scale").normal(size=(6, 5))
    one, other = average_responses(responses), average_responses(scale * responses)
    np.testing.assert_allclose(other.mean, scale * one.mean, rtol=1e-12)
    np.testing.assert_allclose(other.within_var, scale * scale * one.within_var, rtol=1e-12)
    value, error = np.array([3.0, 2.2, 1.4, 1.3, 1.0]), np.array([0.3, 0.2, 0.2, 0.1, 0.1])
    for proportional in (False, True):
        law = fit_averaging_law(K, value, error, proportional=proportional)
        scaled = fit_averaging_law(K, scale * value, scale * error, proportional=proportional)
        np.testing.assert_allclose([scaled.floor, scaled.slope], scale * np.array([law.floor, law.slope]), rtol=1e-12)
        np.testing.assert_allclose(scaled.chi2, law.chi2, rtol=1e-10)
    power, scaled_power = fit_power_law(K, value, error), fit_power_law(K, scale * value, scale * error)
    np.testing.assert_allclose(scaled_power.exponent, power.exponent, rtol=1e-12)


def test_averaging_law_by_hand():
    # two points, unequal errors: the line goes through both; V(1) = 3, V(2) = 2 gives floor 1, slope 2;
    # floor = 2 V(2) − V(1) has variance 4 · 0.04 + 0.01 = 0.17, slope = 2 (V(1) − V(2)) has 4 · 0.05 = 0.2
    law = fit_averaging_law([1, 2], [3.0, 2.0], [0.1, 0.2])
    np.testing.assert_allclose([law.floor, law.slope], [1.0, 2.0], rtol=1e-12)
    np.testing.assert_allclose(law.covariance, [[0.17, -0.18], [-0.18, 0.2]], rtol=1e-12)
    assert law.dof == 0
    assert law.p_value is None
    np.testing.assert_allclose(law.floor_interval.high - law.floor, stats.norm.isf(0.025) * np.sqrt(0.17), rtol=1e-12)
    np.testing.assert_allclose(law.predict([1, 4]), [3.0, 1.5], rtol=1e-12)


def test_averaging_law_against_statsmodels():
    value, error = np.array([3.0, 2.2, 1.4, 1.3, 1.0]), np.array([0.3, 0.2, 0.2, 0.1, 0.1])
    law = fit_averaging_law(K, value, error, level=0.9)
    other = sm.WLS(value, np.column_stack([np.ones(5), 1 / K]), weights=error**-2).fit()
    np.testing.assert_allclose([law.floor, law.slope], other.params, rtol=1e-12)
    np.testing.assert_allclose(law.covariance, other.normalized_cov_params, rtol=1e-12)
    np.testing.assert_allclose(law.chi2, np.sum(other.wresid**2), rtol=1e-12)
    np.testing.assert_allclose(law.p_value, stats.chi2.sf(law.chi2, 3), rtol=1e-10)
    half = stats.norm.isf(0.05) * law.slope_se
    np.testing.assert_allclose([*law.slope_interval], [law.slope - half, law.slope + half], rtol=1e-12)


def test_proportional_law_against_gamma_glm():
    """Standard errors proportional to the mean: the iterated fit is the gamma quasi-likelihood with identity link."""
    value = np.array([3.3, 1.8, 1.6, 1.2, 1.15])
    relative = np.array([0.1, 0.15, 0.1, 0.2, 0.12])
    law = fit_averaging_law(K, value, relative * value, proportional=True)
    family = sm.families.Gamma(link=sm.families.links.Identity())
    design = np.column_stack([np.ones(5), 1 / K])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)  # the identity link may leave the domain; here it does not
        other = sm.GLM(value, design, family=family, var_weights=relative**-2).fit(tol=1e-14, maxiter=300, scale=1.0)
    np.testing.assert_allclose([law.floor, law.slope], other.params, rtol=1e-8)  # statsmodels stops on the deviance
    np.testing.assert_allclose([law.floor_se, law.slope_se], other.bse, rtol=1e-6)
    # the deviance over its mean: five terms n(log(n/2) − ψ(n/2)), less two at half of all degrees of freedom
    dof = 2.0 / relative**2
    of_one = [n * (np.log(n / 2) - special.digamma(n / 2)) for n in (*dof, dof.sum() / 2, dof.sum() / 2)]
    np.testing.assert_allclose(law.chi2, other.deviance * 3 / (sum(of_one[:5]) - sum(of_one[5:])), rtol=1e-6)


def _variance_experiments(name, dof, count):
    """Variance estimates with `dof` at V(k) = 1 + 2 / k; (count, 5)."""
    truth = 1.0 + 2.0 / K
    return truth * generator("test", "averaging", name, dof).chisquare(dof, size=(count, K.size)) / dof


def _biases(fit, dof=20, count=2000):
    values = _variance_experiments("bias", dof, count)
    fits = np.array([fit(value, value * np.sqrt(2 / dof)) for value in values])
    return fits.mean(axis=0) - [1.0, 2.0], fits.std(axis=0, ddof=1) / np.sqrt(count)


@pytest.mark.slow
def test_iterated_weights_remove_the_bias_of_plain_weights():
    """Mean of 2,000 fits at dof 20. A plain fit is low by about 2 / dof of V (its weights favour low draws), 12 se.

    Accepted: |bias| < 3.9 se + 0.02 V (the second-order bias of quasi-likelihood, O(1 / dof) of the 2 / dof removed).
    Mutants: weights from the estimates themselves; weights iterated on the inverse of the fit.
    """

    design = np.column_stack([np.ones(5), 1 / K])

    def iterated(value, error):  # the estimates of `fit_averaging_law` without its limits, which are searched
        return tuple(gamma.fitted(gamma.MeanSquares(value, 2 * (value / error) ** 2, design)))

    value = np.array([3.3, 1.8, 1.6, 1.2, 1.15])
    law = fit_averaging_law(K, value, value * np.sqrt(2 / 20), proportional=True)
    np.testing.assert_allclose(iterated(value, value * np.sqrt(2 / 20)), (law.floor, law.slope), rtol=1e-10)

    def plain(value, error):
        law = fit_averaging_law(K, value, error)
        return law.floor, law.slope

    def unweighted_errors_squared(value, error):
        law = fit_averaging_law(K, value, error**2)
        return law.floor, law.slope

    def accepted(fit):
        bias, se = _biases(fit)
        return bool(np.all(np.abs(bias) < 3.9 * se + 0.02 * np.array([1.0, 2.0])))

    assert accepted(iterated)
    assert not accepted(plain)
    assert not accepted(unweighted_errors_squared)


def _p_values(truth, fit, count=2000):
    noise = generator("test", "averaging", "lack of fit").normal(size=(count, K.size))
    error = 0.05 * np.ones(K.size)
    return np.array([fit(K, row, error) for row in truth + error * noise])


def test_lack_of_fit_is_uniform_under_the_law_and_small_otherwise():
    """Kolmogorov-Smirnov on 2,000 p-values, alpha 1e-4; mutants: n dof, errors taken as known twice over, a curve."""
    law = 1.0 + 2.0 / K

    def right(k, value, error):
        return fit_averaging_law(k, value, error).p_value

    def dof_n(k, value, error):
        return stats.chi2.sf(fit_averaging_law(k, value, error).chi2, k.size)

    def half_errors(k, value, error):
        return fit_averaging_law(k, value, error / 2).p_value

    def accepted(p_values):
        return stats.kstest(p_values, "uniform").pvalue > 1e-4

    assert accepted(_p_values(law, right))
    assert not accepted(_p_values(law, dof_n))
    assert not accepted(_p_values(law, half_errors))
    assert not accepted(_p_values(1.0 + 2.0 / np.sqrt(K), right))  # a law in the root of k


def test_power_law_by_hand_and_bias_correction():
    law = fit_power_law([1, 4], [2.0, 1.0], [0.02, 0.01])
    np.testing.assert_allclose(law.exponent, -0.5, rtol=1e-12)
    np.testing.assert_allclose(law.exponent_se, 0.01 * np.sqrt(2) / np.log(4), rtol=1e-12)
    np.testing.assert_allclose(law.scale, 2.0 * np.exp(0.01**2 / 2), rtol=1e-12)
    reach = np.exp(stats.norm.isf(0.025) * 0.01)
    np.testing.assert_allclose([*law.scale_interval], [law.scale / reach, law.scale * reach], rtol=1e-9)
    assert law.p_value is None
    # unequal precision: without the correction the exponent is off by the difference of the log biases, 1 / dof each
    dof = np.array([10.0, 1000.0])
    values = 1.0 / np.array([1.0, 4.0]) * generator("test", "power").chisquare(dof, size=(20_000, 2)) / dof
    relative = np.sqrt(2 / dof)
    fits = np.array([fit_power_law([1, 4], value, relative * value).exponent for value in values[:4000]])
    plain = np.diff(np.log(values[:4000]), axis=1)[:, 0] / np.log(4)
    se = fits.std(ddof=1) / np.sqrt(fits.size)
    assert abs(fits.mean() + 1) < 3.9 * se + 0.1**2 / np.log(4)  # what is left: 1 / (3 dof²) and smaller
    assert abs(plain.mean() + 1) > 3.9 * se + 0.1**2 / np.log(4)  # mutant: no correction, off by 0.1 / log 4


def test_laws_refuse():
    with pytest.raises(ShapeError, match="two different k"):
        fit_averaging_law([2, 2], [1.0, 1.0], [0.1, 0.1])
    with pytest.raises(ShapeError, match="variance has shape"):
        fit_averaging_law([1, 2, 3], [1.0, 1.0], [0.1, 0.1])
    with pytest.raises(VarianceError, match="standard_error must be positive"):
        fit_averaging_law([1, 2], [1.0, 1.0], [0.1, 0.0])
    with pytest.raises(VarianceError, match="variance must be positive"):
        fit_power_law([1, 2], [1.0, -1.0], [0.1, 0.1])
    with pytest.raises(VarianceError, match="variance must be positive"):
        fit_averaging_law([1, 2], [1.0, -1.0], [0.1, 0.1], proportional=True)
    with pytest.raises(DataError, match="k must be positive"):
        fit_averaging_law([0, 2], [1.0, 1.0], [0.1, 0.1])
    with pytest.raises(OptionError, match="level"):
        fit_averaging_law([1, 2], [1.0, 1.0], [0.1, 0.1], level=95)
    with pytest.raises(NotFiniteError, match="variance holds 1 value"):
        fit_averaging_law([1, 2], [1.0, np.nan], [0.1, 0.1])
    with pytest.raises(OptionError, match="one of the two"):
        fit_averaging_law([1, 2], [1.0, 1.0])
    with pytest.raises(OptionError, match="one of the two"):
        fit_averaging_law([1, 2], [1.0, 1.0], [0.1, 0.1], np.eye(2))
    with pytest.raises(OptionError, match="takes standard errors"):
        fit_averaging_law([1, 2], [1.0, 1.0], covariance=np.eye(2), proportional=True)
    with pytest.raises(OptionError, match="covariance_dof"):
        fit_averaging_law([1, 2], [1.0, 1.0], covariance=np.eye(2), covariance_dof=0)
    with pytest.raises(ShapeError, match=r"\(n, n\) with n=2"):
        fit_averaging_law([1, 2], [1.0, 1.0], covariance=np.eye(3))
    with pytest.raises(VarianceError, match="not symmetric"):
        fit_averaging_law([1, 2], [1.0, 1.0], covariance=[[1.0, 0.5], [0.1, 1.0]])
    with pytest.raises(VarianceError, match="not positive definite"):
        fit_averaging_law([1, 2], [1.0, 1.0], covariance=np.ones((2, 2)))


def test_negative_floor_is_returned():
    assert fit_averaging_law([1, 2], [3.0, 1.0], [0.1, 0.1]).floor == pytest.approx(-1.0, abs=1e-12)


def test_a_floor_that_is_not_there_is_an_interval_from_zero_and_no_error():
    """Every one of these raised or gave a floor below zero: variances that fall as 1/k, or faster."""
    for value in (1.0 / K, 1.0 / K**1.5, [1.0, 0.6, 0.2, 0.1, 0.01]):
        for proportional in (False, True):
            value = np.asarray(value)
            law = fit_averaging_law(K, value, value * np.sqrt(2 / 4), proportional=proportional)
            assert law.floor_interval.low == 0.0
            assert 0.0 < law.floor_interval.high < 1.0
            assert law.slope_interval.low > 0.0 or not proportional
    law = fit_averaging_law([1, 2], [3.0, 1.0], [0.1, 0.1])
    assert law.floor_interval.low == 0.0 < law.floor_interval.high < stats.norm.isf(0.025) * law.floor_se


def test_bound_near_zero_against_published_limits_and_simulation():
    """Feldman & Cousins (1998), table X, at 95 %: limits by the estimate in standard errors, two decimals (± .006)."""
    table = {
        -2.0: (0.0, 0.62),
        -1.0: (0.0, 1.10),
        0.0: (0.0, 1.96),
        1.0: (0.0, 2.96),
        2.0: (0.35, 3.96),
        3.0: (1.14, 4.96),
    }
    for at, limits in table.items():
        found = line_interval(Line(np.array([at, 0.0]), np.eye(2), np.inf, 0.0, 0, None), 0, 0.95, "test")
        np.testing.assert_allclose([*found], limits, atol=0.006)
    x = generator("test", "averaging", "boundary").normal(size=20_000)
    for truth in (0.0, 0.5, 1.5, 3.0):
        hits = np.mean(x**2 - np.minimum(truth + x, 0.0) ** 2 <= allowed(truth, 0.95))
        assert abs(hits - 0.95) <= 3.9 * 0.00154  # sd of a share of .95 in 20,000
    # mutants: two-sided everywhere covers too much at zero, one-sided everywhere too little away from it
    assert np.mean(x**2 - np.minimum(x, 0.0) ** 2 <= allowed(9.0, 0.95)) > 0.96
    assert np.mean(x**2 - np.minimum(3.0 + x, 0.0) ** 2 <= allowed(0.0, 0.95)) < 0.94


def test_known_covariance_against_statsmodels():
    value, root = np.array([3.0, 2.2, 1.4, 1.3, 1.0]), generator("test", "averaging", "covariance").normal(size=(5, 5))
    covariance = 0.01 * (root @ root.T + np.eye(5))
    law = fit_averaging_law(K, value, covariance=covariance)
    other = sm.GLS(value, np.column_stack([np.ones(5), 1 / K]), sigma=covariance).fit()
    np.testing.assert_allclose([law.floor, law.slope], other.params, rtol=1e-10)
    np.testing.assert_allclose(law.covariance, other.normalized_cov_params, rtol=1e-9)
    np.testing.assert_allclose(law.chi2, np.sum(other.wresid**2), rtol=1e-9)
    np.testing.assert_allclose(law.p_value, stats.chi2.sf(law.chi2, 3), rtol=1e-9)
    plain = fit_averaging_law(K, value, np.sqrt(np.diag(covariance)))
    diagonal = fit_averaging_law(K, value, covariance=np.diag(np.diag(covariance)))
    np.testing.assert_allclose([diagonal.floor, diagonal.chi2], [plain.floor, plain.chi2], rtol=1e-12)


def _with_estimated_covariance(dof, fit, count=1_500):
    """Share of (floor, slope) covered and of fits not rejected: normal variances, a Wishart covariance."""
    rng = generator("test", "averaging", "estimated covariance", dof)
    root = np.linalg.cholesky(0.02 * (0.6 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))))
    hits = np.zeros(3)
    for _ in range(count):
        noise = rng.normal(size=(dof + 1, 5)) @ root.T
        law = fit(1.0 + 2.0 / K + noise[0], noise[1:].T @ noise[1:] / dof, dof)
        hits += [law.floor_interval.covers(1.0), law.slope_interval.covers(2.0), law.p_value > 0.05]
    return hits / count


@pytest.mark.slow
@pytest.mark.parametrize("dof", [4, 9])
def test_a_covariance_from_few_students_is_paid_for(dof):
    """1,500 experiments: a share of .95 has sd .0056, and 3.9 of them are allowed. Mutant: the covariance taken for known."""
    right = _with_estimated_covariance(dof, lambda v, c, n: fit_averaging_law(K, v, covariance=c, covariance_dof=n))
    assert np.abs(right - 0.95).max() <= 3.9 * 0.0056
    known = _with_estimated_covariance(
        dof, lambda v, c, n: fit_averaging_law(K, v, covariance=c + 1e-12 * np.eye(5)), 400
    )
    assert (known < 0.95 - 3.9 * 0.011).all()
