"""Questions of the embedded world whose answers are uncertain, as studies ask them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.synthetic.world import World

UNCERTAIN = {"home": "own answers", "food": "a group's answers"}  # relations with several answers, and whose these are


def uncertain_prompts(
    world: World,
    *,
    every: int = 2,
    first: int = 0,
    phrasings: Iterable[int] = (0,),
    relations: Iterable[str] = UNCERTAIN,
) -> Prompts:
    """Questions with several answers, about every other entity in one phrasing if nothing else is said.

    Examples
    --------
    >>> made = World.make(groups=2, entities=2, key=("doc",))
    >>> len(uncertain_prompts(made)), len(uncertain_prompts(made, every=1))
    (4, 8)
    """
    return world.prompts(phrasings=list(phrasings), relations=list(relations), every=every, first=first)


def of_relation(prompts: Prompts, relation: str) -> NDArray[np.bool_]:
    """Which of the prompts ask for a relation, (P,).

    Examples
    --------
    >>> of_relation(uncertain_prompts(World.make(groups=2, entities=2, key=("doc",))), "food").tolist()
    [False, False, True, True]
    """
    return np.array([name.startswith(f"{relation}/") for name in prompts.ids])


def first_words(prompts: Prompts) -> NDArray[np.int64]:
    """Which word an answer begins with, (P, C + 1); anything else is a word of its own.

    Examples
    --------
    >>> first_words(Prompts(("a", "b"), ("?", "??"), (("red fox", "blue"), ("red hat",)))).tolist()
    [[1, 0, 2], [1, 2, 2]]
    """
    words = sorted({answer.split()[0] for own in prompts.answers for answer in own})
    found = np.full((len(prompts), max(map(len, prompts.answers)) + 1), len(words))
    for p, own in enumerate(prompts.answers):
        found[p, : len(own)] = [words.index(answer.split()[0]) for answer in own]
    return found


def answer_ids(encoder: Any, answers: tuple[str, ...]) -> dict[tuple[int, ...], int]:
    """Token ids of each reference answer with its end, and the answer's place."""
    ids = [encoder.response(answer).token_ids for answer in answers]
    return {(*one, end): place for place, one in enumerate(ids) for end in encoder.stop_ids}
