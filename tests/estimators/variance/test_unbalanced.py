"""Inter and intra where responses are missing: exact cases, equality where none is, simulation, wrong versions, bad input."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, UnidentifiedWarning
from uqkd.estimators import decompose_unbalanced, decompose_variance
from uqkd.estimators.variance.two_way import two_way_standard_error
from uqkd.estimators.variance.unbalanced.decomposing import _decomposed, _known, array_cells
from uqkd.estimators.variance.unbalanced.incomplete import incomplete_error
from uqkd.theory.checks import THRESHOLD
from uqkd.theory.coverage.unbalanced import draws_of

DRAWS = seeds.generator("test", "unbalanced").standard_normal((5, 4, 3))
NAN = np.nan


def rows_of(draws):
    """Tidy rows of draws with gaps, in a scrambled order."""
    s, p, r = np.nonzero(~np.isnan(draws))
    order = seeds.generator("test", "scrambled").permutation(len(s))
    return draws[s, p, r][order], s[order], p[order]


def test_by_hand():
    """Students 1, 3 and 5, 7, 6: variances 2 and 1, means 2 and 6, so 8 − (2/2 + 1/3)/2 between."""
    parts = decompose_unbalanced([[[1, 3, NAN]], [[5, 7, 6]]])
    np.testing.assert_allclose([parts.intra[0], parts.inter[0]], [1.5, 8 - 2 / 3], rtol=1e-15)
    np.testing.assert_allclose(parts.total[0], 9.5 - 2 / 3, rtol=1e-15)
    assert parts.responses.tolist() == [[2], [3]]


def test_a_student_with_one_response_borrows_the_variance_of_the_others():
    """Means 2, 6, 4: Var 4; variances 2, 2, unknown: 4 − (1 + 1 + 2)/3 between."""
    parts = decompose_unbalanced([[[1, 3]], [[5, 7]], [[4, NAN]]])
    np.testing.assert_allclose([parts.intra[0], parts.inter[0]], [2.0, 4 - 4 / 3], rtol=1e-15)
    assert np.isnan(parts.per_student_intra[2, 0])


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 3, 2), (2, 3, 2), (3, 1, 2)])
def test_balanced_draws_give_exactly_what_decompose_variance_gives(shape):
    draws = seeds.generator("test", "unbalanced", "exact").standard_normal(shape)
    expected, parts = decompose_variance(draws), decompose_unbalanced(draws)
    flat = draws.reshape(-1, *shape[3:])
    student, prompt = (axis.ravel() for axis in np.indices(shape[:3])[:2])
    for name in ("inter", "intra", "total", "per_student_inter", "per_student_intra"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(expected, name))
        np.testing.assert_array_equal(
            getattr(decompose_unbalanced(flat, student, prompt), name), getattr(expected, name)
        )
    for name in ("inter", "intra", "total", "inter_se", "intra_se", "total_se"):
        np.testing.assert_array_equal(getattr(parts.mean, name), getattr(expected.mean, name))


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 3, 2), (3, 1, 2)])
def test_the_formula_for_gaps_is_that_of_balanced_draws_where_there_is_none(shape):
    """To rounding, without the short cut that makes it exact."""
    draws = seeds.generator("test", "unbalanced", "exact").standard_normal(shape)
    expected = decompose_variance(draws)
    cells = array_cells("draws", draws)
    found = _decomposed(cells, _known(cells))
    for name, table in zip(("inter", "intra", "total", "per_student_inter", "per_student_intra"), found, strict=True):
        np.testing.assert_allclose(table, getattr(expected, name), rtol=1e-12, err_msg=name)


def test_masks_gaps_and_rows_are_the_same():
    gaps = DRAWS.copy()
    gaps[0, 1, 1:], gaps[2, 3], gaps[4, 0, 0] = NAN, NAN, NAN
    masked = np.ma.masked_invalid(gaps)
    for other in (decompose_unbalanced(masked), decompose_unbalanced(*rows_of(gaps))):
        np.testing.assert_allclose(other.inter, decompose_unbalanced(gaps).inter, rtol=1e-12)
        assert other.mean.total_se == pytest.approx(decompose_unbalanced(gaps).mean.total_se, rel=1e-12)


def test_a_masked_array_of_integers_is_not_read_through_its_mask():
    masked = np.ma.masked_equal([[[1, 3, 99]], [[5, 7, 6]]], 99)
    np.testing.assert_allclose(decompose_unbalanced(masked).inter, [8 - 2 / 3], rtol=1e-15)


def test_pseudo_values_are_the_jackknife():
    gaps = DRAWS.copy()
    gaps[0, 1, 2:], gaps[2, 3, 1:], gaps[4, 0] = NAN, NAN, NAN
    parts = decompose_unbalanced(gaps)
    three = decompose_unbalanced(np.delete(gaps, 1, axis=0))  # a student with all its responses
    known = (gaps[..., :2] == gaps[..., :2]).all(axis=2).all(axis=0)  # prompts where nobody borrows
    assert known.any()
    count = (~np.isnan(gaps)).any(axis=2).sum(axis=0)
    expected = count * parts.inter - (count - 1) * three.inter
    np.testing.assert_allclose(parts.per_student_inter[1, known], expected[known], rtol=1e-11)


def test_a_prompt_that_cannot_be_told_is_said_and_left_out_of_the_mean():
    gaps = DRAWS.copy()
    gaps[1:, 2], gaps[:, 3, 1:] = NAN, NAN
    with pytest.warns(UnidentifiedWarning, match=r"2 of 4 prompts \(the first is 2\)"):
        parts = decompose_unbalanced(gaps)
    assert np.isnan(parts.inter).tolist() == [False, False, True, True]
    assert parts.mean.prompts == 2
    assert parts.mean.inter == pytest.approx(float(decompose_variance(DRAWS[:, :2]).mean.inter), rel=1e-12)
    assert np.isfinite(parts.mean.total_se)


def test_statsmodels_reml_of_one_prompt_is_close_where_students_are_alike():
    """Normal students of equal variances: both estimate the same, apart by a fraction of either's error of 1/√50."""
    generator = seeds.generator("test", "unbalanced", "reml")
    draws = 2.0 * generator.standard_normal((100, 1, 1)) + generator.standard_normal((100, 1, 6))
    draws[generator.random(draws.shape) < 0.4] = NAN
    values, student, prompt = rows_of(draws)
    parts = decompose_unbalanced(values, student, prompt)
    fit = smf.mixedlm("y ~ 1", pd.DataFrame({"y": values, "s": student}), groups="s").fit(reml=True)
    assert abs(parts.intra[0] / fit.scale - 1) < 0.07
    assert abs(parts.inter[0] / fit.cov_re.iloc[0, 0] - 1) < 0.07


