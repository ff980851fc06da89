"""Multi-layer perceptrons: the module that is trained, and what S of them answer at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import shaped
from uqkd.errors import OptionError, ShapeError, one_of

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[np.float64]

ACTIVATIONS = ("relu", "tanh")
BLOCK_VALUES = 2**20  # activations (float64) held at a time when predicting: 8 MB


def mlp(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """Linear layers with an activation between them (none after the last): the factory that all of uqkd trains.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer and of the output: (13, 16, 1).
    activation : {"relu", "tanh"}

    Returns
    -------
    torch.nn.Sequential

    Examples
    --------
    >>> [name for name, _ in mlp((13, 16, 1)).named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    from torch import nn

    between = {"relu": nn.ReLU, "tanh": nn.Tanh}[one_of("activation", activation, ACTIVATIONS)]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(checked_sizes(sizes)):
        layers += [nn.Linear(inputs, outputs), between()]
    return nn.Sequential(*layers[:-1])


def checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Layer widths as a tuple: at least input and output, all positive."""
    widths = tuple(int(width) for width in sizes)
    if len(widths) < 2 or min(widths) < 1:
        raise OptionError(f"sizes needs an input and an output width, all >= 1, such as (13, 16, 1); got {widths}.")
    return widths


def parameter_shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter of `mlp(sizes)` by its name there.

    Examples
    --------
    >>> parameter_shapes((3, 4, 1))
    {'0.weight': (4, 3), '0.bias': (4,), '2.weight': (1, 4), '2.bias': (1,)}
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(checked_sizes(sizes))):
        shapes |= {f"{2 * layer}.weight": (outputs, inputs), f"{2 * layer}.bias": (outputs,)}
    return shapes


def answers(parameters: Mapping[str, NDArray[Any]], X: ArrayLike, *, activation: str = "relu") -> Array:
    """Outputs of S networks at the rows of X, in float64.

    Parameters
    ----------
    parameters : mapping of name to (S, ...) array
        As `mlp` names them, with a leading student axis.
    X : (P, p) float
    activation : {"relu", "tanh"}

    Returns
    -------
    (S, P, D) float

    Raises
    ------
    ShapeError
        X has another number of features than the networks.

    Examples
    --------
    >>> one = {"0.weight": np.array([[[2.0]], [[3.0]]]), "0.bias": np.array([[1.0], [0.0]])}
    >>> answers(one, [[10.0]])[:, 0, 0]
    array([21., 30.])
    """
    one_of("activation", activation, ACTIVATIONS)
    rows = shaped("X", X, "P p")
    weights = [np.asarray(parameters[f"{2 * layer}.weight"]) for layer in range(len(parameters) // 2)]
    biases = [np.asarray(parameters[f"{2 * layer}.bias"]) for layer in range(len(parameters) // 2)]
    if rows.shape[1] != weights[0].shape[2]:
        raise ShapeError(f"X has {rows.shape[1]} features but the networks were trained on {weights[0].shape[2]}.")
    widest = max(weight.shape[1] for weight in weights)
    block = max(1, BLOCK_VALUES // (len(rows) * widest))
    students = len(weights[0])
    found = np.empty((students, len(rows), weights[-1].shape[1]))
    for start in range(0, students, block):
        part = slice(start, start + block)
        value: Array = rows[None]
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            value = value @ weight[part].transpose(0, 2, 1) + bias[part, None, :]
            if layer < len(weights) - 1:
                value = np.maximum(value, 0.0) if activation == "relu" else np.tanh(value)
        found[part] = value
    return found
