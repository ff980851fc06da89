"""What drawing costs: a few responses drawn into a folder that is thrown away, in a small batch and in a larger one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from uqkd import seeds
from uqkd.llm.bank.bank import STUDY, Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Teacher

_LARGEST = 256  # responses of the larger batch, at most: what vLLM decodes at a time
_SHARE = 8  # of what is missing the larger batch is this part, at most
_KEY = ("llm", "pilot")


@dataclass(frozen=True)
class Batch:
    """Responses drawn together.

    Attributes
    ----------
    count : int
    seconds : float
    bytes : int
        Of the files that hold them.
    tokens : int
    """

    count: int
    seconds: float
    bytes: int
    tokens: int


def measured_batches(
    teacher: Teacher, prompts: Prompts, missing: int, *, sampling: Sampling, clock: Callable[[], float]
) -> list[Batch]:
    """A batch of two that takes what only the first draw takes, then a small and a larger one, of prompts at random.

    Parameters
    ----------
    teacher : Teacher
    prompts : Prompts
    missing : int
        Responses that will be drawn.
    sampling : Sampling
    clock : callable
        Seconds.
    """
    large = max(2, min(_LARGEST, missing // _SHARE))
    return [_drawn(teacher, prompts, count, sampling=sampling, clock=clock) for count in (2, max(2, large // 4), large)]


def rows_at_once(teacher: Teacher, prompts: Prompts, sampling: Sampling) -> int | None:
    """Responses that the teacher's engine decodes together; None where it takes more whenever some are done."""
    counted = getattr(teacher, "rows_at_once", None)
    if counted is None:
        return None
    longest = max(map(len, teacher.encoder.encode_prompts(prompts)))
    return int(counted(longest, sampling.max_tokens))


def _drawn(teacher: Teacher, prompts: Prompts, count: int, *, sampling: Sampling, clock: Callable[[], float]) -> Batch:
    order = seeds.generator(*_KEY, count, shared=True).permutation(len(prompts))
    chosen = prompts.select(np.sort(order[:count]).tolist())
    each = -(-count // len(chosen))
    with tempfile.TemporaryDirectory(prefix="uqkd-dry-run-") as place:
        bank, began = Bank(place), clock()
        fill_bank(teacher, chosen, each, bank=bank, sampling=sampling, key=(*_KEY, count), too_long="skip")
        seconds = clock() - began
        tokens = sum(int(np.sum(table["tokens"].to_numpy())) for table in bank.scan(("tokens",)))
        return Batch(max(bank.rows, 1), seconds, bank.store.stock(STUDY).bytes, tokens)
