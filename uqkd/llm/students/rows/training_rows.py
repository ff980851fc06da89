"""What S students are trained on: every different (prompt, response) once, and each student's weights and order."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import DataError, OptionError
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.responses import Responses, TextTargets
from uqkd.llm.students.rows.tokenising import check_lengths, student_tokens
from uqkd.stacked import Recipe, SeedDesign, bootstrap_rows
from uqkd.stacked.randomness.orders import proportional_orders

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_BLOCK = 2**13  # rows of a table that are laid out at once


@dataclass(frozen=True)
class TrainingRows:
    """Rows of all students; made by `training_rows`.

    Attributes
    ----------
    tokens : (M,) int32
        Token ids of every different prompt and response, one after another.
    starts : (N + 1,) int64
        Row n is `tokens[starts[n] : starts[n + 1]]`.
    learnt : (N,) int64
        Place in its row of the first token that is learnt; all after it are.
    shares : (S, N) float
        How often each student takes each row, one on average over its own rows; zero for rows that are not its own.
    weights : (S, N) float
        Weight of each row in a student's loss: one where rows are drawn in proportion to their shares; where every step takes
        all rows, the shares themselves, brought to mean one over all rows of the table.
    orders : (S, T, B) int
        Rows of each student's batches.
    pad : int
    notes : tuple of str
        What a user should know of how texts became tokens.

    Examples
    --------
    >>> rows = TrainingRows(
    ...     np.array([5, 6, 2, 7, 2]), np.array([0, 3, 5]), np.array([1, 1]), np.ones((1, 2)), np.ones((1, 2)),
    ...     np.array([[[0, 1]]]), pad=0
    ... )
    >>> rows.table().tolist(), rows.learnt_tokens
    ([[[5, 6, 2], [0, 1, 1]], [[7, 2, 0], [0, 1, 0]]], array([2, 1]))
    """

    tokens: NDArray[np.int32]
    starts: Index
    learnt: Index
    shares: Array
    weights: Array
    orders: Index
    pad: int = 0
    notes: tuple[str, ...] = ()

    @property
    def lengths(self) -> Index:
        """(N,) tokens of each row."""
        return np.diff(self.starts)

    @property
    def learnt_tokens(self) -> Index:
        """(N,) tokens of each row that are learnt."""
        return np.asarray(self.lengths - self.learnt)

    def of_students(self, group: range) -> TrainingRows:
        """Of the same rows what some students take: shares, weights and orders."""
        own = slice(group.start, group.stop)
        return replace(self, shares=self.shares[own], weights=self.weights[own], orders=self.orders[own])

    def table(self, rows: ArrayLike | None = None, *, width: int | None = None) -> NDArray[np.int32]:
        """These rows, all if not given, as a table (n, 2, L) padded on the right, at least as wide as asked; see `row_table`."""
        chosen = np.arange(len(self.learnt)) if rows is None else np.asarray(rows)
        wide = max(int(self.lengths[chosen].max()), width or 0)
        table = np.empty((len(chosen), 2, wide), dtype=np.int32)
        for start in range(0, len(chosen), _BLOCK):  # a table of a million rows is made in no more than its own memory
            self._fill(table[start : start + _BLOCK], chosen[start : start + _BLOCK])
        return table

    def _fill(self, table: NDArray[np.int32], chosen: Index) -> None:
        place = np.arange(table.shape[2])
        inside = place < self.lengths[chosen][:, None]
        at = np.minimum(self.starts[chosen][:, None] + place, len(self.tokens) - 1)
        table[:, 0] = np.where(inside, self.tokens[at], self.pad)
        table[:, 1] = inside & (place >= self.learnt[chosen][:, None])

    def nats_a_token(self, losses: Array, steps: Index | int, students: Index | None = None) -> Array:
        """Losses of one step each, in nats a response, as nats a learnt token; of all students, or those of these numbers."""
        own = np.arange(len(self.orders)) if students is None else students
        batches = self.orders[own, np.asarray(steps) % self.orders.shape[1]]
        tokens = (np.take_along_axis(self.weights[own], batches, axis=1) * self.learnt_tokens[batches]).sum(axis=1)
        return np.asarray(losses * batches.shape[1] / tokens)


def training_rows(
    targets: TextTargets, encoder: Encoder, *, recipe: Recipe, seed_design: SeedDesign, key: tuple[Any, ...]
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
    seed_design : SeedDesign
        Levels of order and bootstrap; a bootstrap draws prompts with replacement.
    key : tuple

    Raises
    ------
    DataError
        No response ends by itself, so that students would never learn to stop.
    OptionError
        Targets of another number of students.
    PreflightError
        A prompt or response that the student cannot be asked or taught: too long, or with a token that it does not have.
    """
    students, (given, prompts, _) = seed_design.students, targets.responses.shape
    if given not in (1, students):
        raise OptionError(
            f"targets are of {given} students, sources of {students}; they must agree, or targets be of one."
        )
    said = student_tokens(targets.responses.distinct, encoder)
    weighted = _weighted(targets, said.same)
    if seed_design.bootstrap is not None:
        shared = seed_design.recurs("bootstrap")
        drawn = bootstrap_rows(prompts, seed_design.bootstrap, key=key, shared=shared)
        counts = np.stack([np.bincount(rows, minlength=prompts) for rows in drawn])
        weighted = [
            {(p, i): w * counts[s, p] for (p, i), w in weighted[s % given].items() if counts[s, p]}
            for s in range(students)
        ]
    number: dict[tuple[int, int], int] = {}
    for own in weighted:
        for pair in own:
            number.setdefault(pair, len(number))
    rows = _flat(number, targets.responses, encoder, said.ids)
    check_lengths(np.diff(rows[1]), (p for p, _ in number), targets.responses.prompts, encoder)
    if not any(targets.responses.distinct[i].finished for _, i in number):
        raise DataError(
            f"none of {len(number)} responses ends by itself (all were cut at max_tokens), so students would never learn "
            "to stop; draw them again with a larger max_tokens."
        )
    shares = np.zeros((students, len(number)))
    for s in range(students):
        own = weighted[s % len(weighted)]
        shares[s, [number[pair] for pair in own]] = np.array(list(own.values())) * (len(own) / prompts)
    if recipe.batch is None:
        orders = np.broadcast_to(np.arange(len(number)), (students, 1, len(number)))
        weights = shares * (len(number) / (shares > 0).sum(axis=1, keepdims=True))
    else:
        orders = proportional_orders(shares, recipe.batch, recipe.steps, seed_design, key=key)
        weights = (shares > 0).astype(np.float64)
    pad = encoder.tokenizer.pad_token_id
    pad = encoder.eos_id if pad is None else int(pad)
    return TrainingRows(*rows, shares, weights, orders, pad, said.notes)


