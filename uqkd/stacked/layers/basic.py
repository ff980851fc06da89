"""StackedLayer modules for S students at once: parameters lead with a student axis, activations are folded.

Students are folded into the batch axis: student s owns rows s·N … (s+1)·N of every activation. Code that treats rows
independently (activations, `flatten(1)`, attention, pooling, residuals) therefore runs unchanged; only modules with
parameters must know of the fold, and they are all here and in `norms`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uqkd.errors import OptionError, ShapeError


@dataclass
class Fold:
    """How many students are folded into the batch axis; one object shared by all leaves of a model.

    Attributes
    ----------
    students : int
        S.
    rows : int
        N of the forward pass under way; 0 before the first.

    Examples
    --------
    >>> fold = Fold(2)
    >>> fold.unfold(torch.zeros(6, 5)).shape, fold.fold(torch.zeros(2, 3, 5)).shape
    (torch.Size([2, 3, 5]), torch.Size([6, 5]))
    """

    students: int
    rows: int = 0

    def unfold(self, x: Tensor) -> Tensor:
        """(S·N, ...) as (S, N, ...)."""
        if x.ndim == 0 or x.shape[0] % self.students:
            raise ShapeError(
                f"a stacked model of S={self.students} students met an activation of shape {tuple(x.shape)}: its first axis "
                "is not S·N rows. The module's forward must keep rows on the first axis and treat them independently."
            )
        return x.reshape(self.students, x.shape[0] // self.students, *x.shape[1:])

    @staticmethod
    def fold(x: Tensor) -> Tensor:
        """(S, N, ...) as (S·N, ...)."""
        return x.flatten(0, 1)


class StackedLayer(nn.Module):
    """Base of the stacked leaves: the source module's parameters and buffers, with a leading student axis.

    Parameters
    ----------
    source : nn.Module
        The leaf of one student.
    fold : Fold
    widen : callable
        Turns a parameter or buffer of one student into that of S students; the same result for the same tensor, so that
        tied parameters stay tied.
    """

    def __init__(self, source: nn.Module, fold: Fold, widen: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fold = fold
        self.read(source)
        for name, value in vars(source).items():  # such as `in_features`, which the code around it may ask for
            if not name.startswith("_"):
                self.__dict__.setdefault(name, value)
        for name, parameter in source._parameters.items():
            self.register_parameter(name, None if parameter is None else cast(nn.Parameter, widen(parameter)))
        for name, buffer in source._buffers.items():
            kept = name not in source._non_persistent_buffers_set
            self.register_buffer(name, None if buffer is None else widen(buffer), persistent=kept)
        self.train(source.training)

    def read(self, source: Any) -> None:
        """Keep the source's options; refuse those that have no stacked form."""

    def scaled(self, x: Tensor, channel: bool = False) -> Tensor:
        """x times the students' own weight plus their own bias, on the last axes or on the channel axis."""
        weight, bias = self._parameters["weight"], self._parameters.get("bias")
        if weight is None:
            return x
        rows = self.fold.unfold(x)
        inner = rows.ndim - 2 - (weight.ndim - 1)  # axes that the parameters do not have, beside students and rows
        shape = weight.shape[1:] + (1,) * inner if channel else (1,) * inner + weight.shape[1:]
        rows = rows * weight.reshape(-1, 1, *shape)
        if bias is not None:
            rows = rows + bias.reshape(-1, 1, *shape)
        return self.fold.fold(rows)


