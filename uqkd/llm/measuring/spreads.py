"""Variances of meanings as vectors: within and between students, never building the array of all embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import ShapeError
from uqkd.estimators.answers.agreement import from_spreads
from uqkd.estimators.intervals.prompt_means.spread import factors
from uqkd.estimators.variance.moments import VarianceDecomposition
from uqkd.estimators.variance.prompt_mean import spread_of
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.similarity import similarities

Array = NDArray[np.float64]


def components_beside(
    responses: Responses, others: Sequence[Responses], embedding: str
) -> tuple[VarianceDecomposition, list[Array]]:
    """Components of the students, and of each other source the variance (S', P) of its own responses; one pass over all texts."""
    students, _, draws = responses.shape
    if students < 2 or draws < 2:
        raise ShapeError(
            f"variance within and between students needs S >= 2 and R >= 2; got (S={students}, R={draws}). Draw more."
        )
    sources = [responses, *others]
    within: list[list[Array]] = [[] for _ in sources]
    about: list[Array] = []
    rows: list[Array] = []
    for block in similarities(sources, embedding):
        for place, source in enumerate(sources):
            shares, k = block.shares(place), source.shape[2]
            norm = ((shares @ block.similarity) * shares).sum(axis=-1)
            within[place].append(((1.0 - norm) * k / (k - 1)).T)
            if place == 0:
                apart = shares - shares.mean(axis=1, keepdims=True)
                about.append(((apart @ block.similarity) * apart).sum(axis=-1).T)
                rows.append(factors(apart @ block.similarity @ np.swapaxes(apart, 1, 2)))
    own, *rest = (np.concatenate(parts, axis=1) for parts in within)
    spread = partial(spread_of, np.concatenate(rows, axis=1), own, draws, bounds=(1.0, 2.0))  # of vectors of length one
    return from_spreads(own, np.concatenate(about, axis=1), draws, spread=spread), rest
