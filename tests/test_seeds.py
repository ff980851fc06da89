"""Keyed seeds: injective, stable, collision-free, and reuse is noticed."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uqkd import seeds
from uqkd.errors import OptionError, SeedReuseError

SHORT = st.text(max_size=8), st.binary(max_size=8)
PART = st.one_of(*SHORT, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
KEY = st.lists(st.one_of(PART, st.tuples(PART, PART)), min_size=1, max_size=4).map(tuple)


def typed(part):
    """A key part with its type, so that 1, 1.0 and True differ; -0.0 and 0.0 are one."""
    if isinstance(part, (tuple, list)):
        return tuple(typed(p) for p in part)
    return type(part).__name__, part


@given(KEY, KEY)
def test_different_keys_have_different_seeds_and_equal_ones_equal(a, b):
    assert (seeds.seed63(*a) == seeds.seed63(*b)) == (typed(a) == typed(b))


def test_keys_are_stable_over_versions():
    """Golden: a change of these numbers changes every result ever published; rename the scheme instead."""
    assert seeds.seed63("llm", "study", "teacher", "prompt-1", 0) == 8650503679023557263
    np.testing.assert_array_equal(seeds.generator("doc", 1).integers(100, size=3), [9, 43, 87])


@pytest.mark.parametrize(
    ("a", "b"),
    [(("ab", "c"), ("a", "bc")), ((1,), ("1",)), ((1,), (1.0,)), ((1,), (True,)), ((("a",), "b"), ("a", ("b",)))],
)
def test_keys_that_a_naive_join_would_confuse(a, b):
    assert seeds.seed63(*a) != seeds.seed63(*b)


@pytest.mark.parametrize(
    ("a", "b"), [(0.0, -0.0), (3, np.int64(3)), (0.5, np.float64(0.5)), (True, np.bool_(True)), ((1, "x"), [1, "x"])]
)
def test_parts_that_mean_the_same_are_one_key(a, b):
    assert seeds.seed63("part", a) == seeds.seed63("part", b)


def test_text_that_utf8_cannot_hold_is_kept_apart():
    """A file name may hold lone surrogates; replaced by '?', two of them would share their draws."""
    assert len({seeds.seed63(text) for text in ("\ud800", "\udfff", "?", "\ufffd")}) == 4


def test_no_collisions():
    """10⁷ keys in the full fault run, 3·10⁵ otherwise; expected collisions m²/2⁶⁴ = 5e-6 and 5e-9."""
    count = 10_000_000 if os.environ.get("UQKD_FAULTS") == "full" else 300_000
    found = np.fromiter(
        (seeds.seed63("collisions", i // 1000, i % 1000) for i in range(count)), dtype=np.int64, count=count
    )
    assert len(np.unique(found)) == count
    assert found.min() >= 0


def test_streams_of_neighbouring_keys_are_uncorrelated():
    """Sample correlations of 200 pairs of streams of 1,000: sd 1/√1000, so the largest stays below 5 sd."""
    draws = np.stack([seeds.generator("neighbour", i).standard_normal(1_000) for i in range(201)])
    correlations = (draws[:-1] * draws[1:]).mean(axis=1)
    assert np.abs(correlations).max() < 5 / np.sqrt(1_000)


def test_reuse_names_both_uses():
    with seeds.ledger():
        seeds.generator("twice", 1)
        with pytest.raises(
            SeedReuseError, match=r"\('twice', 1\).*first at test_seeds.py:\d+, again at test_seeds.py:\d+"
        ):
            seeds.seed63("twice", 1)


def test_shared_draws_and_other_ledgers_are_not_reuse():
    with seeds.ledger() as first:
        seeds.generator("shared", shared=True)
        seeds.generator("shared", shared=True)
        seeds.generator("once")
    with seeds.ledger() as second:
        seeds.generator("once")
    assert len(first.uses) == len(second.uses) == 1


def test_ledgers_merge_and_notice_reuse_across_units():
    with seeds.ledger() as first:
        seeds.generator("unit")
    with seeds.ledger() as second:
        seeds.generator("unit")
    with pytest.raises(SeedReuseError, match="unit"):
        first.merge(second)


def test_bad_keys_are_refused():
    with pytest.raises(OptionError, match="empty key"):
        seeds.generator()
    with pytest.raises(OptionError, match="dict"):
        seeds.generator("a", {"b": 1})


def test_chunks_cover_everything_once_and_begin_alike():
    assert [size for _, size in seeds.chunks(1_000)] == [128] * 7 + [104]
    assert list(seeds.chunks(1_280))[:10] == list(seeds.chunks(12_800))[:10]
