"""How many students are trained at a time: as many as a cache or a device holds, so that memory stays flat."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.stacked.engines.stepping import Carry, Data, Stepper

CACHES = 8  # second-level caches that a chunk may fill; fewer students spend more on calls than they save on memory
MEMORY_SHARE = 0.5  # of what is free on a GPU: torch's allocator and the compiled step need room too
FEWEST = 16  # students whose step is worth its fixed cost in calls, however large they are


def second_level_cache() -> int:
    """Bytes of one core's second-level cache; one MiB where the system does not say."""
    try:
        size = os.sysconf("SC_LEVEL2_CACHE_SIZE")
    except (ValueError, OSError, AttributeError):
        size = 0
    return size if size > 0 else 2**20


def students_per_chunk(
    parameter_count: int, activation_bytes: int, *, students: int, itemsize: int = 4, room: int | None = None
) -> int:
    """Students trained at a time, in chunks of nearly equal size.

    Parameters
    ----------
    parameter_count : int
        Numbers trained in one student; held with gradient, two moments and their successors.
    activation_bytes : int
        What one student's forward pass keeps for its backward pass; the backward pass needs as much again.
    students : int
        S.
    itemsize : int
        Bytes of a number.
    room : int, optional
        Bytes that a chunk may take; some caches of a core if not given.

    Returns
    -------
    int

    Examples
    --------
    >>> students_per_chunk(241, 80_000, students=1000, room=8 * 2**20)
    50
    >>> students_per_chunk(241, 80_000, students=20, room=8 * 2**20)
    20
    """
    each = 7 * itemsize * parameter_count + 2 * activation_bytes
    largest = max(room // each if room is not None else max(FEWEST, CACHES * second_level_cache() // each), 1)
    return -(-students // -(-students // largest))


def fitting(stepper: Stepper, data: Data, rows: Tensor | None) -> int:
    """Students per chunk for this model on these data, by a forward pass of one student."""
    model = stepper.model
    chosen = torch.zeros(1, dtype=torch.int64, device=model.device)
    carry, frozen, constants = stepper.begin(chosen)
    one = Data(data.X[:1], data.targets[:1], frozen, constants)
    held = activation_bytes(stepper, carry, one, None if rows is None else rows[:1])
    room = None
    if model.device.type == "cuda":
        room = int(MEMORY_SHARE * torch.cuda.mem_get_info(model.device)[0])
    itemsize = carry.parameters.element_size()
    return students_per_chunk(sum(stepper.sizes), held, students=model.students, itemsize=itemsize, room=room)


def activation_bytes(stepper: Stepper, carry: Carry, data: Data, rows: Tensor | None) -> int:
    """Bytes that a forward pass keeps for the backward pass; also refuses a forward that draws global randomness."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    before = seeds.torch_global_state()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stepper.losses(carry.parameters.detach().requires_grad_(), carry.buffers, data, rows)
    if not torch.equal(before, seeds.torch_global_state()):
        raise OptionError("the module's forward draws from torch's global random state; use nn.Dropout for dropout.")
    return sum(seen.values())
