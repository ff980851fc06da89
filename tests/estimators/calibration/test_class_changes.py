"""Changes of accuracy per class: hand cases, SciPy's t tests, statsmodels' corrections, false alarms, refusals."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import adjusted_p_values, class_accuracy_changes
from uqkd.seeds import generator

METHODS = {"holm": "holm", "benjamini_hochberg": "fdr_bh"}
CLASSES, PER_CLASS = 12, 30
LABELS = np.tile(np.arange(CLASSES), PER_CLASS)


def _answers(answers, classes=CLASSES):
    """Probabilities of students that answer so, (S, P) -> (S, P, C)."""
    return 0.6 * np.eye(classes)[np.asarray(answers)] + 0.4 / classes


def _students(name, students, *, accuracy=0.7):
    """Students that are right with a chance per class, each class and student with a lift of its own."""
    rng = generator("test", "class changes", name)
    chance = np.clip(np.broadcast_to(accuracy, CLASSES) + 0.05 * rng.normal(size=(students, CLASSES)), 0, 1)
    right = rng.random((students, LABELS.size)) < chance[:, LABELS]
    return _answers(np.where(right, LABELS, (LABELS + 1) % CLASSES)), right


def _by_class(right):
    return np.stack([right[:, c == LABELS].mean(axis=1) for c in range(CLASSES)], axis=1)


def test_by_hand():
    # class 0, two points: method right on 2, 1; baseline on 1, 0. Class 1, one point: all right
    method, other = _answers([[0, 0, 1], [0, 1, 1]], 2), _answers([[0, 1, 1], [1, 1, 1]], 2)
    changes = class_accuracy_changes(method, other, [0, 0, 1])
    np.testing.assert_array_equal(changes.count, [2, 1])
    np.testing.assert_array_equal(changes.accuracy, [0.75, 1.0])
    np.testing.assert_array_equal(changes.baseline, [0.25, 1.0])
    np.testing.assert_array_equal(changes.difference, [0.5, 0.0])
    # variance 1/8 in each method, over two students each: √(1/16 + 1/16); t = √2 at 2 degrees of freedom: p = 1 − t/√(2 + t²)
    np.testing.assert_allclose(changes.standard_error, [np.sqrt(1 / 8), 0.0], rtol=1e-14)
    np.testing.assert_allclose(changes.p_value, [1 - np.sqrt(2) / 2, 1.0], rtol=1e-13)
    np.testing.assert_allclose(changes.adjusted, [2 - np.sqrt(2), 1.0], rtol=1e-13)
    assert not changes.changed.any()
    assert changes.improved == changes.worsened == changes.without_spread == ()


@pytest.mark.parametrize("correction", METHODS)
@pytest.mark.parametrize("paired", [False, True])
def test_against_scipy_and_statsmodels(correction, paired):
    lift = np.where(np.arange(CLASSES) < 4, [0.85, 0.45, 0.8, 0.6] * 3, 0.7)
    method, right = _students("method", 8, accuracy=lift)
    other, other_right = _students("baseline", 8 if paired else 5)
    one, two = _by_class(right), _by_class(other_right)
    changes = class_accuracy_changes(method, other, LABELS, correction=correction, paired=paired)
    test = stats.ttest_rel(one, two) if paired else stats.ttest_ind(one, two, equal_var=False)
    reject, adjusted, _, _ = multipletests(test.pvalue, alpha=0.05, method=METHODS[correction])
    np.testing.assert_allclose(changes.difference, one.mean(axis=0) - two.mean(axis=0), rtol=1e-12, atol=1e-15)
    # p values down to 1e-6 from t of 13 digits: d log p = t² · d log t, some 1e-11
    np.testing.assert_allclose(changes.p_value, test.pvalue, rtol=1e-9)
    np.testing.assert_allclose(changes.adjusted, adjusted, rtol=1e-9)
    np.testing.assert_array_equal(changes.changed, reject)
    assert changes.changed.any()
    assert not changes.changed.all()
    assert set(changes.improved) | set(changes.worsened) == set(np.flatnonzero(reject))
    assert all(changes.difference[c] < 0 for c in changes.worsened)

    # wrong versions: pooled variance, pairs torn apart, no correction, Bonferroni for Holm
    wrong = stats.ttest_ind(one, two).pvalue
    assert np.abs(np.log(wrong / changes.p_value)).max() > 0.01
    assert np.abs(np.log(test.pvalue / changes.adjusted)).max() > 0.5
    assert np.abs(np.minimum(1, CLASSES * test.pvalue) - changes.adjusted).max() > 0.01


def test_corrections_against_statsmodels_with_ties():
    rng = generator("test", "class changes", "corrections")
    for length in range(1, 40):
        p_values = rng.choice([0.0, 1e-8, 0.001, 0.01, 0.02, 0.05, 0.3, 0.9, 1.0, rng.random()], size=length)
        for name, peer in METHODS.items():
            expected = multipletests(p_values, method=peer)[1]
            np.testing.assert_allclose(
                adjusted_p_values(p_values, name), expected, rtol=1e-12, atol=0
            )  # a few products each


def test_pairs_matter():
    """Students of both methods share a seed that moves their accuracy: paired, a small difference stands out."""
    rng = generator("test", "class changes", "pairs")
    right = rng.random((6, LABELS.size)) < 0.4 + 0.08 * np.arange(6)[:, None]
    better = right | (rng.random(right.shape) < 0.4)
    wrong = (LABELS + 1) % CLASSES
    method, other = _answers(np.where(better, LABELS, wrong)), _answers(np.where(right, LABELS, wrong))
    paired = class_accuracy_changes(method, other, LABELS, paired=True)
    apart = class_accuracy_changes(method, other, LABELS)
    assert len(paired.improved) > len(apart.improved)
    order = [3, 0, 5, 1, 4, 2]
    np.testing.assert_allclose(class_accuracy_changes(method, other[order], LABELS).p_value, apart.p_value, rtol=1e-12)
    torn = class_accuracy_changes(method, other[order], LABELS, paired=True)
    assert np.nanmax(np.abs(torn.p_value - paired.p_value)) > 0.01


def test_classes_without_spread():
    """Class 0: method always right, baseline never. Class 1: both always. Class 2: spread. Class 3: no test point."""
    labels = np.array([0, 1, 2, 2, 2, 2])
    method = _answers([[0, 1, 2, 2, 2, 2], [0, 1, 2, 2, 2, 0], [0, 1, 2, 2, 2, 2]], 4)
    other = _answers([[1, 1, 2, 0, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 2, 2, 0, 0]], 4)
    for paired in (False, True):
        changes = class_accuracy_changes(method, other, labels, paired=paired)
        assert changes.without_spread == (0,)
        np.testing.assert_array_equal(changes.count, [1, 1, 4, 0])
        np.testing.assert_array_equal(np.isnan(changes.p_value), [True, False, False, True])
        np.testing.assert_array_equal(np.isnan(changes.adjusted), [True, False, False, True])
        np.testing.assert_array_equal(np.isnan(changes.difference), [False, False, False, True])
        assert changes.difference[0] == 1.0
        assert changes.standard_error[0] == 0.0
        assert changes.p_value[1] == 1.0
        # three classes have points: the silent one counts, the one without points does not
        assert changes.adjusted[2] == pytest.approx(3 * changes.p_value[2], rel=1e-12)
        assert changes.improved == ((2,) if changes.adjusted[2] <= 0.05 else ())


def test_equal_accuracies_have_no_spread_whatever_their_rounding():
    """7 of 10 right by different students on different points: equal, though .7 is not a float."""
    labels = np.repeat([0, 1], 10)
    answers = np.array([np.r_[np.roll([1] * 3 + [0] * 7, s), np.ones(10, int)] for s in range(7)])
    better = np.array([np.r_[np.roll([1] * 1 + [0] * 9, s), np.ones(10, int)] for s in range(7)])
    changes = class_accuracy_changes(_answers(better, 2), _answers(answers, 2), labels)
    assert changes.without_spread == (0,)
    assert changes.standard_error[0] == 0.0


def test_false_alarms():
    """Two equal methods, 400 comparisons of 12 classes: Holm names any class at most as often as its level, 5 %.

    Accepted up to .05 + 3.1 √(.05 · .95 / 400) = .084 (one in a thousand); uncorrected, 12 classes name one in 40 %.
    """
    rng = generator("test", "class changes", "null")
    named = uncorrected = 0
    for _ in range(400):
        right = rng.random((12, LABELS.size)) < 0.6
        probs = _answers(np.where(right, LABELS, (LABELS + 1) % CLASSES))
        changes = class_accuracy_changes(probs[:6], probs[6:], LABELS)
        named += changes.changed.any()
        uncorrected += np.nanmin(changes.p_value) <= 0.05
    assert named / 400 < 0.084
    assert uncorrected / 400 > 0.25


def test_bad_input():
    method, other = _students("method", 3)[0], _students("baseline", 2)[0]
    with pytest.raises(ShapeError, match="probs needs axes"):
        class_accuracy_changes(method[0], other, LABELS)
    with pytest.raises(ShapeError, match="baseline needs S >= 2 students"):
        class_accuracy_changes(method, other[:1], LABELS)
    with pytest.raises(ShapeError, match="paired students need S = T; got S=3 and T=2"):
        class_accuracy_changes(method, other, LABELS, paired=True)
    with pytest.raises(ShapeError, match="C=12 classes and baseline C=13"):
        class_accuracy_changes(method, np.dstack([other, np.zeros((2, LABELS.size, 1))]), LABELS)
    with pytest.raises(ShapeError, match="labels needs shape"):
        class_accuracy_changes(method, other[:, 1:], LABELS)
    with pytest.raises(ShapeError, match="C >= 2"):
        class_accuracy_changes(np.ones((2, 3, 1)), np.ones((2, 3, 1)), [0, 0, 0])
    with pytest.raises(DataError, match="lie in 0 to 11; got 12"):
        class_accuracy_changes(method, other, LABELS + 1)
    with pytest.raises(DataError, match="sum to one"):
        class_accuracy_changes(method, 2 * other, LABELS)
    with pytest.raises(NotFiniteError, match="baseline"):
        class_accuracy_changes(method, other * np.nan, LABELS)
    with pytest.raises(OptionError, match="did you mean 'holm'"):
        class_accuracy_changes(method, other, LABELS, correction="hollm")
    for level in (0.0, 1.0, 5, True, "5%"):
        with pytest.raises(OptionError, match="level must lie"):
            class_accuracy_changes(method, other, LABELS, level=level)


def test_level_is_that_of_naming_a_class():
    """A class is named at every level from its corrected p on, and at none below."""
    method, _ = _students("level", 6, accuracy=np.linspace(0.5, 0.8, CLASSES))
    other, _ = _students("level of the baseline", 6)
    adjusted = class_accuracy_changes(method, other, LABELS).adjusted
    for level in np.unique(adjusted[adjusted < 0.99]):
        named = class_accuracy_changes(method, other, LABELS, level=level).changed
        np.testing.assert_array_equal(named, adjusted <= level)
        assert (
            not class_accuracy_changes(method, other, LABELS, level=level * (1 - 1e-9)).changed[adjusted == level].any()
        )
    assert ((adjusted > 0.05) & (adjusted < 0.99)).any()