def _flat(
    number: Mapping[tuple[int, int], int], responses: Responses, encoder: Encoder, said: Sequence[Sequence[int]]
) -> tuple[NDArray[np.int32], Index, Index]:
    """Token ids of all rows one after another, where each begins, and where in it what is learnt begins."""
    prompts, end = encoder.encode_prompts(responses.prompts), (encoder.eos_id,)
    starts, learnt = np.zeros(len(number) + 1, dtype=np.int64), np.empty(len(number), dtype=np.int64)
    pieces = array("i")
    for n, (p, i) in enumerate(number):
        pieces.extend(prompts[p])
        learnt[n] = len(prompts[p])
        pieces.extend(said[i])
        if responses.distinct[i].finished:
            pieces.extend(end)
        starts[n + 1] = len(pieces)
    return np.frombuffer(pieces, dtype=np.int32), starts, learnt


def _weighted(targets: TextTargets, same: Index) -> list[dict[tuple[int, int], float]]:
    """Of each student the weight of each (prompt, distinct response), those of those that teach the same added."""
    found: list[dict[tuple[int, int], float]] = []
    for index, weights in zip(targets.responses.index, targets.weights, strict=True):
        own: dict[tuple[int, int], float] = {}
        for (p, r), weight in np.ndenumerate(weights):
            if weight > 0:
                pair = (int(p), int(same[index[p, r]]))
                own[pair] = own.get(pair, 0.0) + float(weight)
        found.append(own)
    return found
