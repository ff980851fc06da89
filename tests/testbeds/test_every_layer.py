"""One setting of each layer: students of k responses, and of all the same."""

import numpy as np
import pytest

from uqkd.estimators import gini
from uqkd.testbeds import every_layer

KEY = ("test", "every layer")


@pytest.mark.parametrize("layer", [every_layer.LEAST_SQUARES, every_layer.NETWORKS])
def test_students_of_numbers_come_with_their_teacher(layer):
    cell = every_layer.numbers_cell(students=4)
    answers, teacher = every_layer.answers_on_numbers(cell, 2, layer=layer, key=KEY)
    again, _ = every_layer.answers_on_numbers(cell, 2, layer=layer, key=KEY)
    assert answers.shape == (4, len(teacher))
    np.testing.assert_array_equal(answers, again)
    assert not np.array_equal(answers, every_layer.answers_on_numbers(cell, 3, layer=layer, key=KEY)[0])


def test_least_squares_of_noise_free_answers_are_their_teacher():
    cell = every_layer.numbers_cell(students=3)
    answers, teacher = every_layer.answers_on_numbers(cell, 0, layer=every_layer.LEAST_SQUARES, key=KEY)
    # a least-squares fit to a linear function of 11 columns: rounding of a solve with a condition number of some 10²
    np.testing.assert_allclose(answers, np.broadcast_to(teacher, answers.shape), atol=1e-10)


def test_networks_of_noise_free_answers_differ_in_where_they_begin():
    cell = every_layer.numbers_cell(students=3)
    answers, _ = every_layer.answers_on_numbers(cell, 0, layer=every_layer.NETWORKS, key=KEY)
    assert answers.std(axis=0).mean() > 0


def test_classifiers_of_texts_may_be_trained_for_fewer_steps_than_their_teacher():
    cell = every_layer.texts_cell(students=2, steps=30)
    q, p = every_layer.answers_on_texts({**cell, "student_steps": 1}, 1, key=KEY, where="test")
    trained, same = every_layer.answers_on_texts(cell, 1, key=KEY, where="test")
    assert q.shape == (2, *p.shape)
    np.testing.assert_array_equal(p, same)
    assert gini(q).mean() > gini(trained).mean()  # after one step students know next to nothing
    assert not np.array_equal(
        every_layer.answers_on_texts(cell, 0, key=KEY)[1], p
    )  # training texts, not those of the test