def test_the_error_of_an_incomplete_table_is_that_of_least_squares_reductions():
    """Henderson's method 3 with statsmodels' sums of squares of nested models."""
    generator = seeds.generator("test", "incomplete")
    table = generator.standard_normal((6, 1)) + generator.standard_normal((1, 7)) + generator.standard_normal((6, 7))
    table[generator.random(table.shape) < 0.3] = NAN
    s, p = np.nonzero(~np.isnan(table))
    frame = pd.DataFrame({"y": table[s, p], "s": s, "p": p})
    rest = {name: smf.ols(f"y ~ {name}", frame).fit().ssr for name in ("C(s)", "C(p)", "C(s) + C(p)")}
    n = len(frame)
    both = rest["C(s) + C(p)"] / (n - 6 - 7 + 1)
    students = (rest["C(p)"] - rest["C(s) + C(p)"] - 5 * both) / (n - 7)
    prompts = (rest["C(s)"] - rest["C(s) + C(p)"] - 6 * both) / (n - 6)
    weight = ~np.isnan(table) / (7 * (~np.isnan(table)).sum(axis=0))
    square = students * (weight.sum(axis=1) ** 2).sum() + prompts / 7 + both * (weight**2).sum()
    np.testing.assert_allclose(incomplete_error(table), np.sqrt(square), rtol=1e-9)
    assert incomplete_error(DRAWS[:, :, 0]) == two_way_standard_error(DRAWS[:, :, 0])
    assert np.isnan(incomplete_error([[1.0, NAN], [NAN, 2.0]]))


# Students' variances differ, and so do the numbers of their responses; what is missing does not depend on the values.
INTER, OWN = 1.0, np.array([1.0, 2.0, 9.0, 4.0])
INTRA = float(OWN.mean())


