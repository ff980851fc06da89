"""Differences of two methods: small cases by hand, t tests as special cases, simulations, and wrong versions that must be seen."""

import math

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

from uqkd.errors import NotFiniteError, OptionError, ShapeError
from uqkd.estimators import MEASURES, compare, compare_methods
from uqkd.estimators.comparing.crossed import paired_spread
from uqkd.estimators.comparing.differences import grouped
from uqkd.estimators.comparing.jackknifed import measure_values
from uqkd.seeds import generator
from uqkd.theory.coverage.comparing import Cell, simulated

T4 = ((1.0, 2.0), (3.0, 4.0))


def test_a_table_by_hand():
    """Differences 1, 2 / 3, 4: mean squares 4 of students, 1 of prompts, 0 of cells. (4 + 1 − 0)/4 = 1.25; degrees of freedom with
    4·3 = 12 and 1·3 = 3: (12 + 3)²/(12² + 3²) = 225/153."""
    found = compare(np.add(T4, 10.0), [[10.0, 10.0], [10.0, 10.0]])
    assert found.difference == 2.5
    assert found.standard_error == pytest.approx(math.sqrt(1.25), rel=1e-15)
    assert found.dof == pytest.approx(225 / 153, rel=1e-14)
    reach = stats.t.isf(0.025, 225 / 153) * math.sqrt(1.25)
    np.testing.assert_allclose([found.low, found.high], [2.5 - reach, 2.5 + reach], rtol=1e-9)
    assert found.p_value == pytest.approx(2 * stats.t.sf(2.5 / math.sqrt(1.25), 225 / 153), rel=1e-9)
    side = found.spread.sides[0]
    assert (side.student_var, found.spread.prompt_var, side.cell_var) == (2.0, 0.5, 0.0)  # (4 − 0)/2, (1 − 0)/2


def test_a_table_whose_cells_are_all_by_hand():
    """Differences 1, 0 / 0, 1: nothing between students or prompts, 1 of cells (sum of squares 1 at one degree of freedom).
    0 + 0 − 1 is below its floor, in so small a table .6 of the mean square of cells: .15 at one degree of freedom."""
    found = paired_spread(np.eye(2))
    assert (found.variance, found.dof, found.sides[0].student_var, found.prompt_var) == (0.15, 1.0, 0.0, 0.0)
    five = np.array([[1.0 if (s + p) % 2 else -1.0 for p in range(10)] for s in range(6)])  # rows and columns sum to 0
    both = 60 / 45  # sum of squares over 5·9 degrees of freedom
    assert paired_spread(five).variance == pytest.approx(0.7 * both / 60, rel=1e-14)
    assert paired_spread(five).dof == pytest.approx(45)
    few = five[:4]
    assert paired_spread(few).variance == pytest.approx(40 / 27 / 40, rel=1e-14)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_one_prompt_is_the_paired_t_test(count):
    rng = generator("test", "comparing", "t", count)
    one, other = rng.normal(0.5, 1, count), rng.normal(0, 2, count)
    peer = stats.ttest_rel(one, other)
    for options in ({}, {"prompts": "fixed"}):
        found = compare(one[:, None], other[:, None], **options)
        assert found.p_value == pytest.approx(peer.pvalue, rel=1e-9)
        assert found.dof == pytest.approx(count - 1)
        np.testing.assert_allclose([found.low, found.high], peer.confidence_interval(), rtol=1e-9)


def test_one_student_is_the_paired_t_test_over_prompts_and_fixed_prompts_that_of_students():
    rng = generator("test", "comparing", "t", "prompts")
    one, other = rng.normal(size=(2, 5, 12))
    assert compare(one[:1], other[:1]).p_value == pytest.approx(stats.ttest_rel(one[0], other[0]).pvalue, rel=1e-9)
    fixed = compare(one, other, prompts="fixed")
    assert fixed.p_value == pytest.approx(stats.ttest_rel(one.mean(axis=1), other.mean(axis=1)).pvalue, rel=1e-9)


