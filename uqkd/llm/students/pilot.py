"""What training costs: a few steps of the students that are wanted, and one of them saved in a folder that is thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from uqkd.llm.responses import TextTargets
from uqkd.llm.students.training.engine_choice import chosen_engine
from uqkd.llm.students.training.job import Job
from uqkd.llm.students.training.resuming import save_student
from uqkd.llm.students.training.ways_to_train import Moment

_STEPS = 12  # of the pilot; the first one is not counted


@dataclass(frozen=True)
class Steps:
    """What a step of one student takes.

    Attributes
    ----------
    measured : int
        Steps, each of as many students as pass at once.
    before_s : float
        Until the first step is made.
    each_s : float
        Of one step of one student.
    save_s, bytes : float
        Of one student.
    tokens : float
        Of one step of one student.
    """

    measured: int
    before_s: float
    each_s: float
    save_s: float
    bytes: int
    tokens: float


def measured_steps(targets: TextTargets, *, clock: Callable[[], float], **options: Any) -> Steps:
    """Train for a few steps, all students where they pass at once, or the first of them.

    Parameters
    ----------
    targets : TextTargets
    clock : callable
        Seconds.
    **options
        Of `Job.of`.
    """
    began, moments = clock(), list[float]()

    def watch(_moment: Moment) -> None:
        moments.append(clock())

    recipe = options["recipe"]
    few = replace(recipe, steps=min(_STEPS, recipe.steps), warmup=0)
    job = Job.of(targets, **{**options, "recipe": few, "watch": watch, "keep": None})
    if chosen_engine(job.engine, job.initializer, job.compute) == "sequential":
        job = replace(job, levels=job.levels[:1], split=job.split.of_students(range(1)))
    models, *_ = job.run()
    rows = job.split.rows
    between = np.diff(moments)
    each = float(np.mean(between)) if len(between) else moments[0] - began
    with tempfile.TemporaryDirectory(prefix="uqkd-dry-run-") as place:
        saving = clock()
        folder = save_student(place, 0, models.alone(0), job.encoder, 0.0, {})
        seconds = clock() - saving
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    tokens = float(rows.lengths[rows.orders].sum(axis=2).mean())
    return Steps(len(moments), moments[0] - began, each / len(job.levels), seconds, size, tokens)
