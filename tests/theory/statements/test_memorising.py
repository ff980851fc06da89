"""Entropy of memorised labels and shares of what there is to share: by hand, by enumeration, by limits."""

import itertools

import numpy as np
import pytest

from uqkd.errors import OptionError, ShapeError, VarianceError
from uqkd.estimators import decompose_categorical, entropy, gini, share_of, two_way_standard_error
from uqkd.seeds import generator
from uqkd.theory.statements.memorising import memorised_entropy

P = np.array([0.5, 0.3, 0.2])


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_entropy_by_enumeration_of_every_sample(k):
    expected = 0.0
    for sample in itertools.product(range(3), repeat=k):
        shares = np.bincount(sample, minlength=3) / k
        expected += np.prod(P[list(sample)]) * entropy(shares)
    assert memorised_entropy(P, k) == pytest.approx(expected, rel=1e-12)


def test_entropy_in_the_limit_is_millers_and_madows():
    """H(p) − (C − 1)/(2k) + O(1/k²): at k = 4,000 the next term is below 1e-6."""
    assert entropy(P) - memorised_entropy(P, 4_000) == pytest.approx(2 / 8_000, rel=2e-3)


def test_entropy_of_certain_and_nearly_certain_teachers():
    assert memorised_entropy([1.0, 0.0], 32) == 0.0
    assert memorised_entropy([1.0 - 1e-300, 1e-300], 32) == pytest.approx(0, abs=1e-290)
    with pytest.raises(OptionError, match="k >= 1 samples per prompt; got 0"):
        memorised_entropy(P, 0)


def test_information_by_student_averages_to_the_jackknife_and_leaves_one_out():
    q = generator("test", "memorising", "information").dirichlet([0.5] * 4, size=(7, 5))
    parts = decompose_categorical(q)
    np.testing.assert_allclose(parts.per_student_information.mean(axis=0), parts.mutual_information_jackknife)
    without = np.delete(q, 2, axis=0)
    left_out = entropy(without.mean(axis=0)) - entropy(without).mean(axis=0)
    np.testing.assert_allclose(parts.per_student_information[2], 7 * parts.mutual_information - 6 * left_out, rtol=1e-9)


def test_share_weighs_prompts_by_what_there_is_to_share():
    """Prompt 1 has nothing to share; the ratio of means is .5, the mean of ratios does not exist."""
    assert share_of([[0.5, 0.0], [0.5, 0.0]], [1.0, 0.0]) == (0.5, 0.0)
    values, whole = generator("test", "share").random((6, 9)), generator("test", "whole").random(9)
    share, error = share_of(values, whole)
    assert share == pytest.approx(values.mean() / whole.mean(), rel=1e-14)
    assert error == pytest.approx(two_way_standard_error(values - share * whole) / whole.mean(), rel=1e-14)
    doubled = share_of(2 * values, 2 * whole)
    assert doubled == pytest.approx((share, error), rel=1e-12)


def test_share_error_is_that_of_a_ratio():
    """3,000 tables: the sd of the share against its mean stated error. The ratio of an sd from 3,000 is known to 1.3 %;
    four of that and the 2 % by which the delta method may miss at 40 prompts."""
    rng = generator("test", "share", "error")
    found = []
    for _ in range(3_000):
        whole = rng.gamma(2.0, size=40)
        found.append(share_of(whole * rng.uniform(0.2, 0.8, (8, 1)) + 0.1 * rng.standard_normal((8, 40)), whole))
    shares, errors = np.array(found).T
    assert abs(shares.std() / np.sqrt((errors**2).mean()) - 1) < 4 * 0.013 + 0.02


def test_nothing_to_share_is_refused():
    with pytest.raises(VarianceError, match="nothing to share"):
        share_of(np.zeros((3, 2)), gini([[1.0, 0.0], [1.0, 0.0]]))
    with pytest.raises(ShapeError, match=r"\(S, P\)"):
        share_of(np.zeros((3, 2)), np.ones(3))
