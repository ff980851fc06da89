"""The logits processor that draws: it leaves `generate` no token to choose but the one drawn here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from uqkd import seeds
from uqkd.errors import WorkerError
from uqkd.llm.requests import Request
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.decoding.next_token import Penalty, choose


class Chooser:
    """Draws each row's next token from the row's own uniform numbers, and keeps what was drawn.

    Parameters
    ----------
    requests : sequence of Request
        One a row.
    sampling : Sampling
    stop_ids : sequence of int
        Tokens that end a row.
    """

    def __init__(self, requests: Sequence[Request], sampling: Sampling, stop_ids: Sequence[int]) -> None:
        uniform = [seeds.drawn_from(request.seed).random(sampling.max_tokens) for request in requests]
        self._uniform, self._sampling, self._stops = np.stack(uniform), sampling, np.array(stop_ids)
        self._penalty = Penalty(requests, sampling)
        self._ids = np.zeros(self._uniform.shape, dtype=np.int64)
        self._logs = np.zeros(self._uniform.shape)
        self._lengths = np.zeros(len(requests), dtype=np.int64)
        self._open = np.arange(len(requests))  # rows that have not ended
        self._step = 0

    def __call__(self, _input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores that leave every open row the one token that is drawn for it."""
        rows = self._open
        if not len(rows) or self._step == self._uniform.shape[1]:
            return scores
        own = scores if len(rows) == len(scores) else scores[torch.as_tensor(rows, device=scores.device)]
        logits = own.to("cpu", torch.float32).numpy()  # `generate` gives float32 whatever the model's type
        if not np.isfinite(logits.max(axis=1)).all():
            raise WorkerError(
                "the model's probabilities are not finite (an overflow of its number type, or broken weights); try dtype='float32'."
            )
        chosen, logs = choose(self._penalty.applied(rows, logits), self._uniform[rows, self._step], self._sampling)
        self._penalty.see(rows, chosen)
        self._ids[rows, self._step], self._logs[rows, self._step] = chosen, logs
        self._step += 1
        self._lengths[rows] = self._step
        self._open = rows[~np.isin(chosen, self._stops)]
        scores[torch.as_tensor(rows, device=scores.device), torch.as_tensor(chosen, device=scores.device)] = torch.inf
        return scores

    def rows(self) -> Iterator[tuple[tuple[int, ...], tuple[float, ...], str]]:
        """Token ids, logarithms of their probabilities and what ended them, row by row."""
        going = set(self._open.tolist())
        for row, length in enumerate(self._lengths.tolist()):
            reason = "length" if row in going else "stop"
            yield tuple(self._ids[row, :length].tolist()), tuple(self._logs[row, :length].tolist()), reason
