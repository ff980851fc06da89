"""Linearity on mixed inputs: hand cases, SciPy and torchmetrics, wrong versions, properties, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from torchmetrics.functional.regression import kl_divergence as torchmetrics_kl

from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError
from uqkd.estimators import by_share, entropy_excess, nonlinearity, off_pair_mass, two_way_standard_error
from uqkd.seeds import generator

SIDES = ([[1.0, 0.0, 0.0], [0.8, 0.1, 0.1]], [[0.0, 1.0, 0.0], [0.2, 0.4, 0.4]])


def _drawn(name, pairs=200, classes=5):
    rng = generator("test", "linearity", name)
    mixed, first, second = special.softmax(2.0 * rng.normal(size=(3, pairs, classes)), axis=-1)
    return mixed, first, second, rng.random(pairs)


def test_by_hand():
    # mixtures (1/4, 3/4, 0) and (.5, .25, .25)
    mixed = [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]
    expected = [0.25 * np.log(1 / 2) + 0.75 * np.log(3), 0.0]
    np.testing.assert_allclose(nonlinearity(mixed, *SIDES, [0.25, 0.5]), expected, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(off_pair_mass(mixed, [0, 2], [1, 2]), [0.25, 0.75])  # the second pair has one class
    halves = 1.5 * np.log(2)  # entropy of (1/2, 1/4, 1/4)
    two = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    np.testing.assert_allclose(entropy_excess(mixed, [0.25, 0.25], [0, 2], [1, 2]), [halves - two, halves], rtol=1e-14)


def test_nonlinearity_against_torchmetrics_and_scipy():
    mixed, first, second, share = _drawn("peers")
    mixture = share[:, None] * first + (1 - share[:, None]) * second
    found = nonlinearity(mixed, first, second, share)
    peer = torchmetrics_kl(torch.from_numpy(mixture), torch.from_numpy(mixed), reduction="none").numpy()
    # sums of five terms of size one, each rounded at 1e-16 a few times
    np.testing.assert_allclose(found, peer, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found, stats.entropy(mixture, mixed, axis=1), rtol=1e-12, atol=1e-15)

    def rejected(wrong):
        return np.abs(wrong - peer).max() > 0.1

    assert rejected(nonlinearity(mixed, second, first, share))  # the inputs swapped
    assert rejected(nonlinearity(mixed, first, second, 1 - share))
    assert rejected(stats.entropy(mixed, mixture, axis=1))  # the divergence the other way round
    log_mixture = share[:, None] * np.log(first) + (1 - share[:, None]) * np.log(second)
    assert rejected(
        stats.entropy(special.softmax(log_mixture, axis=1), mixed, axis=1)
    )  # logits mixed, not probabilities


def test_ends_are_plain_divergences():
    mixed, first, second, _ = _drawn("ends")
    np.testing.assert_allclose(nonlinearity(mixed, first, second, 1.0), stats.entropy(first, mixed, axis=1), rtol=1e-12)
    np.testing.assert_allclose(nonlinearity(mixed, first, second, 0), stats.entropy(second, mixed, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(nonlinearity(first, first, first, 0.3) < 1e-15, True)


def test_off_pair_mass_and_a_wrong_version():
    mixed, _, _, _ = _drawn("off")
    rng = generator("test", "linearity", "labels")
    one, other = rng.integers(5, size=(2, 200))
    rows = np.arange(200)
    twice = 1 - mixed[rows, one] - mixed[rows, other]  # counts an equal class twice
    once = twice + np.where(one == other, mixed[rows, other], 0.0)
    found = off_pair_mass(mixed, one, other)
    np.testing.assert_allclose(found, once, atol=1e-15)  # numbers below one, three roundings
    assert (np.abs(found - twice) > 1e-6).sum() == (one == other).sum() > 0
    assert off_pair_mass([[1 - 2**-40, 2**-41, 2**-41]], [0], [1])[0] == 2**-41  # its digits are kept


def test_entropy_excess_against_scipy():
    mixed, _, _, share = _drawn("excess")
    one, other = generator("test", "linearity", "labels").integers(5, size=(2, 200))
    labels = (
        share[:, None] * np.eye(5)[one] + (1 - share[:, None]) * np.eye(5)[other]
    )  # no case apart for equal classes
    expected = stats.entropy(mixed, axis=1) - stats.entropy(labels, axis=1)
    np.testing.assert_allclose(entropy_excess(mixed, share, one, other), expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(entropy_excess(labels, share, one, other), 0.0, atol=1e-15)
    for_all_pairs = stats.entropy(mixed, axis=1) - stats.entropy([share, 1 - share])  # wrong: equal classes are no pair
    assert np.abs(for_all_pairs - expected).max() > 0.1


def test_students_are_measured_one_by_one():
    drawn = [_drawn(("student", s)) for s in range(3)]
    mixed, first, second = (np.stack([d[i] for d in drawn]) for i in range(3))
    share = drawn[0][3]
    one, other = generator("test", "linearity", "labels").integers(5, size=(2, 200))
    together = (
        nonlinearity(mixed, first, second, share),
        off_pair_mass(mixed, one, other),
        entropy_excess(mixed, share, one, other),
    )
    for s in range(3):
        alone = (
            nonlinearity(mixed[s], first[s], second[s], share),
            off_pair_mass(mixed[s], one, other),
            entropy_excess(mixed[s], share, one, other),
        )
        for whole, part in zip(together, alone, strict=True):
            assert whole.shape == (3, 200)
            np.testing.assert_allclose(whole[s], part, rtol=1e-13, atol=1e-16)


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_properties(seed, classes):
    mixed, first, second, share = _drawn(("property", seed), pairs=20, classes=classes)
    found = nonlinearity(mixed, first, second, share)
    assert (found >= -1e-15).all()
    np.testing.assert_allclose(nonlinearity(mixed, second, first, 1 - share), found, rtol=1e-10, atol=1e-14)
    order = generator("test", "linearity", "classes", seed).permutation(classes)
    np.testing.assert_allclose(
        nonlinearity(mixed[:, order], first[:, order], second[:, order], share), found, rtol=1e-10, atol=1e-14
    )
    labels = generator("test", "linearity", "pairs", seed).integers(classes, size=(2, 20))
    assert ((off_pair_mass(mixed, *labels) >= 0) & (off_pair_mass(mixed, *labels) <= 1)).all()


def test_single_precision():
    """float32 rows sum to one within C · 6e-8; the divergence moves by as much, not more, and stays non-negative."""
    mixed, first, second, share = _drawn("single", classes=100)
    low = [a.astype(np.float32) for a in (mixed, first, second)]
    for arrays in (low, [a.astype(np.float64) for a in low]):
        np.testing.assert_allclose(nonlinearity(*arrays, share), nonlinearity(mixed, first, second, share), atol=1e-6)
    assert nonlinearity(low[1], low[1], low[1], share).min() >= -1e-15
    certain, zero = [[1.0, 0.0]], [[0.0, 1.0]]
    assert nonlinearity(certain, certain, zero, 0.5)[0] == np.inf
    assert nonlinearity(certain, certain, zero, 0.5, least=1e-12)[0] == pytest.approx(
        np.log(0.5) - 0.5 * np.log(1e-12), rel=1e-12
    )


# ------------------------------------------------------------------ by share


def test_by_share_by_hand():
    values = np.array([[1.0, 3.0, 5.0, 9.0], [3.0, 7.0, 7.0, 11.0]])
    means = by_share(values, [0.0, 0.25, 0.5, 1.0], bins=4)  # 0 in the first bin, 1/4 and 1/2 in the lower one
    np.testing.assert_array_equal(means.edges, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(means.centre, [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_array_equal(means.count, [2, 1, 0, 1])
    np.testing.assert_array_equal(means.mean, [3.5, 6.0, np.nan, 10.0])
    np.testing.assert_array_equal(means.of_student, [[2, 5, np.nan, 9], [5, 7, np.nan, 11]])
    assert means.standard_error[0] == two_way_standard_error(values[:, :2])
    # one pair, two students: the spread of students alone, |7 − 5| / 2
    np.testing.assert_array_equal(means.standard_error[1:], [1.0, np.nan, 1.0])


def test_by_share_against_scipy():
    share, values = generator("test", "linearity", "share").random((2, 500))
    means = by_share(values, share)
    peer = stats.binned_statistic(share, values, bins=20, range=(0, 1))
    np.testing.assert_allclose(means.mean, peer.statistic, rtol=1e-13)
    np.testing.assert_array_equal(means.count, np.bincount(peer.binnumber)[1:])
    held = values[peer.binnumber == 7]
    assert means.standard_error[6] == pytest.approx(stats.sem(held), rel=1e-12)
    assert (means.mean * means.count).sum() == pytest.approx(values.sum(), rel=1e-12)


# ------------------------------------------------------------------ refusals


def test_bad_input():
    mixed, first, second, share = _drawn("bad", pairs=3, classes=2)
    for bad, match in (([0.5, 0.5, 1.1], "1.1 at index 2"), ([-0.1, 0, 0], "-0.1 at index 0"), (1.5, "got 1.5")):
        with pytest.raises(DataError, match=match):
            nonlinearity(mixed, first, second, bad)
        with pytest.raises(DataError, match=match):
            entropy_excess(mixed, bad, [0, 0, 0], [1, 1, 1])
    with pytest.raises(ShapeError, match="share needs one number"):
        nonlinearity(mixed, first, second, [0.5, 0.5])
    with pytest.raises(NotFiniteError, match="share"):
        nonlinearity(mixed, first, second, np.nan)
    with pytest.raises(ShapeError, match="second has shape"):
        nonlinearity(mixed, first, second[:2], share)
    with pytest.raises(ShapeError, match="first has shape"):
        nonlinearity(mixed, first[None], second, share)
    with pytest.raises(DataError, match="row of first must sum to one.*row 0 sums"):
        nonlinearity(mixed, 0.9 * first, second, share)
    with pytest.raises(DataError, match=r"mixed must not be negative; got -0.5 at index \(0, 1\)"):
        off_pair_mass([[1.5, -0.5]], [0], [1])
    with pytest.raises(ShapeError, match="mixed needs C >= 2"):
        off_pair_mass([[1.0]], [0], [0])
    with pytest.raises(ShapeError, match="mixed is empty"):
        off_pair_mass(np.zeros((0, 3)), [], [])
    with pytest.raises(DataError, match="second: labels must lie in 0 to 1; got 2 at index 1"):
        off_pair_mass(mixed, [0, 0, 0], [1, 2, 1])
    with pytest.raises(ShapeError, match="first: labels needs shape"):
        off_pair_mass(mixed, [0], [1, 0, 1])
    with pytest.raises(DataError, match="integers"):
        entropy_excess(mixed, share, [0.0, 0.0, 0.0], [1, 0, 1])


def test_bad_input_of_by_share():
    with pytest.raises(NotFiniteError, match="values"):
        by_share([np.inf, 1.0], [0.1, 0.2])
    with pytest.raises(ShapeError, match="share needs"):
        by_share([1.0, 2.0], 0.5)
    with pytest.raises(ShapeError, match="share needs"):
        by_share([1.0, 2.0], [0.5])
    with pytest.raises(DataError, match="share must lie"):
        by_share([1.0, 2.0], [0.5, 2.0])
    for bins in (0, 2.5, True):
        with pytest.raises(OptionError, match="bins"):
            by_share([1.0], [0.5], bins=bins)
