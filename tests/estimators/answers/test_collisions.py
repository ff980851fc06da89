"""Repeats: bounds that are exact where they can be, never below the truth, and sharp enough to see shared seeds."""

from __future__ import annotations

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import OptionError, ShapeError
from uqkd.estimators.answers.collisions import repeated_responses, same_noise, shuffled_noise, upper_tail


def exact_tail(probabilities, count):
    """P(N >= count) by convolution."""
    law = np.ones(1)
    for p in probabilities:
        law = np.convolve(law, [1 - p, p])
    return law[count:].sum()


@pytest.mark.parametrize("spread", ["small", "mixed", "near one", "with zeros and ones"])
def test_bound_is_never_below_the_truth_and_not_far_above(spread):
    uniform = seeds.generator("tests", "tail", spread).random(60)
    p = {
        "small": 0.02 * uniform,
        "mixed": uniform,
        "near one": 1.0 - 0.01 * uniform,
        "with zeros and ones": np.round(uniform * 4) / 4,
    }[spread]
    for count in range(62):
        truth, bound = exact_tail(p, count) if count <= 60 else 0.0, upper_tail(p, count)
        assert bound >= truth * (1 - 1e-9)
        # Chernoff is off by a factor of order sqrt(variance) times a constant, not in the exponent.
        if count > p.sum() and truth > 1e-250:
            assert np.log(bound) <= 0.75 * np.log(truth) or bound <= 60 * truth


def test_exact_corners():
    assert upper_tail([0.5, 0.25, 0.0], 2) == 0.125
    assert upper_tail([0.5, 0.25, 0.0], 3) == 0.0
    assert upper_tail([1.0, 1.0], 2) == 1.0
    assert upper_tail([0.3], 0) == 1.0
    assert upper_tail(np.full(10_000, 0.9999), 10_000) == pytest.approx(0.9999**10_000)
    with pytest.raises(OptionError, match=r"\[0, 1\]"):
        upper_tail([1.1], 1)


def test_repeats_count_positions_and_anywhere():
    first, second = np.array([[1, 2, 2], [4, 5, 6]]), np.array([[2, 2, 9], [6, 5, 4]])
    q = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.1]])
    at = repeated_responses(first, second, q)
    assert (at.count, at.of, at.expected) == (2, 6, pytest.approx(1.3, rel=2e-3))  # 1e-3: what engines may round
    found = repeated_responses(first, second, q, anywhere=True)
    assert (found.count, found.of) == (5, 6)
    assert found.expected == pytest.approx(3 * 0.75 + 3 * 0.3, rel=2e-3)  # distinct ones count once


def test_wrong_shapes():
    codes = np.zeros((2, 3), dtype=int)
    with pytest.raises(ShapeError, match="axes"):
        repeated_responses(codes, codes, np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="same position"):
        repeated_responses(codes, codes[:, :2], np.zeros((2, 3)))
    with pytest.raises(ShapeError, match="axes"):
        same_noise(codes, np.zeros(3))
    with pytest.raises(ShapeError, match="axes"):
        shuffled_noise(codes[0])
    with pytest.raises(OptionError, match="<= 0"):
        repeated_responses(codes, codes, np.full((2, 3), 0.1))


def laws(prompts, generator):
    """Distributions over 30 answers, from nearly sure to nearly uniform."""
    weights = np.exp(generator.uniform(0.0, 8.0, size=(prompts, 1)) * generator.standard_normal((prompts, 30)))
    return weights / weights.sum(axis=1, keepdims=True)


def drawn(law, uniform):
    return (uniform[..., None] > np.cumsum(law, axis=1)[:, None, :-1]).sum(axis=2)


def test_p_values_of_independent_draws_are_never_too_small_too_often():
    """P(p_value <= a) <= a under independence, for each test and whatever the distributions."""
    simulations = 1000
    small = dict.fromkeys(("position", "anywhere", "noise", "shuffled"), 0)
    for i in range(simulations):
        generator = seeds.generator("tests", "independent", i)
        law = laws(40, generator)
        x, y = (drawn(law, generator.random((40, 4))) for _ in range(2))
        q = np.log(np.take_along_axis(law, x, axis=1))
        tests = {
            "position": repeated_responses(x, y, q),
            "anywhere": repeated_responses(x, y, q, anywhere=True),
            "noise": same_noise(x, q),
            "shuffled": shuffled_noise(x),
        }
        for name, repeats in tests.items():
            small[name] += repeats.p_value <= 0.05
    # At most Binomial(1000, .05): mean 50, standard deviation 6.9; 95 is exceeded with a probability below 1e-8.
    assert max(small.values()) <= 95
    # The exact ones are sharp enough to be small sometimes: else the test could not fail.
    assert min(small["position"], small["anywhere"], small["shuffled"]) > 0


@pytest.mark.parametrize("t", [0.125, 0.5, 1.0, 3.0, 6.0])
def test_the_inequality_behind_same_noise_holds_for_all_kinds_of_distributions(t):
    """E exp(tM - (e^t - 1)W) <= 1, computed exactly; it is an equality in no case but that of q -> 0."""
    generator = seeds.generator("tests", "inequality", t)
    pairs = [laws(2, generator) for _ in range(400)]
    pairs += [np.tile(one, (2, 1)) for one in laws(200, generator)]
    pairs += [np.tile(np.r_[p, np.full(29, (1 - p) / 29)], (2, 1)) for p in np.linspace(0, 1, 200)]
    worst = 0.0
    for a, b in pairs:
        w = (a[:, None] + b[None, :]) / 2
        value = (a[:, None] * b[None, :] * np.exp(t * np.eye(30) - np.expm1(t) * w)).sum()
        worst = max(worst, value)
    assert worst <= 1.0 + 1e-12
    less = 0.5 * np.expm1(t)  # a smaller factor of W is wrong: independent uniform draws break it
    uniform = np.full(30, 1 / 30)
    broken = (uniform[:, None] * uniform * np.exp(t * np.eye(30) - less / 30)).sum()
    assert broken > 1.0 or t > 3


@pytest.mark.parametrize("shared", [0.25, 0.5, 1.0])
def test_repeats_are_seen(shared):
    generator = seeds.generator("tests", "repeats", shared)
    law = laws(300, generator)
    x, y = (drawn(law, generator.random((300, 4))) for _ in range(2))
    y = np.where(np.arange(4) < 4 * shared, x, y)
    assert repeated_responses(x, y, np.log(np.take_along_axis(law, x, axis=1))).p_value < 1e-9


@pytest.mark.parametrize("k", [1, 4])
def test_noise_that_prompts_share_is_seen(k):
    generator = seeds.generator("tests", "noise", k)
    law = laws(600, generator)
    uniform = np.tile(generator.random(k), (600, 1))  # one seed for all prompts
    x = drawn(law, uniform)
    q = np.log(np.take_along_axis(law, x, axis=1))
    flat = np.full((600, 30), 1 / 30)
    y = drawn(flat, uniform)
    assert same_noise(y, np.full(y.shape, -np.log(30.0))).p_value < 1e-9
    assert same_noise(x, q).of == 300 * k
    if k > 1:
        assert shuffled_noise(y).p_value < 1e-9
