"""Unbiased variance components: exact cases, statsmodels, standard errors, bad input."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from hypothesis import given
from hypothesis import strategies as st

from uqkd import seeds
from uqkd.errors import NotFiniteError, ShapeError, VarianceError
from uqkd.estimators import (
    decompose_gaussian,
    decompose_variance,
    inter_student_variance,
    intra_student_variance,
    variance_of_means,
)
from uqkd.estimators.variance.prompt_mean import prompt_mean
from uqkd.estimators.variance.two_way import two_way_standard_error

DRAWS = seeds.generator("test", "variance").standard_normal((5, 3, 4))


def test_the_exact_case_of_t10():
    parts = decompose_variance([[[1, 3]], [[5, 7]]])
    assert (parts.inter[0], parts.intra[0], parts.total[0]) == (7.0, 2.0, 9.0)
    assert variance_of_means([[[1, 3]], [[5, 7]]])[0] == 8.0


def test_negative_estimates_are_returned_as_they_are():
    """Students with equal means and spread answers: 0 − 2/2."""
    assert inter_student_variance([[[1.0, 3.0]], [[1.0, 3.0]]])[0] == -1.0


def test_the_three_functions_agree():
    parts = decompose_variance(DRAWS)
    np.testing.assert_array_equal(parts.inter, inter_student_variance(DRAWS))
    np.testing.assert_array_equal(parts.intra, intra_student_variance(DRAWS))
    np.testing.assert_allclose(parts.total, parts.inter + parts.intra, rtol=1e-15)


def test_output_dimensions_add_up():
    draws = seeds.generator("test", "variance", "dimensions").standard_normal((5, 3, 4, 2))
    parts, each = decompose_variance(draws), [decompose_variance(draws[..., d]) for d in range(2)]
    np.testing.assert_allclose(parts.inter, each[0].inter + each[1].inter, rtol=1e-12)
    np.testing.assert_allclose(parts.intra, each[0].intra + each[1].intra, rtol=1e-12)
    np.testing.assert_allclose(
        variance_of_means(draws), sum(variance_of_means(draws[..., d]) for d in range(2)), rtol=1e-12
    )
    np.testing.assert_allclose(intra_student_variance(draws), parts.intra, rtol=1e-15)


def test_unit_norm_embeddings_have_total_variance_one_minus_the_squared_mean():
    """T4: for unit vectors E‖e − Ee‖² = 1 − ‖Ee‖²; exact for the plug-in over all responses of one student."""
    raw = seeds.generator("test", "unit norm").standard_normal((1, 1, 6, 8))
    unit = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    plug_in = intra_student_variance(unit)[0] * 5 / 6
    np.testing.assert_allclose(plug_in, 1 - np.linalg.norm(unit.mean(axis=2)) ** 2, rtol=1e-13)


def test_statsmodels_mixed_model_agrees():
    """Balanced one-way random effects with a positive component: REML equals the analysis of variance."""
    generator = seeds.generator("test", "mixed model")
    draws = 2.0 * generator.standard_normal((12, 1, 1)) + generator.standard_normal((12, 1, 6))
    parts = decompose_variance(draws)
    frame = pd.DataFrame({"y": draws[:, 0].ravel(), "student": np.repeat(np.arange(12), 6)})
    fit = smf.mixedlm("y ~ 1", frame, groups="student").fit(reml=True)
    np.testing.assert_allclose(parts.intra[0], fit.scale, rtol=1e-4)  # the optimiser's own tolerance
    np.testing.assert_allclose(parts.inter[0], fit.cov_re.iloc[0, 0], rtol=1e-3)


def test_pseudo_values_are_the_jackknife():
    parts = decompose_variance(DRAWS)
    for s in range(5):
        without = decompose_variance(np.delete(DRAWS, s, axis=0))
        np.testing.assert_allclose(parts.per_student_inter[s], 5 * parts.inter - 4 * without.inter, rtol=1e-11)
        np.testing.assert_allclose(parts.per_student_intra[s], 5 * parts.intra - 4 * without.intra, rtol=1e-11)


def test_two_way_standard_error_by_hand():
    """[[1, 2], [3, 4]]: MS_rows = 4, MS_columns = 1, MS_both = 0, so Var = (4 + 1 − 0)/4."""
    np.testing.assert_allclose(two_way_standard_error([[1.0, 2.0], [3.0, 4.0]]), np.sqrt(5 / 4), rtol=1e-15)
    np.testing.assert_allclose(two_way_standard_error([[1.0, 3.0]]), 1.0, rtol=1e-15)  # prompts only
    np.testing.assert_allclose(two_way_standard_error([[1.0], [3.0]]), 1.0, rtol=1e-15)  # students only


def test_two_way_standard_error_with_an_interaction_by_hand():
    """[[1, 2], [3, 4], [5, 9]]: MS_rows = 15.5, MS_columns = 6, MS_both = 3/2, so Var = (15.5 + 6 − 1.5)/6."""
    table = [[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]
    np.testing.assert_allclose(two_way_standard_error(table), np.sqrt(20 / 6), rtol=1e-14)


def test_two_way_standard_error_is_held_at_what_the_interaction_alone_gives():
    """Signs with a small row effect: MS_rows = 1, MS_columns = 0, MS_both = 4; 1 + 0 − 4 < 4, so Var = 4/4."""
    np.testing.assert_allclose(two_way_standard_error([[1.5, -0.5], [-1.5, 0.5]]), 1.0, rtol=1e-15)


def test_what_inter_gains_and_intra_loses_has_no_part_in_the_error_of_the_total():
    """The parts are dependent (T4 conserves their sum): the total's error is that of the sum, not of two errors."""
    pseudo = DRAWS[:, :, 0]
    mean = prompt_mean(pseudo, 2.0 - pseudo, inter=pseudo.mean(axis=0), intra=2.0 - pseudo.mean(axis=0))
    assert mean.total == pytest.approx(2.0, rel=1e-15)
    assert mean.total_se < 1e-15
    assert mean.inter_se == pytest.approx(mean.intra_se, rel=1e-12)


