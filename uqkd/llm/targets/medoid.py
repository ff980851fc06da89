"""The response whose embedding is nearest the mean embedding, the published "averaging" (T5).

Of equally near ones it is the first drawn, which favours none, since the order of draws is random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.responses import Responses, TextTargets
from uqkd.llm.similarity.similarity import Similarities, similarities

Array = NDArray[np.float64]

SECOND = None
CHOOSES = True
TIE = 1e-9  # similarity differences below this are rounding: sums of a few hundred products of unit vectors are off by 1e-14


def weighed(responses: Responses, *, embedding: str) -> TextTargets:
    """Weight 1 on the central response."""
    return nearest([responses], embedding, "medoid", lambda block: block.shares(0))


def nearest(
    sources: Sequence[Responses], embedding: str, method: str, centre: Callable[[Similarities], Array]
) -> TextTargets:
    """Weight 1 on the response of the first source that is nearest a centre, the first of equally near ones.

    `centre` gives, for a block of prompts, the weights (P', S, u) of their u texts in the mean that the centre is.
    """
    responses = sources[0]
    kept = np.empty(responses.shape[:2], dtype=np.int64)
    for block in similarities(sources, embedding):
        near = (centre(block) @ block.similarity).transpose(1, 0, 2)
        of_response = np.take_along_axis(near, block.places[0], axis=2)
        kept[:, block.prompts] = (of_response >= of_response.max(axis=2, keepdims=True) - TIE).argmax(axis=2)
    chosen = np.take_along_axis(responses.index, kept[:, :, None], axis=2)
    return TextTargets(Responses(responses.prompts, responses.distinct, chosen), np.ones(chosen.shape), method)