def gapped_draws(replicates, key):
    """(S=4, replicates, R=4): each response there with chance .6, everyone twice at least."""
    generator = seeds.generator(*key)
    draws = generator.standard_normal((4, replicates, 1)) + np.sqrt(OWN)[:, None, None] * generator.standard_normal(
        (4, replicates, 4)
    )
    missing = generator.random(draws.shape) < 0.4
    missing[:, :, :2] = False
    missing[0] = False
    return np.where(missing, NAN, draws)


def plug_in_mean_responses(draws):
    """Wrong: one R for all students, the mean number of responses, in place of each one's own."""
    count = (~np.isnan(draws)).sum(axis=2)
    own = np.nanvar(draws, axis=2, ddof=1)
    return np.nanmean(draws, axis=2).var(axis=0, ddof=1) - own.mean(axis=0) / 4 + 0.0 * count.sum(axis=0)


def pooled_rows(draws):
    """Wrong: every response counts once, so that those who said more count more (their variances and n₀ are pooled)."""
    count = (~np.isnan(draws)).sum(axis=2)
    own = np.nanvar(draws, axis=2, ddof=1)
    return ((count - 1) * own).sum(axis=0) / (count - 1).sum(axis=0)


def complete_prompts_only(draws):
    """Wrong: without a word, what the prompts say that everyone answered."""
    return draws[:, ~np.isnan(draws).any(axis=(0, 2))]


def z_of(values, truth):
    return abs(values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))


def test_unbiased_with_gaps_and_wrong_versions_are_not():
    """40,000 prompts know a mean to .5 % of its spread; a wrong version is off by more than 4.4 standard errors."""
    draws = gapped_draws(40_000, ("test", "unbalanced", "simulation"))
    parts = decompose_unbalanced(draws)
    assert z_of(parts.inter, INTER) < THRESHOLD
    assert z_of(parts.intra, INTRA) < THRESHOLD
    assert z_of(parts.total, INTER + INTRA) < THRESHOLD
    assert z_of(plug_in_mean_responses(draws), INTER) > THRESHOLD
    assert z_of(pooled_rows(draws), INTRA) > THRESHOLD
    assert z_of(np.nanmean(draws, axis=2).var(axis=0, ddof=1), INTER) > THRESHOLD  # nothing subtracted


def test_prompts_that_are_incomplete_are_not_dropped():
    """Prompts that are hard are answered less: what the complete ones say is not what all say."""
    generator = seeds.generator("test", "unbalanced", "dropped")
    spread = np.where(np.arange(4_000) < 2_000, 1.0, 3.0)  # hard prompts: students differ nine times as much
    draws = spread[None, :, None] * generator.standard_normal((4, 4_000, 1)) + generator.standard_normal((4, 4_000, 3))
    missing = (generator.random(draws.shape) < 0.5) & (spread > 1)[None, :, None]
    missing[:, :, :2] = False
    draws = np.where(missing, NAN, draws)
    assert z_of(decompose_unbalanced(draws).inter, 5.0) < THRESHOLD
    assert z_of(decompose_variance(complete_prompts_only(draws)).inter, 5.0) > THRESHOLD


def test_the_error_of_a_mean_over_an_incomplete_table_counts_students_and_prompts():
    """2,000 tables of 8 × 6 with 30 % missing: a variance is known to 3.2 %, and 13 % is four times that.

    The same gaps in all tables, so that the truth is one number. Wrong: students alone, or prompts alone, or all cells as if
    they were independent.
    """
    generator = seeds.generator("test", "incomplete", "error")
    there = generator.random((8, 6)) > 0.3
    tables = generator.standard_normal((2_000, 8, 1)) + 0.8 * generator.standard_normal((2_000, 1, 6))
    tables = np.where(there, tables + generator.standard_normal((2_000, 8, 6)), NAN)
    means = np.nanmean(np.nanmean(tables, axis=1), axis=1)
    stated = np.mean([incomplete_error(table) ** 2 for table in tables])
    assert abs(stated / means.var() - 1) < 0.13
    students = (np.nanmean(tables, axis=2).var(axis=1, ddof=1) / 8).mean()
    prompts = (np.nanmean(tables, axis=1).var(axis=1, ddof=1) / 6).mean()
    cells = (np.nanvar(tables, axis=(1, 2), ddof=1) / there.sum()).mean()
    for wrong in (students, prompts, cells):
        assert abs(wrong / means.var() - 1) > 0.13


