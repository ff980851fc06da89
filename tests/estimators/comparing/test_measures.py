"""Measures by which methods are compared: their means are the estimators', and what they refuse."""

import math

import numpy as np
import pytest

from uqkd.errors import NotFiniteError, OptionError, ShapeError
from uqkd.estimators import (
    accuracy,
    brier_score,
    decompose_categorical,
    estimate,
    expected_calibration_error,
    kl_divergence,
    measure_names,
    negative_log_likelihood,
    squared_distance,
)
from uqkd.estimators.comparing.jackknifed import measure_values
from uqkd.estimators.comparing.measures import measure_file
from uqkd.seeds import generator

RNG = generator("test", "comparing", "measures")
PROBS, LABELS = RNG.dirichlet([2.0, 1.0, 0.5], size=(4, 30)), RNG.integers(0, 3, 30)
TEACHER = RNG.dirichlet([2.0, 1.0, 0.5], size=30)
DRAWS, IDS, SEEN = RNG.normal(size=(4, 30, 3)), RNG.integers(0, 3, (4, 30, 3)), RNG.integers(0, 3, (30, 6))
PEERS = {
    "accuracy": (PROBS, LABELS, None, accuracy(PROBS, LABELS)),
    "brier": (PROBS, LABELS, None, brier_score(PROBS, LABELS)),
    "nll": (PROBS, LABELS, None, negative_log_likelihood(PROBS, LABELS)),
    "ece": (PROBS, LABELS, None, expected_calibration_error(PROBS, LABELS)),
    "inter": (DRAWS, None, None, estimate(DRAWS).inter),
    "intra": (DRAWS, None, None, estimate(DRAWS).intra),
    "total": (IDS, None, None, estimate(IDS).total),
    "inter_gini": (PROBS, None, None, decompose_categorical(PROBS).inter),
    "intra_gini": (PROBS, None, None, decompose_categorical(PROBS).intra),
    "kl": (PROBS, None, TEACHER, kl_divergence(TEACHER, PROBS)),
    "distance": (IDS, None, SEEN, squared_distance(IDS, teacher=SEEN).mean_square),
    "score": (DRAWS[:, :, 0], None, None, DRAWS[:, :, 0]),
}


def test_every_measure_has_a_peer():
    assert set(PEERS) == set(measure_names())


@pytest.mark.parametrize("name", PEERS)
def test_means_are_the_estimators(name):
    data, labels, teacher, peer = PEERS[name]
    values = measure_values(name, data, labels=labels, teacher=teacher)
    assert values.shape == (4, 30)
    assert values.mean() == pytest.approx(float(np.mean(peer)), rel=1e-12)
    if np.shape(peer) == (4,):  # of each student
        np.testing.assert_allclose(values.mean(axis=1), peer, rtol=1e-12)


@pytest.mark.parametrize("name", PEERS)
def test_limits_hold(name):
    file = measure_file(name)
    data, labels, teacher, _ = PEERS[name]
    values = measure_values(name, data, labels=labels, teacher=teacher)
    assert np.abs(values[:1] - values[1:]).max() <= file.LIMIT
    assert math.isinf(file.LIMIT) or file.LIMIT in (1.0, 2.0)


def test_answers_and_distances_of_other_data():
    np.testing.assert_array_equal(measure_values("accuracy", IDS, labels=LABELS), (LABELS[:, None] == IDS).mean(axis=2))
    np.testing.assert_array_equal(measure_values("accuracy", IDS[:, :, 0], labels=LABELS), IDS[:, :, 0] == LABELS)
    np.testing.assert_allclose(
        measure_values("distance", PROBS, teacher=TEACHER), ((PROBS - TEACHER) ** 2).sum(axis=-1), rtol=1e-12
    )
    # of numbers: unbiased, so that students who are the teacher with noise have distance 0 on average (500 x 40, s.e. .003)
    rng = generator("test", "comparing", "distance")
    noise = rng.normal(size=(500, 40, 2))
    assert abs(measure_values("distance", noise, teacher=np.zeros(40)).mean()) < 4 * math.sqrt(0.5 / 20_000 * 2)


def test_what_is_refused():
    certain = np.array([[[1.0, 0.0]], [[1.0, 0.0]]])
    with pytest.raises(NotFiniteError, match="negative log-likelihood"):
        measure_values("nll", certain, labels=[1])
    with pytest.raises(OptionError, match="needs teacher"):
        measure_values("kl", PROBS)
    with pytest.raises(OptionError, match="takes no teacher"):
        measure_values("ece", PROBS, labels=LABELS, teacher=TEACHER)
    with pytest.raises(ShapeError, match="one for each prompt"):
        measure_values("accuracy", IDS, labels=LABELS[:5])
    with pytest.raises(ShapeError, match="must agree"):
        measure_values("distance", PROBS, teacher=TEACHER[:5])
    with pytest.raises(ShapeError, match="teacher needs"):
        measure_values("kl", PROBS, teacher=TEACHER[:, :2] / TEACHER[:, :2].sum(axis=1, keepdims=True))
    with pytest.raises(ShapeError, match="one for each prompt"):
        measure_values(np.mean, PROBS, labels=LABELS[:5])
