"""What a bank holds as one hash, whatever the order of its rows and their cut into units."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.bank.columns.matching import NAMES
from uqkd.llm.bank.columns.scan import digests, head_of, kinds, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

_SAID = (*NAMES, "finish_reason")
FINGERPRINTED = (*_SAID, "response_index", "seed", "token_ids", "text")


def fingerprint_of(units: Iterable[tuple[dict[str, Any], pa.Table]]) -> str:
    """32 hexadecimal digits of the identity and the columns `FINGERPRINTED` of units; a row that is there twice counts once.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = {name: ["x", "y"] for name in FINGERPRINTED}
    >>> rows |= {"response_index": [0, 1], "seed": [5, 6], "token_ids": [[1], [2]]}
    >>> table, name = pa.table(rows), {"bank": {"key": "a"}}
    >>> one, two = fingerprint_of([(name, table)]), fingerprint_of([(name, table[1:]), (name, table[:1])])
    >>> len(one), one == two
    (32, True)
    """
    keys, identity = [np.zeros((0, 2), dtype=np.uint64)], ""
    for params, table in units:
        identity = repr(sorted(params["bank"].items()))
        keys.append(_pairs(_row_keys(table)))
    return hashlib.blake2b(
        identity.encode() + distinct_rows(np.concatenate(keys)).tobytes(), digest_size=16
    ).hexdigest()


def _row_keys(table: pa.Table) -> list[bytes]:
    """A hash of each row."""
    said, which = kinds(table, _SAID)
    named = _pairs(list(map(_digest, said)))[which]
    ids, texts = rows_of(table["token_ids"]), rows_of(table["text"])
    known = np.asarray(table["seed"].is_valid()) + 2 * ids.there
    whole = (table["response_index"], table["seed"].fill_null(0), ids.lengths, known)
    return digests(head_of([named, *(np.asarray(one, dtype=np.int64) for one in whole)]), ids, texts)


def _pairs(hashes: list[bytes]) -> NDArray[np.uint64]:
    """(n, 2): hashes of 16 bytes as numbers."""
    return np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(-1, 2)


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(repr(value).encode("utf-8"), digest_size=16).digest()


def distinct_rows(pairs: NDArray[Any]) -> NDArray[Any]:
    """The different rows of (n, 2), sorted.

    Examples
    --------
    >>> distinct_rows(np.array([[3, 1], [2, 5], [3, 1]])).tolist()
    [[2, 5], [3, 1]]
    """
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return ordered[new]