def test_unpaired_students_are_welchs_t_test():
    rng = generator("test", "comparing", "welch")
    one, other = rng.normal(0.5, 1, (7, 12)), rng.normal(0, 2, (4, 12))
    peer = stats.ttest_ind(one.mean(axis=1), other.mean(axis=1), equal_var=False)
    found = compare(one, other, paired=False, prompts="fixed")
    single = compare(one[:, :1], other[:, :1], paired=False)
    # `_degrees` weighs each mean square by 1 + 2/dof, so that of two sides of different size the fewer count for more
    assert found.standard_error == pytest.approx(abs((one.mean() - other.mean()) / peer.statistic), rel=1e-9)
    equal = compare(one[:4], other, paired=False, prompts="fixed")
    again = stats.ttest_ind(one[:4].mean(axis=1), other.mean(axis=1), equal_var=False)
    assert (equal.p_value, equal.dof) == (pytest.approx(again.pvalue, rel=1e-9), pytest.approx(again.df, rel=1e-9))
    assert found.dof <= peer.df
    assert single.standard_error == pytest.approx(
        math.sqrt(one[:, 0].var(ddof=1) / 7 + other[:, 0].var(ddof=1) / 4), rel=1e-12
    )


def test_shared_prompts_count_once():
    """Students that agree with one another: the methods' difference over prompts is all there is, a paired t test."""
    prompts = generator("test", "comparing", "shared").normal(size=(2, 9))
    one, other = (np.repeat(row[None], 4, axis=0) for row in prompts)
    found = compare(one, other, paired=False)
    assert found.p_value == pytest.approx(stats.ttest_rel(*prompts).pvalue, rel=1e-9)
    apart = compare(one, other, paired=False, same_prompts=False)
    assert apart.p_value == pytest.approx(stats.ttest_ind(*prompts, equal_var=False).pvalue, rel=1e-9)


# The cells of the simulations below: 1,500 experiments have a standard error of .56 points at 5 %. The sizes of compare there
# are 3 to 7 % (docs/coverage/comparing.csv), so that with four standard errors .008 and .093 are the edges; each wrong version
# lies beyond.
RUNS, LOW, HIGH = 1_500, 0.008, 0.093
SIZES = {
    "students": Cell("score", "normal", "students", True, 5, 20, 0.7, 0.0),
    "mixed": Cell("score", "normal", "mixed", True, 5, 20, 0.7, 0.0),
    "ten": Cell("score", "normal", "students", True, 10, 20, 0.7, 0.0),
    "prompts": Cell("score", "normal", "cells", True, 30, 5, 0.7, 0.0),
    "few": Cell("score", "normal", "students", True, 3, 20, 0.7, 0.0),
    "inter": Cell("inter", "normal", "mixed", True, 5, 20, 0.7, 0.0),
    "binary": Cell("accuracy", "binary", "students", True, 5, 20, 0.7, 0.0),
    "ece": Cell("ece", "overconfident", "mixed", True, 5, 20, 0.7, 0.0),
}


class Judged:
    """What a wrong version says of a difference of scores."""

    def __init__(self, difference, error, dof):
        reach = (
            special.stdtrit(dof, 0.975) * error if np.isfinite(dof) else 1.959963984540054 * error
        )  # the wrong quantile
        self.low, self.high = difference - reach, difference + reach
        self.p_value = 0.0 if abs(difference) > reach else 1.0


def unpaired_for_pairs(first, second, **_):
    return compare(first, second, paired=False)


def cells_for_students(first, second, **_):
    """S·P independent numbers."""
    d = first - second
    return Judged(d.mean(), d.std(ddof=1) / math.sqrt(d.size), d.size - 1)


def without_prompts(first, second, **_):
    """Students alone are a sample."""
    return compare(first, second, prompts="fixed")


def without_students(first, second, **_):
    return compare(first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True))


