"""The response nearest a mean of two sources, the published "variance-weighting" (T6).

The mean is that of the mean embeddings of the teacher's responses and of those of an undistilled student, each weighted by
the inverse variance of *one* of its responses (ddof 0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.llm.responses import Responses, TextTargets
from uqkd.llm.similarity.similarity import Similarities
from uqkd.llm.targets.medoid import TIE, nearest

Array = NDArray[np.float64]

SECOND = "undistilled"
CHOOSES = True


def weighed(responses: Responses, *, second: Responses, embedding: str) -> TextTargets:
    """Weight 1 on the teacher's response that is nearest both sources' mean."""
    return nearest([responses, second], embedding, "reranked", _centre)


def _centre(block: Similarities) -> Array:
    centre = block.shares(0)
    other = np.broadcast_to(block.shares(1), centre.shape)
    weight = spread_weight(_spread(centre, block.similarity), _spread(other, block.similarity))[..., None]
    return np.asarray(weight * centre + (1 - weight) * other)


def _spread(shares: Array, similarity: Array) -> Array:
    """(P', S) variance of the embedding of one response, ddof 0: 1 − ‖mean‖² of unit vectors."""
    spread = 1.0 - ((shares @ similarity) * shares).sum(axis=-1)
    return np.where(spread > TIE, spread, 0.0)  # one text only: zero but for rounding


def spread_weight(first_var: ArrayLike, second_var: ArrayLike) -> Array:
    """Weight on the first of two sources by inverse variance, where a variance may be zero.

    A source without spread takes all the weight, and two of them share it: rules, not an epsilon.

    Examples
    --------
    >>> spread_weight([1.0, 0.0, 0.5, 0.0], [3.0, 0.2, 0.0, 0.0])
    array([0.75, 1.  , 0.  , 0.5 ])
    """
    first, second = np.asarray(first_var, dtype=np.float64), np.asarray(second_var, dtype=np.float64)
    both = first + second
    return np.divide(second, both, out=np.full(both.shape, 0.5), where=both > 0)
