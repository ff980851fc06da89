"""Epistemic and aleatoric: one meaning in every decomposition, and their sum is the total."""

import numpy as np
import pytest

from uqkd import seeds
from uqkd.estimators import (
    decompose_agreement,
    decompose_categorical,
    decompose_entropy,
    decompose_gaussian,
    decompose_unbalanced,
    decompose_variance,
)

GENERATOR = seeds.generator("test", "epistemic")
NUMBERS, ANSWERS = GENERATOR.standard_normal((4, 3, 5)), GENERATOR.integers(0, 3, (4, 3, 5))
GAPS = np.where(np.arange(60).reshape(4, 3, 5) % 7 == 0, np.nan, NUMBERS)
DECOMPOSITIONS = {
    "variance": decompose_variance(NUMBERS),
    "missing responses": decompose_unbalanced(GAPS),
    "gaussian heads": decompose_gaussian(NUMBERS[..., 0], NUMBERS[..., 1] ** 2),
    "agreement": decompose_agreement(ANSWERS),
    "class probabilities": decompose_categorical(GENERATOR.dirichlet([1.0, 1.0, 1.0], (4, 3))),
    "entropy of meanings": decompose_entropy(ANSWERS),
}


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_the_parts_add_up_to_the_total(name):
    parts = DECOMPOSITIONS[name]
    assert parts.epistemic is parts.inter
    assert parts.aleatoric is parts.intra
    np.testing.assert_allclose(parts.epistemic + parts.aleatoric, parts.total, rtol=1e-12)
    mean = getattr(parts, "mean", None)
    if mean is not None:
        assert (mean.epistemic, mean.aleatoric) == (mean.inter, mean.intra)


def test_in_entropy_they_are_mutual_information_and_expected_entropy():
    parts = DECOMPOSITIONS["entropy of meanings"]
    assert parts.epistemic is parts.mutual_information
    assert parts.aleatoric is parts.expected


def test_students_of_one_teacher_know_nothing_of_its_error():
    """Students that all repeat the teacher's error disagree about nothing: epistemic 0, however wrong the teacher is (T1)."""
    students = np.broadcast_to(NUMBERS[:1], (4, 3, 5))
    parts = decompose_gaussian(students[..., 0] + 100.0, np.ones((4, 3)))
    np.testing.assert_array_equal(parts.epistemic, 0.0)
