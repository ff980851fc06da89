"""The next token by top-p: what a plain ranking of the tokens keeps, ties and all, however it is found."""

from __future__ import annotations

import numpy as np
import pytest

from uqkd import seeds
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.decoding.next_token import choose

LOGITS = {
    "one token carries the mass": lambda rng, n: rng.standard_normal(n) * 8.0,
    "hundreds carry it": lambda rng, n: rng.standard_normal(n) * 2.0,
    "ties": lambda rng, n: rng.integers(0, 3, n).astype(float),
    "all equal": lambda _rng, n: np.zeros(n),
    "half impossible": lambda rng, n: np.where(rng.random(n) < 0.5, rng.standard_normal(n), -np.inf),
}


def kept_by_ranking(logits, top_p):
    """Tokens, most probable first and of equal ones the first first, until those before one reach the share."""
    weights = np.exp(logits - logits.max())
    order = sorted(range(len(weights)), key=lambda token: (-weights[token], token))
    goal, reached, kept = top_p * weights.sum(dtype=np.float64), 0.0, []
    for token in order:
        if reached >= goal:
            break
        kept.append(token)
        reached += float(weights[token])
    return sorted(kept)


@pytest.mark.parametrize("number", ["float32", "float64"])
@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("size", [7, 6000])
@pytest.mark.parametrize("kind", LOGITS)
def test_top_p_keeps_what_a_plain_ranking_keeps(kind, size, top_p, number):
    rng = seeds.generator("tests", "top p", kind, size, top_p, number)
    logits = LOGITS[kind](rng, size).astype(number)
    logits[0] = max(logits[0], 0.0)  # one possible token at least
    kept = kept_by_ranking(logits, top_p)
    # One uniform number in the middle of every kept token's share finds each of them, and no other.
    weights = np.exp(logits - logits.max())[kept].astype(np.float64)
    middle = (np.cumsum(weights) - weights / 2) / weights.sum()
    seen = np.linspace(0, len(kept) - 1, min(len(kept), 50)).astype(int)
    # A share below the rounding of the sums cannot be aimed at.
    seen = seen[weights[seen] > 1e-9 * weights.sum()]
    tokens, logs = choose(np.tile(logits, (len(seen), 1)), middle[seen], Sampling(top_p=top_p))
    assert tokens.tolist() == [kept[i] for i in seen]
    # float32 weights are summed in blocks: 1e-5 of the sum at most, for 6,000 of them.
    assert logs == pytest.approx(np.log(weights[seen] / weights.sum()), abs=1e-5 if number == "float32" else 1e-12)
