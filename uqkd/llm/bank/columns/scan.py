"""The bank's columns without a Python object for each number: bytes of rows, their hashes, sums of lists."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.bank.columns.rows import column_types

if TYPE_CHECKING:
    import pyarrow as pa

# Texts that repeat from row to row: read as an Arrow dictionary, each text once.
CODED = ("prompt_id", "prompt", "messages", "prompt_hash", "finish_reason", "flags")
THREADS = 2  # that read, hash and decode units ahead; four units are in memory at a time


class Rows(NamedTuple):
    """The values of a list or text column, row by row.

    Attributes
    ----------
    values : (V,) int32, float32 or uint8
        All values (of texts their UTF-8 bytes) behind one another.
    starts, ends : (n,) int64
        Where each row's values begin and end.
    there : (n,) bool
        False where the row is null.
    """

    values: NDArray[Any]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    there: NDArray[np.bool_]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Count of values of each row."""
        return self.ends - self.starts

    def sums(self) -> NDArray[np.float64]:
        """Sum of each row in float64; 0 of an empty one."""
        found = np.zeros(len(self.starts))
        full = self.lengths > 0
        if full.any():
            bounds = np.stack([self.starts[full], self.ends[full]], axis=1).ravel()
            bounds = bounds[:-1] if bounds[-1] == len(self.values) else bounds
            found[full] = np.add.reduceat(self.values, bounds, dtype=np.float64)[::2]  # the others lie between rows
        return found

    def first(self, without: float) -> NDArray[Any]:
        """The first value of each row; `without` of an empty one."""
        found = np.full(len(self.starts), without, dtype=np.result_type(self.values.dtype, type(without)))
        full = self.lengths > 0
        found[full] = self.values[self.starts[full]]
        return found


def rows_of(column: pa.Array | pa.ChunkedArray) -> Rows:
    """The rows of a column of lists of numbers, or of texts; no value is copied where there is one chunk.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = rows_of(pa.array([[1.0, 2.0], None, [], [4.0]]))
    >>> rows.sums().tolist(), rows.there.tolist(), rows.first(-1.0).tolist()
    ([3.0, 0.0, 0.0, 4.0], [True, False, True, True], [1.0, -1.0, -1.0, 4.0])
    """
    import pyarrow as pa

    whole = _one(column)
    there = np.asarray(whole.is_valid())
    if pa.types.is_null(whole.type):
        empty = np.zeros(len(whole), dtype=np.int64)
        return Rows(np.zeros(0, dtype=np.int32), empty, empty, there)
    if pa.types.is_list(whole.type) or pa.types.is_large_list(whole.type):
        offsets = np.asarray(whole.offsets, dtype=np.int64)
        is_real = pa.types.is_floating(whole.type.value_type)
        whole_values = whole.values.fill_null(-1) if whole.values.null_count and not is_real else whole.values
        values = np.asarray(whole_values)
        values = values.astype(np.float32 if is_real else np.int32, copy=False)
    else:
        _, where, data = whole.cast(pa.large_string()).buffers()
        offsets = (
            np.frombuffer(where, dtype=np.int64, count=len(whole) + 1) if len(whole) else np.zeros(1, dtype=np.int64)
        )
        values = np.frombuffer(data or b"", dtype=np.uint8)
    starts = offsets[:-1]
    return Rows(values, starts, np.where(there, offsets[1:], starts), there)


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array; texts in a dictionary are written out."""
    import pyarrow as pa

    whole = column
    if isinstance(column, pa.ChunkedArray):
        whole = column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()
    if pa.types.is_dictionary(whole.type):
        whole = whole.dictionary_decode()
    if (pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type)) and whole.offset:
        whole = pa.concat_arrays([whole])  # a slice: its buffers hold more than its rows
    return whole


def completed(table: pa.Table, columns: Collection[str] | None) -> pa.Table:
    """The columns asked for in their order (all of them: those of today, then others); what an older unit lacks is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types = column_types()
    named = columns if columns is not None else [*types, *(name for name in table.column_names if name not in types)]
    arrays = []
    for name in named:
        if name in table.column_names:
            arrays.append(table[name])
        elif name == "tokens" and "token_ids" in table.column_names:
            arrays.append(pc.list_value_length(table["token_ids"]).cast(pa.int64()))
        else:
            arrays.append(pa.chunked_array([pa.nulls(table.num_rows, types.get(name, pa.null()))]))
    return pa.Table.from_arrays(arrays, names=list(named)) if arrays else table.select([])


