"""Exact small cases of every statement, by hand or by brute force (simulations stand in tests/theory)."""

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from uqkd.errors import OptionError, VarianceError
from uqkd.estimators.weighting.exact_variance import graybill_deal_variance
from uqkd.linear import Design, Teacher, distill, weigh
from uqkd.theory import statements as theory

X = np.array([[1.0, -1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
G = np.array([[0.3, -0.1], [-0.1, 0.2]])  # inverse of [[4, 2], [2, 6]], by hand


def test_t1_covariance_by_hand():
    np.testing.assert_allclose(theory.coef_covariance(X, 6.0, 3), 2.0 * G, rtol=1e-14)
    np.testing.assert_allclose(theory.coef_covariance(X, 6.0, 3, label_var=1.0), 3.0 * G, rtol=1e-14)


def test_t1_inter_student_variance_by_hand():
    # h(1, 3) = .3 − 2·.1·3 + .2·9 = 1.5
    np.testing.assert_allclose(theory.inter_student_variance(X, [[1.0, 3.0]], 6.0, 3), [3.0], rtol=1e-14)
    on_training = theory.inter_student_variance(X, X, 6.0, 3)
    np.testing.assert_allclose(on_training.mean(), 2.0 * 2 / 4, rtol=1e-14)  # (σ²/k)·q/n


def test_t1_against_every_response_of_a_two_point_noise():
    """Noise ±1 with equal chances: the variance over all 2⁴ response vectors is exact, not simulated."""
    design = Design.of(X)
    predictions = [
        np.array(signs) @ design.projector @ [1.0, 3.0] for signs in itertools.product([-1.0, 1.0], repeat=4)
    ]
    np.testing.assert_allclose(
        np.var(predictions), theory.inter_student_variance(X, [[1.0, 3.0]], 1.0, 1)[0], rtol=1e-13
    )


def test_t2_mean_against_every_response_of_a_two_point_noise():
    design, residual, X_test = Design.of(X), np.array([0.5, -1.0, 2.0]), np.array([[1.0, 0.5], [1.0, -2.0], [1.0, 4.0]])
    errors = [
        ((residual - X_test @ design.projector.T @ np.array(signs)) ** 2).mean()
        for signs in itertools.product([-1.0, 1.0], repeat=4)
    ]
    np.testing.assert_allclose(np.mean(errors), theory.expected_error(X, X_test, residual, 1.0, 1).mean, rtol=1e-13)


def test_t2_variance_of_one_point_is_that_of_a_shifted_chi_square():
    """One test row: MSE = (r − N(0, vh))², whose variance is 4r²vh + 2(vh)²."""
    h, v, r = 1.5, 2.0, 0.7
    moments = theory.expected_error(X, [[1.0, 3.0]], [r], 6.0, 3)
    np.testing.assert_allclose(moments.variance, 4 * r**2 * v * h + 2 * (v * h) ** 2, rtol=1e-13)
    np.testing.assert_allclose(moments.mean, r**2 + v * h, rtol=1e-13)


def test_t3_reported_variance():
    assert [theory.reported_variance(h, 6.0, 3) for h in ("point", "targets", "responses", "carried")] == [0, 2, 6, 6]
    with pytest.raises(OptionError, match="did you mean 'carried'"):
        theory.reported_variance("caried", 6.0, 3)


@pytest.mark.parametrize(
    ("first", "second", "covariance"), [(1.0, 3.0, 0.0), (1.0, 3.0, 0.5), (1.0, 3.0, 1.4), (2.0, 2.0, -1)]
)
def test_t6_combination_is_the_minimum_over_a_grid_of_weights(first, second, covariance):
    best = theory.combine(first, second, covariance=covariance)
    weights = np.linspace(-2, 3, 500_001)
    variances = weights**2 * first + (1 - weights) ** 2 * second + 2 * weights * (1 - weights) * covariance
    assert abs(weights[variances.argmin()] - best.weight) <= 1e-5  # the grid's step
    # at the nearest grid point the parabola is above its minimum by at most step²·curvature/2
    np.testing.assert_allclose(variances.min(), best.variance, rtol=0, atol=1e-10 * (first + second))


def test_t6_weight_leaves_the_unit_interval_when_the_covariance_exceeds_the_smaller_variance():
    assert theory.combine(1.0, 3.0, covariance=1.4).weight > 1
    assert 0 < theory.combine(1.0, 3.0, covariance=0.9).weight < 1


def test_t6_same_draws_have_no_gain_at_the_best_weight():
    h, v = 0.3, 2.0
    best = theory.combine(v, v * h, covariance=v * h)  # c = Var S
    assert best.weight == 0
    np.testing.assert_allclose(best.variance, v * h, rtol=1e-14)


def test_t6_same_draws_by_matrices():
    """Label at a row: w·ȳ_i + (1−w)·(Hȳ)_i, the naive weight w = h/(1+h); variance as v·‖row of [D + (I−D)H]‖²."""
    design, v = Design.of(X), 1.7
    hat = design.projector @ X.T
    weight = np.diag(design.leverage / (1 + design.leverage))
    blend = weight + (np.eye(4) - weight) @ hat
    seen = theory.precision_variance(design.leverage, v, draws="same")
    np.testing.assert_allclose(seen, v * (blend**2).sum(axis=1), rtol=1e-13)
    final = design.projector.T @ blend  # coefficients of the student distilled from the labels
    expected = v * ((X @ final) ** 2).sum(axis=1)
    np.testing.assert_allclose(theory.blended_student_variance(X, X, v, draws="same"), expected, rtol=1e-13)


def test_t6_fresh_draws_by_matrices():
    design, v = Design.of(X), 1.7
    hat = design.projector @ X.T
    weight = np.diag(design.leverage / (1 + design.leverage))
    rest = (np.eye(4) - weight) @ hat
    seen = theory.precision_variance(design.leverage, v, draws="fresh")
    np.testing.assert_allclose(seen, v * ((weight**2).sum(axis=1) + (rest**2).sum(axis=1)), rtol=1e-13)
    influence = X @ design.projector.T
    expected = v * (((influence @ weight) ** 2).sum(axis=1) + ((influence @ rest) ** 2).sum(axis=1))
    np.testing.assert_allclose(theory.blended_student_variance(X, X, v, draws="fresh"), expected, rtol=1e-13)


def test_t6_oracle_reproduces_the_published_reduction():
    published = {3: 0.491, 4: 0.427, 5: 0.390, 10: 0.317, 50: 0.263}
    assert {k: round(theory.oracle_label_variance(k), 3) for k in published} == published


def test_t6_oracle_at_k3_in_closed_form():
    """χ²₂ is exponential: E[(1 + 2E/3)⁻²] with E ~ Exp(1), integrated independently."""
    value, _ = integrate.quad(lambda e: np.exp(-e) / (1 + 2 * e / 3) ** 2, 0, np.inf)
    np.testing.assert_allclose(theory.oracle_label_variance(3), value, rtol=1e-8)


@pytest.mark.parametrize("k", [2, 3, 5, 20, 100])
def test_t7_equal_variances_in_closed_form(k):
    np.testing.assert_allclose(theory.graybill_deal_ratio(k, 1.0), (k + 1) / (2 * k), rtol=1e-9)


# The agreement's table, to the digits printed there; exact values beside it in the test below.
T7 = {
    1: (0.661, 0.599, 0.550, 0.544, 0.522),
    2: (0.909, 0.804, 0.733, 0.727, 0.694),
    4: (1.154, 0.964, 0.871, 0.858, 0.831),
    10: (1.459, 1.105, 0.960, 0.954, 0.924),
    30: (1.715, 1.130, 0.999, 0.983, 0.977),
}
T7_K = (3, 5, 10, 11, 20)


def test_t7_table_to_two_digits():
    """The table is a Monte Carlo run with an uncertain last digit: every cell lies within 1.5 % of the exact value."""
    for ratio, row in T7.items():
        for k, printed in zip(T7_K, row, strict=True):
            assert abs(printed / theory.graybill_deal_ratio(k, ratio) - 1) < 0.015, (ratio, k)


@pytest.mark.parametrize("k", [3, 10])
def test_t7_against_brute_force_quadrature(k):
    """Two-dimensional midpoint rule over the quantiles of both chi-squares."""
    q = stats.chi2.ppf((np.arange(3000) + 0.5) / 3000, k - 1)
    weight = 4 * q / (q[:, None] + 4 * q)  # on the better source, variance ratio 4
    brute = ((weight**2).mean() + 4 * ((1 - weight) ** 2).mean()) / k
    np.testing.assert_allclose(graybill_deal_variance([k, k], [1.0, 4.0]), brute, rtol=2e-3)  # 1/3000 a tail each


def test_t7_uniformly_better_only_above_ten():
    """Above a sample size of 10 the ratio stays below 1 for every variance ratio; at 9 it does not."""
    ratios = np.exp(np.linspace(0, 9, 60))
    assert max(theory.graybill_deal_ratio(11, r) for r in ratios) < 1
    assert max(theory.graybill_deal_ratio(9, r) for r in ratios) > 1


def test_t6_t7_estimated_label_against_quadrature():
    h, k = 0.3, 4

    def moment(x):
        w = h / (h + x / (k - 1))
        return (w**2 + h * (1 - w) ** 2) * stats.chi2.pdf(x, k - 1)

    value, _ = integrate.quad(moment, 0, np.inf)
    np.testing.assert_allclose(theory.estimated_label_variance([h], k), [value], rtol=1e-5)  # 4,000 midpoints: 1.5e-6


@pytest.mark.parametrize(("head", "k", "least"), [("carried", 1, 2), ("carried", 0, 2), ("targets", 0, 1)])
def test_t3_coverage_of_too_few_responses_is_refused(head, k, least):
    """One response has no spread within a prompt: there is no degree of freedom, not one."""
    with pytest.raises(OptionError, match=f"head '{head}' needs k >= {least} responses per prompt; got k={k}"):
        theory.interval_coverage(X, X[:1], head, k)


def test_t9_by_hand():
    """One column of ones: the bootstrap variance of a mean is Σe²/(n·drawn)."""
    residual = np.array([1.0, -2.0, 0.5, 0.5])
    seen = theory.bootstrap_variance(np.ones((4, 1)), residual, [[1.0]], drawn=8)
    np.testing.assert_allclose(seen, [(residual**2).sum() / 4 / 8], rtol=1e-14)


def test_bad_arguments_name_themselves():
    for second, covariance in ((1.0, 1.5), (4.0, 2.2)):  # Var(T − S) < 0; Var(T − S) = .6 but a correlation of 1.1
        with pytest.raises(VarianceError, match="covariance"):
            theory.combine(1.0, second, covariance=covariance)
    with pytest.raises(OptionError, match="k >= 2"):
        theory.oracle_label_variance(1)
    with pytest.raises(OptionError, match="'fresh'"):
        theory.precision_variance([0.1], 1.0, draws="frsh")


@pytest.mark.parametrize("head", ["targets", "responses", "carried"])
def test_t3_coverage_by_simulation_on_a_tiny_design(head):
    """Four rows, so that the head has 2 to 10 degrees of freedom; 40,000 students know a share to ± .0025."""
    teacher = Teacher(np.array([0.0, 0.0]), 2.0)
    students = distill(
        Design.of(X), weigh(teacher.respond(X, 3, students=40_000, key=("test", "coverage", head))), head=head
    )
    fresh = teacher.respond(X[:1], 1, students=40_000, key=("test", "coverage", head, "fresh"))[:, 0, 0]
    inside = np.abs(fresh - students.predict_mean(X[:1])[:, 0]) <= 1.959964 * np.sqrt(students.head_var)
    exact = theory.interval_coverage(X, X[:1], head, 3)[0]
    limit = 4.4 * np.sqrt(exact * (1 - exact) / 40_000)  # |z| of 4.4: chance 1e-5
    assert abs(inside.mean() - exact) < limit
    share = theory.reported_variance(head, 1.0, 3)
    for wrong in (
        2 * stats.norm.cdf(1.96 * np.sqrt(share / (1 + 0.7 / 3))) - 1,
        2 * stats.norm.cdf(1.96 * np.sqrt(share)) - 1,
    ):
        assert abs(inside.mean() - wrong) > limit  # normal instead of t; forgets the student's own error too
