"""One module trained in place by torch's own optimiser: what a student is whose step is worth its calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from uqkd.errors import OptionError, one_of
from uqkd.stacked.engines.checkpoints import Checkpoint
from uqkd.stacked.optimisers import torch_optimiser
from uqkd.stacked.recipe import Recipe

PRECISIONS = ("float32", "bfloat16")

Part = Callable[[], Tensor]  # one micro-batch's share of the loss; the shares of a step add up to it


class Processes(Protocol):
    """Processes that share the micro-batches of one student."""

    @property
    def number(self) -> int:
        """Which one this is, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""


@dataclass(frozen=True)
class Alone:
    """One process, which computes all."""

    number: int = 0
    count: int = 1

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to add."""


@dataclass
class Outcome:
    """What became of one module; made by `train_alone`.

    Attributes
    ----------
    loss : float
        At the last step, before its update.
    failed_at : int
        -1, or the step whose loss or gradient was not finite; its update was not made.
    made : int
        Steps made.
    validation : list of float
        Losses at the evaluations, in their order.
    best : float
        The lowest of them, infinite where there was none.
    since : int
        Evaluations since the lowest.
    """

    loss: float = float("nan")
    failed_at: int = -1
    made: int = 0
    validation: list[float] = field(default_factory=list)
    best: float = float("inf")
    since: int = 0


def train_alone(
    module: nn.Module,
    recipe: Recipe,
    parts: Callable[[int], Iterable[Part]],
    *,
    rates: ArrayLike | None = None,
    precision: str = "float32",
    evaluate: Callable[[], float] | None = None,
    checkpoint: Checkpoint | None = None,
    stream: Callable[[int], AbstractContextManager[None]] | None = None,
    watch: Callable[[int, float], None] | None = None,
    processes: Processes | None = None,
) -> Outcome:
    """Train one module in place.

    Parameters
    ----------
    module : nn.Module
        Its parameters that require a gradient are trained, in the number type they have.
    recipe : Recipe
    parts : callable
        `parts(step)` gives the micro-batches of a step; each computes its share of the step's loss when it is called. The
        gradient is that of the whole step, however it is cut.
    rates : (steps,) float, optional
        Learning rates instead of the recipe's.
    precision : {"float32", "bfloat16"}
        Of the computation; parameters, gradients and the optimiser's state stay as they are ("master weights").
    evaluate : callable, optional
        The validation loss; with `recipe.patience`, stops early and takes back the best parameters.
    checkpoint : Checkpoint, optional
        Where the state is kept now and then, and begun from.
    stream : callable, optional
        Inside `stream(step)` a step is made: `uqkd.seeds.torch_stream` of a key of the step's own, for dropout draws from torch's
        global random state.
    watch : callable, optional
        Told step and loss after every step.
    processes : Processes, optional
        Each computes every n-th micro-batch; gradients and losses are added up.

    Returns
    -------
    Outcome

    Raises
    ------
    OptionError
        Nothing to train, or an unknown precision.

    Examples
    --------
    >>> line, x = nn.Linear(1, 1, bias=False), torch.tensor([[1.0], [2.0]])
    >>> half = lambda row: lambda: (line(x[row]) - 3.0 * x[row]).square().sum() / 2
    >>> done = train_alone(line, Recipe(steps=200, optimiser="sgd", lr=0.1), lambda step: [half(0), half(1)])
    >>> done.made, round(line.weight.item(), 4)
    (200, 3.0)
    """
    one_of("precision", precision, PRECISIONS)
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise OptionError("the model has no parameter that requires a gradient; there is nothing to train.")
    steps = np.asarray(recipe.rates() if rates is None else rates, dtype=np.float64)
    run = _Run(module, trained, recipe, steps, precision, processes or Alone())
    if checkpoint is not None:
        run.load(checkpoint)
    module.train()
    try:
        while run.done.made < recipe.steps and run.done.failed_at < 0:
            step = run.done.made
            with nullcontext() if stream is None else stream(step):
                run.step(parts(step))
            if run.done.failed_at >= 0:
                break
            if watch is not None:
                watch(step, run.done.loss)
            if evaluate is not None and recipe.patience is not None and run.done.made % recipe.validate_every == 0:
                run.judge(evaluate())
                if run.done.since >= recipe.patience:
                    break
            if checkpoint is not None and run.done.made < recipe.steps and checkpoint.due():
                run.save(checkpoint)
        run.take_back()
    finally:
        module.eval()
    return run.done


class _Run:
    """The state of one training."""

    def __init__(
        self,
        module: nn.Module,
        trained: list[nn.Parameter],
        recipe: Recipe,
        rates: NDArray[np.float64],
        precision: str,
        processes: Processes,
    ) -> None:
        self.module, self.trained, self.recipe, self.rates = module, trained, recipe, rates
        self.optimiser = torch_optimiser(recipe, trained)
        self.processes, self.done = processes, Outcome()
        self.best: list[Tensor] | None = None
        self._narrow = precision == "bfloat16"
        self._device = trained[0].device

    def step(self, parts: Iterable[Part]) -> None:
        """One optimiser step, or the note that it could not be made."""
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._device)
        for place, part in enumerate(parts):
            if place % self.processes.count != self.processes.number:
                continue
            narrow = torch.autocast(self._device.type, torch.bfloat16) if self._narrow else nullcontext()
            with narrow:
                share = part()
            share.backward()  # type: ignore[no-untyped-call]
            total += share.detach()
        self._add_up(total)
        gradients = [p.grad for p in self.trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        self.done.loss = float(total)
        if not (np.isfinite(self.done.loss) and bool(torch.isfinite(norm))):
            self.done.failed_at = self.done.made
            return
        if self.recipe.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.recipe.clip_norm, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = float(self.rates[self.done.made])
        self.optimiser.step()
        self.done.made += 1

    def _add_up(self, total: Tensor) -> None:
        """Gradients and loss of all processes; a parameter that no micro-batch of this one reached counts as zero."""
        if self.processes.count == 1:
            return
        for p in self.trained:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self.processes.add([total, *(p.grad for p in self.trained if p.grad is not None)])

    def judge(self, loss: float) -> None:
        """Note an evaluation, and the parameters if it was the best one."""
        self.done.validation.append(loss)
        self.module.train()
        if loss < self.done.best:
            self.done.best, self.done.since = loss, 0
            self.best = [p.detach().to("cpu", copy=True) for p in self.trained]
        else:
            self.done.since += 1

    @torch.no_grad()
    def take_back(self) -> None:
        """The best parameters, where there were evaluations and the module did not fail."""
        if self.best is None or self.done.failed_at >= 0:
            return
        for p, best in zip(self.trained, self.best, strict=True):
            p.copy_(best)

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that changes, by name."""
        found: dict[str, Tensor] = {f"parameter.{n}": p.detach() for n, p in enumerate(self.trained)}
        for n, state in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{n}.{name}": torch.as_tensor(value) for name, value in state.items()}
        found |= {f"best.{n}": value for n, value in enumerate(self.best or ())}
        found |= {f"buffer.{name}": value for name, value in self.module.named_buffers()}
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep the state after the steps made."""
        checkpoint.save(self._tensors(), vars(self.done))

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> None:
        """Begin where the last checkpoint was written, if there is one."""
        found = checkpoint.load()
        if found is None:
            return
        tensors, about = found
        for n, p in enumerate(self.trained):
            p.copy_(tensors[f"parameter.{n}"])
        held = dict(self.module.named_buffers())
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "buffer":
                held[rest].copy_(value)
            elif kind == "optimiser":
                number, _, part = rest.partition(".")
                state.setdefault(int(number), {})[part] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        if "best.0" in tensors:
            self.best = [tensors[f"best.{n}"].clone() for n in range(len(self.trained))]
        self.done = Outcome(**about)