def normal_quantile(first, second, **_):
    found = compare(first, second)
    return Judged(found.difference, found.standard_error, np.inf)


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_where_nothing_differs_five_in_a_hundred_are_found(name):
    assert LOW <= simulated(SIZES[name], RUNS)["rejected"] <= HIGH


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "cell"),
    [
        (unpaired_for_pairs, "ten"),
        (cells_for_students, "students"),
        (without_prompts, "prompts"),
        (without_students, "students"),
        (normal_quantile, "few"),
    ],
)
def test_wrong_versions_are_seen(wrong, cell):
    rejected = simulated(SIZES[cell], RUNS, wrong)["rejected"]
    assert not LOW <= rejected <= HIGH


@pytest.mark.slow
def test_pairs_find_at_least_twice_as_many_where_independent_students_find_a_quarter():
    """ρ = .7, ten students: 1,500 experiments have a standard error of at most 1.3 points, the edges .2 to .3 are asked for."""
    effect = 0.6
    found = {
        p: simulated(Cell("score", "normal", "students", p, 10, 100, 0.7, effect), RUNS)["rejected"]
        for p in (True, False)
    }
    assert 0.2 <= found[False] <= 0.3
    assert found[True] >= 2 * found[False]


def test_a_statistic_by_leaving_out_is_the_mean_where_it_is_one():
    """Jackknife values of a mean are the numbers themselves; of a statistic of single students, those of its closed form."""
    rng = generator("test", "comparing", "jackknife")
    one, other = rng.normal(size=(2, 4, 7))
    plain = compare(one, other)
    for statistic in (np.mean, lambda x: x.mean(axis=1), lambda x: x):
        found = compare(one, other, measure=statistic)
        np.testing.assert_allclose(
            [found.difference, found.low, found.high, found.dof],
            [plain.difference, plain.low, plain.high, plain.dof],
            rtol=1e-9,
        )
    probs = rng.dirichlet([2.0, 1.0, 1.0], size=(2, 4, 40))
    labels = rng.integers(0, 3, 40)
    named = compare(*probs, measure="brier", labels=labels)
    left_out = compare(*probs, measure=MEASURES["brier"].of, labels=labels)
    assert named.standard_error == pytest.approx(left_out.standard_error, rel=1e-9)


def test_of_a_variance_between_students_leaving_out_says_what_its_values_say():
    """Leaving out both ways is the jackknife of `inter`, whose variance of five students is 4/3 of that of normal effects."""
    draws = generator("test", "comparing", "inter").normal(size=(2, 5, 6, 3))

    def inter(x):
        means = x.mean(axis=2)
        return means.var(axis=0, ddof=1).mean() - x.var(axis=2, ddof=1).mean() / x.shape[2]

    named, left_out = compare(*draws, measure="inter"), compare(*draws, measure=inter)
    assert named.difference == pytest.approx(left_out.difference, rel=1e-9)
    assert "cover 87 to 94 %" in named.note  # as docs/coverage/comparing.csv has it
    assert left_out.note.endswith("degrees of freedom")
    assert named.spread.sides[0].cell_var == pytest.approx(0.75 * left_out.spread.sides[0].cell_var, rel=1e-9)
    fixed = [compare(*draws, measure=measure, prompts="fixed").spread.variance for measure in ("inter", inter)]
    assert fixed[0] == pytest.approx(0.75 * fixed[1], rel=1e-9)


def test_the_standard_error_of_a_variance_between_students_is_unbiased():
    """Normal effects that all prompts share, S = 4: the squared standard error of s² is 2σ⁴/3 on average; a jackknife's, 3/2 of it.
    4,000 experiments: its relative standard error is about 5 %, four of them 20 %."""
    effects = generator("test", "comparing", "inter", "bias").normal(size=(4_000, 4, 1, 1))
    found = []
    for own in effects:
        values = measure_values("inter", np.repeat(own, 2, axis=2))
        found.append(paired_spread(values).variance)
    assert np.mean(found) == pytest.approx(2 / 3, rel=0.2)
    assert 1.5 * np.mean(found) != pytest.approx(2 / 3, rel=0.2)


