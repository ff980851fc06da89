"""Exact answer distributions of language models where the answers can be listed: no sampling, no noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import DataError, OptionError
from uqkd.llm.responses import Prompts, Responses, TextTargets
from uqkd.llm.students.networks.likelihood import SequenceLikelihood, only_supervised, row_table
from uqkd.stacked import Stacked

Array = NDArray[np.float64]
Classes = NDArray[np.int64]

ROUNDING = 1e-7  # probabilities below it are rounding: students and teacher are computed in single precision
_ROWS = 512  # sequences per pass: a few megabytes of activations for each student


@torch.no_grad()
def answer_probabilities(students: Any, encoder: Any, prompts: Prompts, *, temperature: float = 1.0) -> Array:
    """Probability of every reference answer, and of anything else, for each student and prompt.

    An answer counts as one token sequence, ended by EOS; everything else together is the last class.

    Parameters
    ----------
    students : Stacked or transformers model
        S stacked students (of `uqkd.llm.students.networks.likelihood.SequenceLikelihood`), or one model: S = 1.
    encoder : uqkd.llm.models.encoding.Encoder
        Of the students.
    prompts : Prompts
        With reference answers, C at most.
    temperature : float
        Of the sampling; positive.

    Returns
    -------
    (S, P, C + 1) float
        Rows sum to one. Prompts with fewer answers than C have zeros before the last class.

    Raises
    ------
    DataError
        A prompt without reference answers, or the same one twice.
    OptionError
        A temperature that is not positive.
    """
    if not temperature > 0:
        raise OptionError(f"answer_probabilities needs temperature > 0; got {temperature}.")
    rows, places, widest = _rows(encoder, prompts)
    count = students.students if isinstance(students, Stacked) else 1
    found = np.zeros((count, len(prompts), widest + 1))
    with _likelihoods(students, temperature) as (module, run):
        for start in range(0, len(rows), _ROWS):
            table = row_table(rows[start : start + _ROWS])
            with only_supervised(module, table):
                likelihoods = run(table).double().exp().cpu().numpy()
            for n, (p, c) in enumerate(places[start : start + _ROWS]):
                found[:, p, c] = likelihoods[:, n]
    # Single precision lets a sum pass one by a few 1e-7; the rest is then nothing.
    total = found.sum(axis=-1, keepdims=True)
    found /= np.maximum(total, 1.0)
    found[..., -1] = np.maximum(1.0 - found.sum(axis=-1), 0.0)
    return found


def answer_classes(responses: Responses, encoder: Any) -> Classes:
    """Which reference answer each response is, in the classes of `answer_probabilities`.

    Parameters
    ----------
    responses : Responses
        (S, P, k), to prompts with reference answers, C at most.
    encoder : uqkd.llm.models.encoding.Encoder
        An answer is its one token sequence, and the end.

    Returns
    -------
    (S, P, k) int
        Place among the prompt's answers; C for anything else.
    """
    prompts, ids = responses.prompts, [r.token_ids if r.finished else None for r in responses.distinct]
    other, known = max(map(len, prompts.answers)), np.empty((len(prompts), len(ids)), dtype=np.int64)
    for p, answers in enumerate(prompts.answers):
        places: dict[Any, int] = {encoder.response(answer).token_ids: c for c, answer in enumerate(answers)}
        known[p] = [places.get(one, other) for one in ids]
    return known[np.arange(len(prompts))[None, :, None], responses.index]


def answer_shares(targets: TextTargets, encoder: Any) -> Array:
    """Weighted responses as distributions over the classes of `answer_probabilities`, (S, P, C + 1)."""
    classes = answer_classes(targets.responses, encoder)
    every = np.arange(max(map(len, targets.responses.prompts.answers)) + 1)
    return np.stack([(targets.weights * (classes == c)).sum(axis=-1) for c in every], axis=-1)


@contextmanager
def _likelihoods(students: Any, temperature: float) -> Iterator[tuple[Any, Callable[[Any], torch.Tensor]]]:
    """The module that computes log-likelihoods, and a function from rows to those of all students, (S, N)."""
    lone = None if isinstance(students, Stacked) else SequenceLikelihood(students)
    module: Any = lone or students.body
    before, module.temperature = module.temperature, temperature
    was_training = students.training
    students.eval()
    try:
        if lone is None:
            yield module, students
        else:
            device = next(lone.parameters()).device
            yield module, lambda table: lone(torch.as_tensor(table, device=device))[None]
    finally:
        module.temperature = before
        students.train(was_training)


def _rows(encoder: Any, prompts: Prompts) -> tuple[list[Any], list[tuple[int, int]], int]:
    """Rows of every prompt with every answer, and the prompt and answer that each is."""
    rows: list[Any] = []
    places: list[tuple[int, int]] = []
    encoded = encoder.encode_prompts(prompts)
    for p, (name, prompt, answers) in enumerate(zip(prompts.ids, encoded, prompts.answers, strict=True)):
        if not answers or len(set(answers)) < len(answers):
            what = "no reference answers" if not answers else f"the same reference answer twice, {answers}"
            raise DataError(f"prompt {name!r} has {what}; exact probabilities need each answer once.")
        for c, answer in enumerate(answers):
            rows.append(encoder.supervised(prompt, encoder.response(answer)))
            places.append((p, c))
    return rows, places, max(len(answers) for answers in prompts.answers)


def consecutive(q: Array, count: int, size: int, *, key: tuple[Any, ...]) -> Classes:
    """Draws of students at consecutive seeds, as engines make them that seed response r with seed + r.

    Parameters
    ----------
    q : (S, P, C) float
        Answer distributions.
    count, size : int
        Blocks B, and draws R of each.
    key : tuple
        Of the common stream of random numbers.

    Returns
    -------
    (S, P, B, R) int
        The r-th draw of student s uses random number s + r: each shares R − 1 of R with the next.

    Examples
    --------
    >>> drawn = consecutive(np.full((2, 1, 4), 0.25), 1, 3, key=("doc", "consecutive"))
    >>> bool((drawn[0, 0, 0, 1:] == drawn[1, 0, 0, :-1]).all())
    True
    """
    students, prompts, _ = q.shape
    stream = seeds.generator(*key).random((prompts, count, students + size - 1))
    windows = np.stack([stream[..., s : s + size] for s in range(students)])
    upper = q.cumsum(axis=-1)[:, :, None, None, :-1]
    return np.asarray((windows[..., None] >= upper).sum(axis=-1))
