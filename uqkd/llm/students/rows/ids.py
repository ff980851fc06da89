"""Token ids of many responses: as they were drawn, or behind one another in one array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.prompts.rendering import Ids
from uqkd.llm.responses import Response


class DrawnIds(Sequence[Ids]):
    """Token ids as they were drawn; nothing is copied."""

    def __init__(self, distinct: Sequence[Response]) -> None:
        self._distinct = distinct

    def __len__(self) -> int:
        return len(self._distinct)

    @overload
    def __getitem__(self, place: int) -> Ids: ...

    @overload
    def __getitem__(self, place: slice) -> list[Ids]: ...

    def __getitem__(self, place: int | slice) -> Ids | list[Ids]:
        if isinstance(place, slice):
            return [one.token_ids or () for one in self._distinct[place]]
        return self._distinct[place].token_ids or ()

    def __iter__(self) -> Iterator[Ids]:
        return (one.token_ids or () for one in self._distinct)


class EncodedIds(Sequence[Ids]):
    """Token ids of N responses behind one another: a million of 64 tokens take 264 MB.

    Parameters
    ----------
    values : (V,) int32
    ends : (N,) int
        Where each response's values end.

    Examples
    --------
    >>> ids = EncodedIds(np.array([5, 7, 9], dtype=np.int32), np.array([2, 2, 3]))
    >>> list(ids), ids[-1]
    ([(5, 7), (), (9,)], (9,))
    """

    def __init__(self, values: NDArray[np.int32], ends: NDArray[np.int64]) -> None:
        self._values, self._ends = values, ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> Ids: ...

    @overload
    def __getitem__(self, place: slice) -> list[Ids]: ...

    def __getitem__(self, place: int | slice) -> Ids | list[Ids]:
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        at = range(len(self))[place]
        start = int(self._ends[at - 1]) if at else 0
        return tuple(self._values[start : int(self._ends[at])].tolist())
