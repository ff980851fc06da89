"""Optimisers of S students at once: the arithmetic of torch.optim on (S, ...) tensors, with a rate per student.

Every file beside this one is an optimiser, called by the file's name. It holds all that the optimiser is:

- `OPTIONS`: which of the recipe's options it uses, of momentum, nesterov, betas, eps and weight_decay;
- `slots(recipe)`: how many tensors like its parameters it keeps from step to step; all begin at zero;
- `propose(recipe, parameters, gradients, state, rate)`: parameters and state after one step, new tensors out of (S, ...) ones;
- `alone(parameters, recipe)`: its counterpart of torch.optim, which moves one student's parameters in place;
- `KERNEL`: the step as C++ for `fused.cpp`, or None where the kernel for plain perceptrons does not have it.

Everything but `alone` is functional: tensors in, new tensors out. A student that is not active keeps every bit of its
parameters and its state; `torch.where` sees to that, since a product with zero would let NaN through.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from uqkd.errors import OptionError
from uqkd.registry import Registry


class StepOptions(Protocol):
    """What an optimiser reads of a recipe; a `uqkd.stacked.Recipe` has it."""

    @property
    def optimiser(self) -> str:
        """Its name."""
        ...

    @property
    def lr(self) -> float:
        """Learning rate at its height."""
        ...

    @property
    def momentum(self) -> float:
        """Of SGD."""
        ...

    @property
    def nesterov(self) -> bool:
        """Whether the momentum looks ahead."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """Decay of both moments of Adam."""
        ...

    @property
    def eps(self) -> float:
        """Added to the root of the second moment."""
        ...

    @property
    def weight_decay(self) -> float:
        """Decay of the weights."""
        ...


class State(NamedTuple):
    """State of S optimisers.

    Attributes
    ----------
    step : (S,) int64
        Updates made.
    slots : tuple of tuples of (S, ...) tensors
        What the optimiser keeps from step to step, such as a momentum buffer or two moments: each like the parameters.
    """

    step: Tensor
    slots: tuple[tuple[Tensor, ...], ...]


Proposal = tuple[tuple[Tensor, ...], State]


class Optimiser(Protocol):
    """What a file of this folder offers."""

    OPTIONS: tuple[str, ...]
    KERNEL: str | None

    def slots(self, recipe: StepOptions) -> int:
        """Tensors of state that it keeps for each parameter."""
        ...

    def propose(
        self, recipe: StepOptions, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
    ) -> Proposal:
        """The update of one step and the state after it."""
        ...

    def alone(self, parameters: Sequence[Tensor], recipe: StepOptions) -> torch.optim.Optimizer:
        """torch's own, for one student trained in place."""
        ...


_FILES = Registry("optimiser", __name__, importlib.import_module, ("OPTIONS", "KERNEL", "slots", "propose", "alone"))


def optimiser_names() -> tuple[str, ...]:
    """The names of the optimisers, none of them imported.

    Examples
    --------
    >>> optimiser_names()
    ('adam', 'adamw', 'sgd')
    """
    return _FILES.names()


@cache  # it is asked for at every step
def optimiser_named(name: str) -> Optimiser:
    """The optimiser of that name; `OptionError` with the nearest name where there is none.

    Examples
    --------
    >>> optimiser_named("sgd").OPTIONS
    ('momentum', 'nesterov', 'weight_decay')
    """
    return cast(Optimiser, _FILES.named(name))


def check_options(optimiser: str, given: Iterable[str]) -> None:
    """Raise `OptionError` if the optimiser does not use one of the options given.

    Examples
    --------
    >>> check_options("adam", ["momentum"])
    Traceback (most recent call last):
    uqkd.errors.OptionError: recipe: optimiser 'adam' has no option 'momentum'; it uses betas, eps, weight_decay.
    """
    for option in given:
        known = optimiser_named(optimiser).OPTIONS
        if option not in known:
            uses = ", ".join(known) or "none of its options"
            raise OptionError(f"recipe: optimiser {optimiser!r} has no option {option!r}; it uses {uses}.")


def torch_optimiser(recipe: StepOptions, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """The recipe's optimiser of torch.optim, which moves the parameters of one student in place.

    Its learning rate is the recipe's `lr`; the schedule is the caller's (`recipe.rates()`), as is clipping.

    Parameters
    ----------
    recipe : Recipe
    parameters : iterable of tensors

    Examples
    --------
    >>> from uqkd.stacked import Recipe
    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> weight.grad = torch.tensor([1.0, 0.0])
    >>> torch_optimiser(Recipe(steps=1, optimiser="sgd", lr=0.5), [weight]).step()
    >>> weight.tolist()
    [0.5, 1.0]
    """
    return optimiser_named(recipe.optimiser).alone(list(parameters), recipe)


def fusable(parameters: Sequence[Tensor]) -> bool:
    """Whether torch's fused step, one pass over memory without temporary tensors, is right for these parameters.

    It walks parameter, gradient and state as blocks of memory side by side, and checks nothing: where they are laid out in
    different orders, as a gradient is beside a slice or a transpose, torch 2.13 moves the wrong numbers without a word.

    Examples
    --------
    >>> fusable([torch.ones(2, 3)]), fusable([torch.ones(2, 3).T])
    (True, False)
    """
    return all(p.device.type in ("cpu", "cuda") and p.is_contiguous() for p in parameters)


def begin(recipe: StepOptions, parameters: Sequence[Tensor]) -> State:
    """The state before the first step: zeros, and only what the optimiser needs."""
    count = optimiser_named(recipe.optimiser).slots(recipe)
    step = torch.zeros(len(parameters[0]), dtype=torch.int64, device=parameters[0].device)
    return State(step, tuple(tuple(torch.zeros_like(p) for p in parameters) for _ in range(count)))


def propose(
    recipe: StepOptions, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> Proposal:
    """Parameters and state after one step of every student, whether active or not."""
    return optimiser_named(recipe.optimiser).propose(recipe, parameters, gradients, state, rate)


def along(values: Tensor, like: Tensor) -> Tensor:
    """(S,) values shaped to multiply (S, ...) ones, and of their type."""
    return values.reshape(-1, *(1,) * (like.ndim - 1)).to(like.dtype)


def decayed(recipe: StepOptions, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Sequence[Tensor]:
    """Gradients with the decay of weights in them, as SGD and Adam have it."""
    if not recipe.weight_decay:
        return gradients
    return [g + recipe.weight_decay * p for g, p in zip(gradients, parameters, strict=True)]


def keep(active: Tensor, new: Sequence[Tensor], old: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """New values of active students, old ones of the others."""
    chosen = (active.reshape(-1, *(1,) * (n.ndim - 1)) for n in new)
    return tuple(torch.where(c, n, o) for c, n, o in zip(chosen, new, old, strict=True))


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


def update(
    recipe: StepOptions,
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    state: State,
    *,
    rate: Tensor,
    active: Tensor,
) -> Proposal:
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
    >>> from uqkd.stacked import Recipe
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
    slots = tuple(keep(active, n, o) for n, o in zip(new.slots, old.slots, strict=True))
    return State(torch.where(active, new.step, old.step), slots)
