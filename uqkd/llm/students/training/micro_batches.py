"""A batch in pieces that fit the memory, of rows of similar length, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOKENS = (
    2**14
)  # padded tokens of a piece: their activations take some hundred megabytes for each block of a small model
LOGITS = 2**28  # numbers of the logits of a piece, one GiB in float32


def micro_batches(
    order: ArrayLike,
    lengths: NDArray[np.int64],
    learnt: NDArray[np.int64],
    *,
    vocabulary: int,
    rows_at_most: int | None = None,
) -> Iterator[NDArray[np.int64]]:
    """Cut a batch into pieces.

    Parameters
    ----------
    order : (B,) int
        Rows of the batch; one may come twice.
    lengths : (N,) int
        Tokens of every row.
    learnt : (N,) int
        Place of the first one that is learnt: logits are computed from the first of a piece on.
    vocabulary : int
        Logits of a token.
    rows_at_most : int, optional
        Rows of a piece; as many as `TOKENS` and `LOGITS` allow if not given.

    Yields
    ------
    (n,) int
        Rows of one piece, the longest first.

    Examples
    --------
    >>> lengths, learnt = np.array([9, 3, 8, 4]), np.array([2, 2, 2, 2])
    >>> [piece.tolist() for piece in micro_batches([0, 1, 2, 3], lengths, learnt, vocabulary=10, rows_at_most=2)]
    [[0, 2], [3, 1]]
    """
    rows = np.asarray(order)
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    start = 0
    while start < len(rows):
        longest = int(lengths[rows[start]])
        count = rows_at_most or max(TOKENS // longest, 1)
        if rows_at_most is None:
            first = int(learnt[rows[start : start + count]].min())
            count = max(min(count, LOGITS // (vocabulary * max(longest - first, 1))), 1)
        yield rows[start : start + count]
        start += count
