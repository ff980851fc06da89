"""The arguments of `train`, checked once and brought to one form: students first, 1 where all share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uqkd.errors import OptionError, ShapeError
from uqkd.stacked.engines.stepping import Stepper
from uqkd.stacked.recipe import Recipe
from uqkd.stacked.stacking import Stacked

Pair = tuple[ArrayLike | Tensor, ArrayLike | Tensor]

# (step, numbers of the students (S,), their rows (S, B, ...), their targets (S, B, ...)) to the rows and targets trained on
Transform = Callable[[int, NDArray[np.int64], Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Job:
    """What is to be trained on what.

    Attributes
    ----------
    stepper : Stepper
        Model, recipe and loss.
    X, targets : (S or 1, N, ...) tensors
    orders : (S or 1, T, B) int or None
    rates : (S or 1, steps) float
    validation : (X, targets) or None
    transform : callable or None
        What becomes of every batch before it is trained on.
    """

    stepper: Stepper
    X: Tensor
    targets: Tensor
    orders: NDArray[np.int64] | None
    rates: NDArray[np.float64]
    validation: tuple[Tensor, Tensor] | None
    transform: Transform | None = None

    @classmethod
    def of(
        cls,
        stepper: Stepper,
        X: ArrayLike | Tensor,
        targets: ArrayLike | Tensor,
        *,
        shared: bool,
        orders: ArrayLike | None = None,
        rates: ArrayLike | None = None,
        validation: Pair | None = None,
        transform: Transform | None = None,
    ) -> Job:
        """Check the arguments of `train` against each other; errors name the one that does not fit."""
        model, recipe = stepper.model, stepper.recipe
        rows, aims = _pair(model, "X", (X, targets), shared)
        if (validation is None) != (recipe.patience is None):
            raise OptionError(
                "early stopping needs both validation=(X, targets) and a recipe with patience; got only one."
            )
        held_out = None if validation is None else _pair(model, "validation X", validation, shared)
        given = np.atleast_2d(np.asarray(recipe.rates() if rates is None else rates, dtype=np.float64))
        if given.shape not in ((1, recipe.steps), (model.students, recipe.steps)):
            raise ShapeError(f"rates must be (S={model.students}, steps={recipe.steps}); got {given.shape}.")
        return cls(stepper, rows, aims, _ordered(model, recipe, orders, rows.shape[1]), given, held_out, transform)

    @property
    def students(self) -> int:
        """S."""
        return self.stepper.model.students


def of_students(values: Any, students: Any) -> Any:
    """The part of an array (S or 1, ...) that belongs to the students of these numbers.

    Examples
    --------
    >>> of_students(np.array([[5], [6], [7]]), [2, 0]).tolist(), of_students(np.array([[5]]), [2, 0]).tolist()
    ([[7], [5]], [[5]])
    """
    return values if len(values) == 1 else values[students]


def _pair(model: Stacked, name: str, pair: Pair, shared: bool) -> tuple[Tensor, Tensor]:
    """Rows and targets, students first."""
    rows, aims = model.tensor(pair[0]), model.tensor(pair[1])
    rows = rows[None] if shared else rows
    if rows.ndim < 2 or (not shared and len(rows) != model.students):
        wanted = "(N, ...)" if shared else f"(S={model.students}, N, ...) with shared=False"
        raise ShapeError(f"{name} must be {wanted}; got {tuple(rows[0].shape if shared else rows.shape)}.")
    if aims.ndim < 2 or aims.shape[0] not in (1, model.students) or aims.shape[1] != rows.shape[1]:
        raise ShapeError(
            f"targets for {name} must be (S={model.students}, N={rows.shape[1]}, ...), or (1, N, ...) where all students share "
            f"them; got {tuple(aims.shape)}."
        )
    return rows, aims


def _ordered(model: Stacked, recipe: Recipe, orders: ArrayLike | None, rows: int) -> NDArray[np.int64] | None:
    if orders is None:
        if recipe.batch is not None:
            raise OptionError(
                f"the recipe has batches of {recipe.batch} rows; pass orders (S or 1, T, {recipe.batch})."
            )
        return None
    found = np.asarray(orders)
    if found.ndim != 3 or found.shape[0] not in (1, model.students) or not found.size:
        raise ShapeError(f"orders must be (S={model.students} or 1, T, B) row numbers; got {found.shape}.")
    if recipe.batch is not None and found.shape[2] != recipe.batch:
        raise ShapeError(f"orders have B={found.shape[2]} rows per step, but the recipe batch={recipe.batch}.")
    if found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= rows:
        raise OptionError(
            f"orders must be integers from 0 to N-1={rows - 1}; got {found.dtype}, {found.min()} to {found.max()}."
        )
    return found
