"""Two trainers with the same results: all students in one pass, or one after another by transformers' own Trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uqkd import seeds
from uqkd.llm.students.initializer import Initializer, Parameters
from uqkd.llm.students.likelihood import know_leaves, only_supervised, weighted_loss
from uqkd.llm.students.rows import TrainingRows
from uqkd.stacked import Recipe, Stacked, Training, train

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """S students after training: the model that holds them, and what became of each."""

    model: Stacked
    training: Training


def stacked_of(
    initializer: Initializer, begin: Sequence[Parameters], *, key: tuple[Any, ...], dropout: Sequence[int], device: str
) -> Stacked:
    """S students in one model, each at its own initializer.

    Parameters
    ----------
    initializer : Initializer
    begin : sequence of S dicts
        From `Initializer.parameters`.
    key : tuple
    dropout : sequence of S int
        Levels of the dropout masks.
    device : str
    """
    know_leaves(initializer.template)
    share = initializer.lora is not None
    model = Stacked.of(
        initializer.template, len(begin), key=key, device=device, share_frozen=share, dropout=list(map(int, dropout))
    )
    held = model.parameters_by_name()
    with torch.no_grad():
        for s, parameters in enumerate(begin):
            for name, value in parameters.items():
                held[name][s].copy_(value)
    return model


def train_stacked(model: Stacked, rows: TrainingRows, recipe: Recipe, *, chunk: int | None = None) -> Trained:
    """All students in one pass; see `uqkd.stacked.train`."""
    recipe = replace(recipe, batch=rows.orders.shape[2])
    with only_supervised(model.body, rows.table):
        training = train(model, rows.table, rows.weights, recipe, loss=weighted_loss, orders=rows.orders, chunk=chunk)
    return Trained(model, training)


def train_transformers(
    model: Stacked,
    initializer: Initializer,
    rows: TrainingRows,
    recipe: Recipe,
    *,
    key: tuple[Any, ...],
    dropout: Sequence[int],
) -> Trained:
    """One student after another by transformers' Trainer: the same rows, weights, order, optimiser and rates.

    Dropout masks are torch's own here, keyed by level, and differ from those of the stacked trainer.
    """
    held = model.parameters_by_name()
    losses, failed, made = (
        np.zeros(model.students),
        np.full(model.students, -1),
        np.zeros(model.students, dtype=np.int64),
    )
    for s in range(model.students):
        student = initializer.alone({name: value[s] for name, value in held.items()})
        seed = (
            seeds.seed63(*key, "dropout", int(dropout[s]), shared=True) % 2**32
        )  # the Trainer seeds NumPy with it too
        trajectory = trainer_losses(student, rows, s, recipe, seed=seed, device=str(model.device))
        bad = np.flatnonzero(~np.isfinite(trajectory))
        failed[s] = bad[0] if len(bad) else -1
        losses[s], made[s] = trajectory[-1], len(trajectory)
        with torch.no_grad():
            for name, value in student.named_parameters():
                if value.requires_grad:
                    held[name][s].copy_(value)
    return Trained(model, Training(losses, failed, made, "transformers"))


def trainer_losses(student: Any, rows: TrainingRows, s: int, recipe: Recipe, *, seed: int, device: str) -> Array:
    """Train one student in place by transformers' Trainer; its loss at every step, (steps,).

    `seed` is what the Trainer sets the global random states to, of which only dropout draws; they are kept.
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments

    table, weights = torch.from_numpy(rows.table), torch.from_numpy(rows.weights[s]).float()
    batches = [torch.from_numpy(np.asarray(order)) for order in rows.orders[s]]
    rates = recipe.rates()
    seen: list[float] = []

    class Ordered(Trainer):
        """Trainer with our batches, loss, optimiser and rates."""

        def get_train_dataloader(self) -> Any:
            return [{"rows": table[batches[t % len(batches)]], "weights": weights[batches[t % len(batches)]]}
                    for t in range(recipe.steps)]  # fmt: skip

        def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
            where = next(model.parameters()).device
            likelihoods = model(inputs["rows"].to(where))
            loss = weighted_loss(likelihoods[None], inputs["weights"].to(where)[None])[0]
            seen.append(float(loss.detach()))
            return loss

        def create_optimizer(self, *_: Any) -> Any:
            trained = [p for p in student.parameters() if p.requires_grad]
            self.optimizer = _optimiser(trained, recipe)
            return self.optimizer

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            factor = rates / recipe.lr
            assert self.optimizer is not None
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer, lambda step: float(factor[min(step, len(factor) - 1)])
            )
            return self.lr_scheduler

    with (
        tempfile.TemporaryDirectory() as scratch,
        seeds.global_states_kept(),
        only_supervised(student, rows.table),
    ):
        arguments = TrainingArguments(
            output_dir=scratch, max_steps=recipe.steps, per_device_train_batch_size=rows.orders.shape[2],
            learning_rate=recipe.lr, weight_decay=recipe.weight_decay, max_grad_norm=recipe.clip_norm or 0.0,
            logging_strategy="no", save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=device == "cpu",
            remove_unused_columns=False, dataloader_pin_memory=False, seed=seed,
        )  # fmt: skip
        trainer = Ordered(model=student, args=arguments, train_dataset=_Length(len(weights)))
        trainer.remove_callback(PrinterCallback)  # it prints a line for every student
        trainer.train()
    return np.array(seen)


class _Length(torch.utils.data.Dataset[int]):
    """The Trainer asks a data set for its length, and takes its batches elsewhere."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, place: int) -> int:
        return place


def _optimiser(trained: list[Tensor], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of torch."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            trained, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, weight_decay=recipe.weight_decay
        )
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(trained, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, weight_decay=recipe.weight_decay)
