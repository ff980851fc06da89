"""Entropy of meanings: by hand, by an independent count in fractions, biases by exact enumeration and simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators import entropy
from uqkd.estimators.answers.semantic import decompose_entropy, entropy_from_counts, likelihood_entropy
from uqkd.theory.statements.medoid import multinomial_outcomes
from uqkd.theory.statements.memorising import memorised_entropy

P = np.array([0.35, 0.2, 0.15, 0.1, 0.08, 0.06, 0.04, 0.02])
Z = 4.6  # two-sided 4e-6 for each of some ten simulated statements


def by_definition(counts, rule):
    """The three rules from their definitions, coverage and shares in exact fractions."""
    counts = [c for c in counts if c]
    n, once = sum(counts), counts.count(1)
    shares = [Fraction(c, n) for c in counts]
    if rule == "chao-shen":
        coverage = 1 - Fraction(n - 1 if once == n else once, n)
        shares = [coverage * s for s in shares]
        return -sum(float(s) * math.log(s) / float(1 - (1 - s) ** n) for s in shares)
    plug_in = -sum(float(s) * math.log(s) for s in shares)
    return plug_in + (len(counts) - 1) / (2 * n) * (rule == "miller-madow")


@pytest.mark.parametrize("rule", ["plug-in", "miller-madow", "chao-shen"])
@pytest.mark.parametrize("counts", [[3, 1], [1, 1, 1, 1], [5], [1], [4, 0, 2, 1, 1], [7, 1, 1, 1, 1, 1, 1], [40, 3]])
def test_rules_follow_their_definitions(rule, counts):
    assert float(entropy_from_counts(counts, rule)) == pytest.approx(by_definition(counts, rule), rel=1e-12, abs=1e-15)
    padded = np.array([[0, *counts, 0]] * 2)
    np.testing.assert_allclose(entropy_from_counts(padded, rule), by_definition(counts, rule), rtol=1e-12, atol=1e-15)


def test_by_hand():
    # Chao–Shen of (2, 1, 1): f₁ = 2 of 4, coverage ½, shares ¼, ⅛, ⅛.
    quarter = 0.25 * math.log(4) / (1 - 0.75**4)
    eighth = 0.125 * math.log(8) / (1 - 0.875**4)
    assert float(entropy_from_counts([2, 1, 1], "chao-shen")) == pytest.approx(quarter + 2 * eighth, rel=1e-14)
    # All seen once: coverage 1/n, not 0.
    term = 0.25 * math.log(4) / (1 - 0.75**2)
    assert float(entropy_from_counts([1, 1], "chao-shen")) == pytest.approx(2 * term, rel=1e-14)
    assert float(entropy_from_counts([1], "chao-shen")) == 0.0


def bias(rule, n, key):
    counts = seeds.generator("test", "entropy", *key).multinomial(n, P, size=40_000)
    values = entropy_from_counts(counts, rule)
    return values.mean() - float(entropy(P)), values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("n", [5, 10, 20])
def test_bias_of_the_plug_in_is_exactly_that_of_memorised_samples(n):
    found, error = bias("plug-in", n, (n,))
    exact = float(memorised_entropy(P, n) - entropy(P))
    assert abs(found - exact) < Z * error
    assert abs(found) > Z * error  # wrong version: no bias
    assert abs(found + (len(P) - 1) / (2 * n)) > Z * error  # wrong version: the first order is all of it (n is small)


@pytest.mark.parametrize(("n", "miller_madow", "chao_shen"), [(5, -0.420, 0.0445), (10, -0.177, -0.020)])
def test_bias_of_the_corrections_by_enumeration(n, miller_madow, chao_shen):
    """Exact over all counts, and to be seen in simulation. At n = 10 they are half and a twentieth of the plug-in's."""
    counts, chance = multinomial_outcomes(P, n)
    plug_in = float(memorised_entropy(P, n) - entropy(P))
    for rule, stated in (("miller-madow", miller_madow), ("chao-shen", chao_shen)):
        exact = float(chance @ entropy_from_counts(counts, rule) - entropy(P))
        assert exact == pytest.approx(stated, abs=5e-4)
        assert abs(exact) < 0.65 * abs(plug_in)
        found, error = bias(rule, n, (rule, n))
        assert abs(found - exact) < Z * error
        assert abs(found - plug_in) > Z * error  # wrong version: nothing is corrected
    seen = (1 - (1 - P) ** n).sum()
    assert plug_in + (seen - 1) / (2 * n) == pytest.approx(miller_madow, abs=5e-4)  # another way to the same


