"""One training step of a chunk of students, as a function of tensors alone: run as it is, or traced and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from uqkd.errors import OptionError, ShapeError
from uqkd.stacked import optimisers
from uqkd.stacked.engines.checkpoints import Checkpoint
from uqkd.stacked.losses import Loss
from uqkd.stacked.optimisers import State
from uqkd.stacked.recipe import Recipe
from uqkd.stacked.stacking import Stacked, tensor_at


class Carry(NamedTuple):
    """What changes from step to step.

    Attributes
    ----------
    parameters : (S, K) float
        All trained parameters of a student in one row: the optimiser is then a handful of operations.
    state : State
    buffers : tuple of (S, ...) tensors
        Running statistics, calls of dropout.
    active : (S,) bool
        Neither failed nor stopped.
    made : (S,) int64
        Steps made.
    failed_at : (S,) int64
        -1 for healthy students.
    loss : (S,) float
        At the last step, before its update.
    """

    parameters: Tensor
    state: State
    buffers: tuple[Tensor, ...]
    active: Tensor
    made: Tensor
    failed_at: Tensor
    loss: Tensor

    def flat(self) -> list[Tensor]:
        """All tensors in a row."""
        head = [self.parameters, self.active, self.made, self.failed_at, self.loss, self.state.step]
        return [*head, *chain(*self.state.slots), *self.buffers]

    def refilled(self, tensors: Sequence[Tensor]) -> Carry:
        """A carry of this form that holds other tensors, in the order of `flat`."""
        parameters, active, made, failed_at, loss, step, *rest = tensors
        left = iter(rest)
        state = State(step, tuple(tuple(islice(left, len(slot))) for slot in self.state.slots))
        return Carry(parameters, state, tuple(left), active, made, failed_at, loss)


class Data(NamedTuple):
    """What does not change: rows (S or 1, N, ...), targets (S or 1, N, ...), frozen parameters, constant buffers."""

    X: Tensor
    targets: Tensor
    frozen: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]

    def flat(self) -> list[Tensor]:
        """All tensors in a row."""
        return [self.X, self.targets, *self.frozen, *self.constants]

    def refilled(self, tensors: Sequence[Tensor]) -> Data:
        """Data of this form that hold other tensors, in the order of `flat`."""
        X, targets, *rest = tensors
        return Data(X, targets, tuple(rest[: len(self.frozen)]), tuple(rest[len(self.frozen) :]))


Step = Callable[[Carry, Data, Tensor | None, Tensor], Carry]


@dataclass(frozen=True)
class Stepper:
    """The step and the evaluation of one model, recipe and loss."""

    model: Stacked
    recipe: Recipe
    loss: Loss

    @cached_property
    def trained(self) -> list[bool]:
        """Whether each parameter of the model, in the order of its places, requires a gradient."""
        found = [tensor_at(place).requires_grad for place in self.model.places.parameters]
        if not any(found):
            raise OptionError("the model has no parameter that requires a gradient; there is nothing to train.")
        return found

    @cached_property
    def shapes(self) -> list[torch.Size]:
        """Shape of each parameter of one student."""
        return [tensor_at(place).shape[1:] for place in self.model.places.parameters]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers in each trained parameter of one student."""
        return [shape.numel() for shape, moves in zip(self.shapes, self.trained, strict=True) if moves]

    def begin(self, chosen: Tensor) -> tuple[Carry, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Carry, frozen parameters and constants before the first step, for the students chosen by index."""
        places = self.model.places
        values = [tensor_at(place).detach()[chosen] for place in places.parameters]
        flat = torch.cat([v.flatten(1) for v, moves in zip(values, self.trained, strict=True) if moves], 1)
        none = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
        carry = Carry(
            parameters=flat,
            state=optimisers.begin(self.recipe, [flat]),
            buffers=tuple(tensor_at(place)[chosen] for place in places.buffers),
            active=none == 0,
            made=none,
            failed_at=none - 1,
            loss=torch.full_like(flat[:, 0], torch.nan),
        )
        frozen = tuple(v for v, moves in zip(values, self.trained, strict=True) if not moves)
        return carry, frozen, tuple(tensor_at(place) for place in places.constants)

    @torch.no_grad()
    def finish(self, carry: Carry, start: int, count: int) -> None:
        """Put the first `count` students of the carry into the model, from student `start` on."""
        views = self._views(carry.parameters, ())
        for place, view in zip(self.model.places.parameters, views, strict=True):
            if view is not None:
                tensor_at(place)[start : start + count].copy_(view[:count])
        for place, buffer in zip(self.model.places.buffers, carry.buffers, strict=True):
            tensor_at(place)[start : start + count].copy_(buffer[:count])

    def _views(self, flat: Tensor, frozen: tuple[Tensor, ...]) -> list[Any]:
        """All parameters in the order of the model's places, out of the flat rows and the frozen ones (None if not given)."""
        parts, fixed = iter(flat.split(self.sizes, 1)), iter(frozen)
        return [
            next(parts).reshape(-1, *shape) if moves else next(fixed, None)
            for shape, moves in zip(self.shapes, self.trained, strict=True)
        ]

    def losses(
        self, flat: Tensor, buffers: tuple[Tensor, ...], data: Data, rows: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Loss of each student on its rows (S,), and the buffers that the forward pass leaves."""
        students = len(flat)
        x, targets = take(data.X, rows, students), take(data.targets, rows, students)
        with self.model.holding(students, self._views(flat, data.frozen), buffers, data.constants) as left:
            outputs = self.model.run_own(x)
        losses = self.loss(outputs, targets)
        if losses.shape != (students,):
            raise ShapeError(f"a loss gives one mean per student, (S={students},); got {tuple(losses.shape)}.")
        return losses, tuple(b.detach() for b in left)

    def step(self, carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> Carry:
        """One step of every active student; one whose loss, gradient or update is not finite fails and stays as it was."""
        with torch.enable_grad():
            flat = carry.parameters.detach().requires_grad_()
            losses, buffers = self.losses(flat, carry.buffers, data, rows)
            (gradient,) = torch.autograd.grad(losses, flat, torch.ones_like(losses))
        with torch.no_grad():
            losses = losses.detach()
            gradients: tuple[Tensor, ...] = (gradient,)
            norm = optimisers.norms(gradients)
            if self.recipe.clip_norm is not None:
                gradients = optimisers.clip(gradients, norm, self.recipe.clip_norm)
            (new,), state = optimisers.propose(self.recipe, (carry.parameters,), gradients, carry.state, rate)
            finite = torch.isfinite(losses) & torch.isfinite(norm) & torch.isfinite(new).all(1)
            good = carry.active & finite
            return Carry(
                parameters=optimisers.keep(good, (new,), (carry.parameters,))[0],
                state=optimisers.kept_state(good, state, carry.state),
                buffers=optimisers.keep(good, buffers, carry.buffers),
                active=good,
                made=carry.made + good,
                failed_at=torch.where(carry.active & ~finite, carry.made, carry.failed_at),
                loss=torch.where(carry.active, losses, carry.loss),
            )

    @torch.no_grad()
    def evaluate(self, carry: Carry, data: Data) -> Tensor:
        """Loss of each student in evaluation mode, (S,)."""
        self.model.eval()
        try:
            return self.losses(carry.parameters, carry.buffers, data, None)[0]
        finally:
            self.model.train()


def take(values: Tensor, rows: Tensor | None, students: int) -> Tensor:
    """Rows of each student, (S, B, ...), from values (S or 1, N, ...) and row numbers (S or 1, B); None takes all.

    Examples
    --------
    >>> take(torch.tensor([[5, 6, 7]]), torch.tensor([[0, 0], [2, 1]]), 2)
    tensor([[5, 5],
            [7, 6]])
    """
    if rows is not None:
        if len(values) == 1:
            values = values[0][rows]
        elif len(rows) == 1:
            values = values[:, rows[0]]
        else:
            values = values[torch.arange(students, device=values.device)[:, None], rows]
    return values.expand(students, *values.shape[1:])


class Best(NamedTuple):
    """Early stop of S students: lowest validation loss, what it was reached with, evaluations since."""

    loss: Tensor
    parameters: Tensor
    buffers: tuple[Tensor, ...]
    since: Tensor

    @classmethod
    def of(cls, carry: Carry) -> Best:
        """Before the first evaluation."""
        return cls(
            torch.full_like(carry.loss, torch.inf), carry.parameters, carry.buffers, torch.zeros_like(carry.made)
        )

    def after(self, carry: Carry, loss: Tensor, patience: int) -> tuple[Best, Carry]:
        """Note an evaluation of the active students; those that ran out of patience are active no more."""
        better = carry.active & (loss < self.loss)
        since = torch.where(carry.active, torch.where(better, 0, self.since + 1), self.since)
        best = Best(
            loss=torch.where(better, loss, self.loss),
            parameters=optimisers.keep(better, (carry.parameters,), (self.parameters,))[0],
            buffers=optimisers.keep(better, carry.buffers, self.buffers),
            since=since,
        )
        return best, carry._replace(active=carry.active & (since < patience))

    def restored(self, carry: Carry) -> Carry:
        """The best parameters of every student that has some and did not fail."""
        take_back = torch.isfinite(self.loss) & (carry.failed_at < 0)
        return carry._replace(
            parameters=optimisers.keep(take_back, (self.parameters,), (carry.parameters,))[0],
            buffers=optimisers.keep(take_back, self.buffers, carry.buffers),
        )

    def flat(self) -> list[Tensor]:
        """All tensors in a row."""
        return [self.loss, self.parameters, self.since, *self.buffers]

    def refilled(self, tensors: Sequence[Tensor]) -> Best:
        """The same of other tensors, in the order of `flat`."""
        loss, parameters, since, *buffers = tensors
        return Best(loss, parameters, tuple(buffers), since)


def save_carry(checkpoint: Checkpoint, steps: int, carry: Carry, best: Best) -> None:
    """Keep the state after so many steps."""
    tensors = {f"carry.{n}": tensor for n, tensor in enumerate(carry.flat())}
    tensors |= {f"best.{n}": tensor for n, tensor in enumerate(best.flat())}
    checkpoint.save(tensors, {"steps": steps})


def resumed(checkpoint: Checkpoint | None, carry: Carry, best: Best) -> tuple[int, Carry, Best]:
    """Steps made, and the state after them: that of the last checkpoint, or that given where there is none."""
    found = None if checkpoint is None else checkpoint.load()
    if found is None:
        return 0, carry, best
    tensors, about = found
    device = carry.parameters.device
    parts = {
        kind: [tensors[f"{kind}.{n}"].to(device) for n in range(len(state.flat()))]
        for kind, state in (("carry", carry), ("best", best))
    }
    return int(about["steps"]), carry.refilled(parts["carry"]), best.refilled(parts["best"])