class Linear(StackedLayer):
    """`nn.Linear`: one batched product over students."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """(S·N, ..., in) to (S·N, ..., out)."""
        students, outputs, inputs = self.weight.shape
        rows = self.fold.unfold(x).reshape(students, -1, inputs)
        turned = self.weight.transpose(1, 2)
        found = torch.bmm(rows, turned) if self.bias is None else torch.baddbmm(self.bias[:, None], rows, turned)
        return found.reshape(*x.shape[:-1], outputs)


class Embedding(StackedLayer):
    """`nn.Embedding`: every student looks up its own rows of one table of S·V."""

    weight: Tensor

    def read(self, source: nn.Embedding) -> None:
        """Options that change the table or the gradient by a rule of their own are refused."""
        if source.max_norm is not None or source.scale_grad_by_freq or source.sparse:
            raise OptionError(
                "a stacked Embedding has no max_norm, scale_grad_by_freq or sparse; leave them at default."
            )
        self.padding = source.padding_idx

    def forward(self, tokens: Tensor) -> Tensor:
        """(S·N, ...) int to (S·N, ..., features); one row of tokens, such as positions, is that of every row."""
        students, size, features = self.weight.shape
        if len(tokens) == 1:
            tokens = tokens.expand(students * max(self.fold.rows, 1), *tokens.shape[1:])
        rows = self.fold.unfold(tokens)
        first = torch.arange(0, students * size, size, device=tokens.device).reshape(-1, *(1,) * (rows.ndim - 1))
        # A token outside the vocabulary must be an error, not a row of the next student.
        places = torch.where((rows >= 0) & (rows < size), rows + first, students * size)
        found = F.embedding(self.fold.fold(places), self.weight.reshape(-1, features))
        if self.padding is not None:  # the padding row gets no gradient
            found = torch.where((tokens == self.padding)[..., None], found.detach(), found)
        return found


class Convolution(StackedLayer):
    """`nn.Conv1d` and `nn.Conv2d`: one grouped convolution, student by student."""

    weight: Tensor
    bias: Tensor | None

    def read(self, source: nn.Conv1d | nn.Conv2d) -> None:
        """Stride, dilation, groups and padding; other padding modes are a pad of their own before the convolution."""
        self.options: dict[str, Any] = {"stride": source.stride, "dilation": source.dilation}
        self.groups = source.groups
        self.convolve: Callable[..., Tensor] = F.conv1d if isinstance(source, nn.Conv1d) else F.conv2d
        zeros = source.padding_mode == "zeros"
        self.options["padding"] = source.padding if zeros else 0
        self.margin = None if zeros else (source._reversed_padding_repeated_twice, source.padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        """(S·N, channels, ...) to (S·N, channels out, ...)."""
        if self.margin is not None:
            x = F.pad(x, self.margin[0], mode=self.margin[1])
        side_by_side = self.fold.unfold(x).transpose(0, 1).flatten(1, 2)  # (N, S·channels, ...)
        students = len(self.weight)
        bias = None if self.bias is None else self.bias.flatten()
        groups = students * self.groups
        found = self.convolve(side_by_side, self.weight.flatten(0, 1), bias, groups=groups, **self.options)
        return found.unflatten(1, (students, -1)).transpose(0, 1).flatten(0, 1)


_LOW = 2**32 - 1


def _mixed(h: Tensor) -> Tensor:
    """32-bit hash, https://github.com/skeeto/hash-prospector/issues/19, of 32-bit numbers held in 64 bits.

    Products stay below 2⁶³: an overflow is undefined behaviour in compiled C++, and was seen to corrupt its memory.
    """
    h = ((h ^ (h >> 16)) * 0x21F0AAAD) & _LOW
    h = ((h ^ (h >> 15)) * 0x735A2D97) & _LOW
    return h ^ (h >> 15)


class Dropout(StackedLayer):
    """`nn.Dropout`: masks are a function of student, call and place alone, not of chunks, engines or devices.

    The buffer `seeds` (S,) is set from named keys when students are stacked; `calls` (S,) counts training passes.
    """

    seeds: Tensor
    calls: Tensor

    def read(self, source: nn.Dropout) -> None:
        """Keep the share that is dropped."""
        self.p = source.p
        self.register_buffer("seeds", torch.zeros(self.fold.students, dtype=torch.int64), persistent=False)
        self.register_buffer("calls", torch.zeros(self.fold.students, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Entries dropped with probability p and the others divided by 1 − p, in training; x itself otherwise."""
        if not self.training or self.p == 0:
            return x
        rows = self.fold.unfold(x)
        low, high = self.seeds & _LOW, self.seeds >> 32
        before = ((low + self.calls * 0x1E3779B1) & _LOW)[:, None]  # two keys per student and call
        after = (high ^ _mixed((low ^ self.calls) & _LOW))[:, None]
        self.calls = self.calls + 1
        place = torch.arange(rows[0].numel(), device=x.device)
        kept = _mixed(_mixed((place + before) & _LOW) ^ after) >= round(self.p * 2**32)
        scale = 1.0 / (1.0 - self.p) if self.p < 1 else 0.0
        return x * (kept.reshape(x.shape).to(x.dtype) * scale)
