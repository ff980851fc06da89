"""Least squares and the teacher's responses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uqkd import seeds
from uqkd.errors import NotFiniteError, OptionError, RankError, ShapeError, VarianceError
from uqkd.linear import Teacher, fit_ols
from uqkd.linear.teacher import CONDITION_LIMIT

X = np.array([[1.0, -1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])


def test_by_hand():
    fit = fit_ols(X, [0.0, 1.0, 1.0, 2.0])
    # X'X = [[4, 2], [2, 6]], X'y = [4, 5]: coef = [.7, .6]
    np.testing.assert_allclose(fit.coef, [0.7, 0.6], rtol=1e-14)
    np.testing.assert_allclose(fit.covariance_unscaled, [[0.3, -0.1], [-0.1, 0.2]], rtol=1e-14)
    assert (fit.dof, fit.rank) == (2, 2)
    np.testing.assert_allclose(fit.residual_var, 0.1, rtol=1e-13)  # residuals −.1, .3, −.3, .1
    np.testing.assert_allclose(fit.predict([[1.0, 10.0]]), [6.7], rtol=1e-14)


def test_no_column_is_added():
    np.testing.assert_allclose(fit_ols(X[:, 1:], [0.0, 1.0, 1.0, 2.0]).coef, [5 / 6], rtol=1e-14)


@given(st.integers(min_value=-100, max_value=100), st.integers(min_value=-100, max_value=100))
def test_scale_equivariance(power_x, power_y):
    """Scaling y by c scales the coefficients by c, scaling a column by c divides its coefficient; to 1e-12."""
    generator = seeds.generator("test", "equivariance", shared=True)
    design, y = generator.standard_normal((12, 3)), generator.standard_normal(12)
    base = fit_ols(design, y).coef
    scaled = fit_ols(design * [1, 10.0**power_x, 1], y * 10.0**power_y).coef
    expected = base * 10.0**power_y / np.array([1, 10.0**power_x, 1])
    np.testing.assert_allclose(scaled, expected, rtol=1e-12)


def test_a_large_offset_costs_no_more_digits_than_its_condition_number():
    """y = 1e8 + small: the slope keeps the digits that float64 leaves in y (1e-16·1e8/1e-3 = 1e-5 relative)."""
    x = np.linspace(0, 1, 50)
    slope = fit_ols(np.column_stack([np.ones(50), x]), 1e8 + 1e-3 * x).coef[1]
    np.testing.assert_allclose(slope, 1e-3, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.int32, np.float16, np.float32])
def test_input_types_are_computed_in_float64(dtype):
    fit = fit_ols(X.astype(dtype), np.array([0, 1, 1, 2], dtype=dtype))
    assert fit.coef.dtype == np.float64
    np.testing.assert_allclose(fit.coef, [0.7, 0.6], rtol=1e-14)


def test_rank_deficient_names_condition_and_columns():
    design = np.column_stack([X, X[:, 1] * 2])[[0, 1, 2, 3, 0]]
    with pytest.raises(RankError, match=r"condition number .* linearly dependent: x, twice"):
        fit_ols(design, np.arange(5.0), columns=["intercept", "x", "twice"])


def test_near_singular_is_refused_and_just_below_the_limit_is_not():
    t = np.linspace(-1, 1, 20)
    bump = np.sin(5 * t)

    def design(size):
        return np.column_stack([np.ones(20), t, t + size * bump])

    with pytest.raises(RankError, match="limit"):
        fit_ols(design(0.1 / CONDITION_LIMIT), t)
    assert fit_ols(design(100 / CONDITION_LIMIT), t).condition < CONDITION_LIMIT


def test_two_constant_columns_are_named():
    design = np.column_stack([np.ones(5), np.arange(5.0), np.full(5, 3.0)])
    with pytest.raises(RankError, match="Constant columns: column 0, column 2"):
        fit_ols(design, np.arange(5.0))


def test_a_zero_column_is_refused():
    with pytest.raises(RankError, match="column 1"):
        fit_ols(np.column_stack([np.ones(4), np.zeros(4)]), np.arange(4.0))


def test_too_few_rows():
    with pytest.raises(RankError, match="n=2 rows and q=2"):
        fit_ols(X[:2], [0.0, 1.0])


def test_minimum_norm_only_by_name():
    design, y = np.column_stack([X, X[:, 1]]), np.array([0.0, 1.0, 1.0, 2.0])
    fit = fit_ols(design, y, rank="minimum_norm")
    np.testing.assert_allclose(fit.coef, np.linalg.lstsq(design, y)[0], rtol=1e-12)
    assert (fit.rank, fit.dof) == (2, 2)
    np.testing.assert_allclose(fit.covariance_unscaled, np.linalg.pinv(design.T @ design), rtol=1e-12, atol=1e-15)
    with pytest.raises(OptionError, match="did you mean 'minimum_norm'"):
        fit_ols(design, y, rank="minimal_norm")


def test_not_finite_is_named():
    with pytest.raises(
        NotFiniteError, match=r"y holds 1 value that is not finite among 4; the first is nan at index 1"
    ):
        fit_ols(X, [0.0, np.nan, 1.0, 2.0])
    with pytest.raises(NotFiniteError, match=r"X .* \(0, 1\)"):
        fit_ols(np.where(X == -1, np.inf, X), [0.0, 1.0, 1.0, 2.0])


def test_shapes_are_named():
    with pytest.raises(ShapeError, match="X has 4 rows but y has 3 values"):
        fit_ols(X, [0.0, 1.0, 1.0])


def test_responses_are_keyed_and_independent_over_all_axes():
    teacher = Teacher(np.array([1.0, 2.0]), 4.0)
    responses = teacher.respond(X, 5, students=3, key=("test", "respond"))
    assert responses.shape == (3, 4, 5)
    np.testing.assert_array_equal(responses, teacher.respond(X, 5, students=3, key=("test", "respond")))
    assert len(np.unique(responses)) == responses.size
    assert not np.array_equal(responses, teacher.respond(X, 5, students=3, key=("test", "other")))


def test_teacher_refuses_bad_options():
    with pytest.raises(VarianceError, match="noise_var"):
        Teacher.fit(X, [0.0, 1.0, 1.0, 2.0], noise_var=-1.0)
    with pytest.raises(OptionError, match="k >= 1"):
        Teacher(np.zeros(2), 1.0).respond(X, 0, students=1, key=("test",))
