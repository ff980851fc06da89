"""Language-model students in one pass against the transformers Trainer and a bare loop; and the sample bank."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench import llm_bank
from bench.measuring import Row
from bench.trainer import trainer_losses
from uqkd.llm import Encoder, Prompts, Recipe, Responses, SeedDesign, World, weigh
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.networks.likelihood import weighted_loss
from uqkd.llm.students.rows.training_rows import training_rows
from uqkd.llm.students.training.ways_to_train import Split, stacked_of, train_stacked
from uqkd.llm.synthetic.testbed import STUDENT, tokenizer

STUDENTS, STEPS, ROUNDS = 8, 40, 5
SIZE = STUDENT  # of the quick studies
RECIPE = Recipe(steps=STEPS, batch=48, optimiser="adamw", lr=8e-3, schedule="cosine", clip_norm=1.0)


def responses(world: World, encoder: Encoder) -> Responses:
    """Two answers to each prompt for each student."""
    prompts: Prompts = world.prompts(relations=["home", "food"])
    made = [
        encoder.response(text)
        for s in range(STUDENTS)
        for options in prompts.answers
        for text in [options[(s + r) % len(options)] for r in range(2)]
    ]
    return Responses.gather(prompts, made, (STUDENTS, len(prompts), 2))


def bare_loop(student: Any, rows: Any) -> None:
    """One student by a plain loop of torch: the least that anyone would write."""
    table, weights = torch.from_numpy(rows.table()), torch.from_numpy(rows.weights[0]).float()
    optimiser = torch.optim.AdamW(student.parameters(), lr=RECIPE.lr, weight_decay=0.0)
    for rate, order in zip(RECIPE.rates(), rows.orders[0], strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = torch.from_numpy(np.asarray(order))
        optimiser.zero_grad()
        weighted_loss(student(table[batch])[None], weights[batch][None]).sum().backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()


def students_rows() -> list[Row]:
    """Milliseconds per student-step, in turn in one run, on one thread: as the workers of a study train."""
    world = World.make(groups=8, entities=6, key=("bench", "world"))
    coder = tokenizer(world)
    encoder = Encoder(coder, False, vocabulary=len(coder), context=64, model_eos=(coder.eos_token_id,))
    initializer = Initializer.of(SIZE.config(len(coder)))
    rows = training_rows(
        weigh(responses(world, encoder), "multi"),
        encoder,
        recipe=RECIPE,
        seed_design=SeedDesign.independent(STUDENTS),
        key=("bench",),
    )
    begin = [initializer.parameters(s, key=("bench",), adapter=s, shared=True) for s in range(STUDENTS)]

    def stacked() -> None:
        model = stacked_of(initializer, begin, key=("bench",), dropout=range(STUDENTS), device="cpu")
        train_stacked(model, Split(rows), RECIPE)

    works: dict[str, tuple[Callable[[], Any], int]] = {
        "stacked": (stacked, STEPS * STUDENTS),
        "Trainer": (lambda: trainer_losses(initializer.alone(begin[0]), rows, 0, RECIPE, seed=0, device="cpu"), STEPS),
        "bare loop": (lambda: bare_loop(initializer.alone(begin[0]), rows), STEPS),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(ROUNDS + 1):
        for name, (work, count) in works.items():
            start = time.perf_counter()
            work()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start) / count)
    found = []
    for name, goal in (("Trainer", 4.0), ("bare loop", 1.7)):
        ratio = statistics.median(a / b for a, b in zip(times[name], times["stacked"], strict=True))
        ours, theirs = (f"{statistics.median(times[n]):.2f} ms" for n in ("stacked", name))
        what = f"language-model student-step, S={STUDENTS}, {torch.get_num_threads()} thread(s)"
        found.append(Row(what, ours, f"{name} {theirs}", ratio, f"≥ {goal:g}×", ratio >= goal))
    return found


def rows() -> list[Row]:
    """The language models' part of the bench."""
    before = torch.get_num_threads()
    found = []
    for threads in {1, os.cpu_count() or 1}:
        torch.set_num_threads(threads)
        found += students_rows()
    torch.set_num_threads(before)
    return [*found, *llm_bank.rows()]
