"""Intervals for means over prompts of variances: exact cases, limits of the contract, and what they cover."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from uqkd.errors import OptionError, ShapeError, VarianceError
from uqkd.estimators import (
    decompose_agreement,
    decompose_categorical,
    decompose_entropy,
    decompose_gaussian,
    decompose_variance,
    table_interval,
    variance_half_widths,
)
from uqkd.estimators.intervals.prompt_means.limits import prompt_variance
from uqkd.estimators.intervals.prompt_means.spread import trace_moments
from uqkd.estimators.variance.prompt_mean import PromptMean
from uqkd.seeds import generator

EFFECTS = generator("test", "prompt means", "effects").normal(size=6)


def test_an_effect_common_to_fixed_prompts_has_the_chi_square_interval_of_its_students_stretched():
    """Means known exactly and one effect in all of 4 prompts: S − 1 = 5 degrees of freedom, whatever P, and its k-statistics."""
    found = decompose_gaussian(np.tile(EFFECTS[:, None], (1, 4)), np.zeros((6, 4))).mean.interval(prompts="fixed")
    variance, third, fourth = (stats.kstat(EFFECTS, n) for n in (2, 3, 4))
    seen = fourth / variance**2 * 3 / 8  # (n − 3)/(n + 2)
    excess = 0.2 + 2.0 * max(seen, 0.0) + 1.5 * max(third**2 / variance**3 - 6 / 6, 0.0)
    stretch = np.sqrt(1 + (0.2 / 2) + (excess - 0.2) / 6 / (2 / 5))
    limits = variance * (5 / stats.chi2.ppf([0.975, 0.025], 5)) ** stretch
    np.testing.assert_allclose([found.estimate, *found], [variance, *limits], rtol=1e-10)


@pytest.mark.parametrize("component", ["inter", "intra", "total", "share"])
@pytest.mark.parametrize("prompts", ["random", "fixed"])
def test_limits_enclose_the_estimate_scale_and_do_not_move(component, prompts):
    draws = generator("test", "prompt means", "scale").normal(size=(4, 6, 3))
    found = decompose_variance(draws).mean.interval(component, prompts=prompts)
    assert found.low < found.estimate < found.high
    larger = decompose_variance(1e3 * draws + 1e3).mean.interval(component, prompts=prompts)
    scale = 1.0 if component == "share" else 1e6
    np.testing.assert_allclose([larger.estimate, *larger], scale * np.array([found.estimate, *found]), rtol=1e-9)


@pytest.mark.parametrize("component", ["inter", "intra", "total"])
def test_the_estimate_is_the_mean_of_the_decomposition(component):
    draws = generator("test", "prompt means", "estimate").normal(size=(4, 6, 3, 2))
    mean = decompose_variance(draws).mean
    assert mean.interval(component).estimate == pytest.approx(getattr(mean, component), rel=1e-12)


def test_a_level_widens_and_random_prompts_are_never_narrower():
    draws = generator("test", "prompt means", "level").normal(size=(5, 8, 2)) * np.linspace(0.5, 2, 8)[:, None]
    mean = decompose_variance(draws).mean
    widths = [mean.interval(level=level).high - mean.interval(level=level).low for level in (0.8, 0.95, 0.99)]
    assert widths == sorted(widths)
    for component in ("inter", "intra", "total"):
        random, fixed = (mean.interval(component, prompts=prompts) for prompts in ("random", "fixed"))
        assert random.low <= fixed.low
        assert random.high >= fixed.high


def test_answers_that_are_all_alike_have_a_one_sided_bound():
    """S7: with chance .05 or more, 3 students say the same where 1 − .05^(2/3) of pairs differ, or none of 4 prompts shows it."""
    for mean in (
        decompose_agreement(np.ones((3, 4, 5), dtype=int)).mean,
        decompose_categorical(np.tile([1.0, 0.0], (3, 4, 1))).mean,
    ):
        for component, bound in (
            ("inter", 1 - 0.05 ** (2 / 3)),
            ("intra", 1 - 0.05 ** (1 / 3)),
            ("total", 1 - 0.05 ** (2 / 3)),
        ):
            found = mean.interval(component)
            assert (found.estimate, found.low) == (0.0, 0.0)
            assert found.high == pytest.approx(bound)
            assert "one-sided" in found.note
        assert mean.interval("intra", groups=[0, 0, 1, 1]).high == pytest.approx(1 - 0.05 ** (1 / 2))
    found = decompose_variance(np.ones((3, 4, 5))).mean.interval("inter")
    assert (found.low, found.high) == (0.0, np.inf)
    assert "no largest variance" in found.note


def test_students_of_one_distribution_differ_by_no_more_than_a_bound():
    found = decompose_categorical(np.tile([0.5, 0.5], (4, 6, 1))).mean.interval("inter", prompts="fixed")
    assert (found.estimate, found.low, found.method) == (0.0, 0.0, "one-sided bound")
    assert found.high == pytest.approx(1 - 0.05 ** (2 / 4))


def test_students_that_are_sure_of_different_answers_have_a_share_below_one():
    sure = np.eye(2)[np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1]])]
    mean = decompose_categorical(sure).mean
    assert mean.interval("intra").high == pytest.approx(1 - 0.05 ** (1 / 3))
    share = mean.interval("share")
    assert share.estimate == share.high == 1.0
    assert 0.0 < share.low < 1.0


def test_groups_of_one_prompt_each_change_nothing_and_one_topic_is_refused():
    mean = decompose_variance(generator("test", "prompt means", "groups").normal(size=(4, 6, 3))).mean
    assert mean.interval(groups=list("abcdef")) == mean.interval()
    with pytest.raises(ShapeError, match="at least two prompts or topics"):
        mean.interval(groups=[1] * 6)
    with pytest.raises(ShapeError, match="one topic for each of the P=6"):
        mean.interval(groups=[1, 2])
    with pytest.raises(OptionError, match="belongs to prompts='random'"):
        mean.interval(groups=list("abcdef"), prompts="fixed")
    with pytest.raises(OptionError, match="did you mean 'int"):
        mean.interval("intr")


def test_trace_moments_are_unbiased_by_enumeration():
    """Four and five students of two dimensions, uniform on four points: the mean over all outcomes is the cumulant, exactly."""
    points = np.array([[0.0, 0.0], [3.0, 1.0], [1.0, -2.0], [0.0, 5.0]])
    centred = points - points.mean(axis=0)
    sigma = centred.T @ centred / 4
    fourth = sum(
        (centred[:, p] ** 2 * centred[:, q] ** 2).mean() - sigma[p, p] * sigma[q, q] - 2 * sigma[p, q] ** 2
        for p in range(2)
        for q in range(2)
    )
    for students in (4, 5):
        rows = points[np.array(list(product(range(4), repeat=students)))]
        rows = rows - rows.mean(axis=1, keepdims=True)
        gram = rows @ rows.transpose(0, 2, 1)
        squares = np.diagonal(gram, axis1=1, axis2=2)
        sums = (squares**2).sum(axis=1), (gram**2).sum(axis=(1, 2)), (squares.sum(axis=1) / (students - 1)) ** 2
        found = trace_moments(*sums, students).mean(axis=1)
        np.testing.assert_allclose(found, [fourth, (sigma**2).sum(), np.trace(sigma) ** 2], rtol=1e-10)


def test_what_prompts_add_by_hand():
    """Values 1, 3, 5, 7: variance of their mean 20/3/4; in two topics {1, 3}, {5, 7} it is 2/1 · 2 · 4²/4² = 4."""
    values = np.array([1.0, 3.0, 5.0, 7.0])
    np.testing.assert_allclose(prompt_variance(values, np.zeros(()), np.arange(4)), 20 / 3 / 4)
    np.testing.assert_allclose(prompt_variance(values, np.zeros(()), np.array([0, 0, 1, 1])), 4.0)
    assert prompt_variance(values, np.array(9.0), np.arange(4)) == 0.0


def test_topics_that_differ_widen_and_topics_that_do_not_need_not():
    rng = generator("test", "prompt means", "topics")
    by_topic = np.repeat([0.1, 0.1, 3.0, 3.0], 5)
    draws = (np.sqrt(by_topic) * rng.normal(size=(20, 20)))[..., None] + 0.1 * rng.normal(size=(20, 20, 4))
    mean = decompose_variance(draws).mean
    widths = [found.high - found.low for found in (mean.interval(), mean.interval(groups=np.repeat([0, 1, 2, 3], 5)))]
    assert widths[1] > 1.3 * widths[0]


def test_kappa_is_the_total_as_a_share_of_what_the_teacher_has():
    rng = generator("test", "prompt means", "kappa")
    teacher = rng.dirichlet([2.0, 1.0, 1.0], size=12)
    answers = np.stack(
        [[rng.multinomial(4, p) / 4 for p in teacher] for _ in range(6)]
    )  # students that memorise 4 answers (T4)
    parts, spread = decompose_categorical(answers), 1 - (teacher**2).sum(axis=1)
    found = parts.mean.interval("total", whole=spread)
    assert found.estimate == pytest.approx(parts.total.mean() / spread.mean())
    assert found.low < 1.0 < found.high
    fixed, plain = (
        parts.mean.interval("total", whole=spread, prompts="fixed"),
        parts.mean.interval("total", prompts="fixed"),
    )
    np.testing.assert_allclose([*fixed], np.array([*plain]) / spread.mean(), rtol=1e-12)
    with pytest.raises(ShapeError, match="whole needs one number for each of the P=12"):
        parts.mean.interval("total", whole=spread[:3])
    with pytest.raises(VarianceError, match="nothing to share"):
        parts.mean.interval("total", whole=np.zeros(12))


def test_entropies_have_intervals_about_their_estimates():
    rng = generator("test", "prompt means", "entropy")
    answers = rng.integers(0, 3, size=(5, 8, 6)) * rng.integers(0, 2, size=(5, 1, 1))
    mean = decompose_entropy(answers).mean
    for component in ("mutual_information", "expected", "total"):
        found = mean.interval(component)
        assert found.estimate == pytest.approx(getattr(mean, component))
        assert found.low < found.estimate < found.high
    share = mean.interval("share", prompts="fixed")
    assert share.estimate == pytest.approx(mean.mutual_information / mean.total)
    of_probabilities = decompose_categorical(rng.dirichlet([1.0, 1.0], size=(5, 8))).entropy_mean
    assert of_probabilities.interval("expected", prompts="fixed").estimate == pytest.approx(of_probabilities.expected)
    with pytest.raises(ShapeError, match="takes three students"):
        decompose_entropy(answers[:2]).mean.interval()
    with pytest.raises(OptionError, match="component"):
        mean.interval("inter")


def test_means_made_by_hand_have_no_interval():
    with pytest.raises(OptionError, match="call a decompose function"):
        PromptMean(1.0, 1.0, 2.0, 0.1, 0.1, 0.1).interval()


def test_two_students_and_one_prompt():
    draws = generator("test", "prompt means", "two").normal(size=(2, 1, 4))
    found = decompose_variance(draws).mean.interval("inter", prompts="fixed")
    assert found.low < found.estimate < found.high
    with pytest.raises(ShapeError, match="prompts='fixed'"):
        decompose_variance(draws).mean.interval("inter")


def test_a_table_of_one_student_has_the_t_interval_of_its_prompts_and_more():
    values = np.array([[1.0, 2.0, 4.0, 5.0, 8.0]])
    reach = stats.t.ppf(0.975, 4) * stats.sem(values[0]) * np.sqrt(6 / 4)
    np.testing.assert_allclose([*table_interval(values)], [4 - reach, 4 + reach], rtol=1e-12)
    positive = table_interval(values, positive=True)
    np.testing.assert_allclose([*positive], [max(4 - reach, 0), 4 * np.exp(reach / 4)], rtol=1e-12)
    assert np.isnan(table_interval(np.ones((3, 4))).low)


def test_half_widths_of_variances():
    """The normal reach of many replicates, exp of it above; few students reach as Student's t, and more."""
    down, up = variance_half_widths(2.0, 0.1)
    np.testing.assert_allclose(
        [down, up], [stats.norm.isf(0.025) / 10, 2 * np.expm1(stats.norm.isf(0.025) / 20)], rtol=1e-12
    )
    few = variance_half_widths(2.0, 0.1, 4)[0]
    assert few == pytest.approx(stats.t.isf(0.025, 3) / 10 * np.sqrt(5 / 3))
    np.testing.assert_array_equal(variance_half_widths(-2.0, 0.1)[0], variance_half_widths(-2.0, 0.1)[1])
    assert np.isnan(variance_half_widths(1.0, np.nan)).all()
    assert variance_half_widths(1.0, 2.0)[0] == 1.0  # not below zero
