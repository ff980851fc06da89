"""What the projections take and give back: rows of class probabilities, NumPy or torch in, the same kind out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from uqkd.checking.probabilities import class_labels, distributions, sum_tolerance
from uqkd.errors import DataError, NotFiniteError, OptionError, ShapeError, UqkdError

SMALLEST = float(np.finfo(np.float64).tiny)  # below it float64 loses digits: such a probability counts as zero
SLACK = 1e-9  # by how much a returned row may miss a bound, in probability or nats


@dataclass(frozen=True)
class Rows:
    """Class probabilities (P, C) as a float64 tensor, and whether the caller gave NumPy.

    Examples
    --------
    >>> rows = Rows.of([[0.25, 0.75]])
    >>> rows.back(rows.probs)
    array([[0.25, 0.75]])
    """

    probs: Tensor
    numpy: bool

    @classmethod
    def of(cls, probs: Any, name: str = "probs") -> Rows:
        """Check probabilities as `uqkd.estimators` does; rows off one by no more than their precision are normalised."""
        numpy = not isinstance(probs, Tensor)
        given = _float_tensor(name, probs)
        if given.ndim != 2:
            raise ShapeError(f"{name} needs shape (P, C), one distribution a row; got {tuple(given.shape)}.")
        if given.numel() == 0 or given.shape[1] < 2:
            distributions(name, given)
        rows = given.to(torch.float64)
        total, classes = rows.sum(1, keepdim=True), rows.shape[1]
        off = (total - 1.0).abs()
        allowed = sum_tolerance(given.dtype, classes)
        if not bool(off.max() <= allowed) or bool(rows.amin() < 0):  # NaN is not <= anything either
            distributions(name, given)
        rounding = classes * torch.finfo(torch.float64).eps
        if bool(off.max() > rounding):
            rows = rows / torch.where(off > rounding, total, 1.0)
        return cls(rows, numpy)

    def back(self, values: Tensor) -> Any:
        """Results in the kind that the caller gave."""
        return values.cpu().numpy() if self.numpy else values

    def labels(self, labels: Any, name: str = "labels") -> Tensor:
        """(P,) integers in [0, C) on the device of the probabilities."""
        points, classes = self.probs.shape
        raw = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
        try:
            return torch.as_tensor(class_labels(raw, points, classes), device=self.probs.device)
        except UqkdError as error:
            raise type(error)(str(error).replace("labels", name, 1)) from None

    def bound(self, name: str, value: Any) -> Tensor:
        """A bound as (P,) float64: one number for all rows or one a row."""
        try:
            raw = torch.as_tensor(value if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError, RuntimeError):
            shown = repr(value)[:60]
            raise OptionError(f"{name} must be one number or (P={len(self.probs)},) numbers; got {shown}.") from None
        raw = raw.detach().to(device=self.probs.device, dtype=torch.float64)
        points = len(self.probs)
        if raw.ndim > 0 and tuple(raw.shape) != (points,):
            raise ShapeError(f"{name} must be one number or have shape (P={points},); got {tuple(raw.shape)}.")
        if not bool(raw.isfinite().all()):
            where = "" if raw.ndim == 0 else f" in row {first(~raw.isfinite())}"
            raise NotFiniteError(f"{name} holds a value that is not finite{where}; pass a finite bound for every row.")
        return raw.expand(points)

    def mask(self, name: str, value: Any) -> Tensor:
        """A mask as (P, C) bool."""
        given = value if isinstance(value, Tensor) else np.asarray(value)
        if given.dtype not in (torch.bool, np.bool_):
            raise DataError(f"{name} must be a mask of bool, True for the classes meant; got dtype {given.dtype}.")
        raw = torch.as_tensor(given).to(self.probs.device)
        if raw.shape != self.probs.shape:
            shapes = tuple(self.probs.shape), tuple(raw.shape)
            raise ShapeError(f"{name} needs the shape of probs, (P, C) = {shapes[0]}; got {shapes[1]}.")
        return raw


def _float_tensor(name: str, probs: Any) -> Tensor:
    if isinstance(probs, Tensor):
        given = probs.detach()
        return given if given.is_floating_point() else given.double()
    raw = np.asarray(probs)
    if raw.dtype.kind != "f" or np.ma.isMaskedArray(probs):
        raw = distributions(name, probs)
    return torch.from_numpy(np.ascontiguousarray(raw, dtype=raw.dtype.newbyteorder("=")))


def first(bad: Tensor) -> int:
    """Index of the first True of (P,) bool."""
    return int(bad.to(torch.int8).argmax())


def refuse(bad: Tensor, error: type[UqkdError], seen: str, remedy: str) -> None:
    """Raise `error` if any row is bad, naming the first one and the count.

    Examples
    --------
    >>> refuse(torch.tensor([False, True]), DataError, "no class is left in {row}", "Leave it out.")
    Traceback (most recent call last):
        ...
    uqkd.errors.DataError: no class is left in row 1 (1 row of 2). Leave it out.
    """
    if bool(bad.any()):
        _raise(bad, error, seen, remedy)


def _raise(bad: Tensor, error: type[UqkdError], seen: str, remedy: str) -> NoReturn:
    count = int(bad.sum())
    row = f"row {first(bad)} ({count} row{'s' * (count > 1)} of {len(bad)})"
    raise error(f"{seen.format(row=row)}. {remedy}")


def entropy(probs: Tensor) -> Tensor:
    """Shannon entropy of each row, in nats.

    Examples
    --------
    >>> entropy(torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64))
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return -torch.linalg.vecdot(probs.clamp_min(SMALLEST).log_(), probs) + 0.0  # + 0.0 makes -0.0 a zero
