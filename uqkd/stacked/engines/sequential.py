"""The students of a job one after another, each in place in the model that holds them all: for large ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from uqkd import seeds
from uqkd.stacked.engines.one_module import Part, train_alone
from uqkd.stacked.engines.running import Watch
from uqkd.stacked.engines.stepping import take
from uqkd.stacked.jobs import Job, of_students
from uqkd.stacked.layers.basic import Dropout
from uqkd.stacked.stacking import Stacked, tensor_at

# Numbers trained in a student from which on its step is worth its calls and a functional update of flat copies is not: on two cores
# both ways take as long to within 15 % at 0.8 and 1.4 million, and one after another half as long from 3.5 on (bench `llm_ways`).
LARGE = 2_000_000

Ended = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def run_sequential(job: Job, watch: Watch | None = None) -> Ended:
    """Train every student; its loss at the last step, the step at which it failed (or -1) and the steps made, (S,) each.

    Dropout draws from torch's global random state, set by the student's own key at every step.
    """
    ended = [_one(job, s, watch) for s in range(job.students)]
    losses, failed, made = zip(*ended, strict=True)
    return np.array(losses), np.array(failed, dtype=np.int64), np.array(made, dtype=np.int64)


def _one(job: Job, s: int, watch: Watch | None) -> tuple[float, int, int]:
    model, stepper = job.stepper.model, job.stepper
    student = in_place(model, s)
    for p, moves in zip(_parameters(job, student), stepper.trained, strict=True):
        p.requires_grad_(moves)
    own = np.array([s])
    X, targets = (of_students(values, own) for values in (job.X, job.targets))

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return stepper.loss(student(x[0])[None], y).sum()

    def parts(step: int) -> Iterator[Part]:
        rows = None
        if job.orders is not None:
            rows = torch.as_tensor(np.array(of_students(job.orders, own)[:, step % job.orders.shape[1]]))
        x, y = take(X, rows, 1), take(targets, rows, 1)
        if job.transform is not None:
            x, y = job.transform(step, own, x, y)
        yield lambda: loss(x, y)

    @torch.no_grad()
    def evaluate() -> float:
        assert job.validation is not None
        student.eval()
        return float(loss(*(of_students(values, own) for values in job.validation)))

    masks = [int(leaf.seeds[s]) for leaf in model.body.modules() if isinstance(leaf, Dropout) and leaf.p > 0]
    done = train_alone(
        student,
        stepper.recipe,
        parts,
        rates=of_students(job.rates, own)[0],
        evaluate=None if job.validation is None else evaluate,
        stream=(lambda step: seeds.torch_stream("dropout", masks[0], step, shared=True)) if masks else None,
        watch=None if watch is None else lambda step, value: watch(own, step, torch.tensor([value])),
    )
    return done.loss, done.failed_at, done.made


def _parameters(job: Job, student: nn.Module) -> list[nn.Parameter]:
    """Of one student, in the order of the model's places."""
    names = {id(p): name for name, p in job.stepper.model.body.named_parameters()}
    held = dict(student.named_parameters(remove_duplicate=False))
    return [held[names[id(tensor_at(place))]] for place in job.stepper.model.places.parameters]


def in_place(model: Stacked, s: int) -> nn.Module:
    """Student s as a plain module that lies in the model's own memory: training it changes the model.

    Examples
    --------
    >>> model = Stacked.of(nn.Linear(1, 1, bias=False), 2)
    >>> with torch.no_grad():
    ...     _ = in_place(model, 1).weight.fill_(5.0)
    >>> model.parameters_by_name()["weight"][1]
    tensor([[5.]])
    """
    student = model.student(s)
    for held, own in (
        (model.body.named_parameters, student.named_parameters),
        (model.body.named_buffers, student.named_buffers),
    ):
        known = dict(held(remove_duplicate=False))
        for name, tensor in own(remove_duplicate=False):
            if model.is_own(name) and name in known:
                tensor.data = known[name].data[s]
    return student
