"""What the tests of stacked training share: architectures, and students trained alone by plain torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uqkd import seeds
from uqkd.stacked import Recipe, Stacked, stack

STUDENTS, ROWS = 3, 12


class Attention(nn.Module):
    """Two heads over five tokens, with a residual: user code that transposes and reshapes.

    Without bias in the projections: softmax ignores a bias of the keys, so its gradient is rounding noise, which Adam
    would blow up to steps of full size, in torch as in here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm, self.out = nn.Linear(4, 12, bias=False), nn.LayerNorm(4), nn.Linear(4, 4)
        self.register_buffer("mask", torch.ones(5, 5, dtype=torch.bool).tril(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p.unflatten(-1, (2, 2)).transpose(1, 2) for p in self.mix(self.norm(x)).chunk(3, -1))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        return x + self.out(seen.transpose(1, 2).flatten(2))


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.block, self.head = nn.Embedding(7, 4), Attention(), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.block(self.embed(tokens))).mean(1)[:, :2]


class Scaled(nn.Module):
    """Parameters outside of layers, as vision transformers have them: a token before the rest, positions and a scale.

    Without their norm: over so few values it is chaotic, see `KINDS`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.scale = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.rand(4))
        self.places, self.mix = nn.Parameter(torch.randn(1, 6, 4)), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.register_buffer("part", torch.tensor(0.5), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.places
        return rows + self.part * self.scale * self.mix(rows)


@dataclass(frozen=True)
class Kind:
    """An architecture and the shape of one row of its inputs; `tokens` where they are whole numbers below it."""

    factory: Callable[[], nn.Module]
    row: tuple[int, ...]
    tokens: int = 0


def conv(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(1), nn.Linear(width, 2))


def dense(*middle: nn.Module, bias: bool = True, width: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(5, width, bias=bias), *middle, nn.Tanh(), nn.Linear(width, 2))


# Norms over few values are chaotic: with GroupNorm(2, 6) plain torch itself ends 1e-9 from where it ends when started one
# unit in the last place away (float64, momentum). Over 16 values it is 1e-15, and engines can be compared.
KINDS = {
    "linear": Kind(dense, (5,)),
    "linear without bias": Kind(lambda: dense(bias=False), (5,)),
    "linear on (rows, 3, 5)": Kind(lambda: nn.Sequential(dense(), nn.Flatten(1), nn.Linear(6, 2)), (3, 5)),
    "embedding": Kind(lambda: nn.Sequential(nn.Embedding(7, 4), nn.Flatten(1), nn.Linear(12, 2)), (3,), 7),
    "embedding with padding": Kind(
        lambda: nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Flatten(1), nn.Linear(12, 2)), (3,), 7
    ),
    "layer norm": Kind(lambda: dense(nn.LayerNorm(32), width=32), (5,)),
    "layer norm of two axes": Kind(
        lambda: nn.Sequential(nn.LayerNorm((3, 5)), nn.Flatten(1), nn.Linear(15, 2)), (2, 3, 5)[1:]
    ),
    "layer norm without affine": Kind(lambda: dense(nn.LayerNorm(32, elementwise_affine=False), width=32), (5,)),
    "rms norm": Kind(lambda: dense(nn.RMSNorm(32), width=32), (5,)),
    "group norm": Kind(lambda: dense(nn.GroupNorm(2, 32), width=32), (5,)),
    "group norm of images": Kind(lambda: conv(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), width=16), (2, 4, 4)),
    "batch norm": Kind(lambda: dense(nn.BatchNorm1d(6), bias=False), (5,)),
    "batch norm of sequences": Kind(lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Flatten(1), nn.Linear(8, 2)), (2, 4)),
    "batch norm, plain average": Kind(lambda: dense(nn.BatchNorm1d(6, momentum=None), bias=False), (5,)),
    "batch norm without affine": Kind(lambda: dense(nn.BatchNorm1d(6, affine=False), bias=False), (5,)),
    "batch norm without statistics": Kind(
        lambda: dense(nn.BatchNorm1d(6, track_running_stats=False), bias=False), (5,)
    ),
    "convolution": Kind(lambda: conv(nn.Conv2d(2, 4, 3), width=16), (2, 4, 4)),
    "convolution with stride, padding, groups, no bias": Kind(
        lambda: conv(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False), width=16), (2, 4, 4)
    ),
    "convolution, circular and dilated": Kind(
        lambda: conv(nn.Conv2d(2, 3, 3, padding=2, dilation=2, padding_mode="circular"), width=48), (2, 4, 4)
    ),
    "convolution, padding same": Kind(lambda: conv(nn.Conv2d(2, 3, 3, padding="same"), width=48), (2, 4, 4)),
    "convolution of sequences": Kind(lambda: conv(nn.Conv1d(2, 3, 3), width=6), (2, 4)),
    "convolution and batch norm": Kind(
        lambda: conv(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), width=16), (2, 4, 4)
    ),
    "attention": Kind(lambda: nn.Sequential(Attention(), nn.Flatten(1), nn.Linear(20, 2)), (5, 4)),
    "tied embedding and head": Kind(Tied, (5,), 7),
    "parameters outside of layers": Kind(
        lambda: nn.Sequential(Scaled(), nn.Tanh(), nn.Flatten(1), nn.Linear(24, 2)), (5, 4)
    ),
    "convolution transposed": Kind(lambda: conv(nn.ConvTranspose2d(2, 3, 2), width=75), (2, 4, 4)),
    "rectifier with a slope": Kind(lambda: dense(nn.PReLU()), (5,)),
}


@dataclass(frozen=True)
class Problem:
    """A stacked model and its data; every student has rows, targets, batches and rates of its own."""

    model: Stacked
    X: Tensor
    targets: Tensor
    orders: np.ndarray


def make_problem(kind: Kind, *, dtype: str, batch: int = 6, students: int = STUDENTS) -> Problem:
    draw = seeds.generator("test", "stacked", "data", shared=True)
    real = {"float32": torch.float32, "float64": torch.float64}[dtype]
    if kind.tokens:
        X = torch.as_tensor(draw.integers(kind.tokens, size=(students, ROWS, *kind.row)))
    else:
        X = torch.as_tensor(draw.standard_normal((students, ROWS, *kind.row))).to(real)
    targets = torch.as_tensor(draw.standard_normal((students, ROWS, 2))).to(real)
    orders = np.stack([[draw.permutation(ROWS)[:batch] for _ in range(7)] for _ in range(students)])
    return Problem(stack(kind.factory, students, key=("test", "stacked"), dtype=dtype), X, targets, orders)


def plain_optimiser(recipe: Recipe, parameters: Any) -> torch.optim.Optimizer:
    common = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, **common)
    kind = torch.optim.Adam if recipe.optimiser == "adam" else torch.optim.AdamW
    return kind(parameters, betas=recipe.betas, eps=recipe.eps, **common)


def train_plainly(
    student: nn.Module,
    X: Tensor,
    targets: Tensor,
    recipe: Recipe,
    orders: np.ndarray | None,
    rates: np.ndarray | None = None,
) -> float:
    """One student by torch's own layers, loss, clipping and optimiser; the last loss before its update."""
    optimiser = plain_optimiser(recipe, student.parameters())
    rates = recipe.rates() if rates is None else rates
    student.train()
    loss = torch.zeros(())
    for t in range(recipe.steps):
        rows = slice(None) if orders is None else torch.as_tensor(orders[t % len(orders)])
        optimiser.param_groups[0]["lr"] = rates[t]
        optimiser.zero_grad()
        loss = F.mse_loss(student(X[rows]), targets[rows])
        loss.backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(student.parameters(), recipe.clip_norm)
        optimiser.step()
    return float(loss.detach())


def gaps(model: Stacked, students: list[nn.Module]) -> tuple[float, float]:
    """Largest and mean difference of parameters and running statistics, relative to values above 1."""
    seen = model.parameters_by_name(buffers=True)
    found = []
    for s, student in enumerate(students):
        for name, value in student.state_dict().items():
            if name in seen and value.is_floating_point():
                found.append(((seen[name][s] - value).abs() / value.abs().clamp(min=1.0)).flatten())
    together = torch.cat(found)
    return float(together.max()), float(together.mean())


@pytest.fixture(scope="session", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every architecture in turn."""
    return KINDS[request.param]


@pytest.fixture(scope="session")
def kinds() -> dict[str, Kind]:
    return KINDS


@pytest.fixture(scope="session")
def problem() -> Callable[..., Problem]:
    return make_problem


@pytest.fixture(scope="session")
def plainly() -> Callable[..., float]:
    return train_plainly


@pytest.fixture(scope="session")
def difference() -> Callable[..., tuple[float, float]]:
    return gaps
