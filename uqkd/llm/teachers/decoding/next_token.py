"""Next tokens from logits and uniform numbers: the same draw whatever computes the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.requests import Request
from uqkd.llm.sampling import Sampling

Floats = NDArray[Any]  # float32 or float64

_BLOCK = (
    256  # tokens whose weights are added before any is looked at: of 49,152 tokens 192 sums and one block are searched
)
_CANDIDATES = 1024  # most probable tokens among which the end of top-p is looked for first


def choose(logits: Floats, uniform: Floats, sampling: Sampling) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Next tokens by inversion, and the logarithms of their probabilities after temperature and cuts.

    Weights are computed in the number type of the logits, whose own rounding is as large, and added in float64.

    Parameters
    ----------
    logits : (n, V) float
    uniform : (n,) float
        In [0, 1).
    sampling : Sampling

    Examples
    --------
    >>> logits = np.log([[0.5, 0.25, 0.25]])
    >>> tokens, logs = choose(logits, np.array([0.6]), Sampling())
    >>> int(tokens[0]), float(np.exp(logs[0]).round(3))
    (1, 0.25)
    >>> tokens, logs = choose(logits, np.array([0.6]), Sampling(top_k=1))
    >>> int(tokens[0]), float(np.exp(logs[0]))
    (0, 1.0)
    """
    if sampling.temperature == 0:
        chosen = logits.argmax(axis=1)
        return chosen, np.zeros(len(chosen))
    size = logits.shape[1]
    width = _BLOCK if size > 4 * _BLOCK else size
    padded = np.zeros((len(logits), -(-size // width) * width), dtype=logits.dtype)
    kept = padded[:, :size]
    np.subtract(logits, logits.max(axis=1, keepdims=True), out=kept)
    if sampling.temperature != 1.0:
        kept /= sampling.temperature
    np.exp(kept, out=kept)
    if (sampling.top_k, sampling.top_p, sampling.min_p) != (0, 1.0, 0.0):
        _cut(kept, sampling)
    return _inverted(padded.reshape(len(logits), -1, width), uniform)


def _inverted(weights: Floats, uniform: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where each uniform number falls among the weights (n, blocks, width): first the block, then the place in it."""
    rows = np.arange(len(weights))
    edges = np.cumsum(weights.sum(axis=2), axis=1, dtype=np.float64)
    whole = edges[:, -1]
    # A uniform number below one lies below the last edge, and a block or token that was cut has no width.
    at = uniform * whole
    block = (edges <= at[:, None]).sum(axis=1)
    before = np.where(block > 0, edges[rows, block - 1], 0.0)
    within = np.cumsum(weights[rows, block], axis=1, dtype=np.float64)
    # What is left of the number, on the scale of the block's own sum: two sums differ by rounding.
    share = np.minimum((at - before) / (edges[rows, block] - before), _BELOW_ONE)
    place = (within <= (share * within[:, -1])[:, None]).sum(axis=1)
    logs = np.log(weights[rows, block, place].astype(np.float64) / whole)
    return block * weights.shape[2] + place, logs


_BELOW_ONE = np.nextafter(1.0, 0.0)


def _cut(kept: Floats, sampling: Sampling) -> None:
    """Set to zero what top-k, top-p and min-p drop, in vLLM's order: min-p, then top-k, then top-p of what is left."""
    if sampling.min_p > 0:
        kept[kept < sampling.min_p * kept.max(axis=1, keepdims=True)] = 0.0
    if 0 < sampling.top_k < kept.shape[1]:
        least = np.partition(kept, -sampling.top_k, axis=1)[:, -sampling.top_k, None]
        kept[kept < least] = 0.0
    if sampling.top_p < 1.0:
        _cut_mass(kept, sampling.top_p)


def _cut_mass(kept: Floats, top_p: float) -> None:
    """Set to zero all but the most probable tokens that reach a share of the whole; of equal ones the first come first."""
    goal = top_p * kept.sum(axis=1, dtype=np.float64)
    rest = np.arange(len(kept))
    if kept.shape[1] > 4 * _CANDIDATES:
        some = np.sort(np.argpartition(kept, -_CANDIDATES, axis=1)[:, -_CANDIDATES:], axis=1)
        found = np.take_along_axis(kept, some, axis=1)
        # Those above the least candidate are candidates too: where they reach the share no other token is needed.
        above = np.where(found > found.min(axis=1, keepdims=True), found, 0.0).sum(axis=1, dtype=np.float64)
        few = above >= goal
        _keep(kept, np.flatnonzero(few), some[few], goal)
        rest = np.flatnonzero(~few)
    _keep(kept, rest, np.broadcast_to(np.arange(kept.shape[1]), (len(rest), kept.shape[1])), goal)


def _keep(kept: Floats, rows: NDArray[np.int64], places: NDArray[np.int64], goal: NDArray[np.float64]) -> None:
    """In these rows keep of the tokens at these places (in rising order) the most probable, until they reach the goal."""
    if not len(rows):
        return
    values = kept[rows[:, None], places]
    # Sorting the values alone is twenty times as fast as ranking the tokens, and tells all but which of equal ones stay.
    ranked = np.sort(values, axis=1)[:, ::-1]
    number = (np.cumsum(ranked, axis=1, dtype=np.float64) - ranked < goal[rows, None]).sum(axis=1)
    least = ranked[np.arange(len(rows)), number - 1, None]
    spare = (values >= least).sum(axis=1) - number
    values[values < least] = 0.0
    for row in np.flatnonzero(spare):
        values[row, np.flatnonzero(values[row] == least[row])[-spare[row] :]] = 0.0
    kept[rows] = 0.0
    kept[rows[:, None], places] = values


class Penalty:
    """The repetition penalty: which tokens each request has seen, its prompt's too; nothing is kept where there is none.

    Examples
    --------
    >>> penalty = Penalty([Request((1,), seed=0)], Sampling(repetition_penalty=2.0))
    >>> penalty.see(np.array([0]), np.array([2]))
    >>> penalty.applied(np.array([0]), np.array([[1.0, 1.0, -1.0, -1.0]])).tolist()
    [[1.0, 0.5, -2.0, -1.0]]
    """

    def __init__(self, requests: Sequence[Request], sampling: Sampling) -> None:
        self._penalty = sampling.repetition_penalty
        self._tokens = [set(request.prompt_token_ids) for request in requests] if self._penalty != 1.0 else []

    def see(self, rows: NDArray[np.int64], chosen: NDArray[np.int64]) -> None:
        """Note what was chosen in these rows."""
        if self._tokens:
            for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
                self._tokens[row].add(token)

    def applied(self, rows: NDArray[np.int64], logits: Floats) -> Floats:
        """The logits of these rows, penalised in place."""
        if self._tokens:
            for row, own in zip(rows.tolist(), logits, strict=True):
                places = np.fromiter(self._tokens[row], dtype=np.int64)
                own[places] = np.where(own[places] > 0, own[places] / self._penalty, own[places] * self._penalty)
        return logits
