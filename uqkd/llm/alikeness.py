"""How alike the texts of one prompt are, prompt by prompt, so that no array of all embeddings is ever built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.embedding import embed
from uqkd.llm.responses import Responses

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def alikenesses(sources: Sequence[Responses], embedding: str) -> Iterator[tuple[list[Index], Array]]:
    """Inner products of the embeddings of the u distinct texts of each prompt, over all sources together.

    Responses are compared by their text: those that differ in their token ids alone are the same.

    Parameters
    ----------
    sources : sequence of Responses
        Each (S_i, P, k_i), to the same prompts.
    embedding : str
        Of `embed`, or "exact": texts are equal or have nothing in common.

    Yields
    ------
    places : list of (S_i, k_i) int
        Which of the u texts each response is, by source.
    closeness : (u, u) float
        Inner products; the diagonal is one.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> answers = Responses(Prompts(("a",), ("?",)), (Response((1,), "x"), Response((2,), "y")), [[[1, 0, 1]]])
    >>> next(alikenesses([answers], "exact"))
    ([array([[0, 1, 0]])], array([[1., 0.],
           [0., 1.]]))
    """
    number: dict[str, int] = {}
    by_text = [
        np.array([number.setdefault(r.text, len(number)) for r in source.distinct])[source.index] for source in sources
    ]
    vectors = None if embedding == "exact" else embed(number, embedding)
    for p in range(sources[0].shape[1]):
        flat = np.concatenate([index[:, p].ravel() for index in by_text])
        _, first, inverse = np.unique(flat, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))  # in the order they were first drawn
        local, places, start = rank[inverse], [], 0
        for index in by_text:
            students, _, k = index.shape
            places.append(local[start : start + students * k].reshape(students, k))
            start += students * k
        texts = flat[np.sort(first)]
        yield places, np.eye(len(texts)) if vectors is None else vectors[texts] @ vectors[texts].T
