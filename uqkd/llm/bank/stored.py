"""Distinct responses as columns: a `Response` is made when one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.bank.columns.scan import Rows, digests, head_of, kinds, rows_of
from uqkd.llm.responses import Response

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 4096  # responses made at once where all are asked for


class StoredResponses(Sequence[Response]):
    """A sequence of responses that are held as columns; made by `Gathering`.

    It has a length, and can be indexed, cut, iterated and compared like a tuple of `Response`.

    Parameters
    ----------
    parts : sequence of (Rows, Rows, (n,) bool)
        Token ids without the one that ends a response, UTF-8 text, and whether the model ended it.
    order : (N,) int64
        Which row of the parts behind one another each response is.
    """

    def __init__(self, parts: Sequence[tuple[Rows, Rows, NDArray[np.bool_]]], order: NDArray[np.int64]) -> None:
        self._parts, self._order = parts, order
        self._starts = np.cumsum([0, *(len(finished) for _, _, finished in parts)])

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Response: ...

    @overload
    def __getitem__(self, place: slice) -> StoredResponses: ...

    def __getitem__(self, place: int | slice) -> Response | StoredResponses:
        if isinstance(place, slice):
            return StoredResponses(self._parts, self._order[place])
        row = int(self._order[place])
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._made(part, row - int(self._starts[part]))

    def __iter__(self) -> Iterator[Response]:
        for start in range(0, len(self), _BLOCK):
            for part, row in self._found(self._order[start : start + _BLOCK]):
                yield self._made(part, row)

    def texts(self, places: NDArray[np.int64]) -> list[str]:
        """Texts of the responses at these places; their token ids are not touched."""
        return [self._text(part, row) for part, row in self._found(self._order[places])]

    @property
    def finished(self) -> NDArray[np.bool_]:
        """(N,) whether the model ended each response by itself."""
        every = [finished for _, _, finished in self._parts]
        return np.concatenate([np.zeros(0, dtype=bool), *every])[self._order]

    def _found(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Part and row in it of rows of all parts behind one another."""
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        return zip(parts.tolist(), (rows - self._starts[parts]).tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (StoredResponses, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # like a list: it may hold a million responses

    def __repr__(self) -> str:
        return f"<{len(self)} stored responses>"

    def _made(self, part: int, row: int) -> Response:
        ids, _, finished = self._parts[part]
        said = tuple(ids.values[ids.starts[row] : ids.ends[row]].tolist()) if ids.there[row] else None
        return Response(said, self._text(part, row), bool(finished[row]))

    def _text(self, part: int, row: int) -> str:
        _, texts, _ = self._parts[part]
        return texts.values[texts.starts[row] : texts.ends[row]].tobytes().decode("utf-8")


class Gathering:
    """Numbers distinct responses as they come, unit by unit, and keeps each once.

    Parameters
    ----------
    stop_ids : sequence of int
        Tokens that end a response; asked where nobody said why it ended.

    Examples
    --------
    >>> import pyarrow as pa
    >>> ids = pa.array([[5, 2], [5, 2], None, [5]], pa.list_(pa.int32()))
    >>> rows = {"token_ids": ids, "text": ["a", "a", "b", "a"], "finish_reason": ["stop", "stop", None, "length"]}
    >>> gathering = Gathering()
    >>> gathering.numbers(pa.table(rows))
    array([0, 0, 1, 2])
    >>> responses, index = gathering.in_order(np.array([2, 0, 2]))
    >>> responses[0], index
    (Response(token_ids=(5,), text='a', finished=False), array([0, 1, 0]))
    """

    def __init__(self, stop_ids: Sequence[int] = ()) -> None:
        self._stop_ids = list(stop_ids)
        self._number: dict[bytes, int] = {}
        self._parts: list[tuple[Rows, Rows, NDArray[np.bool_]]] = []

    def numbers(self, table: pa.Table) -> NDArray[np.int64]:
        """The number of each row's response; `table` has the columns token_ids, text and finish_reason."""
        ids, texts, finished = self._columns(table)
        head = head_of([ids.lengths, np.where(ids.there, 1, 0) + np.where(finished, 2, 0)])
        before, known = len(self._number), self._number
        numbers = np.array([known.setdefault(key, len(known)) for key in digests(head, ids, texts)], dtype=np.int64)
        distinct, first = np.unique(numbers, return_index=True)
        new = first[distinct >= before]
        if len(new) == table.num_rows:
            self._parts.append((ids, texts, finished))
        elif len(new):
            self._parts.append(self._columns(table.take(new)))
        return numbers

    def in_order(self, index: NDArray[np.int64]) -> tuple[StoredResponses, NDArray[np.int64]]:
        """The responses that an array of numbers needs, as they first appear in it, and the array in their new numbers."""
        numbers, first = np.unique(index, return_index=True)
        order = numbers[np.argsort(first)]
        renumbered = np.zeros(len(self._number), dtype=np.int64)
        renumbered[order] = np.arange(len(order))
        return StoredResponses(self._parts, order), renumbered[index]

    def _columns(self, table: pa.Table) -> tuple[Rows, Rows, NDArray[np.bool_]]:
        ids, texts = rows_of(table["token_ids"]), rows_of(table["text"])
        reasons, which = kinds(table, ["finish_reason"])
        stopped, unknown = (
            np.array([one == (reason,) for one in reasons], dtype=bool)[which] for reason in ("stop", None)
        )
        full = ids.lengths > 0
        last = np.zeros(len(full), dtype=np.int64)
        last[full] = ids.values[ids.ends[full] - 1]
        ended = full & (stopped | (unknown & np.isin(last, self._stop_ids)))
        return ids._replace(ends=ids.ends - ended), texts, stopped | unknown
