"""Adam, as torch.optim.Adam: each number moves by its mean gradient over the root of its mean squared gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uqkd.stacked.optimisers import Proposal, State, StepOptions, along, decayed, fusable

OPTIONS = ("betas", "eps", "weight_decay")


def kernel(gradient: str, start: str) -> str:
    """The step as C++, from expressions of the gradient and of the parameter that the step starts at."""
    return f"""
const T b1 = job.beta1, b2 = job.beta2, eps = job.eps, w1 = 1 - job.beta1, w2 = 1 - job.beta2;
const T root = 1 / std::sqrt(1 - std::pow(job.beta2, step + 1.0)), lr = rate / (1 - std::pow(job.beta1, step + 1.0));
const T kept = 1 - rate * job.weight_decay;
for (int i = 0; i < parameters; i++) {{
    const T d = {gradient};
    m[i] = b1 * m[i] + w1 * d;
    v[i] = b2 * v[i] + w2 * d * d;
    p[i] = {start} - lr * m[i] / (std::sqrt(v[i]) * root + eps);
}}
"""


KERNEL = kernel("g[i] * scale + decay * p[i]", "p[i]")


def slots(recipe: StepOptions) -> int:
    """First and second moments."""
    return 2


def propose(
    recipe: StepOptions, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> Proposal:
    """A step of Adam; the decay of weights goes through the moments."""
    return step_from(recipe, parameters, decayed(recipe, parameters, gradients), state, rate)


def step_from(
    recipe: StepOptions, starts: Sequence[Tensor], gradients: Sequence[Tensor], state: State, rate: Tensor
) -> Proposal:
    """The step of Adam from where the parameters are, or where a decay of their own has moved them."""
    (beta1, beta2), step = recipe.betas, state.step + 1
    count = step.to(torch.float64)  # as torch.optim, whose corrections are Python floats
    stride = rate.to(torch.float64) / (1.0 - torch.pow(beta1, count))
    root = torch.sqrt(1.0 - torch.pow(beta2, count))
    first = tuple(torch.lerp(m, g, 1.0 - beta1) for m, g in zip(state.slots[0], gradients, strict=True))
    second = tuple(beta2 * v + (1.0 - beta2) * g * g for v, g in zip(state.slots[1], gradients, strict=True))
    new = []
    for start, m, v in zip(starts, first, second, strict=True):
        spread = v.sqrt() / along(root, v) + recipe.eps
        new.append(start - along(stride, start) * m / spread)
    return tuple(new), State(step, (first, second))


def alone(parameters: Sequence[Tensor], recipe: StepOptions) -> torch.optim.Optimizer:
    """torch.optim.Adam."""
    return torch.optim.Adam(
        parameters,
        lr=recipe.lr,
        betas=recipe.betas,
        eps=recipe.eps,
        weight_decay=recipe.weight_decay,
        fused=fusable(parameters) or None,  # None: torch's own choice
    )
