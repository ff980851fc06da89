"""Next tokens from logits and uniform numbers: the same draw whatever computes the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Request

Floats = NDArray[np.float64]


def choose(logits: Floats, uniform: Floats, sampling: Sampling) -> tuple[NDArray[np.int64], Floats]:
    """Next tokens by inversion, and the logarithms of their probabilities after temperature and cuts.

    Parameters
    ----------
    logits : (n, V) float64
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
    kept = logits - logits.max(axis=1, keepdims=True)
    if sampling.temperature != 1.0:
        kept /= sampling.temperature
    np.exp(kept, out=kept)
    if (sampling.top_k, sampling.top_p, sampling.min_p) != (0, 1.0, 0.0):
        kept = _cut(kept / kept.sum(axis=1, keepdims=True), sampling)
    edges = np.cumsum(kept, axis=1)
    # The last edge takes the rounding: a uniform number below one always lies below it. A token that was cut has no width.
    whole = edges[:, -1]
    chosen = np.array(
        [row.searchsorted(at, side="right") for row, at in zip(edges, uniform * whole, strict=True)], np.int64
    )
    return chosen, np.log(kept[np.arange(len(kept)), chosen] / whole)


def _cut(probabilities: Floats, sampling: Sampling) -> Floats:
    """Set to zero what top-k, top-p and min-p drop, in vLLM's order: min-p, then top-k, then top-p of what is left."""
    kept = probabilities
    if sampling.min_p > 0:
        kept = np.where(kept >= sampling.min_p * kept.max(axis=1, keepdims=True), kept, 0.0)
    if 0 < sampling.top_k < kept.shape[1]:
        least = np.partition(kept, -sampling.top_k, axis=1)[:, -sampling.top_k, None]
        kept = np.where(kept >= least, kept, 0.0)
    if sampling.top_p < 1.0:
        order = np.argsort(-kept, axis=1, kind="stable")
        ranked = np.take_along_axis(kept, order, axis=1)
        ranked /= ranked.sum(axis=1, keepdims=True)
        before = np.cumsum(ranked, axis=1) - ranked
        dropped = np.zeros(kept.shape, dtype=bool)
        np.put_along_axis(dropped, order, before >= sampling.top_p, axis=1)
        kept = np.where(dropped, 0.0, kept)
    return kept


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
