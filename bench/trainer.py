"""transformers' Trainer with our batches, losses, optimiser and rates: what a user would run, and a reference for tests."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uqkd import seeds
from uqkd.llm.students.networks.likelihood import only_supervised, weighted_loss
from uqkd.llm.students.rows.training_rows import TrainingRows
from uqkd.stacked import Recipe
from uqkd.stacked.optimisers import torch_optimiser

Array = NDArray[np.float64]


def trainer_losses(student: Any, rows: TrainingRows, s: int, recipe: Recipe, *, seed: int, device: str) -> Array:
    """Train one student in place by transformers' Trainer; its loss at every step, (steps,).

    `seed` is what the Trainer sets the global random states to, of which only dropout draws; they are kept.
    """
    from transformers import PrinterCallback, Trainer, TrainingArguments

    table, weights = torch.from_numpy(rows.table()), torch.from_numpy(rows.weights[s]).float()
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
            self.optimizer = torch_optimiser(recipe, trained)
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
        only_supervised(student, rows.table()),
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
