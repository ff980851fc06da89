"""Stack S students of a factory, each from a random stream of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.stacked.stacking import Stacked


@torch.no_grad()
def stack(
    factory: Callable[[], nn.Module],
    students: int,
    *,
    key: tuple[Any, ...],
    dtype: str = "float32",
    device: str = "cpu",
) -> Stacked:
    """S students, each as the factory builds it from a random stream of its own.

    Parameters
    ----------
    factory : callable
        Builds one student; called S times.
    students : int
    key : tuple
        Student s is what `factory()` gives inside `seeds.torch_stream(*key, s)`; dropout is keyed by it too.
    dtype : {"float32", "float64"}
        Students are built in torch's default type and then converted.
    device : str

    Returns
    -------
    Stacked

    Raises
    ------
    OptionError
        A module that has no stacked form (hooks, random draws, statistics), or a factory that builds different architectures.

    Examples
    --------
    >>> model = stack(lambda: nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 1)), 4, key=("doc", "students"))
    >>> model(torch.zeros(404, 13)).shape
    torch.Size([4, 404, 1])
    """
    stacked: Stacked | None = None
    held: dict[str, Tensor] = {}
    for s in range(students):
        with seeds.torch_stream(*key, s):
            alone = factory()
        if stacked is None:
            stacked = Stacked.of(alone, students, key=key, dtype=dtype, device=device)
            held = stacked.body.state_dict()
            continue
        values = alone.state_dict()
        if {n: v.shape for n, v in values.items()} != {n: v.shape for n, v in stacked.template.state_dict().items()}:
            raise OptionError(
                f"the factory must build one architecture; student {s} has other parameters than student 0."
            )
        for name, value in values.items():
            if stacked.is_own(name):
                held[name][s] = value
            elif not torch.equal(held[name], value.to(held[name])):
                raise OptionError(f"buffer {name!r} differs between students 0 and {s}, and no known leaf holds it.")
    if stacked is None:
        raise OptionError(f"stacking needs at least one student; got students={students}.")
    return stacked
