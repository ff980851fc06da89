"""Orders of the batches, resamples of the rows, and draws by level: what every layer that trains stacked students needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import OptionError

Rows = NDArray[np.int32]


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
