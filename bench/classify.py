"""Convolutional students in one pass against a plain loop of torch, on images of 8×8."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch.nn import functional as F

from bench.measuring import Row, paired
from uqkd import data, seeds
from uqkd.classify import Classifiers, Distillation, Recipe, SeedDesign, distill, weigh_probabilities
from uqkd.classify.networks.plain import Factory
from uqkd.testbeds.classification import network

STUDENTS, STEPS, BATCH = 8, 40, 32
RECIPE = Recipe(steps=STEPS, batch=BATCH, optimiser="adamw", lr=3e-3, weight_decay=0.01)
OBJECTIVE = Distillation(2.0, weight=0.8)


def stacked(factory: Factory, task: data.Task, soft: np.ndarray) -> Classifiers:
    """All students in one pass, drawing of their orders and beginnings included."""
    return distill(
        task.X, weigh_probabilities(soft), labels=task.labels, factory=factory, objective=OBJECTIVE, recipe=RECIPE,
        seed_design=SeedDesign.independent(STUDENTS), key=("bench", "classify"),
    )  # fmt: skip


def loop(factory: Factory, task: data.Task, soft: np.ndarray) -> None:
    """One student after another: the least that anyone would write."""
    X, labels, target = torch.from_numpy(task.X), torch.from_numpy(task.labels), torch.from_numpy(soft).float()
    softened = (target.log() / 2.0).softmax(-1)
    for s in range(STUDENTS):
        with seeds.torch_stream("bench", "classify", s, shared=True):
            student = factory().train()
        order = seeds.torch_generator("bench", "order", s, shared=True)
        optimiser = torch.optim.AdamW(student.parameters(), lr=RECIPE.lr, weight_decay=RECIPE.weight_decay)
        for _ in range(STEPS):
            rows = torch.randint(len(X), (BATCH,), generator=order)
            optimiser.zero_grad()
            logits = student(X[rows])
            divergence = F.kl_div((logits / 2.0).log_softmax(-1), softened[rows], reduction="batchmean")
            (0.8 * 4.0 * divergence + 0.2 * F.cross_entropy(logits, labels[rows])).backward()
            optimiser.step()


def rows() -> list[Row]:
    """The classifiers' part of the bench."""
    task = data.load_task("digits")
    soft = np.full((len(task.X), len(task.classes)), 0.02)
    soft[np.arange(len(soft)), task.labels] += 1.0 - soft[0].sum()
    before, found = torch.get_num_threads(), []
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        for name, goal in (("convolutional:16", 1.2), ("residual:8:8", 1.2)):
            factory = network(name, task)
            ours, theirs, ratio = paired(
                lambda f=factory: stacked(f, task, soft), lambda f=factory: loop(f, task, soft)
            )  # fmt: skip
            each = 1e6 / (STEPS * STUDENTS)
            what = f"{name} student-step, S={STUDENTS}, batch {BATCH}, {threads} thread(s)"
            found.append(
                Row(
                    what,
                    f"{each * ours:.0f} µs",
                    f"torch loop {each * theirs:.0f} µs",
                    ratio,
                    f"≥ {goal:g}×",
                    ratio >= goal,
                )
            )
    torch.set_num_threads(before)
    return found
