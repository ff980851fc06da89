"""Optimisers of S students at once: the arithmetic of torch.optim on (S, ...) tensors, with a rate per student.

Everything is functional: tensors in, new tensors out. A student that is not active keeps every bit of its parameters and
its state; `torch.where` sees to that, since a product with zero would let NaN through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uqkd.stacked.recipe import Recipe


class State(NamedTuple):
    """State of S optimisers.

    Attributes
    ----------
    step : (S,) int64
        Updates made.
    first : tuple of (S, ...) tensors
        Momentum buffers of "sgd", first moments of "adam" and "adamw".
    second : tuple of (S, ...) tensors
        Second moments of "adam" and "adamw".
    """

    step: Tensor
    first: tuple[Tensor, ...]
    second: tuple[Tensor, ...]


def begin(recipe: Recipe, parameters: Sequence[Tensor]) -> State:
    """The state before the first step: zeros, and only what the optimiser needs."""
    needs_first = recipe.optimiser != "sgd" or recipe.momentum > 0
    zeros = tuple(torch.zeros_like(p) for p in parameters) if needs_first else ()
    second = () if recipe.optimiser == "sgd" else tuple(torch.zeros_like(p) for p in parameters)
    step = torch.zeros(len(parameters[0]), dtype=torch.int64, device=parameters[0].device)
    return State(step, zeros, second)


def along(values: Tensor, like: Tensor) -> Tensor:
    """(S,) values shaped to multiply (S, ...) ones."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def keep(active: Tensor, new: Sequence[Tensor], old: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """New values of active students, old ones of the others."""
    return tuple(torch.where(along(active, n), n, o) for n, o in zip(new, old, strict=True))


def norms(gradients: Sequence[Tensor]) -> Tensor:
    """Norm of each student's gradient over all of its parameters, (S,).

    Examples
    --------
    >>> norms([torch.tensor([[3.0], [0.0]]), torch.tensor([[4.0], [2.0]])])
    tensor([5., 2.])
    """
    return torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0).sqrt()


def clip(gradients: Sequence[Tensor], norm: Tensor, limit: float) -> tuple[Tensor, ...]:
    """`torch.nn.utils.clip_grad_norm_` of each student on its own.

    Examples
    --------
    >>> gradients = [torch.tensor([[3.0, 4.0], [0.3, 0.4]])]
    >>> clip(gradients, norms(gradients), 1.0)[0]
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    return tuple(g * along(scale, g) for g in gradients)


def propose(
    recipe: Recipe, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> tuple[tuple[Tensor, ...], State]:
    """Parameters and state after one step of every student, whether active or not."""
    if recipe.weight_decay and recipe.optimiser != "adamw":
        gradients = [g + recipe.weight_decay * p for g, p in zip(gradients, parameters, strict=True)]
    if recipe.optimiser == "sgd":
        return _sgd(recipe, parameters, gradients, state, rate)
    return _adam(recipe, parameters, gradients, state, rate)


def _sgd(
    recipe: Recipe, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> tuple[tuple[Tensor, ...], State]:
    first = tuple(recipe.momentum * m + g for m, g in zip(state.first, gradients, strict=True)) if state.first else ()
    moves = first or gradients
    if recipe.nesterov:
        moves = [g + recipe.momentum * m for g, m in zip(gradients, first, strict=True)]
    new = tuple(p - along(rate, p).to(p.dtype) * move for p, move in zip(parameters, moves, strict=True))
    return new, State(state.step + 1, first, ())


def _adam(
    recipe: Recipe, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> tuple[tuple[Tensor, ...], State]:
    (beta1, beta2), step = recipe.betas, state.step + 1
    count = step.to(torch.float64)  # as torch.optim, whose corrections are Python floats
    stride = rate.to(torch.float64) / (1.0 - torch.pow(beta1, count))
    root = torch.sqrt(1.0 - torch.pow(beta2, count))
    decay = 1.0 - rate.to(torch.float64) * recipe.weight_decay
    first = tuple(torch.lerp(m, g, 1.0 - beta1) for m, g in zip(state.first, gradients, strict=True))
    second = tuple(beta2 * v + (1.0 - beta2) * g * g for v, g in zip(state.second, gradients, strict=True))
    new = []
    for p, m, v in zip(parameters, first, second, strict=True):
        spread = v.sqrt() / along(root, v).to(v.dtype) + recipe.eps
        start = p * along(decay, p).to(p.dtype) if recipe.optimiser == "adamw" else p
        new.append(start - along(stride, p).to(p.dtype) * m / spread)
    return tuple(new), State(step, first, second)


def update(
    recipe: Recipe,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    state: State,
    *,
    rate: Tensor,
    active: Tensor,
) -> tuple[tuple[Tensor, ...], State]:
    """One step of the active students; the others keep every bit of their parameters and state.

    Parameters
    ----------
    recipe : Recipe
        Optimiser and its options; its learning rate, schedule and clipping are not used here.
    parameters, gradients : sequences of (S, ...) tensors
    state : State
        From `begin` or the step before.
    rate : (S,) float
    active : (S,) bool

    Returns
    -------
    parameters, state

    Examples
    --------
    >>> recipe, start = Recipe(steps=1, optimiser="sgd"), [torch.ones(2, 3)]
    >>> rate, active = torch.tensor([0.5, 0.5]), torch.tensor([True, False])
    >>> new, _ = update(recipe, start, start, begin(recipe, start), rate=rate, active=active)
    >>> new[0]
    tensor([[0.5000, 0.5000, 0.5000],
            [1.0000, 1.0000, 1.0000]])
    """
    new, after = propose(recipe, parameters, gradients, state, rate)
    return keep(active, new, parameters), kept_state(active, after, state)


def kept_state(active: Tensor, new: State, old: State) -> State:
    """New state of active students, old one of the others."""
    return State(
        torch.where(active, new.step, old.step),
        keep(active, new.first, old.first),
        keep(active, new.second, old.second),
    )
