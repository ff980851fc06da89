"""Energy distance: by hand, against SciPy, unbiased in a simulation, wrong versions, bad input."""

import numpy as np
import pytest
from scipy import stats

from uqkd import seeds
from uqkd.errors import NotFiniteError, ShapeError
from uqkd.estimators import decompose_variance, energy_distance
from uqkd.estimators.answers.energy import own_distance
from uqkd.estimators.variance.two_way import two_way_standard_error
from uqkd.theory.checks import THRESHOLD

DRAWS = seeds.generator("test", "energy").standard_normal((4, 3, 5))


def test_by_hand():
    """0, 2 and 1, 5: between 1, 5, 1, 3, own 2 and 4."""
    parts = energy_distance([[[0, 2]], [[1, 5]]])
    assert parts.squared.tolist() == [2 * 10 / 4 - 2 - 4]
    assert parts.root.tolist() == [0.0]
    assert np.isnan(parts.mean[1])  # two students have one pair
    far = energy_distance([[[0, 2]], [[10, 12]]])
    assert far.root.tolist() == [np.sqrt(2 * 10 - 2 - 2)]


def test_scipy_is_the_v_statistic():
    """The square of SciPy's is ours and each sample's own distance by its size."""
    for s, t in ((0, 1), (2, 3)):
        for p in range(3):
            x, y = DRAWS[s, p], DRAWS[t, p, :4]
            teacher = energy_distance(x[None, None], teacher=y[None])
            expected = stats.energy_distance(x, y) ** 2 - own_distance(x[:, None]) / 5 - own_distance(y[:, None]) / 4
            np.testing.assert_allclose(teacher.squared, expected, rtol=1e-10)


def test_students_are_compared_in_pairs():
    parts = energy_distance(DRAWS)
    pairs = [energy_distance(DRAWS[[s, t]]).squared for s in range(4) for t in range(s)]
    np.testing.assert_allclose(parts.squared, np.mean(pairs, axis=0), rtol=1e-12)
    one = [energy_distance(DRAWS[s : s + 1], teacher=DRAWS[0]).squared for s in range(1, 4)]
    np.testing.assert_allclose(one, [energy_distance(DRAWS[[0, s]]).squared for s in range(1, 4)], rtol=1e-12)


def test_pseudo_values_are_the_jackknife():
    parts = energy_distance(DRAWS)
    for s in range(4):
        without = energy_distance(np.delete(DRAWS, s, axis=0)).squared
        np.testing.assert_allclose(parts.per_student[s], 4 * parts.squared - 3 * without, rtol=1e-10, atol=1e-14)
    assert parts.mean == (parts.squared.mean(), two_way_standard_error(parts.per_student))


def test_vectors_turn_without_a_change_and_one_dimension_is_a_vector_too():
    deep = seeds.generator("test", "energy", "vectors").standard_normal((3, 2, 4, 3))
    turn = np.linalg.qr(seeds.generator("test", "energy", "turn").standard_normal((3, 3)))[0]
    np.testing.assert_allclose(
        energy_distance(deep @ turn).squared, energy_distance(deep).squared, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(energy_distance(DRAWS[..., None]).squared, energy_distance(DRAWS).squared)


def normal_distance(shift):
    """Of N(0, 1) and N(shift, 1): 2 E|N(shift, 2)| − 2 E|N(0, 2)|, from the folded normal's mean (SciPy)."""
    fold = stats.foldnorm.mean(abs(shift) / np.sqrt(2), scale=np.sqrt(2))
    return 2 * fold - 2 * stats.foldnorm.mean(0.0, scale=np.sqrt(2))


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_unbiased_and_the_v_statistic_is_not(shift):
    """4,000 prompts, R = 3, normal students; the wrong versions are off by 4.4 standard errors at least."""
    generator = seeds.generator("test", "energy", "simulation", shift)
    draws = generator.standard_normal((2, 4_000, 3))
    draws[1] += shift
    found, truth = energy_distance(draws).squared, normal_distance(shift)
    own = np.array([[own_distance(one[:, None]) for one in student] for student in draws])
    versions = {
        "ours": found,
        "pairs a draw with itself (V-statistic)": found + own.sum(axis=0) / 3,
        "clipped at zero": np.maximum(found, 0.0),
        "forgets the own distances' factor 2": found - own.mean(axis=0),
    }
    for name, values in versions.items():
        z = abs(values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))
        assert (z > THRESHOLD) == (name != "ours"), (name, z)


def test_it_sees_what_a_variance_between_means_does_not():
    """Students of one mean and of different spread: inter is 0 and the energy distance is not."""
    generator = seeds.generator("test", "energy", "spread")
    draws = generator.standard_normal((2, 2_000, 4)) * np.array([1.0, 3.0])[:, None, None]
    inter = decompose_variance(draws).inter
    squared = energy_distance(draws).squared
    assert abs(inter.mean()) < THRESHOLD * inter.std() / np.sqrt(2_000)
    assert squared.mean() > THRESHOLD * squared.std() / np.sqrt(2_000)


def test_bad_input_says_what_to_do():
    with pytest.raises(ShapeError, match="needs S >= 2"):
        energy_distance(DRAWS[:1])
    with pytest.raises(ShapeError, match="R >= 2"):
        energy_distance(DRAWS[..., :1])
    with pytest.raises(ShapeError, match="P=3 prompts and D=1"):
        energy_distance(DRAWS, teacher=DRAWS[0, :2])
    with pytest.raises(ShapeError, match="teacher needs k >= 2"):
        energy_distance(DRAWS, teacher=DRAWS[0, :, :1])
    with pytest.raises(NotFiniteError):
        energy_distance(DRAWS, teacher=np.where(DRAWS[0] > 0, np.nan, 1.0))