def test_many_prompts_are_left_out_in_blocks():
    rng = generator("test", "comparing", "blocks")
    one, other = rng.normal(size=(2, 3, 400))
    found = compare(one, other, measure=lambda x: x.mean(axis=1))
    assert found.spread.prompts == 100
    assert found.difference == pytest.approx(float((one - other).mean()), abs=1e-12)
    assert found.more("prompts", difference=0.3) % 4 == 0  # of blocks of four prompts


def test_groups_of_prompts():
    """Groups of one size: the means of the groups. Prompts that are copies of one another add nothing."""
    one, other = generator("test", "comparing", "groups").normal(size=(2, 4, 6))
    thrice = compare(np.repeat(one, 3, axis=1), np.repeat(other, 3, axis=1), groups=np.repeat(np.arange(6), 3))
    plain = compare(one, other)
    np.testing.assert_allclose([thrice.low, thrice.high], [plain.low, plain.high], rtol=1e-9)
    np.testing.assert_allclose(
        grouped(one, ["a", "a", "b", "b", "c", "c"]), one.reshape(4, 3, 2).mean(axis=2), rtol=1e-12
    )
    assert "6 groups" in thrice.sentence()
    torn = compare(np.repeat(one, 3, axis=1), np.repeat(other, 3, axis=1))
    assert torn.high - torn.low < plain.high - plain.low


def test_several_methods_have_holms_p_values_and_intervals_that_cover_together():
    rng = generator("test", "comparing", "holm")
    methods = {name: rng.normal(shift, 1, (6, 9)) for name, shift in (("a", 0), ("b", 0.9), ("c", 0.6), ("d", 0.1))}
    found = compare_methods(methods)
    alone = [compare(methods[x], methods[y]) for x, y in found]
    adjusted = multipletests([one.p_value for one in alone], method="holm")[1]
    np.testing.assert_allclose([one.adjusted for one in found.values()], adjusted, rtol=1e-12)
    assert len(found) == 6
    one = next(iter(found.values()))
    assert one.high - one.low == pytest.approx(2 * stats.t.isf(0.025 / 6, one.dof) * one.standard_error, rel=1e-9)
    assert list(compare_methods(methods, baseline="a")) == [("b", "a"), ("c", "a"), ("d", "a")]
    with pytest.raises(OptionError, match="did you mean"):
        compare_methods(methods, baseline="aa")
    with pytest.raises(OptionError, match="two methods"):
        compare_methods({"a": methods["a"]})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"measure": "acuracy"}, OptionError, "did you mean 'accuracy'"),
        ({"measure": "accuracy"}, OptionError, "needs labels"),
        ({"labels": [0] * 4}, OptionError, "takes no labels"),
        ({"prompts": "some"}, OptionError, "prompts got 'some'"),
        ({"same_prompts": False}, OptionError, "paired=False"),
        ({"level": 95}, OptionError, "level must lie"),
        ({"comparisons": 0}, OptionError, "comparisons >= 1"),
        ({"groups": [1, 1]}, ShapeError, "one for each prompt"),
        ({"groups": [1, 1, 1, 1]}, ShapeError, "two groups"),
        ({"measure": lambda x: x[0]}, ShapeError, r"\(S, P\), \(S,\) or one number"),
        ({"measure": lambda x: np.nan}, NotFiniteError, "not finite"),
    ],
)
def test_what_is_refused(options, error, words):
    table = np.arange(12.0).reshape(3, 4)
    with pytest.raises(error, match=words):
        compare(table, table**2, **options)


def test_shapes_that_do_not_match():
    table = np.arange(12.0).reshape(3, 4)
    with pytest.raises(ShapeError, match="same prompts; got P=4 and P=3"):
        compare(table, table[:, :3])
    with pytest.raises(ShapeError, match="S=3 and S=2"):
        compare(table, table[:2])
    with pytest.raises(ShapeError, match="nothing that is a sample"):
        compare(table[:1], table[:1] + 1, prompts="fixed")
    with pytest.raises(ShapeError, match="S >= 3"):
        compare(np.ones((2, 3, 2)), np.ones((2, 3, 2)), measure="inter")
    given = compare(table, table[:1] ** 2)  # one given model beside three students
    assert given.spread.sides[0].students == 3
