"""Stacked normalisation layers: shared arithmetic, and statistics, scale and shift of each student's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.errors import ShapeError
from uqkd.stacked.layers.basic import Convolution, Dropout, Embedding, Linear, StackedLayer


class LayerNorm(StackedLayer):
    """`nn.LayerNorm`."""

    def read(self, source: nn.LayerNorm) -> None:
        """Normalised axes and epsilon."""
        self.shape, self.eps = source.normalized_shape, source.eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return self.scaled(F.layer_norm(x, self.shape, eps=self.eps))


class RMSNorm(StackedLayer):
    """`nn.RMSNorm`."""

    def read(self, source: nn.RMSNorm) -> None:
        """Normalised axes and epsilon."""
        self.shape, self.eps = list(source.normalized_shape), source.eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return self.scaled(F.rms_norm(x, self.shape, eps=self.eps))


class GroupNorm(StackedLayer):
    """`nn.GroupNorm`."""

    def read(self, source: nn.GroupNorm) -> None:
        """Number of groups and epsilon."""
        self.groups, self.eps = source.num_groups, source.eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; channels on the second axis."""
        return self.scaled(F.group_norm(x, self.groups, eps=self.eps), channel=True)


class BatchNorm(StackedLayer):
    """`nn.BatchNorm1d` and `nn.BatchNorm2d`: statistics over the rows of one student, running ones (S, channels)."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor

    def read(self, source: Any) -> None:
        """Momentum and epsilon; axes that the kind of layer expects."""
        self.eps, self.momentum = source.eps, source.momentum
        self.axes = (4,) if isinstance(source, nn.BatchNorm2d) else (2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape; channels on the second axis."""
        if x.ndim not in self.axes:
            raise ShapeError(
                f"a stacked BatchNorm expects {' or '.join(map(str, self.axes))} axes; got {tuple(x.shape)}."
            )
        rows = self.fold.unfold(x)
        others = [1, *range(3, rows.ndim)]
        if self.training or self.running_mean is None or self.running_var is None:
            if rows.numel() // (rows.shape[0] * rows.shape[2]) < 2:
                raise ShapeError(
                    f"BatchNorm needs at least two values per channel and student; got rows of {tuple(x.shape)}."
                )
            var, mean = torch.var_mean(rows, others, correction=0)
            if self.training:
                self._track(mean.detach(), var.detach(), rows.numel() // var.numel())
        else:
            mean, var = self.running_mean, self.running_var
        shape = (len(rows), 1, -1) + (1,) * (rows.ndim - 3)
        centred = rows - mean.reshape(shape)
        return self.scaled(self.fold.fold(centred * torch.rsqrt(var + self.eps).reshape(shape)), channel=True)

    def _track(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Running statistics as torch keeps them: the variance unbiased, momentum None for the plain average."""
        if self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked = self.num_batches_tracked + 1
        share: Any = self.momentum
        if share is None:
            share = (1.0 / self.num_batches_tracked.to(mean.dtype))[:, None]
        self.running_mean = (1 - share) * self.running_mean + share * mean
        self.running_var = (1 - share) * self.running_var + share * (var * (count / (count - 1)))


LEAVES: dict[type[nn.Module], type[StackedLayer]] = {
    nn.Linear: Linear,
    nn.Embedding: Embedding,
    nn.Conv1d: Convolution,
    nn.Conv2d: Convolution,
    nn.LayerNorm: LayerNorm,
    nn.RMSNorm: RMSNorm,
    nn.GroupNorm: GroupNorm,
    nn.BatchNorm1d: BatchNorm,
    nn.BatchNorm2d: BatchNorm,
    nn.Dropout: Dropout,
}