def kinds(table: pa.Table, names: Sequence[str]) -> tuple[list[tuple[Any, ...]], NDArray[np.int64]]:
    """The different combinations of values in some columns, and which one each row has.

    Examples
    --------
    >>> import pyarrow as pa
    >>> kinds(pa.table({"a": ["x", "x", None, "x"], "b": ["y", "z", "y", "y"]}), ["a", "b"])
    ([(None, 'y'), ('x', 'y'), ('x', 'z')], array([1, 2, 0, 1]))
    """
    import pyarrow as pa

    number = np.zeros(table.num_rows, dtype=np.int64)
    coded = []
    for name in names:
        column = table[name].unify_dictionaries()
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if not pa.types.is_dictionary(whole.type):
            whole = whole.dictionary_encode()
        codes = np.asarray(whole.indices.fill_null(-1), dtype=np.int64)
        coded.append((codes, whole.dictionary))
        number = number * (len(whole.dictionary) + 1) + codes + 1
        if number.size and number.max() > 2**40:  # far from an overflow, whatever the next column has
            number = np.unique(number, return_inverse=True)[1]
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    values = [[None if codes[row] < 0 else own[int(codes[row])].as_py() for row in first] for codes, own in coded]
    return list(zip(*values, strict=True)), which


def digests(head: NDArray[np.uint8], *columns: Rows) -> list[bytes]:
    """16 bytes of BLAKE2b of each row: its head (n, w), and its values in some columns.

    The head must hold what keeps rows apart that are equal when written behind one another: which are null, and the lengths.
    """
    width, fixed = head.shape[1], _bytes(head)
    found = [hashlib.blake2b(fixed[at : at + width], digest_size=16) for at in range(0, len(fixed), width)]
    for column in columns:
        for digest, part in zip(found, _parts(column), strict=True):
            digest.update(part)
    return [digest.digest() for digest in found]


def head_of(columns: Iterable[NDArray[Any]]) -> NDArray[np.uint8]:
    """(n, w) bytes: the values of some columns of fixed width side by side; n may be 0."""
    parts = [np.ascontiguousarray(one).reshape(len(one), math.prod(one.shape[1:])).view(np.uint8) for one in columns]
    return np.concatenate(parts, axis=1)


def _parts(column: Rows) -> Iterable[memoryview]:
    """The bytes of each row."""
    size = column.values.itemsize
    data = _bytes(column.values)
    return (
        data[a:b] for a, b in zip((column.starts * size).tolist(), (column.ends * size).tolist(), strict=True)
    )  # a slice of a view copies nothing


def _bytes(values: NDArray[Any]) -> memoryview:
    whole: Any = np.ascontiguousarray(values).reshape(-1)
    return memoryview(whole).cast("B") if whole.size else memoryview(b"")


def response_codes(table: pa.Table) -> NDArray[np.uint64]:
    """63 bits and a one for each row, that stand for its tokens, or for its text where only that is known.

    Examples
    --------
    >>> import pyarrow as pa
    >>> ids = pa.array([[5, 7], [57], None, [5, 7]], pa.list_(pa.int32()))
    >>> codes = response_codes(pa.table({"token_ids": ids, "text": ["a", "b", "c", "a"]}))
    >>> len(set(codes.tolist())), bool(codes[0] == codes[3])
    (3, True)
    """
    ids = rows_of(table["token_ids"])
    found = [hashlib.blake2b(part, digest_size=8).digest() for part in _parts(ids)]
    if not ids.there.all():
        texts = [
            hashlib.blake2b(part, digest_size=8, person=b"text").digest() for part in _parts(rows_of(table["text"]))
        ]
        found = [own if there else text for own, text, there in zip(found, texts, ids.there.tolist(), strict=True)]
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64) | np.uint64(1)  # never 0, which means missing
