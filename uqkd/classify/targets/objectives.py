"""What classifiers minimise: distillation at a temperature beside labels, and the shaping of a teacher's uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from uqkd.errors import OptionError, ShapeError

Temperature = float | str

STANDARD_DEVIATION = "std"


def checked_temperature(temperature: Temperature) -> Temperature:
    """A positive number, or "std"; otherwise `OptionError`.

    Examples
    --------
    >>> checked_temperature(2)
    2.0
    """
    if temperature == STANDARD_DEVIATION:
        return STANDARD_DEVIATION
    if not isinstance(temperature, Real) or not 0.0 < float(temperature) < float("inf"):
        raise OptionError(f"temperature must be a positive number or 'std'; got {temperature!r}.")
    return float(temperature)


def rescaled(logits: Tensor, temperature: Temperature) -> Tensor:
    """Logits (..., C) divided by a temperature, or with "std" each row by its own standard deviation over classes (ddof 1).

    Examples
    --------
    >>> rescaled(torch.tensor([3.0, 1.0]), 2.0), rescaled(torch.tensor([[4.0, 0.0], [1.0, 0.0]]), "std")[:, 0]
    (tensor([1.5000, 0.5000]), tensor([1.4142, 1.4142]))
    """
    if temperature == STANDARD_DEVIATION:
        return logits / logits.std(-1, keepdim=True)
    return logits / float(temperature)


@dataclass(frozen=True)
class Distillation:
    """weight · T² · KL(q^(T) ‖ p^(T)) + (1 − weight) · cross-entropy with the labels, mean over rows.

    A loss of `uqkd.stacked.train`: outputs (S, B, C), targets (S, B, 2C), the softened target distribution beside the
    label's. With temperature "std" both sides' logits are divided by their own standard deviation, and there is no T².

    Attributes
    ----------
    temperature : float or "std"
    weight : float
        Share of distillation, in [0, 1]; 0 leaves the labels alone, 1 leaves them out.

    Notes
    -----
    Hinton et al. (2015); CUD (arXiv 2602.12687) with weight .8; mixup-KD (arXiv 2606.12171) with weight 1 and T = 2, later .8.

    Examples
    --------
    >>> even = torch.tensor([[[0.5, 0.5, 1.0, 0.0]]])
    >>> Distillation(temperature=2.0, weight=0.0)(torch.zeros(1, 1, 2), even), Distillation(2.0, 1.0)(torch.zeros(1, 1, 2), even)
    (tensor([0.6931]), tensor([0.]))
    """

    temperature: Temperature = 2.0
    weight: float = 0.8

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", checked_temperature(self.temperature))
        if not 0.0 <= self.weight <= 1.0:
            raise OptionError(f"distillation needs a weight in [0, 1]; got {self.weight}.")

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(S,) mean loss of each student."""
        classes = outputs.shape[-1]
        if targets.shape != (*outputs.shape[:-1], 2 * classes):
            raise ShapeError(
                f"distillation compares logits (S, B, C) with targets (S, B, 2C), softened and labels; got {tuple(outputs.shape)} "
                f"and {tuple(targets.shape)}."
            )
        soft, hard = targets.split(classes, -1)
        loss = torch.zeros_like(outputs[..., 0])
        if self.weight > 0:
            logs = rescaled(outputs, self.temperature).log_softmax(-1)
            scale = 1.0 if self.temperature == STANDARD_DEVIATION else float(self.temperature) ** 2
            loss = loss + self.weight * scale * (torch.xlogy(soft, soft) - soft * logs).sum(-1)
        if self.weight < 1:
            loss = loss - (1.0 - self.weight) * (hard * outputs.log_softmax(-1)).sum(-1)
        return loss.flatten(1).mean(1)


@dataclass(frozen=True)
class Shaping:
    """Difficulty-aware uncertainty shaping (DUS): a focal loss, and entropy kept where the teacher struggles.

    L = ce · (−log p_y) + focal · (−alpha · (1 − p_y)^gamma · log p_y) − entropy · w · H(p), with the gate
    w = 1{p_y < gate} + rho · (1 − p_y)^beta, which passes no gradient. Targets are label distributions (S, B, C); p_y is
    the probability under them.

    Attributes
    ----------
    gamma, entropy : float
        As published: 10 and .1.
    ce, focal, alpha, gate, rho, beta : float
        Not published; our defaults.

    Notes
    -----
    CUD, arXiv 2602.12687. With ce = 1 and focal = entropy = 0 it is the cross-entropy.

    Examples
    --------
    >>> even, label = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0.0]]])
    >>> Shaping(gamma=0.0, entropy=0.0)(even, label), Shaping(ce=0.0, focal=0.0, entropy=1.0)(even, label)
    (tensor([0.6931]), tensor([-0.3466]))
    """

    gamma: float = 10.0
    entropy: float = 0.1
    ce: float = 0.0
    focal: float = 1.0
    alpha: float = 1.0
    gate: float = 0.5
    rho: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < float("inf"):
                raise OptionError(f"shaping needs {name} finite and >= 0; got {value}.")

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(S,) mean loss of each teacher."""
        if targets.shape != outputs.shape:
            raise ShapeError(
                f"shaping compares logits (S, B, C) with label distributions of the same shape; got {tuple(outputs.shape)} and "
                f"{tuple(targets.shape)}."
            )
        logs = outputs.log_softmax(-1)
        label = (targets * logs).sum(-1)
        likely = label.exp()
        # Above zero: rounding may leave −1e-8, of which a power is NaN, and at 0 that of a gamma below 1 has an infinite slope.
        missed = (1.0 - likely).clamp(min=torch.finfo(likely.dtype).tiny)
        spread = -(logs.exp() * logs).sum(-1)
        gate: Any = ((likely < self.gate) + self.rho * missed.pow(self.beta)).detach()
        loss = -label * (self.ce + self.focal * self.alpha * missed.pow(self.gamma)) - self.entropy * gate * spread
        return loss.flatten(1).mean(1)
