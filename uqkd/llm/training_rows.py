"""What S students are trained on: every different (prompt, response) once, and each student's weights and order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, OptionError
from uqkd.llm.encoding import Encoder
from uqkd.llm.language import row_table
from uqkd.llm.responses import TextTargets
from uqkd.stacked import Recipe, Sources, batch_orders, bootstrap_rows

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingRows:
    """Rows of all students; made by `training_rows`.

    Attributes
    ----------
    table : (N, 2, L) int
        Token ids and which are supervised, of every different prompt and response; see `row_table`.
    weights : (S, N) float
        Weight of each row for each student, in its loss; zero for rows that are not its own. A student's own rows have mean
        one, so that a random batch of them gives an unbiased gradient of the mean loss over prompts.
    orders : (S, T, B) int
        Rows of each student's batches.
    supervised_ends : int
        Rows whose end is supervised.
    """

    table: NDArray[np.int64]
    weights: Array
    orders: Index
    supervised_ends: int


def training_rows(
    targets: TextTargets, encoder: Encoder, *, recipe: Recipe, sources: Sources, key: tuple[Any, ...]
) -> TrainingRows:
    """Bring weighted responses to rows: equal responses to one prompt are one row with the sum of their weights.

    Parameters
    ----------
    targets : TextTargets
        Of S students, or of one: then all students get the same.
    encoder : Encoder
        Of the student.
    recipe : Recipe
        Its batch size, at most the rows of a student; all rows at every step where it has none.
    sources : Sources
        Levels of order and bootstrap; a bootstrap draws prompts with replacement.
    key : tuple

    Raises
    ------
    DataError
        No response ends by itself, so that students would never learn to stop.
    OptionError
        Targets of another number of students.
    """
    students, (given, prompts, _) = sources.students, targets.responses.shape
    if given not in (1, students):
        raise OptionError(
            f"targets are of {given} students, sources of {students}; they must agree, or targets be of one."
        )
    weighted = _weighted(targets)
    if sources.bootstrap is not None:
        shared = sources.recurs("bootstrap")
        drawn = bootstrap_rows(prompts, sources.bootstrap, key=key, shared=shared)
        counts = np.stack([np.bincount(rows, minlength=prompts) for rows in drawn])
        weighted = [
            {(p, i): w * counts[s, p] for (p, i), w in weighted[s % given].items() if counts[s, p]}
            for s in range(students)
        ]
    number: dict[tuple[int, int], int] = {}
    for own in weighted:
        for pair in own:
            number.setdefault(pair, len(number))
    prompt_ids = [encoder.encode(text) for text in targets.responses.prompts.texts]
    distinct = targets.responses.distinct
    rows = [encoder.supervised(prompt_ids[p], distinct[i]) for p, i in number]
    ends = sum(distinct[i].finished for _, i in number)
    if not ends:
        raise DataError(
            f"none of {len(rows)} responses ends by itself (all were cut at the greatest length), so students would never learn "
            "to stop; draw them again with a larger max_tokens."
        )
    weights, owned = np.zeros((students, len(rows))), []
    for s in range(students):
        own = weighted[s % len(weighted)]
        places = np.array([number[pair] for pair in own])
        weights[s, places] = np.array(list(own.values())) * (len(places) / prompts)
        owned.append(places)
    pad = encoder.tokenizer.pad_token_id
    table = row_table(rows, pad=encoder.eos_id if pad is None else pad)
    return TrainingRows(table, weights, _orders(owned, recipe, sources, key), ends)


def _weighted(targets: TextTargets) -> list[dict[tuple[int, int], float]]:
    """Of each student the weight of each (prompt, distinct response), those of equal ones added."""
    found: list[dict[tuple[int, int], float]] = []
    for index, weights in zip(targets.responses.index, targets.weights, strict=True):
        own: dict[tuple[int, int], float] = {}
        for (p, r), weight in np.ndenumerate(weights):
            if weight > 0:
                pair = (int(p), int(index[p, r]))
                own[pair] = own.get(pair, 0.0) + float(weight)
        found.append(own)
    return found


def _orders(owned: list[Index], recipe: Recipe, sources: Sources, key: tuple[Any, ...]) -> Index:
    """Row numbers of every student's batches; all students take batches of one size."""
    fewest = min(map(len, owned))
    batch = min(recipe.batch or max(map(len, owned)), fewest)
    found = []
    for places, level in zip(owned, sources.order, strict=True):
        order = batch_orders(len(places), batch, recipe.steps, [level], key=key, shared=sources.recurs("order"))
        found.append(places[order[0]])
    return np.stack(found)
