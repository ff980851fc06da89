"""The averaging law of students whose k hang together: by hand, against a Wishart likelihood, refusals."""

import numpy as np
import pytest
from scipy import optimize, stats

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, VarianceError
from uqkd.estimators.averaging import gamma
from uqkd.estimators.averaging.laws import fit_averaging_law
from uqkd.estimators.averaging.students import averaging_law_of, effective_prompts
from uqkd.seeds import generator
from uqkd.theory.coverage.averaging import students_at

K = np.array([1.0, 2.0, 4.0, 8.0])


def _means(design, students=9, prompts=1, floor=0.3, name=0):
    size = (1, students, prompts)
    return students_at(K, size, floor, design=design, generator=generator("test", "students", design, name))[0]


def test_nested_by_hand():
    """The steps know the slope alone; what the last k varies by, less slope/8, is the floor."""
    means = _means("nested")
    steps = (means[:-1] - means[1:])[..., 0].var(axis=1, ddof=1) / (1 / K[:-1] - 1 / K[1:])
    law = averaging_law_of(K, means, design="nested")
    np.testing.assert_allclose(law.slope, steps.mean(), rtol=1e-9)
    np.testing.assert_allclose(law.floor, means[-1, :, 0].var(ddof=1) - steps.mean() / 8, rtol=1e-9)
    np.testing.assert_allclose(law.slope_se, steps.mean() * np.sqrt(2 / 24), rtol=1e-9)
    order = [2, 0, 3, 1]
    other = averaging_law_of(K[order], means[order], design="nested")
    np.testing.assert_allclose([*other.floor_interval], [*law.floor_interval], rtol=1e-6)


def test_lack_of_fit_of_nested_students_is_bartletts_test_of_their_steps():
    means = _means("nested")
    steps = (means[:-1] - means[1:])[..., 0] / np.sqrt(1 / K[:-1] - 1 / K[1:])[:, None]
    law, bartlett = averaging_law_of(K, means, design="nested"), stats.bartlett(*steps)
    # Bartlett divides by 1 + (m + 1)/(3·m·n), here by the exact mean, for m = 3 steps and one that fits: within 2 %
    assert law.chi2 == pytest.approx(bartlett.statistic, rel=0.02)
    assert law.dof == 2


@pytest.mark.parametrize(("design", "of_floor", "of_slope"), [
    ("nested", np.ones((4, 4)), 1 / np.maximum.outer(K, K)), ("shared", np.ones((4, 4)), np.diag(1 / K)),
    ("independent", np.eye(4), np.diag(1 / K)),
])  # fmt: skip
def test_estimates_are_those_of_the_wishart_likelihood(design, of_floor, of_slope):
    """Independent reference: the covariance between k of nine students, floor·A + slope·B, by SciPy's own density and search."""
    means = _means(design)
    covariance = np.cov(means[..., 0])
    if design == "independent":  # other students at each k: their covariances are noise
        covariance = np.diag(np.diag(covariance))

    def against(coef):
        matrix = np.exp(coef[0]) * of_floor + np.exp(coef[1]) * of_slope
        return -stats.wishart(8, matrix).logpdf(8 * covariance)

    found = optimize.minimize(
        against, [-1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 9_000}
    )
    law = averaging_law_of(K, means, design=design)
    np.testing.assert_allclose([law.floor, law.slope], np.exp(found.x), rtol=1e-5)


def test_other_students_at_each_k_are_variances_in_proportion():
    means = _means("independent")
    value = means[..., 0].var(axis=1, ddof=1)
    law, other = averaging_law_of(K, means, design="independent"), fit_averaging_law(
        K, value, value * np.sqrt(2 / 8), proportional=True
    )  # fmt: skip
    np.testing.assert_allclose(
        [law.floor, law.slope, law.p_value], [other.floor, other.slope, other.p_value], rtol=1e-9
    )
    np.testing.assert_allclose([*law.floor_interval], [*other.floor_interval], rtol=1e-6)


def test_limits_are_where_the_likelihood_ratio_says():
    """One variance of n degrees of freedom: n(r − 1 − log r) = χ²(1)·E, solved by SciPy on its own."""
    squares = gamma.MeanSquares(
        np.array([2.0, 2.0, 2.0]), np.full(3, 4.0), np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    )
    coef = gamma.fitted(squares)
    for which, dof in ((0, 4.0), (1, 8.0)):
        found = gamma.profile(squares, coef, which).interval(0.95)
        allowed = stats.chi2.isf(0.05, 1) * dof * (np.log(dof / 2) - stats.gamma(dof / 2).expect(np.log))

        def ratio(value, dof=dof, allowed=allowed):
            return dof * (2.0 / value - 1 - np.log(2.0 / value)) - allowed

        limits = [optimize.brentq(ratio, 0.01, 2.0), optimize.brentq(ratio, 2.0, 1e4)]
        np.testing.assert_allclose([*found], limits, rtol=1e-5)


def test_prompts_alike_count_once_and_their_own_each():
    rng = generator("test", "students", "prompts")
    alike = np.repeat(rng.normal(size=(3, 200, 1)), 12, axis=2)
    own = rng.normal(size=(3, 200, 12))
    centred = [x - x.mean(axis=1, keepdims=True) for x in (alike, own)]
    assert effective_prompts(centred[0]) == pytest.approx(1.0, abs=1e-9)
    # tr C² is estimated from 199 degrees of freedom: a relative error of some √(2/3)/199 beside that of (tr C)², 2√(2/(36·199))
    assert effective_prompts(centred[1]) == pytest.approx(12.0, rel=0.1)


def test_refusals():
    means = _means("nested")
    with pytest.raises(OptionError, match="nested"):
        averaging_law_of(K, means, design="nest")
    with pytest.raises(ShapeError, match="S >= 3"):
        averaging_law_of(K, means[:, :2], design="nested")
    with pytest.raises(ShapeError, match="one K for each k"):
        averaging_law_of(K[:3], means, design="nested")
    with pytest.raises(DataError, match="k must be positive"):
        averaging_law_of(K - 1, means, design="nested")
    with pytest.raises(ShapeError, match="give each k once"):
        averaging_law_of([1, 2, 2, 4], means, design="nested")
    with pytest.raises(ShapeError, match="two different k"):
        averaging_law_of([2, 2, 2, 2], means, design="independent")
    with pytest.raises(NotFiniteError, match="means holds 1 value"):
        averaging_law_of(K, np.where(means == means[0, 0, 0], np.nan, means), design="nested")
    with pytest.raises(VarianceError, match="does not vary between students at k=4"):
        averaging_law_of(K, means * np.array([1, 1, 0, 1])[:, None, None], design="independent")
    with pytest.raises(VarianceError, match="the same at two values of k"):
        averaging_law_of(K, means[[0, 0, 2, 3]], design="nested")


@pytest.mark.parametrize("scale", [1e-60, 1e-8, 1e60])
def test_scale(scale):
    means = _means("shared", prompts=3)
    one, other = (averaging_law_of(K, x, design="shared") for x in (means, means * scale))
    np.testing.assert_allclose(np.array([*other.floor_interval]) / scale / scale, [*one.floor_interval], rtol=1e-6)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-9)
