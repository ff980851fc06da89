"""Least squares and the teacher's responses."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uqkd import seeds
from uqkd.errors import NotFiniteError, OptionError, RankError, ShapeError, VarianceError
from uqkd.linear import Teacher, fit_ols
from uqkd.theory.statements.design import CONDITION_LIMIT

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


def test_huge_columns_do_not_overflow():
    """1e200 squared is beyond float64; scaling by powers of two first costs no digit."""
    wide = fit_ols(X * [1.0, 1e200], [0.0, 1.0, 1.0, 2.0])
    np.testing.assert_allclose(wide.coef * [1.0, 1e200], [0.7, 0.6], rtol=1e-14)


def exact_fit(design, y):
    """Coefficients and residual sum of squares of integer data in rational arithmetic, by the normal equations."""
    rows = [[Fraction(int(v)) for v in row] for row in design]
    target, width = [Fraction(int(v)) for v in y], len(rows[0])
    system = [
        [sum(r[i] * r[j] for r in rows) for j in range(width)]
        + [sum(r[i] * t for r, t in zip(rows, target, strict=True))]
        for i in range(width)
    ]
    for i in range(width):
        system[i] = [value / system[i][i] for value in system[i]]
        for k in set(range(width)) - {i}:
            system[k] = [a - system[k][i] * b for a, b in zip(system[k], system[i], strict=True)]
    coef = [row[-1] for row in system]
    misses = [t - sum(c * v for c, v in zip(coef, r, strict=True)) for r, t in zip(rows, target, strict=True)]
    return np.array(coef, dtype=float), float(sum(m * m for m in misses))


def test_refinement_recovers_what_an_ill_conditioned_design_with_a_large_residual_costs():
    """Condition 5e9: Householder QR alone is off by 3.5e-6 here. Refined, by a few condition · 2⁻⁶⁴ = 3e-10."""
    t = np.arange(20)
    design, y = np.column_stack([np.ones(20, dtype=int), t, t * 2**28 + t**2 % 7]), 100 * (-1) ** t + t
    fit, (coef, squares) = fit_ols(design, y), exact_fit(design, y)
    assert 1e9 < fit.condition < 1e10
    np.testing.assert_allclose(fit.coef, coef, rtol=1e-8)
    # A residual is the rest of three products, each rounded in extended precision; twice that in its square. 2e-11 here.
    largest, size = np.abs(design * coef).max(), np.sqrt(squares / 17)
    np.testing.assert_allclose(fit.residual_var, squares / 17, rtol=2 * 3 * 2.0**-64 * largest / size)


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
    with pytest.raises(RankError, match=r"condition number \d[.\d]*e\+13"):  # three digits would be left
        fit_ols(design(1e-13), t)


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


def test_minimum_norm_keeps_small_directions_that_are_not_rounding():
    """Singular values 1 and 1e-10: far above rounding (4 · 2e-16), so both count."""
    design = np.array([[1.0, 0.0], [0.0, 1e-10], [0.0, 0.0]])
    fit = fit_ols(design, [2.0, 3.0, 0.0], rank="minimum_norm")
    np.testing.assert_allclose(fit.coef, [2.0, 3e10], rtol=1e-14)
    assert (fit.rank, fit.dof) == (2, 1)


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
    for noise_var in (-1.0, np.inf, np.nan):
        with pytest.raises(VarianceError, match="noise_var"):
            Teacher.fit(X, [0.0, 1.0, 1.0, 2.0], noise_var=noise_var)
    with pytest.raises(OptionError, match="k >= 1"):
        Teacher(np.zeros(2), 1.0).respond(X, 0, students=1, key=("test",))