def test_wrong_versions_of_the_corrections_are_told_apart():
    """Miller–Madow with all clusters instead of those seen, or with 1/n; Chao–Shen without the chance of being seen."""
    n = 10
    counts = seeds.generator("test", "entropy", "wrong").multinomial(n, P, size=40_000)
    plug_in, right = entropy_from_counts(counts), entropy_from_counts(counts, "miller-madow")
    error = right.std() / 200
    assert abs((plug_in + (len(P) - 1) / (2 * n)).mean() - right.mean()) > Z * error
    assert abs((plug_in + ((counts > 0).sum(axis=1) - 1) / n).mean() - right.mean()) > Z * error
    once = np.minimum((counts == 1).sum(axis=1, keepdims=True), n - 1)
    shares = (1 - once / n) * counts / n
    chao = entropy_from_counts(counts, "chao-shen")
    bare = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)
    assert abs(bare.mean() - chao.mean()) > Z * chao.std() / 200


def test_total_is_expected_and_information():
    draws = seeds.generator("test", "decompose entropy").integers(4, size=(5, 30, 6))
    for rule in ("plug-in", "miller-madow", "chao-shen"):
        parts = decompose_entropy(draws + 17, rule)
        np.testing.assert_allclose(parts.total, parts.expected + parts.mutual_information, rtol=1e-13)
        own = entropy_from_counts(np.bincount(draws[2, 3], minlength=4), rule)
        assert parts.per_student[2, 3] == pytest.approx(float(own), rel=1e-12)
        without = decompose_entropy(np.delete(draws, 1, axis=0), rule).mutual_information
        np.testing.assert_allclose(
            parts.per_student_information[1], 5 * parts.mutual_information - 4 * without, atol=1e-12
        )


def test_the_stated_bias_of_the_information():
    """Students of one law: no information. Plug-in, exactly: E H(p̂_SR) − E H(p̂_R), to first order (1 − 1/S)(C − 1)/(2R)."""
    students, responses, coin = 4, 8, np.array([0.5, 0.3, 0.2])
    rng = seeds.generator("test", "information bias")
    draws = rng.choice(3, p=coin, size=(students, 4_000, responses))
    found = decompose_entropy(draws).mutual_information
    exact = float(memorised_entropy(coin, students * responses) - memorised_entropy(coin, responses))
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - exact) < Z * error
    assert exact == pytest.approx(
        (1 - 1 / students) * 2 / (2 * responses), rel=0.25
    )  # the next order is a fifth of it at R = 8
    assert found.mean() > Z * error  # wrong version: unbiased
    corrected = decompose_entropy(draws, "miller-madow").mutual_information.mean()
    assert abs(corrected) < 0.3 * found.mean()


def test_likelihoods_weigh_each_distinct_sequence_once():
    clusters, sequences = [[0, 0, 1, 0], [2, 2, 2, 2]], [[5, 5, 6, 7], [1, 2, 1, 1]]
    log_p = np.log([[0.3, 0.3, 0.2, 0.1], [0.1, 0.2, 0.1, 0.1]])
    expected = float(entropy([0.4 / 0.6, 0.2 / 0.6]))  # with repeats counted it would be that of .7 and .2
    np.testing.assert_allclose(likelihood_entropy(clusters, sequences, log_p), [expected, 0.0], rtol=1e-12)
    assert abs(expected - float(entropy([7 / 9, 2 / 9]))) > 0.05
    shifted = likelihood_entropy(clusters, sequences, log_p - 800.0)  # long sequences underflow unless shifted
    np.testing.assert_allclose(shifted, [expected, 0.0], rtol=1e-10)


def test_likelihoods_lower_the_error_when_all_is_seen():
    """Clusters of one law, 40 draws: likelihoods know the law exactly once each answer was seen; counts do not."""
    coin = np.array([0.5, 0.3, 0.2])
    draws = seeds.generator("test", "likelihoods").choice(3, p=coin, size=(2_000, 40))
    by_count = entropy_from_counts([np.bincount(d, minlength=3) for d in draws]) - entropy(coin)
    by_likelihood = likelihood_entropy(draws, draws, np.log(coin)[draws]) - entropy(coin)
    assert (by_likelihood**2).mean() < 0.2 * (by_count**2).mean()


def test_bad_input():
    with pytest.raises(OptionError, match="did you mean 'chao-shen'"):
        entropy_from_counts([1], "chao-shem")
    for counts in ([0, 0], [-1, 2], [0.5, 1]):
        with pytest.raises(DataError, match="whole numbers >= 0"):
            entropy_from_counts(counts)
    with pytest.raises(ShapeError, match="last axis"):
        entropy_from_counts(3)
    with pytest.raises(ShapeError, match="S >= 2"):
        decompose_entropy([[[0, 1]]])
    with pytest.raises(DataError, match="several"):
        likelihood_entropy([0, 0], [1, 1], [-1.0, -2.0])
    with pytest.raises(ShapeError, match="must be equal"):
        likelihood_entropy([0, 0], [1, 1, 1], [-1.0, -2.0])
