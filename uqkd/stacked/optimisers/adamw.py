"""AdamW, as torch.optim.AdamW: Adam, whose decay of weights does not go through the moments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uqkd.stacked.optimisers import Proposal, State, StepOptions, adam, along, fusable

OPTIONS = adam.OPTIONS
KERNEL = adam.kernel("g[i] * scale", "p[i] * kept")
slots = adam.slots


def propose(
    recipe: StepOptions, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> Proposal:
    """A step of Adam from parameters that have decayed."""
    decay = 1.0 - rate.to(torch.float64) * recipe.weight_decay
    return adam.step_from(recipe, [p * along(decay, p) for p in parameters], gradients, state, rate)


def alone(parameters: Sequence[Tensor], recipe: StepOptions) -> torch.optim.Optimizer:
    """torch.optim.AdamW."""
    return torch.optim.AdamW(
        parameters,
        lr=recipe.lr,
        betas=recipe.betas,
        eps=recipe.eps,
        weight_decay=recipe.weight_decay,
        fused=fusable(parameters) or None,  # None: torch's own choice
    )
