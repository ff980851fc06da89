"""Losses of S students: outputs and targets with a student axis in, one mean loss per student out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from uqkd.errors import ShapeError, one_of

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over rows and outputs.

    Parameters
    ----------
    outputs, targets : (S, B, D) float
        Targets may leave out the last axis where D = 1.

    Returns
    -------
    (S,) float

    Examples
    --------
    >>> mse(torch.zeros(2, 2, 1), torch.tensor([[1.0, 3.0], [0.0, 2.0]]))
    tensor([5., 2.])
    """
    if targets.ndim == outputs.ndim - 1 and outputs.shape[-1] == 1:
        targets = targets[..., None]
    _same("mse", outputs, targets)
    return (outputs - targets).square().flatten(1).mean(1)


def gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of a Gaussian head on k responses, given their mean and spread; without ½·ln 2π.

    Parameters
    ----------
    outputs : (S, B, 2) float
        Mean and log-variance.
    targets : (S, B, 2) float
        Mean of the responses, and their mean squared deviation around it (ddof 0; 0 for one response).

    Returns
    -------
    (S,) float

    Examples
    --------
    >>> gaussian(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[3.0, 2.0]]]))  # ½·(0 + (1 − 3)² + 2)
    tensor([3.])
    """
    _same("gaussian", outputs, targets)
    if outputs.shape[-1] != 2:
        raise ShapeError(f"the gaussian loss needs two outputs, mean and log-variance; got {tuple(outputs.shape)}.")
    mean, log_var = outputs.unbind(-1)
    average, spread = targets.unbind(-1)
    return (0.5 * (log_var + ((mean - average).square() + spread) * torch.exp(-log_var))).flatten(1).mean(1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of logits against target probabilities, mean over rows.

    Parameters
    ----------
    outputs, targets : (S, B, C) float
        Logits, and probabilities.

    Returns
    -------
    (S,) float

    Examples
    --------
    >>> cross_entropy(torch.zeros(1, 3, 4), torch.full((1, 3, 4), 0.25))
    tensor([1.3863])
    """
    _same("cross_entropy", outputs, targets)
    return -(targets * outputs.log_softmax(-1)).sum(-1).flatten(1).mean(1)


LOSSES: dict[str, Loss] = {"mse": mse, "gaussian": gaussian, "cross_entropy": cross_entropy}


def named(loss: str | Loss) -> Loss:
    """The loss of that name, or the callable itself.

    Examples
    --------
    >>> named("mse") is mse
    True
    >>> named("mae")
    Traceback (most recent call last):
    uqkd.errors.OptionError: loss got 'mae'; did you mean 'mse'? ...
    """
    return LOSSES[one_of("loss", loss, LOSSES)] if isinstance(loss, str) else loss


def _same(loss: str, outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise ShapeError(
            f"the {loss} loss compares outputs and targets of one shape (S, rows, ...); got outputs {tuple(outputs.shape)} "
            f"and targets {tuple(targets.shape)}."
        )