def test_the_interval_of_known_means_is_that_of_one_variance():
    """No noise within, one prompt: chi-square with S − 1 degrees of freedom."""
    means = np.array([1.0, 2.0, 4.0, 9.0])
    draws = np.repeat(means[:, None, None], 3, axis=2)
    draws[0, 0, 1] = NAN
    found = decompose_unbalanced(draws).mean.interval("inter", prompts="fixed", level=0.9)
    np.testing.assert_allclose(
        [found.low, found.estimate, found.high],
        [3 * means.var(ddof=1) / stats.chi2.ppf(q, 3) if q else means.var(ddof=1) for q in (0.95, None, 0.05)], rtol=1e-6,
    )  # fmt: skip


def test_nothing_that_varies_has_no_upper_limit():
    found = decompose_unbalanced([[[1.0, 1.0], [2.0, NAN]], [[1.0, 1.0], [2.0, 2.0]]]).mean.interval("intra")
    assert (found.low, found.high) == (0.0, np.inf)
    assert "no variation was seen" in found.note


@pytest.mark.filterwarnings("ignore::uqkd.errors.UnidentifiedWarning")  # of some 8,000 prompts one or two
def test_the_interval_covers_and_one_that_counts_prompts_as_students_does_not():
    """400 experiments, S = 5, P = 20, effects common to all prompts, 40 % missing: at least .90 (4.5 standard errors below .95).

    Wrong: (S − 1)·P degrees of freedom; and two standard errors.
    """
    truth, covered = 1.0, np.zeros(3)
    for draws in draws_of(("test",), 400, (5, 20), effects="common", data="normal", missing=0.4):
        mean = decompose_unbalanced(draws).mean
        found = mean.interval("inter")
        wrong = 80 * mean.inter / stats.chi2.ppf([0.975, 0.025], 80)
        covered += [
            found.low <= truth <= found.high,
            wrong[0] <= truth <= wrong[1],
            abs(mean.inter - truth) <= 2 * mean.inter_se,
        ]
    right, independent, normal = covered / 400
    assert right > 0.90
    assert independent < 0.90
    assert normal < 0.90


def test_bad_input_says_what_to_do():
    mean = decompose_unbalanced(DRAWS[:, :1]).mean
    with pytest.raises(OptionError, match="at least two prompts; got one"):
        mean.interval("inter")
    with pytest.raises(OptionError, match="did you mean 'intra'"):
        mean.interval("intre", prompts="fixed")
    with pytest.raises(NotFiniteError, match="decompose_unbalanced"):
        decompose_variance([[[1.0, NAN]], [[5.0, 7.0]]])
    with pytest.raises(ShapeError, match="student= and prompt= together"):
        decompose_unbalanced([1.0, 2.0], student=[0, 1])
    with pytest.raises(ShapeError, match="one prompt for each of 2 rows"):
        decompose_unbalanced([1.0, 2.0], student=[0, 1], prompt=[0])
    with pytest.raises(ShapeError, match="S >= 2 students; got 1"):
        decompose_unbalanced([[[1.0, 2.0, NAN]]])
    with pytest.raises(ShapeError, match="every one responded once"):
        decompose_unbalanced([1.0, 2.0], student=[0, 1], prompt=["a", "a"])
    with pytest.raises(ShapeError, match="there is none among P=2"):
        decompose_unbalanced([1.0, 2.0, 3.0], student=[0, 1, 1], prompt=["a", "b", "b"])
    with pytest.raises(NotFiniteError, match="inf"):
        decompose_unbalanced([[[1.0, np.inf]], [[5.0, NAN]]])
    with pytest.raises(NotFiniteError, match="nan"):
        decompose_unbalanced([1.0, NAN], student=[0, 1], prompt=[0, 0])
    with pytest.raises(DataError, match=r"\(0, 0, 1\) with some of its D output dimensions"):
        decompose_unbalanced([[[[1.0, 2.0], [NAN, 1.0]]], [[[5.0, 1.0], [1.0, 1.0]]]])
    with pytest.raises(ShapeError, match="got 2 axes"):
        decompose_unbalanced([[1.0, 2.0], [3.0, NAN]])
