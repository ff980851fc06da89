"""Conservation for discrete answers: exact expectations by enumeration, algebra, bad input."""

import itertools
import math

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import decompose_categorical, entropy, gini
from uqkd.theory.statements.memorising import memorised_gini

P = np.array([0.5, 0.3, 0.2])


def samples(k):
    """Every outcome of k draws from P: (empirical distribution, probability)."""
    for counts in itertools.product(range(k + 1), repeat=3):
        if sum(counts) == k:
            ways = math.factorial(k) / math.prod(map(math.factorial, counts))
            yield np.array(counts) / k, ways * math.prod(P**counts)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("shrinkage", [0.0, 0.4, 1.0])
def test_t4_expectations_by_enumeration(k, shrinkage):
    expected = memorised_gini(P, k, shrinkage=shrinkage)
    students = [((1 - shrinkage) * q + shrinkage * P, chance) for q, chance in samples(k)]
    intra = sum(chance * (1 - (q**2).sum()) for q, chance in students)
    inter = sum(chance * ((q - P) ** 2).sum() for q, chance in students)
    np.testing.assert_allclose([expected.intra, expected.inter], [intra, inter], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(expected.intra + expected.inter, gini(P), rtol=1e-14)  # conservation


@pytest.mark.parametrize("k", [40, 80])
def test_t4_miller_madow(k):
    """E[H(p̂_k)] = H(p) − (C−1)/(2k) − (Σ1/p − 1)/(12k²) + O(k⁻³): the first term alone misses by the second."""
    expected = sum(chance * entropy(q) for q, chance in samples(k))
    first_order = entropy(P) - 2 / (2 * k)
    second = ((1 / P).sum() - 1) / (12 * k**2)
    assert abs(expected - (first_order - second)) < second / 3
    assert abs(expected - first_order) < 1.5 * second
    assert abs(expected - entropy(P)) > 10 * second  # without the correction


def test_by_hand():
    parts = decompose_categorical([[[1.0, 0.0]], [[0.5, 0.5]]])
    # within: 0 and 1/2; means 3/4, 1/4; squared distances 1/8 each; inter = (1/8 + 1/8)/1
    assert (parts.intra[0], parts.inter[0], parts.total[0]) == (0.25, 0.25, 0.5)
    h = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    np.testing.assert_allclose(parts.total_entropy, [h], rtol=1e-14)
    np.testing.assert_allclose(parts.expected_entropy, [np.log(2) / 2], rtol=1e-14)
    np.testing.assert_allclose(parts.mutual_information, [h - np.log(2) / 2], rtol=1e-13)


def test_entropies_add_up_and_information_is_a_divergence():
    """Mutual information = mean KL divergence of the students from their mixture, computed apart."""
    q = seeds.generator("test", "categorical").dirichlet(np.ones(4), size=(6, 3))
    parts = decompose_categorical(q)
    divergence = (q * np.log(q / q.mean(axis=0))).sum(axis=-1).mean(axis=0)
    np.testing.assert_allclose(parts.mutual_information, divergence, rtol=1e-10)
    np.testing.assert_allclose(parts.total_entropy, parts.expected_entropy + parts.mutual_information, rtol=1e-13)


def test_information_of_students_that_agree_is_not_negative_by_rounding():
    q = np.broadcast_to(seeds.generator("test", "agree").dirichlet(np.ones(5), size=200), (7, 200, 5))
    information = decompose_categorical(q).mutual_information
    assert information.min() == 0.0
    assert information.max() < 1e-14


def test_jackknife_removes_most_of_the_bias_of_mutual_information():
    """Dirichlet students: the plug-in over 4 of them is low by about a quarter, the jackknife by much less."""
    q = seeds.generator("test", "information").dirichlet(np.ones(4), size=(4, 20_000))
    parts, truth = decompose_categorical(q), np.log(4) - sum(1 / i for i in range(2, 5))  # ln C − (ψ(C+1) − ψ(2))
    plug_in, jackknife = parts.mutual_information.mean() / truth, parts.mutual_information_jackknife.mean() / truth
    assert plug_in < 0.85
    assert abs(jackknife - 1) < 0.1


def test_pseudo_values_are_the_jackknife():
    q = seeds.generator("test", "categorical", "jackknife").dirichlet(np.ones(4), size=(6, 3))
    parts = decompose_categorical(q)
    for s in range(6):
        without = decompose_categorical(np.delete(q, s, axis=0))
        np.testing.assert_allclose(parts.per_student_inter[s], 6 * parts.inter - 5 * without.inter, rtol=1e-10)


def test_conservation_is_one_for_students_that_agree_with_the_teacher():
    parts = decompose_categorical(np.broadcast_to(P, (3, 2, 3)))
    np.testing.assert_allclose(parts.conservation([P, P]), [1.0, 1.0], rtol=1e-14)


def test_conservation_counts_both_parts():
    """Two students that memorised one answer each: intra 0, inter 1, and G_p = 1/2, so κ = 2; a half within, κ = 1."""
    assert decompose_categorical([[[1.0, 0.0]], [[0.0, 1.0]]]).conservation([[0.5, 0.5]]) == [2.0]
    assert decompose_categorical([[[1.0, 0.0]], [[0.5, 0.5]]]).conservation([[0.5, 0.5]]) == [1.0]


def test_conservation_refuses_a_certain_teacher_and_another_shape():
    parts = decompose_categorical(np.broadcast_to(P, (3, 2, 3)))
    with pytest.raises(DataError, match="prompt 1, where the teacher is certain"):
        parts.conservation([P, [1.0, 0.0, 0.0]])
    with pytest.raises(ShapeError, match="P=2"):
        parts.conservation([P])


def test_float32_probabilities_are_accepted_and_float64_slips_are_not():
    logits = seeds.generator("test", "softmax").standard_normal((3, 5, 150)).astype(np.float32)
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    soft = exp / exp.sum(axis=-1, keepdims=True)
    assert soft.dtype == np.float32
    assert decompose_categorical(soft).intra.dtype == np.float64
    with pytest.raises(DataError, match=r"row \(1, 0\) sums to 1.00001"):
        decompose_categorical([[[0.5, 0.5]], [[0.50001, 0.5]]])
    with pytest.raises(DataError, match="this one sums to 1.000001"):  # 6 · 2⁻²⁴ is allowed, as of a converted float32
        gini([0.500001, 0.5])


def test_bad_input():
    with pytest.raises(DataError, match="negative probability -0.1"):
        decompose_categorical([[[1.1, -0.1]], [[0.5, 0.5]]])
    with pytest.raises(ShapeError, match="C >= 2"):
        decompose_categorical(np.ones((3, 2, 1)))
    with pytest.raises(ShapeError, match="S >= 2"):
        decompose_categorical([[[0.5, 0.5]]])
    with pytest.raises(ShapeError):
        decompose_categorical([[0.5, 0.5]])
    with pytest.raises(NotFiniteError):
        decompose_categorical([[[np.nan, 1.0]], [[0.5, 0.5]]])
    with pytest.raises(OptionError, match="k >= 1"):
        memorised_gini(P, 0)
    with pytest.raises(OptionError, match="shrinkage"):
        memorised_gini(P, 2, shrinkage=1.5)
