"""Intervals for means over prompts of variances: exact cases, limits of the contract, and what they cover."""

import numpy as np
import pytest
from scipy import stats

from uqkd.errors import OptionError, ShapeError
from uqkd.estimators import decompose_agreement, decompose_categorical, decompose_gaussian, decompose_variance
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
