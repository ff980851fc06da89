"""NumberTargets: spreads and class labels with weights. Weighing by variance is tested in tests/linear/test_students.py."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.linear import NumberTargets
from uqkd.linear import weigh as linear_weigh
from uqkd.targets import Targets, weigh


def test_layer_one_hands_on_the_same_functions():
    assert linear_weigh is weigh
    assert isinstance(weigh(np.ones((1, 2, 3))), NumberTargets)


def test_spread_by_hand():
    responses = np.array([[[1.0, 3.0], [4.0, 4.0]]])
    np.testing.assert_array_equal(weigh(responses).spread, [[1.0, 0.0]])
    np.testing.assert_array_equal(weigh(responses, "single").spread, [[0.0, 0.0]])  # the other was never seen
    blended = weigh(responses, "known", second=np.array([5.0, 4.0]), second_var=1.0, response_var=2.0)
    np.testing.assert_array_equal(blended.values, [[3.5, 4.0]])
    np.testing.assert_array_equal(blended.spread, [[((1 - 3.5) ** 2 + (3 - 3.5) ** 2) / 2, 0.0]])  # about the target


def test_spread_is_what_a_squared_error_leaves_out():
    """mean (r − m)² = (value − m)² + spread for every m, to rounding."""
    responses = seeds.generator("test", "spread").standard_normal((3, 5, 4))
    targets = weigh(responses)
    for m in (-2.0, 0.0, 0.7):
        np.testing.assert_allclose(
            ((responses - m) ** 2).mean(axis=-1), (targets.values - m) ** 2 + targets.spread, rtol=1e-13
        )


def test_labels_by_hand():
    labels = np.array([[[0, 2, 2, 1], [1, 1, 1, 1]], [[2, 2, 2, 0], [0, 1, 2, 2]]])
    multi = weigh(labels, classes=3)
    np.testing.assert_array_equal(
        multi.probabilities, [[[0.25, 0.25, 0.5], [0, 1, 0]], [[0.25, 0, 0.75], [0.25, 0.25, 0.5]]]
    )
    single = weigh(labels, "single", classes=4)  # a class that none was drawn of
    np.testing.assert_array_equal(single.probabilities, np.eye(4)[[[0, 1], [2, 0]]])
    np.testing.assert_array_equal(single.labels, labels[..., :1])
    np.testing.assert_array_equal(multi.labels, labels)


def test_the_teachers_own_distribution():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    soft = weigh(probabilities, "soft", students=3)
    np.testing.assert_array_equal(soft.probabilities, np.stack([probabilities] * 3))
    hard = weigh(probabilities, "hard", students=2)
    np.testing.assert_array_equal(hard.probabilities[1], [[0, 1, 0], [1, 0, 0]])  # the first of equal ones
    assert soft.labels is None
    assert (soft.method, hard.method) == ("soft", "hard")


def test_what_a_method_has_no_use_for_is_refused():
    responses, other = np.ones((1, 2, 3)), np.zeros(2)
    with pytest.raises(OptionError, match="'multi' has no use for second=; leave it out"):
        weigh(responses, second=other)
    with pytest.raises(OptionError, match="'oracle' has no use for response_var="):
        weigh(responses, "oracle", second=other, second_var=1.0, response_var=1.0)
    with pytest.raises(OptionError, match="'precision' combines two sources; pass second="):
        weigh([[[0, 1]]], "precision", classes=2)
    with pytest.raises(OptionError, match="students=2 is for 'soft' and 'hard'"):
        weigh(responses, students=2)
    with pytest.raises(OptionError, match="'precision' is one of class labels; pass classes="):
        weigh(responses, "precision", second=other)
    with pytest.raises(OptionError, match="'known' is one of numbers; leave classes= out"):
        weigh([[[0, 1]]], "known", classes=2)


def test_targets_are_one_family():
    many = (
        weigh(np.ones((3, 2, 4))),
        weigh(np.zeros((3, 2, 4), dtype=int), classes=2),
        weigh([[0.5, 0.5]] * 2, "soft", students=3),
    )
    assert [(one.students, one.prompts, one.shape[2]) for one in many] == [(3, 2, 4), (3, 2, 4), (3, 2, 0)]
    assert all(isinstance(one, Targets) for one in many)


def test_bad_labels_are_named():
    with pytest.raises(DataError, match=r"lie in 0 \.\.\. 2; got 3 at index \(0, 1, 0\)"):
        weigh([[[0], [3]]], classes=3)
    with pytest.raises(DataError, match="got -1"):
        weigh([[[-1]]], classes=3)
    with pytest.raises(DataError, match="dtype float64"):
        weigh([[[0.0]]], classes=3)
    with pytest.raises(ShapeError, match=r"axes \(S, P, k\)"):
        weigh([[0, 1]], classes=3)
    with pytest.raises(ShapeError, match="none of them empty"):
        weigh(np.zeros((1, 2, 0), dtype=int), classes=3)
    with pytest.raises(OptionError, match="at least 2"):
        weigh([[[0]]], classes=1)
    with pytest.raises(OptionError, match="did you mean 'multi'"):
        weigh([[[0]]], "mutli", classes=2)
    with pytest.raises(DataError, match="sum to one"):
        weigh([[0.2, 0.9]], "soft")
    with pytest.raises(ShapeError, match="students=0"):
        weigh([[0.2, 0.8]], "soft", students=0)
    with pytest.raises(ShapeError, match=r"needs distributions \(P, C\)"):
        weigh([[[0.2, 0.8]]], "soft")
