"""What an audit looks at, in the columns of a bank."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.columns.scan import response_codes, rows_of
from uqkd.llm.prompts.prompts import Prompts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Draws:
    """What the audit looks at; R is the number of responses to each prompt.

    Attributes
    ----------
    codes : (P, R) int64
        One code for each distinct response.
    log_q : (P, R) float64, optional
        Natural logarithm of its probability; None where they are not known.
    first : (P, R) int64
        Its first token, or a code of its first word where only the text is known.
    first_log_q : (P, R) float64, optional
        Natural logarithm of that token's probability.
    seeds : (P, R) int64, optional
        None where they are not known.
    """

    codes: NDArray[np.int64]
    log_q: NDArray[np.float64] | None
    first: NDArray[np.int64]
    first_log_q: NDArray[np.float64] | None
    seeds: NDArray[np.int64] | None

    def of_prompts(self, places: NDArray[np.int64]) -> Draws:
        """Those of some prompts."""
        columns: list[Any] = [getattr(self, name) for name in self.__dataclass_fields__]
        return Draws(*(None if column is None else column[places] for column in columns))  # type: ignore[arg-type]


def collect(bank: Bank, prompts: Prompts, count: int) -> Draws:
    """What the audit looks at, from the responses 0 ... count-1 of a bank; 41 bytes each.

    Raises
    ------
    DataError
        Responses are missing.
    """
    shape = (len(prompts), count)
    codes, first, seeds = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    log_q, first_log = np.zeros(shape), np.zeros(shape)
    there = np.zeros(shape, dtype=bool)
    has_seeds = has_logs = True
    for places, indices, table in bank.selected(prompts, ("token_ids", "text", "token_logprobs", "seed"), count):
        at, logs = (places, indices), rows_of(table["token_logprobs"])
        codes[at], first[at], there[at] = response_codes(table).astype(np.int64), _first(table), True
        seeds[at], log_q[at], first_log[at] = table["seed"].fill_null(0), logs.sums(), logs.first(0.0)
        has_seeds, has_logs = has_seeds and not table["seed"].null_count, has_logs and bool(logs.there.all())
    if not there.all():
        raise DataError(
            f"the audit needs responses 0 ... {count - 1} to all {len(prompts)} prompts, and the bank {bank.root!r} lacks "
            f"{int((~there).sum())} of {there.size}; draw them first."
        )
    return Draws(
        codes, log_q if has_logs else None, first, first_log if has_logs else None, seeds if has_seeds else None
    )


def _first(table: pa.Table) -> NDArray[np.int64]:
    """The first token of each row, -1 where it has none; where only the text is known a code of its first word."""
    ids = rows_of(table["token_ids"])
    found = ids.first(-1).astype(np.int64)
    if not ids.there.all():
        words = [next(iter(text.split(maxsplit=1)), "") for text in table["text"].filter(~ids.there).to_pylist()]
        digests = b"".join(hashlib.blake2b(word.encode(), digest_size=8).digest() for word in words)
        found[~ids.there] = np.frombuffer(digests, dtype="<i8")
    return found
