"""From a seed design to the rows of every step: orders of the batches, resamples of the rows, draws by level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import OptionError, ShapeError
from uqkd.stacked.randomness.seed_design import SeedDesign

Rows = NDArray[np.int32]
Index = NDArray[np.int64]


def training_orders(
    rows: int,
    batch: int | None,
    steps: int,
    seed_design: SeedDesign,
    *,
    key: tuple[Any, ...],
    drawn: int | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> Rows | None:
    """Rows of every step of S students: an order of the batches, of a resample of the rows where there is a bootstrap.

    Parameters
    ----------
    rows : int
        Rows of the training part.
    batch : int or None
        Rows per step; None for all.
    steps : int
    seed_design : SeedDesign
        Its levels of order and bootstrap; what all students share is held once.
    key : tuple
        Names the streams; see `batch_orders` and `bootstrap_rows`.
    drawn : int, optional
        Rows in each resample; as many as there are if not given.
    allowed : (S, rows) bool, optional
        Rows that each student may see, instead of a bootstrap.

    Returns
    -------
    (S or 1, T, B) int32, or None where every step takes all rows as they are
        Step t takes row `t % T`.

    Examples
    --------
    >>> design = SeedDesign.independent(2, freeze=["order"], bootstrap=True)
    >>> training_orders(5, 2, 3, design, key=("doc",)).shape, training_orders(5, None, 3, design, key=("doc",)).shape
    ((2, 3, 2), (2, 1, 5))
    """
    if drawn is not None and seed_design.bootstrap is None:
        raise OptionError(f"drawn={drawn} is the size of a bootstrap resample; use a seed design with bootstrap=True.")
    if allowed is not None:
        return _allowed_orders(rows, batch, steps, seed_design, key=key, allowed=allowed)
    resample: Rows | None = None
    if seed_design.bootstrap is not None:
        levels, shared = _fewest(seed_design.bootstrap), seed_design.recurs("bootstrap")
        resample = bootstrap_rows(rows, levels, key=key, drawn=drawn, shared=shared)[:, None, :]
        rows = resample.shape[2]
    if batch is None:
        return resample
    levels, shared = _fewest(seed_design.order), seed_design.recurs("order")
    order = batch_orders(rows, batch, steps, levels, key=key, shared=shared)
    if resample is None:
        return order
    students = max(len(order), len(resample))
    order = np.broadcast_to(order, (students, *order.shape[1:]))
    return np.take_along_axis(np.broadcast_to(resample, (students, 1, rows)), order, axis=2)


def _fewest(levels: Index) -> Index:
    """One level where all are equal: what all students share is held once."""
    return levels[:1] if (levels == levels[0]).all() else levels


def _allowed_orders(
    rows: int,
    batch: int | None,
    steps: int,
    seed_design: SeedDesign,
    *,
    key: tuple[Any, ...],
    allowed: NDArray[np.bool_],
) -> Rows:
    """(S, T, B) of rows that differ in number from student to student."""
    if allowed.shape != (seed_design.students, rows):
        raise ShapeError(f"allowed must be (S={seed_design.students}, P={rows}) bool; got {allowed.shape}.")
    parts = [np.flatnonzero(mask).astype(np.int32) for mask in allowed]
    if batch is None:
        if len({len(part) for part in parts}) > 1:
            raise OptionError("students that see different numbers of rows need a recipe with a batch size.")
        return np.stack(parts)[:, None]
    shared, levels = seed_design.recurs("order"), seed_design.order
    return np.concatenate([
        part[batch_orders(len(part), batch, steps, [level], key=key, shared=shared or level in levels[:s])]
        for s, (part, level) in enumerate(zip(parts, levels, strict=True))
    ])  # fmt: skip


def proportional_orders(
    shares: NDArray[np.float64], batch: int, steps: int, seed_design: SeedDesign, *, key: tuple[Any, ...]
) -> Index:
    """Rows of every step (S, steps, B) in epochs in which a row comes as often as its share says; B is at most `batch`.

    A share of 2.3 comes twice, and a third time in three epochs of ten: unbiased, with less noise in the gradient than
    taking rows alike and weighing their losses.

    Parameters
    ----------
    shares : (S, N) float
        Of each student's rows, one on average over its own; zero for rows that are not its own. B is at most the fewest rows
        that a student has.
    batch, steps : int
    seed_design : SeedDesign
        Levels of the order; level l is drawn from `uqkd.seeds.generator(*key, "order", l)`.
    key : tuple

    Examples
    --------
    >>> proportional_orders(np.array([[2.0, 0.0, 0.5, 0.5]]), 2, 3, SeedDesign.independent(1), key=("doc",)).shape
    (1, 3, 2)
    """
    batch = min(batch, int((shares > 0).sum(axis=1).min()))
    shared = seed_design.recurs("order")
    found = np.empty((len(shares), steps, batch), dtype=np.int64)
    for s, level in enumerate(seed_design.order.tolist()):
        rng = seeds.generator(*key, "order", level, shared=shared)
        epochs: list[Index] = []
        while sum(map(len, epochs)) < steps * batch:
            epochs.append(rng.permutation(systematic(shares[s], rng.random())))
        found[s] = np.concatenate(epochs)[: steps * batch].reshape(steps, batch)
    return found


def systematic(shares: NDArray[np.float64], offset: float) -> Index:
    """Rows of one epoch: row n comes ⌊share⌋ or ⌈share⌉ times, its share on average over offsets in [0, 1).

    Examples
    --------
    >>> systematic(np.array([2.0, 0.0, 0.5, 0.5]), 0.7)
    array([0, 0, 2])
    >>> systematic(np.array([2.0, 0.0, 0.5, 0.5]), 0.2)
    array([0, 0, 3])
    """
    edges = np.concatenate([[0.0], np.cumsum(shares)])
    edges[-1] = round(edges[-1])  # shares of own rows have mean one: what is off is rounding
    return np.repeat(np.arange(len(shares)), np.diff(np.floor(edges + offset)).astype(np.int64))


def batch_orders(
    rows: int, batch: int, steps: int, levels: ArrayLike, *, key: tuple[Any, ...], shared: bool = False
) -> Rows:
    """Which rows each step takes: permutations of all rows, one after another, cut into batches.

    Parameters
    ----------
    rows : int
        Rows of the training part.
    batch : int
        Rows per step, at most `rows`. A batch may cross from one permutation into the next, so every row is taken equally
        often (to one) and none is left over.
    steps : int
    levels : (S,) int
        `SeedDesign.order`.
    key : tuple
        Names the stream; level l is drawn from `uqkd.seeds.generator(*key, "order", l)`.
    shared : bool
        The levels recur on purpose; see `uqkd.seeds.generator`.

    Returns
    -------
    (S, steps, batch) int32

    Examples
    --------
    >>> order = batch_orders(4, 3, 4, [0], key=("doc",))
    >>> np.bincount(order.ravel())
    array([3, 3, 3, 3])
    """
    if not 1 <= batch <= rows or steps < 1:
        raise OptionError(
            f"batches need 1 <= batch <= rows and steps >= 1; got batch={batch}, rows={rows}, steps={steps}."
        )
    epochs = np.broadcast_to(np.arange(rows, dtype=np.int32), (-(-steps * batch // rows), rows))

    def draw(rng: np.random.Generator) -> Rows:
        return rng.permuted(epochs, axis=1).ravel()[: steps * batch].reshape(steps, batch)

    return by_level(levels, draw, key=(*key, "order"), shared=shared)


def bootstrap_rows(
    rows: int, levels: ArrayLike, *, key: tuple[Any, ...], drawn: int | None = None, shared: bool = False
) -> Rows:
    """Rows drawn with replacement: each student's training part.

    Parameters
    ----------
    rows : int
        Rows of the training part.
    levels : (S,) int
        `SeedDesign.bootstrap`.
    key : tuple
        Names the stream; level l is drawn from `uqkd.seeds.generator(*key, "bootstrap", l)`.
    drawn : int, optional
        Rows in each resample; as many as there are if not given.
    shared : bool
        The levels recur on purpose; see `uqkd.seeds.generator`.

    Returns
    -------
    (S, drawn) int32

    Examples
    --------
    >>> bootstrap_rows(5, [0, 1], key=("doc",)).shape
    (2, 5)
    """
    size = rows if drawn is None else drawn
    if rows < 1 or size < 1:
        raise OptionError(f"a bootstrap needs rows >= 1 and drawn >= 1; got rows={rows}, drawn={size}.")
    name = (*key, "bootstrap")
    return by_level(levels, lambda rng: rng.integers(rows, size=size, dtype=np.int32), key=name, shared=shared)


def by_level(
    levels: ArrayLike, draw: Callable[[np.random.Generator], NDArray[Any]], *, key: tuple[Any, ...], shared: bool
) -> NDArray[Any]:
    """One draw per distinct level, handed to every student of that level."""
    wanted = np.asarray(levels)
    if wanted.ndim != 1 or wanted.size == 0 or wanted.dtype.kind not in "iu":
        raise OptionError(f"levels must be whole numbers, one per student; got {wanted.dtype} of shape {wanted.shape}.")
    distinct, student = np.unique(wanted, return_inverse=True)
    found: NDArray[Any] | None = None
    for place, level in enumerate(distinct.tolist()):
        one = draw(seeds.generator(*key, level, shared=shared))
        found = np.empty((len(distinct), *one.shape), one.dtype) if found is None else found
        found[place] = one
    assert found is not None  # there is at least one level
    return found if np.array_equal(student, np.arange(len(found))) else found[student]
