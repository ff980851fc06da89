"""Ranking by confidence: hand cases, scikit-learn, brute force over tie orders, properties, refusals."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn.metrics import roc_auc_score

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import (
    area_under_risk_coverage,
    auroc,
    correctness_auroc,
    out_of_distribution_auroc,
    risk_coverage,
)
from uqkd.seeds import generator

# confidences .9 .8 .8 .6, of which the second and the last are wrong
PROBS = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.4, 0.6]])
LABELS = np.array([0, 1, 1, 0])


def _drawn(name, points=300, classes=4, *, digits=None):
    rng = generator("test", "selective", name)
    probs = special.softmax(2.0 * rng.normal(size=(points, classes)), axis=1)
    if digits is not None:  # rounded rows tie; the first class takes what the rounding leaves
        probs = np.round(probs, digits)
        probs[:, 0] = 1.0 - probs[:, 1:].sum(axis=1)
        probs = np.abs(probs) / np.abs(probs).sum(axis=1, keepdims=True)
    return probs, rng.integers(classes, size=points)


def test_by_hand():
    # right: .9 .8; wrong: .8 .6; the four pairs: 1, 1, 1/2, 1
    assert correctness_auroc(PROBS, LABELS) == 3.5 / 4
    assert auroc([1, 2, 3], [False, False, True]) == 1.0
    assert auroc([1, 2, 3], [True, False, False]) == 0.0
    # places 2 and 3 hold one error in either order: cumulated errors 0, 1/2, 1, 2
    curve = risk_coverage(PROBS, LABELS)
    np.testing.assert_array_equal(curve.coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.risk, [0.0, 0.5 / 2, 1 / 3, 2 / 4], rtol=1e-15)
    assert area_under_risk_coverage(PROBS, LABELS) == pytest.approx((0.25 + 1 / 3 + 0.5) / 4, rel=1e-15)
    assert out_of_distribution_auroc([[0.9, 0.1], [0.7, 0.3]], [[0.6, 0.4], [0.2, 0.8]]) == 3 / 4


def _ties_lost(scores, positive):
    """Wrong version: a tie counts as lost."""
    return (scores[positive][:, None] > scores[~positive]).mean()


def _ties_by_position(scores, positive):
    """Wrong version: ranks by order of appearance among ties."""
    rank = np.argsort(np.argsort(scores, kind="stable"), kind="stable") + 1
    plus = positive.sum()
    return (rank[positive].sum() - plus * (plus + 1) / 2) / (plus * (~positive).sum())


@pytest.mark.parametrize("levels", [3, 10, 10**9])
def test_auroc_against_scikit_learn(levels):
    rng = generator("test", "selective", "auroc", levels)
    scores, positive = rng.integers(levels, size=(3, 400)), rng.random((3, 400)) < 0.3
    expected = [roc_auc_score(p, s) for p, s in zip(positive, scores, strict=True)]
    found = auroc(scores, positive)
    # both are rational numbers with denominator 2 n₊ n₋, computed by some 400 additions: 400 roundings of 1e-16
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    np.testing.assert_allclose(auroc(scores, positive[0])[0], expected[0], rtol=1e-13)
    assert auroc(scores[0], positive[0]) == found[0]
    for wrong in (_ties_lost, _ties_by_position):
        assert (abs(wrong(scores[0], positive[0]) - expected[0]) > 1e-10) == (levels < 10**9)  # seen by the test above


def test_correctness_auroc_against_scikit_learn():
    probs, labels = _drawn("correctness", digits=1)
    expected = roc_auc_score(probs.argmax(axis=1) == labels, probs.max(axis=1))
    assert correctness_auroc(probs, labels) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("score", ["max_probability", "entropy"])
def test_out_of_distribution_against_scikit_learn(score):
    inside, _ = _drawn("inside", points=200, digits=1)
    outside = special.softmax(generator("test", "selective", "outside").normal(size=(150, 4)), axis=1)
    unsure = [special.entr(p).sum(axis=1) if score == "entropy" else 1.0 - p.max(axis=1) for p in (inside, outside)]
    expected = roc_auc_score(np.repeat([0, 1], [200, 150]), np.concatenate(unsure))
    found = out_of_distribution_auroc(inside, outside, score=score)
    # a row sum off by one rounding may break or make a tie: at most one of 30,000 pairs
    assert found == pytest.approx(expected, abs=1 / 30_000)
    assert found > 0.55  # flatter rows are less sure; swapped arguments would fall below one half
    together = out_of_distribution_auroc(np.stack([inside, inside]), np.stack([outside, outside]), score=score)
    np.testing.assert_array_equal(together, [found, found])
    assert out_of_distribution_auroc(outside, inside, score=score) == pytest.approx(1.0 - found, abs=1e-12)


def test_the_two_scores_differ():
    """.5 .5 0 is less sure than .52 .24 .24 by its largest probability, and surer by its entropy."""
    inside, outside = [[0.5, 0.5, 0.0]], [[0.52, 0.24, 0.24]]
    assert out_of_distribution_auroc(inside, outside) == 0.0
    assert out_of_distribution_auroc(inside, outside, score="entropy") == 1.0


def _risks(order, wrong):
    return np.cumsum(wrong[list(order)]) / np.arange(1, len(wrong) + 1)


def test_risk_coverage_against_all_tie_orders():
    """The mean over every order that respects the confidences: 2! · 3! of them, rounding of 12 additions."""
    confidence = np.array([0.9, 0.7, 0.7, 0.6, 0.6, 0.6])
    probs = np.column_stack([confidence, 1.0 - confidence])
    for labels in itertools.product([0, 1], repeat=6):
        wrong = np.array(labels) == 1
        orders = [(0, *a, *b) for a in itertools.permutations([1, 2]) for b in itertools.permutations([3, 4, 5])]
        expected = np.mean([_risks(order, wrong) for order in orders], axis=0)
        np.testing.assert_allclose(risk_coverage(probs, np.array(labels)).risk, expected, rtol=1e-14, atol=1e-15)
        assert area_under_risk_coverage(probs, np.array(labels)) == pytest.approx(expected.mean(), rel=1e-14)


def test_area_against_brute_force_without_ties():
    probs, labels = _drawn("area")
    stack = np.stack([probs, probs[:, ::-1]])
    for s, one in enumerate(stack):
        sure, wrong = one.max(axis=1), one.argmax(axis=1) != labels
        risks = [wrong[sure >= threshold].mean() for threshold in sure]  # no sorting, no cumulation
        assert area_under_risk_coverage(stack, labels)[s] == pytest.approx(np.mean(risks), rel=1e-12)
        np.testing.assert_allclose(risk_coverage(stack, labels).risk[s, -1], wrong.mean(), rtol=1e-12)


def test_an_order_of_ties_would_show():
    """Sixty points of one confidence, the wrong ones last in the file: a stable sort would find them ranked."""
    probs, labels = np.tile([0.7, 0.3], (60, 1)), np.repeat([0, 1], 30)
    assert area_under_risk_coverage(probs, labels) == pytest.approx(0.5, rel=1e-12)
    assert correctness_auroc(probs, labels) == 0.5
    assert _risks(np.argsort(-probs[:, 0], kind="stable"), labels == 1).mean() < 0.2  # the wrong version


@given(st.integers(0, 2**32), st.integers(2, 5))
def test_properties(seed, levels):
    rng = generator("test", "selective", "property", seed)
    scores, positive = rng.integers(levels, size=30), np.arange(30) < rng.integers(1, 30)
    value = auroc(scores, positive)
    assert auroc(-scores, positive) == pytest.approx(1.0 - value, abs=1e-14)  # antisymmetry
    assert auroc(scores, ~positive) == pytest.approx(1.0 - value, abs=1e-14)
    assert auroc(np.exp(scores), positive) == value  # only the order counts
    order = rng.permutation(30)
    assert auroc(scores[order], positive[order]) == value
    probs, labels = _drawn(("property", seed), points=30, digits=1)
    error = (probs.argmax(axis=1) != labels).mean()
    best = np.maximum(0, np.arange(1, 31) - round(30 * (1 - error))) / np.arange(1, 31)
    area = area_under_risk_coverage(probs, labels)
    assert best.mean() - 1e-12 <= area <= 1.0
    assert area_under_risk_coverage(probs[order], labels[order]) == pytest.approx(area, rel=1e-12)


def test_undefined_is_an_error_or_nan():
    right = [[0.9, 0.1], [0.2, 0.8]]
    with pytest.raises(DataError, match='all 2 points are positive.*undefined="nan"'):
        correctness_auroc(right, [0, 1])
    with pytest.raises(DataError, match="are negative"):
        correctness_auroc(right, [1, 0])
    with pytest.raises(DataError, match="of student 1 are positive"):
        correctness_auroc([[[0.9, 0.1], [0.8, 0.2]], right], [0, 1])
    assert np.isnan(correctness_auroc(right, [0, 1], undefined="nan"))
    found = correctness_auroc([[[0.9, 0.1], [0.8, 0.2]], right], [0, 1], undefined="nan")
    np.testing.assert_array_equal(found, [1.0, np.nan])


@pytest.mark.parametrize("measure", [correctness_auroc, risk_coverage, area_under_risk_coverage])
def test_bad_input(measure):
    with pytest.raises(ShapeError, match="C >= 2"):
        measure([[1.0]], [0])
    with pytest.raises(ShapeError, match="empty"):
        measure(np.zeros((0, 2)), [])
    with pytest.raises(NotFiniteError, match="probs"):
        measure([[np.nan, 1.0]], [0])
    with pytest.raises(DataError, match="sum to one"):
        measure([[0.5, 0.4]], [0])
    with pytest.raises(DataError, match="got 2 at index 1"):
        measure(PROBS[:2], [0, 2])
    with pytest.raises(ShapeError, match="labels needs shape"):
        measure(PROBS, [0, 1])


def test_bad_input_of_the_others():
    with pytest.raises(OptionError, match="did you mean 'nan'"):
        correctness_auroc(PROBS, LABELS, undefined="nam")
    with pytest.raises(DataError, match="true and false"):
        auroc([1.0, 2.0], [0, 2])
    with pytest.raises(ShapeError, match="positive needs shape"):
        auroc([1.0, 2.0], [True])
    with pytest.raises(NotFiniteError, match="scores"):
        auroc([np.nan, 2.0], [True, False])
    with pytest.raises(ShapeError, match="same students and classes"):
        out_of_distribution_auroc(PROBS, PROBS[None])
    with pytest.raises(ShapeError, match="same students and classes"):
        out_of_distribution_auroc(PROBS, [[0.2, 0.3, 0.5]])
    with pytest.raises(DataError, match="row of probs_out"):
        out_of_distribution_auroc(PROBS, 0.5 * PROBS)
    with pytest.raises(OptionError, match="score got"):
        out_of_distribution_auroc(PROBS, PROBS, score="logit")
