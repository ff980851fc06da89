"""The law of the central answer: the table of T5, every sequence of draws, rotated embeddings."""

import itertools

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators import gini
from uqkd.theory.statements.medoid import medoid_distribution, multinomial_outcomes

P = np.array([0.45, 0.25, 0.15, 0.10, 0.05])


@pytest.mark.parametrize(
    ("k", "share"),
    [(1, "1.000"), (2, "1.000"), (3, "0.931"), (5, "0.814"), (10, "0.619"), (20, "0.386"), (50, "0.120")],
)
def test_table_of_t5(k, share):
    assert f"{float(gini(medoid_distribution(P, k)) / gini(P)):.3f}" == share


def by_every_sequence(probs, k, products):
    """Mean embedding of each sequence, its nearest answer, the first drawn among ties."""
    law = np.zeros(len(probs))
    for draws in itertools.product(range(len(probs)), repeat=k):
        near = products[list(draws)][:, list(draws)].mean(axis=1)
        law[draws[int((near >= near.max() - 1e-9).argmax())]] += np.prod(probs[list(draws)])
    return law


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("alike", [False, True])
def test_is_what_every_sequence_of_draws_gives(k, alike):
    rows = seeds.generator("test", "medoid").standard_normal((4, 3))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) if alike else np.eye(4)
    probs = P[:4] / P[:4].sum()
    found = medoid_distribution(probs, k, rows if alike else None)
    np.testing.assert_allclose(found, by_every_sequence(probs, k, rows @ rows.T), rtol=1e-12)
    if k <= 2:
        np.testing.assert_allclose(found, probs, rtol=1e-14)
    if k >= 3:  # wrong versions: the law is kept; ties go to the answer with the least number
        assert np.abs(found - probs).max() > 0.01
    if not alike and k >= 3:
        counts, chance = multinomial_outcomes(probs, k)
        least = np.bincount(counts.argmax(axis=1), weights=chance, minlength=4)
        assert np.abs(found - least).max() > 0.01


def test_rotations_change_nothing_and_equal_embeddings_share_their_weight():
    turn = np.linalg.qr(seeds.generator("test", "rotation").standard_normal((5, 5)))[0]
    np.testing.assert_allclose(medoid_distribution(P, 7, turn), medoid_distribution(P, 7), rtol=1e-10)
    twins = medoid_distribution(
        P, 5, np.eye(4)[[0, 1, 2, 2, 3]]
    )  # answers 2 and 3 are one meaning: kept as often as both together
    merged = medoid_distribution([0.45, 0.25, 0.25, 0.05], 5)
    np.testing.assert_allclose(twins[2] + twins[3], merged[2], rtol=1e-12)
    np.testing.assert_allclose(twins[2] / twins[3], 0.15 / 0.10, rtol=1e-12)


def test_outcomes_are_all_and_their_chances_one():
    counts, chance = multinomial_outcomes(P, 6)
    assert counts.shape == (210, 5)  # 10 over 4
    assert (counts.sum(axis=1) == 6).all()
    assert len(np.unique(counts, axis=0)) == 210
    np.testing.assert_allclose(chance @ counts / 6, P, rtol=1e-12)


def test_certain_answers_and_bad_input():
    np.testing.assert_array_equal(medoid_distribution([0.0, 1.0], 4), [0.0, 1.0])
    with pytest.raises(OptionError, match="k >= 1"):
        medoid_distribution(P, 0)
    with pytest.raises(OptionError, match="C=5, 191868495 outcomes"):
        medoid_distribution(P, 258)
    with pytest.raises(ShapeError, match="one distribution"):
        medoid_distribution([P, P], 2)
    with pytest.raises(ShapeError, match="C=5 rows of norm one"):
        medoid_distribution(P, 2, 2 * np.eye(5))
    with pytest.raises(DataError, match="sum to one"):
        medoid_distribution([0.5, 0.4], 2)
