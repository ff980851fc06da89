"""Several processes that train one student together: Accelerate's, as `torchrun` or `accelerate launch` starts them; or one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from uqkd.errors import LibraryError


class Together:
    """The processes of one launch, each with a device of its own.

    Attributes
    ----------
    number, count : int
    device : torch.device
    """

    def __init__(self, device: str) -> None:
        try:
            from accelerate import PartialState
        except ImportError:
            raise LibraryError(
                "several processes need the library accelerate, which is not installed: pip install 'uqkd[llm]'."
            ) from None
        self._state = PartialState(cpu=device == "cpu")
        self.number, self.count = self._state.process_index, self._state.num_processes
        self.device = torch.device(self._state.device)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()


class One:
    """This process alone."""

    number, count = 0, 1

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to add."""

    def wait(self) -> None:
        """Nobody to wait for."""


@contextmanager
def joined(device: str) -> Iterator[Together | One]:
    """The processes that train together: those of `torchrun` or `accelerate launch` if one started this one.

    Examples
    --------
    >>> with joined("cpu") as processes:
    ...     processes.count
    1
    """
    yield Together(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else One(device)
