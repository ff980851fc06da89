"""Where networks begin: a source of randomness (T11), level l of which is always the same draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import OptionError, one_of
from uqkd.mlp.network import parameter_shapes
from uqkd.stacked.randomness.orders import by_level

Array = NDArray[np.float64]

SCHEMES = ("default", "kaiming")


def initialisation(
    sizes: Sequence[int],
    levels: ArrayLike,
    *,
    key: tuple[Any, ...],
    scheme: str = "default",
    perturbation: float | None = None,
    shared: bool = False,
) -> dict[str, Array]:
    """Initial parameters of each student's network; students of equal level begin equally.

    Parameters
    ----------
    sizes : sequence of int
        Layer widths, as for `mlp`.
    levels : (S,) int
        `SeedDesign.initialisation`.
    key : tuple
        Names the stream; level l is drawn from `uqkd.seeds.generator(*key, "initialisation", l)`.
    scheme : {"default", "kaiming"}
        "default" is torch's for linear layers: weights and biases uniform on ±1/√fan_in. "kaiming" is He's: weights normal
        with variance 2/fan_in, biases zero.
    perturbation : float, optional
        None: students of different levels begin independently. A number ε >= 0: all begin near one draw, each parameter of
        it times 1 + ε·N(0, 1), the normal numbers drawn per level; at 0 all are equal.
    shared : bool
        The levels recur on purpose; see `uqkd.seeds.generator`.

    Returns
    -------
    dict of name to (S, ...) float
        Names as in the module's `state_dict`.

    Examples
    --------
    >>> begin = initialisation((4, 1), [0, 1, 0], key=("doc",))
    >>> begin["0.weight"].shape, begin["0.bias"].shape, bool(np.abs(begin["0.weight"]).max() <= 0.5)
    ((3, 1, 4), (3, 1), True)
    >>> bool((begin["0.weight"][0] == begin["0.weight"][2]).all())
    True
    """
    shapes = parameter_shapes(sizes)
    counts = [int(np.prod(shape)) for shape in shapes.values()]
    total = sum(counts)
    draw = _scheme(scheme, shapes)
    name = (*key, "initialisation")
    if perturbation is None:
        values = by_level(levels, draw, key=name, shared=shared)
    else:
        if not (np.isfinite(perturbation) and perturbation >= 0):
            raise OptionError(f"perturbation must be None or a number >= 0; got {perturbation}.")
        noise = by_level(levels, lambda rng: rng.standard_normal(total), key=name, shared=shared)
        values = draw(seeds.generator(*name, "common", shared=True)) * (1.0 + perturbation * noise)
    pieces = np.split(values, np.cumsum(counts)[:-1], axis=1)
    return {
        parameter: piece.reshape(len(piece), *shape)
        for (parameter, shape), piece in zip(shapes.items(), pieces, strict=True)
    }


def _scheme(scheme: str, shapes: Mapping[str, tuple[int, ...]]) -> Callable[[np.random.Generator], Array]:
    """A function that draws all parameters of one network, one after another in a vector."""
    one_of("scheme", scheme, SCHEMES)
    fan_in = np.concatenate(
        [
            np.full(int(np.prod(shape)), float(shapes[f"{name.split('.')[0]}.weight"][1]))
            for name, shape in shapes.items()
        ]
    )
    if scheme == "default":
        reach = 1.0 / np.sqrt(fan_in)
        return lambda rng: (2.0 * rng.random(len(reach)) - 1.0) * reach
    weight = np.concatenate([np.full(int(np.prod(s)), float(n.endswith("weight"))) for n, s in shapes.items()])
    scale = weight * np.sqrt(2.0 / fan_in)
    return lambda rng: rng.standard_normal(len(scale)) * scale