def simulated_mean_error(columns: bool) -> tuple[float, float]:
    """True variance of a grand mean and the average of its squared standard error (columns: count prompts too)."""
    generator = seeds.generator("test", "two-way error")
    shape = (4_000, 8, 12)
    table = generator.standard_normal((4_000, 8, 1)) + 0.8 * generator.standard_normal((4_000, 1, 12))
    table = table + generator.standard_normal(shape)
    if columns:
        claimed = np.mean([two_way_standard_error(t) ** 2 for t in table])
    else:
        claimed = np.mean(table.mean(axis=2).var(axis=1, ddof=1) / 8)  # wrong version: students only
    return float(table.mean(axis=(1, 2)).var()), float(claimed)


def test_two_way_standard_error_counts_students_and_prompts():
    """Var of the mean is 1/8 + .64/12 + 1/96; 4,000 tables know a variance to 2.2 %, so 8 % is 3.6 sd of the ratio."""
    truth, claimed = simulated_mean_error(columns=True)
    assert abs(claimed / truth - 1) < 0.08
    truth, students_only = simulated_mean_error(columns=False)
    assert abs(students_only / truth - 1) > 0.08


def test_two_students_have_no_standard_error():
    parts = decompose_variance(DRAWS[:2])
    assert np.isnan(parts.mean.inter_se)
    assert np.isfinite(parts.mean.intra_se)


def test_gaussian_by_hand():
    parts = decompose_gaussian([[1.0], [3.0]], [[0.5], [1.5]])
    assert (parts.inter[0], parts.intra[0], parts.total[0]) == (2.0, 1.0, 3.0)
    with pytest.raises(VarianceError, match=r"-1.0 at \(s=1, p=0\)"):
        decompose_gaussian([[1.0], [3.0]], [[0.5], [-1.0]])
    with pytest.raises(ShapeError):
        decompose_gaussian([[1.0], [3.0]], [[0.5, 1.0], [1.0, 1.0]])
    with pytest.raises(ShapeError, match="S >= 2"):
        decompose_gaussian([[1.0]], [[0.5]])


def test_gaussian_pseudo_values_are_the_jackknife():
    means, variances = DRAWS[:, :, 0], DRAWS[:, :, 1] ** 2
    parts = decompose_gaussian(means, variances)
    for s in range(5):
        without = decompose_gaussian(np.delete(means, s, axis=0), np.delete(variances, s, axis=0))
        np.testing.assert_allclose(parts.per_student_inter[s], 5 * parts.inter - 4 * without.inter, rtol=1e-11)
        np.testing.assert_allclose(parts.per_student_intra[s], 5 * parts.intra - 4 * without.intra, rtol=1e-11)


@given(st.integers(min_value=-100, max_value=100))
def test_scale_equivariance(power):
    base, scaled = decompose_variance(DRAWS), decompose_variance(DRAWS * 10.0**power)
    np.testing.assert_allclose(scaled.inter, base.inter * 10.0 ** (2 * power), rtol=1e-12)
    np.testing.assert_allclose(scaled.intra, base.intra * 10.0 ** (2 * power), rtol=1e-12)


def test_a_large_offset_is_computed_in_two_passes():
    """1e8 + draws: rounding the inputs to 1.5e-8 moves a variance of 1 by about 1e-8; a one-pass sum loses it all."""
    base, moved = decompose_variance(DRAWS), decompose_variance(DRAWS + 1e8)
    np.testing.assert_allclose(moved.inter, base.inter, rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved.intra, base.intra, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_low_precision_is_computed_in_float64(dtype):
    rounded = DRAWS.astype(dtype)
    np.testing.assert_array_equal(decompose_variance(rounded).inter, decompose_variance(rounded.astype(float)).inter)


def test_integers_are_accepted():
    assert decompose_variance(np.array([[[1, 3]], [[5, 7]]], dtype=np.int8)).inter[0] == 7.0


@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 3, 1), (5, 3), (5, 3, 4, 2, 1), (0, 3, 4)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="decompose_variance"):
        decompose_variance(np.ones(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused_with_its_place(bad):
    draws = DRAWS.copy()
    draws[2, 1, 3] = bad
    draws[4, 2, 0] = bad
    with pytest.raises(NotFiniteError, match=r"2 values .* \(2, 1, 3\)"):
        decompose_variance(draws)
