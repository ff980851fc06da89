"""The engine for plain multilayer perceptrons on a CPU: one compiled kernel runs a student from first step to last.

The kernel (`fused.cpp`) is compiled once per widths, activation, loss, optimiser and number type, in under a second, and
kept in a cache folder. Students are spread over threads; what one becomes does not depend on the others, to the bit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import UqkdError
from uqkd.stacked.engines.building import build, vector_bytes
from uqkd.stacked.optimisers import optimiser_named
from uqkd.stacked.recipe import Recipe

if TYPE_CHECKING:
    from uqkd.stacked.stacking import Stacked

Array = NDArray[Any]

SOURCE = Path(__file__).with_suffix(".cpp")
LOSSES = ("mse", "gaussian", "cross_entropy")
ACTIVATIONS = ("relu", "tanh")
LONGEST = 64  # bytes of the longest vectors of any machine
WIDEST = 512  # beyond, a student no longer fits in a core's caches and products of whole matrices are faster


@dataclass(frozen=True)
class Shape:
    """What the kernel is compiled for.

    Attributes
    ----------
    widths : tuple of int
        Inputs, hidden layers, outputs.
    activation : {"relu", "tanh"}
    loss : {"mse", "gaussian", "cross_entropy"}
    optimiser : str
        One that the kernel has: its file in `optimisers/` gives the step as C++.
    dtype : {"float32", "float64"}
    vector : int
        Bytes of a vector; those of this machine by default.
    """

    widths: tuple[int, ...]
    activation: str
    loss: str
    optimiser: str
    dtype: str
    vector: int = field(default_factory=vector_bytes)

    @property
    def lanes(self) -> int:
        """Numbers in a vector; rows of weights are padded to whole vectors."""
        return self.vector // (4 if self.dtype == "float32" else 8)

    def padded(self, n: int) -> int:
        """n rounded up to whole vectors."""
        return -(-n // self.lanes) * self.lanes

    @property
    def targets(self) -> int:
        """Target values per row: mean and spread for "gaussian", otherwise one per output."""
        return 2 if self.loss == "gaussian" else self.widths[-1]

    def _definitions(self) -> list[str]:
        values: dict[str, object] = {
            "REAL": {"float32": "float", "float64": "double"}[self.dtype],
            "WIDTHS": ",".join(map(str, self.widths)),
            "TANH": int(self.activation == "tanh"),
            "LOSS": LOSSES.index(self.loss),
            "UPDATE": " ".join((optimiser_named(self.optimiser).KERNEL or "").split()),
            "BYTES": self.vector,
        }
        return [f"{name}={value}" for name, value in values.items()]


def supports(model: Stacked, recipe: Recipe, loss: object) -> Shape | None:
    """The kernel's shape for that model, recipe and loss; None where another engine must train it.

    It trains linear layers with biases, an activation of `ACTIVATIONS` after each but the last, on a CPU.

    Examples
    --------
    >>> from torch import nn
    >>> from uqkd.stacked import Stacked
    >>> network = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 1))
    >>> supports(Stacked.of(network, 2), Recipe(steps=1), "mse").widths
    (13, 16, 1)
    >>> supports(Stacked.of(nn.LayerNorm(3), 2), Recipe(steps=1), "mse")
    """
    widths = _widths(model)
    if widths is None or loss not in LOSSES or model.device.type != "cpu" or max(widths[0]) > WIDEST:
        return None
    if (loss == "gaussian" and widths[0][-1] != 2) or optimiser_named(recipe.optimiser).KERNEL is None:
        return None
    shape = Shape(*widths, str(loss), recipe.optimiser, model.dtype)
    return shape if kernel(shape) is not None else None


def _widths(model: Stacked) -> tuple[tuple[int, ...], str] | None:
    """Widths and activation of a plain multilayer perceptron, None for any other model."""
    from torch import nn

    template = model.template
    modules = list(template) if type(template) is nn.Sequential else [template]
    names: dict[type, str] = {nn.ReLU: "relu", nn.Tanh: "tanh"}
    layers, between = modules[::2], {names.get(type(module), "") for module in modules[1::2]}
    linear = [layer for layer in layers if type(layer) is nn.Linear and layer.bias is not None]
    if len(modules) % 2 == 0 or len(linear) < len(layers) or len(between) > 1 or "" in between:
        return None
    if len({id(parameter) for layer in linear for parameter in layer.parameters()}) < 2 * len(linear):
        return None  # tied layers
    if any(module._forward_hooks or module._forward_pre_hooks for module in template.modules()):
        return None
    return (linear[0].in_features, *(layer.out_features for layer in linear)), (between or {"relu"}).pop()


@lru_cache(maxsize=256)
def kernel(shape: Shape) -> ctypes.CDLL | None:
    """The compiled kernel of that shape, or None where it has no such optimiser or no compiler can make it."""
    if optimiser_named(shape.optimiser).KERNEL is None:
        return None
    library = build(SOURCE, shape._definitions())
    if library is not None:
        library.train_students.restype = ctypes.c_int64
        library.train_students.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return library


_INTEGERS = (
    "students rows batch steps order_steps validation_rows validate_every patience "
    "own_inputs own_targets own_orders own_rates own_held_inputs own_held_targets"
)  # fmt: skip
_ARRAYS = "inputs targets validation_inputs validation_targets orders rates parameters loss failed_at stopped_at"
_REALS = "momentum nesterov beta1 beta2 eps weight_decay clip_norm"


class _Job(ctypes.Structure):
    """`struct Job` of the kernel."""

    _fields_ = (
        [(name, ctypes.c_int64) for name in _INTEGERS.split()]
        + [(name, ctypes.c_void_p) for name in _ARRAYS.split()]
        + [(name, ctypes.c_double) for name in _REALS.split()]
    )


@dataclass(frozen=True)
class Outcome:
    """What became of S students.

    Attributes
    ----------
    parameters : list of (S, out, in) and (S, out) arrays
        Weight and bias of each layer.
    loss : (S,) float
        At the last step made, before its update.
    failed_at : (S,) int
        Step at which the loss or the gradient was not finite; -1 for healthy students.
    stopped_at : (S,) int
        Steps made.
    """

    parameters: list[Array]
    loss: NDArray[np.float64]
    failed_at: NDArray[np.int64]
    stopped_at: NDArray[np.int64]


def fit(
    shape: Shape,
    parameters: Sequence[Array],
    inputs: Array,
    targets: Array,
    recipe: Recipe,
    *,
    orders: Array | None = None,
    rates: Array | None = None,
    validation: tuple[Array, Array] | None = None,
    threads: int = 1,
) -> Outcome:
    """Train S multilayer perceptrons by the compiled kernel.

    Parameters
    ----------
    shape : Shape
    parameters : list of (S, out, in) and (S, out) arrays
        Where each student begins: weight and bias of each layer in turn.
    inputs : (N, in) or (S, N, in) float
        Shared by all students, or their own.
    targets : (N, targets) or (S, N, targets) float
    recipe : Recipe
    orders : (S or 1, T, B) int, optional
        Rows of step t are `orders[:, t % T]`; all rows at every step if not given.
    rates : (S or 1, steps) float, optional
        Learning rates; the recipe's if not given.
    validation : pair of arrays like `inputs` and `targets`, optional
        With `recipe.patience`: early stop.
    threads : int

    Returns
    -------
    Outcome

    Raises
    ------
    UqkdError
        No compiler, or no memory.
    """
    library = kernel(shape)
    if library is None:
        raise UqkdError(
            f"no kernel for {shape}: no C++ compiler could build it, or it lacks the optimiser; use engine='eager' or 'compiled'."
        )
    students, real = len(parameters[0]), np.dtype(shape.dtype)
    held = _Held(shape, real)
    job = held.job
    job.students, job.rows, job.steps = students, inputs.shape[-2], recipe.steps
    job.inputs, job.own_inputs = held.rows(inputs, shape.padded(shape.widths[0]))
    job.targets, job.own_targets = held.rows(targets, shape.targets)
    job.batch, job.order_steps = job.rows, 1
    if orders is not None:
        job.orders, job.own_orders = held.keep(orders, np.int32), int(len(orders) > 1)
        job.order_steps, job.batch = orders.shape[1:]
    rates = np.atleast_2d(recipe.rates() if rates is None else rates)
    job.rates, job.own_rates = held.keep(rates, np.float64), int(len(rates) > 1)
    if validation is not None and recipe.patience is not None:
        job.validation_inputs, job.own_held_inputs = held.rows(validation[0], shape.padded(shape.widths[0]))
        job.validation_targets, job.own_held_targets = held.rows(validation[1], shape.targets)
        job.validation_rows, job.validate_every = validation[0].shape[-2], recipe.validate_every
        job.patience = recipe.patience
    packed, loss = _pack(shape, parameters), np.zeros(students)
    failed_at, stopped_at = np.full(students, -1), np.zeros(students, dtype=np.int64)
    job.parameters, job.loss = packed.ctypes.data, loss.ctypes.data
    job.failed_at, job.stopped_at = failed_at.ctypes.data, stopped_at.ctypes.data
    job.momentum, job.nesterov, (job.beta1, job.beta2) = recipe.momentum, recipe.nesterov, recipe.betas
    job.eps, job.weight_decay, job.clip_norm = recipe.eps, recipe.weight_decay, recipe.clip_norm or 0.0
    _spread(library, job, students, threads)
    return Outcome(_unpack(shape, packed), loss, failed_at, stopped_at)


def _spread(library: ctypes.CDLL, job: _Job, students: int, threads: int) -> None:
    """Students in blocks over threads; the kernel holds no lock of the interpreter."""
    count = max(1, min(threads, students))
    edges = [students * i // count for i in range(count + 1)]

    def block(i: int) -> int:
        return int(library.train_students(ctypes.addressof(job), edges[i], edges[i + 1]))

    if count == 1:
        failures = [block(0)]
    else:
        with ThreadPoolExecutor(count) as pool:
            failures = list(pool.map(block, range(count)))
    if any(failures):
        raise UqkdError(
            f"no memory for the buffers of one student per thread ({count} threads); free some and run again."
        )


class _Held:
    """A job and the arrays that its pointers need to stay alive."""

    def __init__(self, shape: Shape, real: np.dtype[Any]) -> None:
        self.job, self.shape, self.real = _Job(), shape, real
        self._arrays: list[Array] = []

    def keep(self, array: Array, dtype: Any) -> int:
        self._arrays.append(np.ascontiguousarray(array, dtype=dtype))
        return int(self._arrays[-1].ctypes.data)

    def rows(self, array: Array, width: int) -> tuple[int, int]:
        """Address of ([S,] N, features) rows padded with zeros to `width`, and whether each student has its own."""
        missing = width - array.shape[-1]
        padded = np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array
        return self.keep(padded, self.real), int(array.ndim == 3)


def _layers(shape: Shape) -> list[tuple[int, int, int]]:
    """Place of each layer's weights in a packed student, its inputs and its outputs."""
    at, found = 0, []
    for n, o in zip(shape.widths[:-1], shape.widths[1:], strict=True):
        found.append((at, n, o))
        at += o * shape.padded(n) + shape.padded(o)
    return found


def _aligned(shape: tuple[int, int], dtype: str) -> Array:
    """Zeros that begin at a whole vector, as the kernel's loads and stores of parameters need; NumPy promises 16 bytes."""
    size = shape[0] * shape[1] * np.dtype(dtype).itemsize
    held = np.zeros(size + LONGEST, dtype=np.uint8)
    first = -held.ctypes.data % LONGEST
    return held[first : first + size].view(dtype).reshape(shape)


def _pack(shape: Shape, parameters: Sequence[Array]) -> Array:
    at, n, o = _layers(shape)[-1]
    packed = _aligned((len(parameters[0]), at + o * shape.padded(n) + shape.padded(o)), shape.dtype)
    for view, values in zip(_unpack(shape, packed), parameters, strict=True):
        view[...] = values
    return packed


def _unpack(shape: Shape, packed: Array) -> list[Array]:
    views = []
    for at, n, o in _layers(shape):
        bias = at + o * shape.padded(n)
        views.append(packed[:, at:bias].reshape(len(packed), o, shape.padded(n))[:, :, :n])
        views.append(packed[:, bias : bias + o])
    return views
