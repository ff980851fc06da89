"""Responses of two sources side by side, without a copy of either's texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.responses import Response, Responses

Index = NDArray[np.int64]


def side_by_side(first: Responses, second: Responses) -> Responses:
    """The k responses of one source, behind them the m of another, (S, P, k + m); what both said is one distinct response.

    Parameters
    ----------
    first : Responses
        (S, P, k).
    second : Responses
        (S or 1, P, m), to the same prompts.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts
    >>> prompts, yes, no = Prompts(("a",), ("?",)), Response((1,), "yes"), Response((2,), "no")
    >>> both = side_by_side(Responses(prompts, (yes,), [[[0, 0]]]), Responses(prompts, (no, yes), [[[0, 1]]]))
    >>> both.texts(0, 0), both.index.tolist(), len(both.distinct)
    (['yes', 'yes', 'no', 'yes'], [[[0, 0, 1, 0]]], 2)
    """
    place = _places(first.distinct, second.distinct)
    new = np.flatnonzero(place < 0)
    place[new] = len(first.distinct) + np.arange(len(new))
    of_second = place[second.index]
    index = np.concatenate([first.index, np.broadcast_to(of_second, (len(first.index), *of_second.shape[1:]))], axis=2)
    return Responses(first.prompts, Joined(first.distinct, second.distinct, new), index)


def _places(known: Sequence[Response], asked: Sequence[Response]) -> Index:
    """Where each response asked for is among those known, -1 if it is not; found by hashes, of which 8 bytes are held."""
    hashes = np.fromiter((hash(one) for one in known), dtype=np.int64, count=len(known))
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    place = np.full(len(asked), -1, dtype=np.int64)
    wanted = np.fromiter((hash(one) for one in asked), dtype=np.int64, count=len(asked))
    starts, ends = (np.searchsorted(hashes, wanted, side=side) for side in ("left", "right"))
    for at in np.flatnonzero(ends > starts):
        same = (i for i in order[starts[at] : ends[at]].tolist() if known[i] == asked[int(at)])
        place[at] = next(same, -1)
    return place


class Joined(Sequence[Response]):
    """All distinct responses of one sequence, behind them some of another.

    Parameters
    ----------
    first, second : sequence of Response
    chosen : (n,) int64
        Which of `second`.
    """

    def __init__(self, first: Sequence[Response], second: Sequence[Response], chosen: Index) -> None:
        self._first, self._second, self._chosen = first, second, chosen

    def __len__(self) -> int:
        return len(self._first) + len(self._chosen)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        """A response, or those of a slice as a tuple."""
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        at = range(len(self))[place]
        own = at < len(self._first)
        return self._first[at] if own else self._second[int(self._chosen[at - len(self._first)])]

    def __iter__(self) -> Iterator[Response]:
        return chain(self._first, (self._second[int(place)] for place in self._chosen))
