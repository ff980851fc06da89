"""Stochastic gradient descent with momentum or without, as torch.optim.SGD."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uqkd.stacked.optimisers import Proposal, State, StepOptions, along, decayed, fusable

OPTIONS = ("momentum", "nesterov", "weight_decay")

KERNEL = """
const T mu = job.momentum, lr = rate, ahead = job.nesterov ? job.momentum : 0, now = job.nesterov || !job.momentum;
for (int i = 0; i < parameters; i++) {
    const T d = g[i] * scale + decay * p[i];
    m[i] = step ? mu * m[i] + d : d;
    p[i] -= lr * (now ? d + ahead * m[i] : m[i]);
}
"""


def slots(recipe: StepOptions) -> int:
    """A momentum buffer, where there is momentum."""
    return int(recipe.momentum > 0)


def propose(
    recipe: StepOptions, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> Proposal:
    """Against the gradient, or along the decaying sum of gradients; Nesterov's looks one step ahead."""
    moves = gradients = decayed(recipe, parameters, gradients)
    kept = tuple(tuple(recipe.momentum * m + g for m, g in zip(slot, gradients, strict=True)) for slot in state.slots)
    for sums in kept:
        moves = [g + recipe.momentum * m for g, m in zip(gradients, sums, strict=True)] if recipe.nesterov else sums
    new = tuple(p - along(rate, p) * move for p, move in zip(parameters, moves, strict=True))
    return new, State(state.step + 1, kept)


def alone(parameters: Sequence[Tensor], recipe: StepOptions) -> torch.optim.Optimizer:
    """torch.optim.SGD; not fused for half numbers on a CPU, where torch 2.13 errs by twenty times their rounding."""
    halves = any(p.device.type == "cpu" and p.dtype.itemsize < 4 for p in parameters)
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=(fusable(parameters) and not halves) or None,  # None: torch's own choice
    )
