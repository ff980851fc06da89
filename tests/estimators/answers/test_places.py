"""Repeats at equal places: exact over all permutations, no false alarms whatever the distribution, and copies are seen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from uqkd import seeds
from uqkd.errors import ShapeError
from uqkd.estimators.answers.collisions import upper_tail
from uqkd.estimators.answers.repeated_places import same_places

ROWS = [
    (0, 0, 1, 1),
    (0, 1, 2, 3),
    (0, 0, 0, 1),
    (5, 5, 5, 5),
    (0, 0, 1, 1, 2, 2),
    (0, 0, 0, 1, 1, 2),
    (7, 7, 7, 7, 7, 8),
]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("pairs", [1, 2])
def test_expectation_and_tail_are_valid_over_all_assignments_to_places(row, pairs):
    """Enumerated: the expected count is exact, and p <= alpha happens with a probability of at most alpha, for every alpha."""
    every = np.array(list(itertools.permutations(row)))
    first, second = list(range(pairs)), list(range(pairs, 2 * pairs))
    found = [same_places(one[None], [(first, second)])[0] for one in every]
    counts = np.array([one.count for one in found])
    # Sums of at most 720 float64 numbers below 3: rounding is below 720·2^-52·3.
    assert np.mean(counts) == pytest.approx(np.mean([one.expected for one in found]), abs=1e-12)
    n = np.unique(row, return_counts=True)[1]
    chance = (n * (n - 1)).sum() / (len(row) * (len(row) - 1))
    assert np.mean(counts) == pytest.approx(pairs * chance, abs=1e-12)
    p = np.array([one.p_value for one in found])
    for alpha in np.unique(p):
        assert np.mean(p <= alpha) <= alpha


def test_tail_is_valid_over_all_assignments_of_six_prompts():
    """Each prompt has two equal responses and two others: the pair falls together in one of three assignments."""
    kinds = [(0, 0, 1, 1), (0, 1, 0, 1)]  # equal places 0 and 1: yes (probability 1/3), no (2/3)
    for used in ([0], [0, 2]):  # one pair of places, or both: then the second pair is equal if the first is
        total = 0.0
        by_p = []
        for choice in itertools.product((0, 1), repeat=6):
            codes = np.array([kinds[one] for one in choice])
            probability = np.prod([(1 / 3, 2 / 3)[one] for one in choice])
            by_p.append((same_places(codes, [(used, [u + 1 for u in used])])[0].p_value, probability))
            total += probability
        assert total == pytest.approx(1.0)
        for alpha in {p for p, _ in by_p}:
            assert sum(q for p, q in by_p if p <= alpha) <= alpha
        assert min(p for p, _ in by_p) < 0.1  # the bound says something: all six are equal in 1 of 729


def test_treating_the_pairs_of_a_prompt_as_independent_would_be_wrong():
    """Pairs of one prompt are equal together: the mutant that multiplies their chances claims too little."""
    together = np.tile([0, 0, 1, 1], (20, 1))
    both = same_places(together, [([0, 2], [1, 3])])[0]
    truth = (1 / 3) ** 20
    assert both.count == 40
    assert upper_tail(np.full(40, 1 / 3), 40) < truth <= both.p_value


def drawn(key, *, prompts, responses, kinds, sharpness=1.0):
    draw = seeds.generator("tests", "places", key, shared=True)
    law = draw.dirichlet(np.full(kinds, 1.0 / sharpness), size=prompts)
    return (draw.random((prompts, responses, 1)) > law.cumsum(axis=1)[:, None, :-1]).sum(axis=2)


HALVES = (range(4), range(4, 8))


@pytest.mark.parametrize("sharpness", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("kinds", [2, 5, 100])
def test_independent_responses_raise_no_alarm(kinds, sharpness):
    """Each test alarms (p < 1e-6) with a probability below 1e-6: 50 of them with one below 5e-5."""
    for i in range(50):
        codes = drawn((kinds, sharpness, i), prompts=60, responses=12, kinds=kinds, sharpness=sharpness)
        assert same_places(codes, [HALVES])[0].p_value >= 1e-6


@pytest.mark.parametrize("kinds", [5, 100])
def test_copies_are_seen(kinds):
    codes = drawn(("copies", kinds), prompts=60, responses=12, kinds=kinds)
    codes[:, 4:8] = codes[:, :4]
    assert same_places(codes, [HALVES])[0].p_value < 1e-12
    a_quarter = drawn(("quarter", kinds), prompts=200, responses=12, kinds=kinds)
    a_quarter[:, 4] = a_quarter[:, 0]
    assert same_places(a_quarter, [HALVES])[0].p_value < 1e-6


def test_other_places_are_not_blamed():
    codes = drawn("others", prompts=60, responses=12, kinds=20)
    codes[:, 8:12] = codes[:, :4]  # students 0 and 2
    same, other = same_places(codes, [(range(4), range(8, 12)), HALVES])
    assert same.p_value < 1e-12
    assert other.p_value >= 1e-6


def test_two_responses_say_nothing():
    found = same_places(np.zeros((100, 2), dtype=int), [([0], [1])])[0]
    assert (found.count, found.expected, found.p_value) == (100, 100.0, 1.0)


def test_wrong_shapes_and_places():
    with pytest.raises(ShapeError, match=r"needs axes \(P, R\)"):
        same_places(np.zeros(3, dtype=int), [])
    for first, second in (([0], [0]), ([0, 1], [2]), ([0], [4]), ([-1], [2])):
        with pytest.raises(ShapeError, match="none twice"):
            same_places(np.zeros((2, 4), dtype=int), [(first, second)])
