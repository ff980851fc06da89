"""Training at real size: a student of 50 M parameters, and a classifier with its vocabulary, against bare loops of torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from bench.measuring import Row, paired
from uqkd import seeds
from uqkd.llm import Encoder, Prompts, Recipe, Responses, SeedDesign, weigh
from uqkd.llm.students.networks.initializer import Initializer
from uqkd.llm.students.rows.training_rows import TrainingRows, training_rows
from uqkd.llm.students.training.ways_to_train import Compute, Split, train_sequential
from uqkd.stacked import stack, train

CUT = Path(__file__).parents[1] / ".real" / "smollm2-6layers"
STEPS, BATCH, ROUNDS = 4, 8, 3
RECIPE = Recipe(steps=STEPS, batch=BATCH, optimiser="adamw", lr=1e-4, clip_norm=1.0)
VOCABULARY, CLASSES, WIDTH, LENGTH = 49_152, 10, 64, 32  # of the classifier of texts


def some_rows(recipe: Recipe = RECIPE, *, students: int = 1) -> TrainingRows:
    """Sixteen rows of some 71 tokens: a question in the chat template, and an answer of about thirty."""
    encoder = Encoder.of(CUT)
    lands = ("France", "Japan", "Kenya", "Peru", "Norway", "India", "Chile", "Egypt")
    prompts = Prompts(tuple(lands), tuple(f"What is the capital of {land}?" for land in lands))
    answers = [
        encoder.response(f"The capital of {land} is a city that many travellers visit in {month}, when the days are long, the "
                         "markets are open and the river is calm.")
        for land in lands for month in ("May", "June")
    ]  # fmt: skip
    targets = weigh(Responses.gather(prompts, answers, (1, len(lands), 2)), "multi")
    seed_design = SeedDesign.independent(students)
    return training_rows(targets, encoder, recipe=recipe, seed_design=seed_design, key=("bench", "training"))


def ours(initializer: Initializer, rows: TrainingRows) -> None:
    """One student as `distill` trains it."""
    train_sequential(
        initializer, Split(rows), RECIPE, levels=[(0, 0, 0)], key=("bench", "training"), compute=Compute(),
        finish=lambda *_: None, shared=True,
    )  # fmt: skip


def bare(rows: TrainingRows) -> None:
    """The least that anyone would write: load, labels of -100 on the prompt, the model's own loss, AdamW."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(CUT, dtype=torch.float32).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RECIPE.lr, weight_decay=0.0)
    for order in rows.orders[0]:
        table = torch.from_numpy(rows.table(order)).long()  # the loss of transformers takes no int32
        labels = torch.where(table[:, 1].bool(), table[:, 0], -100)
        optimiser.zero_grad()
        model(input_ids=table[:, 0], labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


def peak(which: str) -> float:
    """Peak memory in GB of a process of its own that trains one student."""
    code = (
        f"import resource\nfrom bench import llm_training as b\nrows = b.some_rows()\n"
        f"{'b.ours(b.Initializer.of(b.CUT), rows)' if which == 'ours' else 'b.bare(rows)'}\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**20


def student_rows() -> list[Row]:
    """Time a student-step, loading included on both sides, and peak memory."""
    rows, initializer = some_rows(), Initializer.of(CUT)
    mine, theirs, ratio = paired(lambda: ours(initializer, rows), lambda: bare(rows), rounds=ROUNDS)
    length = int(rows.lengths.mean())
    what = f"full training of the six-layer cut, {BATCH} rows x {length} tokens, {STEPS} steps and loading"
    found = [
        Row(what, f"{mine / STEPS:.2f} s a step", f"bare loop {theirs / STEPS:.2f} s", ratio, ">= 0.95", ratio >= 0.95)
    ]
    memory = {which: peak(which) for which in ("ours", "bare")}
    share = memory["ours"] / memory["bare"]
    found.append(
        Row(
            "the same, peak memory",
            f"{memory['ours']:.2f} GB",
            f"bare loop {memory['bare']:.2f} GB",
            share,
            "<= 1.2",
            share <= 1.2,
        )
    )
    return found


def classifier() -> torch.nn.Module:
    """An embedding of a language model's vocabulary, averaged, and a layer: 3.1 M parameters."""
    return torch.nn.Sequential(_Mean(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.GELU(), torch.nn.Linear(WIDTH, CLASSES))


class _Mean(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens).mean(1)  # type: ignore[no-any-return]


def classifier_rows() -> list[Row]:
    """Two classifiers of texts of 49,152 tokens."""
    rng = seeds.generator("bench", "texts", shared=True)
    X, y = rng.integers(VOCABULARY, size=(64, LENGTH)), np.eye(CLASSES)[rng.integers(CLASSES, size=64)]
    recipe = Recipe(steps=20, batch=32, optimiser="adamw", lr=1e-3)
    orders = np.stack([rng.permutation(64)[:32] for _ in range(20)])[None]

    def stacked() -> None:
        model = stack(classifier, 2, key=("bench", "texts"))
        train(model, X, y[None], recipe, loss="cross_entropy", orders=orders)

    def loop() -> None:
        tokens, wanted = torch.from_numpy(X), torch.from_numpy(y).float()
        for s in range(2):
            with seeds.torch_stream("bench", "texts", s, shared=True):
                model: Any = classifier()
            optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
            for order in orders[0]:
                optimiser.zero_grad()
                F.cross_entropy(model(tokens[order]), wanted[order]).backward()
                optimiser.step()

    mine, theirs, ratio = paired(stacked, loop, rounds=ROUNDS)
    what = f"two classifiers of texts, vocabulary {VOCABULARY:,}, 20 steps, building included"
    return [Row(what, f"{mine:.2f} s", f"bare loop {theirs:.2f} s", mine / theirs, "<= 1.2", 1 / ratio <= 1.2)]


def rows() -> list[Row]:
    """Both parts."""
    return [*student_rows(), *classifier_rows()]
