"""Loss of students on responses that they were not trained on: the teacher's own, to prompts held out or drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uqkd.llm.measuring.losses import HeldOut
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.models.revision import check_model
from uqkd.llm.responses import Responses
from uqkd.llm.students.networks.likelihood import SequenceLikelihood, only_supervised, row_table
from uqkd.llm.students.rows.tokenising import student_tokens
from uqkd.llm.teachers.backends.transformers import load

Array = NDArray[np.float64]

_TOKENS = 2**12  # of a batch, padding included; only the supervised ones pass through the head
_BLOCK = 2**13  # responses whose rows are made and sorted by length at once


@torch.no_grad()  # not inference mode, whose tensors do not tell whether a head left its logits alone
def held_out_loss(model: Any, encoder: Encoder, responses: Responses) -> HeldOut:
    """−log p of a teacher's responses under one student, given the prompts.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        On the device where it is to run; it stays as it is.
    encoder : Encoder
        Of the student. Where its tokenizer is not the teacher's, texts are encoded anew: losses are of its own tokens.
    responses : Responses
        (1 or S, P, k) of the teacher, all of them together.

    Returns
    -------
    HeldOut
        S = 1.
    """
    k = responses.shape[0] * responses.shape[2]
    pairs, counts = _pairs(responses)
    tokens = student_tokens(responses.distinct, encoder)
    prompts = encoder.encode_prompts(responses.prompts)
    found = np.zeros((2, len(prompts)))
    scorer, training = SequenceLikelihood(model), model.training
    scorer.eval()
    try:
        for start in range(0, len(pairs), _BLOCK):
            some, often = pairs[start : start + _BLOCK], counts[start : start + _BLOCK]
            rows = [encoder.supervised(prompts[p], tokens.response(i)) for p, i in some.tolist()]
            learnt = np.array([sum(mask) for _, mask in rows])
            for places in _batches([len(ids) for ids, _ in rows]):
                nats = _nats(scorer, [rows[n] for n in places], model.device)
                np.add.at(found[0], some[places, 0], nats * often[places])
            np.add.at(found[1], some[:, 0], learnt * often)
    finally:
        model.train(training)
    note = f"−log p of {k} responses of the teacher to each prompt, ends included"
    return HeldOut(found[:1], found[1:], note="; ".join([note, *tokens.notes]))


def loss_of_folder(
    name_or_path: str | Path,
    responses: Responses,
    *,
    device: str = "auto",
    chat: bool | None = None,
    template_args: Mapping[str, Any] | None = None,
    day: str | None = None,
) -> HeldOut:
    """`held_out_loss` of a saved student, an adapter merged.

    Parameters
    ----------
    name_or_path : str or path
    responses : Responses
    device, chat, template_args
        See `open_teacher`.
    day : str, optional
        That a template which prints the date is told: the one of the teacher's bank.
    """
    path = check_model(name_or_path)
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    encoder = Encoder.of(path, chat=chat, template_args=template_args).on_day(day)
    return held_out_loss(load(path, "auto").to(where).eval(), encoder, responses)


def _pairs(responses: Responses) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every different (prompt, response), and how often it was drawn."""
    distinct = len(responses.distinct)
    codes = np.arange(len(responses.prompts))[None, :, None] * distinct + responses.index
    values, counts = np.unique(codes, return_counts=True)
    return np.stack(np.divmod(values, distinct), axis=1), counts


def _batches(lengths: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Places of rows of similar length, the longest first, whose padded tokens fit a batch."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, _TOKENS // lengths[order[start]])
        yield order[start : start + size]
        start += size


def _nats(scorer: SequenceLikelihood, rows: Sequence[Any], device: Any) -> Array:
    """−log p of the supervised tokens of each row."""
    table = row_table(rows)
    with only_supervised(scorer, table):
        likelihoods = scorer(torch.from_numpy(table).to(device))
    return np.asarray(-likelihoods.double().cpu().numpy())
