"""Adapters of S students over one frozen base against bare loops with PEFT, one student after another."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench.llm_training import some_rows
from bench.measuring import Row
from uqkd.llm import Lora, Recipe
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.rows.training_rows import TrainingRows
from uqkd.llm.students.training.ways_to_train import Split, stacked_of, train_stacked

FOLDER = Path(__file__).parents[1] / ".real"
MODELS = {"six-layer cut": "smollm2-6layers", "SmolLM2-135M": "smollm2-135m-instruct"}
STUDENTS, BATCH, LAST, ROUNDS = 4, 8, 4, 3
STEPS = 6  # sixteen rows in batches of eight: every student sees every row three times


def bare(model: Any, rows: TrainingRows, s: int) -> None:
    """The least that anyone would write for one student: padded batches, the model's own loss, AdamW, clipped gradients."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    for order in rows.orders[s]:
        table = torch.from_numpy(rows.table(order)).long()  # the loss of transformers takes no int32
        labels = torch.where(table[:, 1].bool(), table[:, 0], -100)
        optimiser.zero_grad()
        model(input_ids=table[:, 0], labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()


def works(folder: Path, layers: int | None) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Training of S students by us, and of one of them by a bare loop; models are loaded before."""
    recipe = Recipe(steps=STEPS, batch=BATCH, optimiser="adamw", lr=1e-4, clip_norm=1.0)
    rows = some_rows(recipe, students=STUDENTS)
    initializer = Initializer.of(folder, lora=Lora(rank=8, layers=layers))
    begin = [initializer.parameters(s, key=("bench",), adapter=s, shared=True) for s in range(STUDENTS)]
    together = stacked_of(initializer, begin, key=("bench",), dropout=range(STUDENTS), device="cpu")
    alone = initializer.alone(begin[0]).model.train()

    def ours() -> None:
        train_stacked(together, Split(rows), recipe)

    return ours, lambda: bare(alone, rows, 0)


def compared(name: str, layers: int | None, goal: float) -> Row:
    """One row: seconds of a student-step of both, in turn in one run."""
    ours, theirs = works(FOLDER / MODELS[name], layers)
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    theirs()
    for _ in range(ROUNDS):
        for which, work, count in (("bare", theirs, 1), ("ours", ours, STUDENTS), ("bare", theirs, 1)):
            start = time.perf_counter()
            work()
            times[which].append((time.perf_counter() - start) / (STEPS * count))
    before_and_after = zip(times["bare"][::2], times["bare"][1::2], strict=True)
    ratio = statistics.median((a + b) / 2 / mine for (a, b), mine in zip(before_and_after, times["ours"], strict=True))
    mine, other = (statistics.median(times[which]) for which in ("ours", "bare"))
    where = "all layers" if layers is None else f"the last {layers} layers, every row three times"
    gc.collect()
    return Row(
        f"{name}, S={STUDENTS} adapters over one base, LoRA in {where}, {BATCH} rows a step, "
        f"{torch.get_num_threads()} threads",
        f"{mine:.2f} s a student-step",
        f"bare PEFT loop {other:.2f} s",
        ratio,
        f">= {goal:g}",
        ratio >= goal,
    )


def rows() -> list[Row]:
    """Each model with adapters in all layers, and in the last ones: four of thirty, where the frozen ones are most of the work,
    and four of six, where they are not."""
    last = {"six-layer cut": 1.0, "SmolLM2-135M": 2.0}
    return [compared(name, layers, goal) for name in MODELS for layers, goal in ((None, 1.0), (LAST, last[name]))]
