"""`--dry-run` of `uqkd sample`, `distill` and `measure`: what they would take, by a small part of it; nothing is kept but that."""

from __future__ import annotations

import math
from typing import Any

from uqkd.cli.executing import Executor

_UNIT = 2048  # responses of a file, at most


def predict_drawing(
    teacher: Any, wanted: Any, missing: int, *, sampling: Any, where: Executor, before_s: float, what: str = "responses"
) -> Any:
    """What drawing so many responses takes: a batch costs something by itself, and each of its rows more.

    A teacher in several engines is measured in all of them together.
    """
    from uqkd.llm.bank.pilot import measured_batches, rows_at_once
    from uqkd.llm.teachers.distributed import DistributedTeacher
    from uqkd.run import predictions

    if not missing:
        return predictions.Prediction(what, 0, 0, 0.0, 0.0, 1, 0.0)
    first, *batches = measured_batches(teacher, wanted, missing, sampling=sampling, clock=lambda: predictions.clock())
    own, each = predictions.affine([(one.count, one.seconds) for one in batches])
    file, row = predictions.affine([(one.count, one.bytes) for one in batches])
    at_once = rows_at_once(teacher, wanted, sampling) or missing
    workers = where.workers or 1
    pooled = isinstance(teacher, DistributedTeacher)
    measured = sum(one.count for one in batches)
    tokens = sum(one.tokens for one in batches) / measured
    return predictions.Prediction(
        what,
        missing,
        measured,
        before_s=before_s + max(first.seconds - own - each * first.count, 0.0),
        each_s=(each + own * math.ceil(missing / at_once) / missing) * (workers if pooled else 1),
        workers=workers,
        bytes=file * math.ceil(missing / _UNIT) + row * missing,
        tokens=tokens * missing,
    )


def predict_training(targets: Any, *, where: Executor, before_s: float, left: int, how: dict[str, Any]) -> Any:
    """What training so many students takes, by a few steps."""
    from uqkd.llm.students.pilot import measured_steps
    from uqkd.llm.students.training.ways_to_train import Compute
    from uqkd.run import predictions

    how = dict(how)
    compute = Compute(*(how.pop(name) for name in ("device", "dtype", "micro_batch", "recompute")))
    found = measured_steps(targets, clock=lambda: predictions.clock(), **how, compute=compute)
    steps = how["recipe"].steps
    return predictions.Prediction(
        "steps of a student",
        left * steps,
        found.measured,
        before_s=before_s + found.before_s,
        each_s=found.each_s + found.save_s / steps,
        workers=min(where.workers or 1, left),
        bytes=found.bytes * left,
        tokens=found.tokens * left * steps,
    )
