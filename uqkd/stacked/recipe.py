"""How students are trained: optimiser, learning rate, length, clipping, early stop; one recipe for all engines."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import OptionError, one_of
from uqkd.stacked.optimisers import check_options, optimiser_names

Array = NDArray[np.float64]

SCHEDULES = ("constant", "linear", "cosine")
OF_OPTIMISERS = ("momentum", "nesterov", "betas", "eps", "weight_decay")  # options that only some of them use


@dataclass(frozen=True)
class Recipe:
    """One training recipe; every student follows it with its own state.

    Attributes
    ----------
    steps : int
        Optimiser steps; with full batches one step is one epoch.
    batch : int or None
        Rows per step; None takes all rows at every step.
    optimiser : {"sgd", "adam", "adamw"}
        As in torch.optim, with the same defaults; or any other file in `uqkd/stacked/optimisers/`.
    lr : float
        Learning rate before the schedule.
    momentum, nesterov : float, bool
        For "sgd".
    betas, eps : (float, float), float
        For "adam" and "adamw".
    weight_decay : float
        Added to the gradient by "sgd" and "adam", decoupled in "adamw".
    clip_norm : float or None
        Largest gradient norm of one student, over all of its parameters.
    schedule : {"constant", "linear", "cosine"}
        Falls to zero at the last step, after `warmup` steps of linear rise.
    warmup : int
    patience : int or None
        Stop a student after that many evaluations without a lower validation loss, and take back its best parameters.
    validate_every : int
        Steps between evaluations.

    Examples
    --------
    >>> Recipe(steps=4, schedule="linear").rates().round(4)
    array([0.01  , 0.0075, 0.005 , 0.0025])
    >>> Recipe(steps=200, optimiser="adm")
    Traceback (most recent call last):
    uqkd.errors.OptionError: optimiser got 'adm'; did you mean 'adam'? ...
    """

    steps: int
    batch: int | None = None
    optimiser: str = "adam"
    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    schedule: str = "constant"
    warmup: int = 0
    patience: int | None = None
    validate_every: int = 10

    def __post_init__(self) -> None:
        one_of("optimiser", self.optimiser, optimiser_names())
        one_of("schedule", self.schedule, SCHEDULES)
        positive: dict[str, Any] = {"steps": self.steps, "lr": self.lr, "eps": self.eps}
        positive["validate_every"] = self.validate_every
        optional = {"batch": self.batch, "clip_norm": self.clip_norm, "patience": self.patience}
        positive |= {name: value for name, value in optional.items() if value is not None}
        for name, value in positive.items():
            if not (np.isfinite(value) and value > 0):
                raise OptionError(f"recipe: {name} must be positive; got {value}.")
        for name, share in {"momentum": self.momentum, "betas[0]": self.betas[0], "betas[1]": self.betas[1]}.items():
            if not 0.0 <= share < 1.0:
                raise OptionError(f"recipe: {name} must lie in [0, 1); got {share}.")
        if not (np.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise OptionError(f"recipe: weight_decay must be finite and >= 0; got {self.weight_decay}.")
        if not 0 <= self.warmup < self.steps:
            raise OptionError(f"recipe: warmup must be at least 0 and below steps={self.steps}; got {self.warmup}.")
        check_options(self.optimiser, self._given())
        if self.nesterov and not self.momentum > 0:
            raise OptionError("recipe: nesterov needs momentum > 0; got momentum=0.")

    def _given(self) -> list[str]:
        """Options that are not at their defaults, of those that only some optimisers use; lists of JSON are tuples here."""
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self)}
        return [name for name in OF_OPTIMISERS if not np.array_equal(getattr(self, name), defaults[name])]

    def rates(self) -> Array:
        """Learning rate of every step, (steps,)."""
        step = np.arange(self.steps)
        progress = np.clip((step - self.warmup) / (self.steps - self.warmup), 0.0, 1.0)
        factor = {
            "constant": np.ones(self.steps),
            "linear": 1.0 - progress,
            "cosine": 0.5 * (1.0 + np.cos(np.pi * progress)),
        }[self.schedule]
        rise = np.minimum(1.0, (step + 1.0) / (self.warmup + 1.0))
        return self.lr * factor * rise
