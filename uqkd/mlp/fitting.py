"""Train S networks from where each begins: the one place where this layer meets the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.mlp.network import mlp
from uqkd.stacked import Recipe, Stacked, Training, train

Array = NDArray[Any]


@dataclass(frozen=True)
class Fitted:
    """S trained networks; made by `fit`.

    Attributes
    ----------
    parameters : dict of name to (S, ...) array
        Of the precision trained in; of a diverged student, the last finite ones.
    training : Training
    """

    parameters: dict[str, Array]
    training: Training


def fit(
    begin: Mapping[str, Array],
    X: Array,
    targets: Array,
    recipe: Recipe,
    *,
    loss: str,
    orders: Array | None = None,
    activation: str = "relu",
    engine: str = "auto",
    device: str = "cpu",
    dtype: str = "float32",
    chunk: int | None = None,
) -> Fitted:
    """Train networks that share their rows.

    Parameters
    ----------
    begin : mapping of name to (S, ...) array
        Initial parameters, as `uqkd.mlp.initialisation.initialisation` gives them.
    X : (P, p) float
    targets : (S, P, D), (1, P, D) or (P, D) float
        Each student's own, or those of all.
    recipe : Recipe
    loss : {"mse", "gaussian", "cross_entropy"}
    orders : (S or 1, T, B) int, optional
        Rows of each step; all rows if not given.
    activation, engine, device, dtype, chunk
        See `distill`.

    Returns
    -------
    Fitted

    Examples
    --------
    >>> begin = {"0.weight": np.zeros((2, 1, 1)), "0.bias": np.zeros((2, 1))}
    >>> fitted = fit(begin, np.ones((4, 1)), np.full((1, 4, 1), 3.0), Recipe(steps=500, lr=0.05), loss="mse", engine="eager")
    >>> (fitted.parameters["0.weight"][:, 0, 0] + fitted.parameters["0.bias"][:, 0]).round(3)
    array([3., 3.], dtype=float32)
    """
    weights = [array for name, array in begin.items() if name.endswith("weight")]
    sizes = (weights[0].shape[2], *(weight.shape[1] for weight in weights))
    # torch draws a module's first weights from its global state, which must not move; the weights are replaced below
    with seeds.torch_stream("mlp", "module", shared=True):
        model = Stacked.of(mlp(sizes, activation), len(weights[0]), dtype=dtype, device=device)
    model.load(begin)
    # torch wants arrays that it may write to, though nothing does
    rows, labels = (np.require(array, dtype=dtype, requirements=["C", "W"]) for array in (X, targets))
    labels = labels[None] if labels.ndim == 2 else labels
    training = train(
        model,
        torch.from_numpy(rows),
        torch.from_numpy(labels),
        recipe,
        loss=loss,
        orders=orders,
        engine=engine,
        chunk=chunk,
    )
    trained = {name: tensor.detach().cpu().numpy() for name, tensor in model.parameters_by_name().items()}
    return Fitted(trained, training)
