"""How alike the texts of one prompt are, a block of prompts at a time, so that no array of all embeddings is ever built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators.answers.counting import ranked
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.embeddings import embed

Array = NDArray[np.float64]
Index = NDArray[np.int64]

BLOCK_VALUES = 2**21  # inner products held at a time (16 MB)
FEW_TEXTS = 2_000  # up to here all inner products are computed once (32 MB) and looked up
MANY_TEXTS = 2**15  # up to here all texts are embedded at once (64 MB for 256 dimensions); beyond, those of each block


@dataclass(frozen=True)
class Similarities:
    """P' prompts from `start` on, the u texts of each (fewer are padded), and how alike they are.

    Attributes
    ----------
    start : int
    places : tuple of (S_i, P', k_i) int
        Which of the u texts each response is, by source.
    similarity : (P', u, u) float
        Inner products of unit vectors.
    """

    start: int
    places: tuple[Index, ...]
    similarity: Array

    @property
    def prompts(self) -> slice:
        """Where these prompts lie among all."""
        return slice(self.start, self.start + len(self.similarity))

    def shares(self, source: int) -> Array:
        """(P', S, u) shares of the texts among the responses of one source."""
        students, prompts, k = self.places[source].shape
        texts = self.similarity.shape[1]
        rows = np.arange(prompts)[None, :, None] * students + np.arange(students)[:, None, None]
        counts = np.bincount((rows * texts + self.places[source]).ravel(), minlength=prompts * students * texts)
        return np.asarray(counts.reshape(prompts, students, texts) / k)

    def between(self, first: int, second: int) -> Array:
        """(S, P', k, m) inner products of the responses of two sources (or one), student by student."""
        a, b = self.places[first], self.places[second]
        prompts = np.arange(len(self.similarity))[None, :, None, None]
        return self.similarity[prompts, a[..., :, None], b[..., None, :]]


def similarities(sources: Sequence[Responses], embedding: str) -> Iterator[Similarities]:
    """Inner products of the embeddings of the distinct texts of each prompt, over all sources together.

    Responses are compared by their text: those that differ in their token ids alone are the same.

    Parameters
    ----------
    sources : sequence of Responses
        Each (S_i, P, k_i), to the same prompts.
    embedding : str
        Of `embed`, or "exact": texts are equal or have nothing in common.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> answers = Responses(Prompts(("a",), ("?",)), (Response((1,), "x"), Response((2,), "y")), [[[1, 0, 1]]])
    >>> block = next(similarities([answers], "exact"))
    >>> block.between(0, 0).tolist()
    [[[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]]]
    """
    flat, responses = _flat(sources), sum(len(source.distinct) for source in sources)
    few = responses <= MANY_TEXTS
    number, vectors = _embedded(sources, np.arange(responses if few else 1), embedding)
    products = vectors @ vectors.T if few and vectors is not None and len(vectors) <= FEW_TEXTS else None
    width = vectors.shape[1] if vectors is not None and products is None else 1
    size = max(1, BLOCK_VALUES // max(flat.shape[1] * max(flat.shape[1], width), 1))
    for start in range(0, len(flat), size):
        part = flat[start : start + size]
        if not few:
            used, at = np.unique(part, return_inverse=True)
            number, vectors = _embedded(sources, used, embedding)
            part = at.reshape(part.shape)
        part = number[part]
        ranks = ranked(part[None])[0]
        texts = np.zeros((len(part), int(ranks.max()) + 1), dtype=np.int64)
        np.put_along_axis(texts, ranks, part, axis=1)
        if vectors is None:
            similarity = np.broadcast_to(np.eye(texts.shape[1]), (len(part), texts.shape[1], texts.shape[1]))
        elif products is not None:
            similarity = products[texts[:, :, None], texts[:, None, :]]
        else:
            similarity = vectors[texts] @ vectors[texts].transpose(0, 2, 1)
        yield Similarities(start, _split(ranks, [source.shape for source in sources]), similarity)


def _flat(sources: Sequence[Responses]) -> Index:
    """(P, all draws) numbers of the responses to each prompt, those of one source behind those of the one before."""
    parts, before = [], 0
    for source in sources:
        parts.append(source.index.transpose(1, 0, 2).reshape(source.shape[1], -1) + before)
        before += len(source.distinct)
    return np.concatenate(parts, axis=1)


def _embedded(sources: Sequence[Responses], used: Index, embedding: str) -> tuple[Index, Array | None]:
    """The text of each response of these numbers (ascending, as in `_flat`) and the embedding of each text."""
    number: dict[str, int] = {}
    found, before = [], 0
    for source in sources:
        own = used[(used >= before) & (used < before + len(source.distinct))] - before
        found += [number.setdefault(text, len(number)) for text in source.distinct_texts(own)]
        before += len(source.distinct)
    return np.array(found, dtype=np.int64), None if embedding == "exact" else embed(number, embedding)


def _split(ranks: Index, shapes: Sequence[tuple[int, int, int]]) -> tuple[Index, ...]:
    places, begin = [], 0
    for students, _, k in shapes:
        part = ranks[:, begin : begin + students * k]
        places.append(part.reshape(len(ranks), students, k).transpose(1, 0, 2))
        begin += students * k
    return tuple(places)
