"""Which responses a bank has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import ProvenanceError
from uqkd.llm.bank.columns.fingerprint import distinct_rows
from uqkd.llm.bank.columns.scan import response_codes
from uqkd.llm.prompts.prompts import Prompts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Inventory:
    """Which of the wanted responses a bank has; eight bytes each, whatever their length.

    Attributes
    ----------
    codes : (P, k) uint64
        Hash of the response's tokens (of its text where only that is known), 0 where it is missing.
    flagged : int
        Responses with any flag.
    flags : Counter
        Responses by flag.
    """

    codes: NDArray[np.uint64]
    flagged: int = 0
    flags: Counter[str] = field(default_factory=Counter)

    def note(self, places: NDArray[np.int64], table: pa.Table) -> None:
        """Take in the rows of a unit that was committed: (n, 2) prompt and response index of each row."""
        self.codes[places[:, 0], places[:, 1]] = response_codes(table)
        for flags, count in Counter(table["flags"].to_pylist()).items():
            self.count_flags(flags, count)

    def count_flags(self, flags: str | None, count: int) -> None:
        """Count some responses with the same flags."""
        if flags and count:
            self.flagged += count
            self.flags.update(dict.fromkeys(flags.split(","), count))

    @property
    def missing(self) -> NDArray[np.int64]:
        """(M, 2) prompt and response index of what is missing, prompt by prompt."""
        return np.argwhere(self.codes == 0)


def put(
    there: NDArray[Any],
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    values: NDArray[Any],
    *,
    root: str,
    prompts: Prompts,
) -> NDArray[np.bool_]:
    """Put values at (prompt, response index) where there is 0; say which were the first to be put there.

    Raises
    ------
    ProvenanceError
        Another value is there.
    """
    before = there[at]
    there[at] = np.where(before == 0, values, before)
    if (wrong := np.flatnonzero(there[at] != values)).size:
        place, index = (int(one[wrong[0]]) for one in at)
        raise ProvenanceError(
            f"the bank {root!r} holds two different responses {index} to prompt {prompts.ids[place]!r}. Both are kept; find "
            "the unit that is wrong and delete it."
        )
    return np.asarray(before == 0)


def without_gap(found: NDArray[np.int64], prompts: int) -> int:
    """How many responses 0, 1, 2, ... every prompt has; `found` has rows of (prompt, response index).

    Responses are used from the first one on: what stands behind a gap does not count.

    Examples
    --------
    >>> without_gap(np.array([[0, 0], [0, 1], [0, 3], [1, 1], [1, 0], [1, 2]]), 2)
    2
    """
    ordered = distinct_rows(found[found[:, 1] >= 0])
    first = np.searchsorted(ordered[:, 0], ordered[:, 0])
    in_turn = ordered[:, 1] == np.arange(len(ordered)) - first
    return int(np.bincount(ordered[in_turn, 0], minlength=prompts).min())
