"""Engines of `train`: chunks of students through the eager or the compiled step, or the fused kernel as a whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uqkd.errors import UqkdError, UqkdWarning
from uqkd.stacked.engines import compiled
from uqkd.stacked.engines.checkpoints import Checkpoint
from uqkd.stacked.engines.chunking import fitting
from uqkd.stacked.engines.stepping import Best, Carry, Data, Step, resumed, save_carry, take
from uqkd.stacked.jobs import Job, of_students
from uqkd.stacked.losses import Loss
from uqkd.stacked.stacking import tensor_at

if TYPE_CHECKING:
    from uqkd.stacked.engines.fused import Outcome

Checkpoints = Callable[[int, int], Checkpoint]
Watch = Callable[[NDArray[np.int64], int, Tensor], None]  # students, step, their losses

WORTH_COMPILING = 200_000  # student-steps: a compiled one saves about 25 µs, and compiling takes about 5 s
LOOK = 64  # steps between looks at whether any student is still active


class Runner:
    """Trains chunks of a job's students; `engine` says how, and may change from "compiled" to "eager".

    Parameters
    ----------
    job : Job
    engine : {"auto", "eager", "compiled"}
    checkpoints : callable, optional
        `checkpoints(start, count)` is where the state of these students is kept.
    watch : callable, optional
        Told step and loss (S,) of the chunk now and then.
    """

    def __init__(
        self, job: Job, engine: str, *, checkpoints: Checkpoints | None = None, watch: Watch | None = None
    ) -> None:
        self.job, self.stepper, self._checkpoints, self._watch = job, job.stepper, checkpoints, watch
        self.device = job.stepper.model.device
        worth = engine == "auto" and job.students * job.stepper.recipe.steps >= WORTH_COMPILING
        self.engine = "compiled" if engine == "compiled" or (worth and compiled.available(self.device)) else "eager"
        self._compiled: Step | None = None

    def fitting(self) -> int:
        """Students per chunk."""
        one = np.zeros(1, dtype=np.int64)
        data, rows, _ = self._gathered(one)
        return fitting(self.stepper, *self._batch(0, one, data, rows))

    def run(self, start: int, size: int) -> Carry:
        """Train students start … start + size, put them into the model, and return how they ended.

        The compiled step fills a shorter last chunk up with copies of its last student, so as to be compiled only once.
        """
        count = min(size, self.job.students - start)
        chosen = start + np.minimum(np.arange(size if self.engine == "compiled" else count), count - 1)
        data, rows, carry = self._gathered(chosen)
        if rows is None or len(rows) == 1:  # the same rows at every step: taken once
            first = None if rows is None else rows[0]
            data, rows = _taken(data, first, len(chosen)), None
        rates = np.broadcast_to(of_students(self.job.rates, chosen), (len(chosen), self.stepper.recipe.steps))
        rate = torch.as_tensor(np.array(rates.T, order="C"), device=self.device)
        step = self._step(carry, *self._batch(0, chosen, data, rows), rate[0])
        kept = None if self._checkpoints is None else self._checkpoints(start, len(chosen))
        carry = self._loop(step, carry, (chosen, data, rows), rate, held_out=self._held_out(data, chosen), kept=kept)
        self.stepper.finish(carry, start, count)
        return carry._replace(loss=carry.loss[:count], failed_at=carry.failed_at[:count], made=carry.made[:count])

    def forget(self) -> None:
        """Compile anew at the next chunk, whose size is another."""
        self._compiled = None

    def _gathered(self, chosen: NDArray[np.int64]) -> tuple[Data, Tensor | None, Carry]:
        """Data, row numbers (T, S or 1, B) and carry of the students chosen."""
        job = self.job
        carry, frozen, constants = self.stepper.begin(torch.as_tensor(chosen, device=self.device))
        data = Data(of_students(job.X, chosen), of_students(job.targets, chosen), frozen, constants)
        if job.orders is None:
            return data, None, carry
        rows = np.array(of_students(job.orders, chosen).transpose(1, 0, 2), dtype=np.int64, order="C")
        return data, torch.as_tensor(rows, device=self.device), carry

    def _batch(self, t: int, chosen: NDArray[np.int64], data: Data, rows: Tensor | None) -> tuple[Data, Tensor | None]:
        """What step t is trained on: data and which rows of them, or all rows of a batch that was transformed."""
        at = None if rows is None else rows[t % len(rows)]
        if self.job.transform is None:
            return data, at
        batch = _taken(data, at, len(chosen))
        X, targets = self.job.transform(t, chosen, batch.X, batch.targets)
        return batch._replace(X=X, targets=targets), None

    def _held_out(self, data: Data, chosen: NDArray[np.int64]) -> Data | None:
        if self.job.validation is None:
            return None
        X, targets = (of_students(values, chosen) for values in self.job.validation)
        return data._replace(X=X, targets=targets)

    def _step(self, carry: Carry, data: Data, rows: Tensor | None, rate: Tensor) -> Step:
        """The eager step, or the compiled one; traced once, since all chunks have one size."""
        if self.engine == "compiled" and self._compiled is None:
            try:
                if not compiled.available(self.device):
                    raise RuntimeError("no C++ compiler found ($CXX, g++, clang++, c++)")
                self._compiled = compiled.compile_step(self.stepper.step, carry, data, rows, rate)
            except (torch.OutOfMemoryError, UqkdError):  # a compiler is not to blame
                raise
            except Exception as error:  # inductor raises what it likes; the eager step computes the same
                self.engine = "eager"
                why = " ".join(str(error).split())[:300]
                warnings.warn(f"the step could not be compiled and runs eagerly: {why}", UqkdWarning, stacklevel=5)
        return self._compiled or self.stepper.step

    def _loop(
        self,
        step: Step,
        carry: Carry,
        source: tuple[NDArray[np.int64], Data, Tensor | None],
        rate: Tensor,
        *,
        held_out: Data | None,
        kept: Checkpoint | None,
    ) -> Carry:
        recipe = self.stepper.recipe
        best = Best.of(carry)
        first, carry, best = resumed(kept, carry, best)
        for t in range(first, recipe.steps):
            carry = step(carry, *self._batch(t, *source), rate[t])
            if held_out is not None and recipe.patience is not None and (t + 1) % recipe.validate_every == 0:
                best, carry = best.after(carry, self.stepper.evaluate(carry, held_out), recipe.patience)
            if self._watch is not None:
                self._watch(source[0], t, carry.loss)
            if (t + 1) % LOOK == 0 and not bool(carry.active.any()):
                break
            if kept is not None and kept.due():
                save_carry(kept, t + 1, carry, best)
        if kept is not None:  # the next chunk may be stopped: this one must not be trained again
            save_carry(kept, recipe.steps, carry, best)
        return carry if held_out is None else best.restored(carry)


def _taken(data: Data, rows: Tensor | None, students: int) -> Data:
    """Rows and targets of each student, laid out once for all steps."""
    return data._replace(
        X=take(data.X, rows, students).contiguous(), targets=take(data.targets, rows, students).contiguous()
    )


def run_chunks(runner: Runner, size: int | None) -> tuple[Carry, bool]:
    """Chunk after chunk; how all students ended, and whether memory ran out once and the chunks were halved.

    Raises
    ------
    UqkdError
        Memory ran out again.
    """
    halved, start = False, 0
    fitting: int | None = None
    parts: list[Carry] = []
    while start < runner.job.students:
        try:
            if fitting is None:
                fitting = (
                    runner.fitting()
                )  # even if a size is given: it also sees a forward that draws global randomness
                size = min(size or fitting, runner.job.students)
            assert size is not None
            parts.append(runner.run(start, size))
            start += size
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if halved or size is None or size < 2:
                raise UqkdError(
                    f"a chunk of {size or 1} students does not fit in memory on {runner.device}; free some, pass a smaller "
                    "chunk=, or use smaller batches."
                ) from None
            size, halved = -(-size // 2), True
            runner.forget()
    loss, failed_at, made = (
        torch.cat(values) for values in zip(*((p.loss, p.failed_at, p.made) for p in parts), strict=True)
    )
    return parts[0]._replace(loss=loss, failed_at=failed_at, made=made), halved


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def run_fused(job: Job, loss: str | Loss) -> Outcome | None:
    """Train by the fused kernel where it supports model, recipe and loss; None where it does not."""
    from uqkd.stacked.engines import fused  # needs the package, which is not complete when this file is read

    model, targets = job.stepper.model, job.targets
    shape = fused.supports(model, job.stepper.recipe, loss)
    if shape is None or job.transform is not None or job.X.ndim != 3 or not all(job.stepper.trained):
        return None
    held_out = job.validation
    if loss == "mse" and targets.ndim == 2:
        targets = targets[..., None]
        held_out = None if held_out is None else (held_out[0], held_out[1][..., None])
    if (job.X.shape[2], targets.shape[2:]) != (shape.widths[0], (shape.targets,)):
        return None  # the eager step says what does not fit
    places = model.places.parameters
    outcome = fused.fit(
        shape,
        [tensor_at(place).detach().numpy() for place in places],
        _array(job.X),
        _array(targets),
        job.stepper.recipe,
        orders=job.orders,
        rates=job.rates,
        validation=None if held_out is None else _own_or_shared(*held_out),
        threads=torch.get_num_threads(),
    )
    with torch.no_grad():
        for place, values in zip(places, outcome.parameters, strict=True):
            tensor_at(place).copy_(torch.as_tensor(np.ascontiguousarray(values)))
    return outcome


def _array(tensor: Tensor) -> NDArray[Any]:
    """As the kernel takes them: without the student axis where all share."""
    return (tensor[0] if len(tensor) == 1 else tensor).numpy()


def _own_or_shared(X: Tensor, targets: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both shared, or both of each student's own."""
    students = max(len(X), len(targets))
    return _array(X.expand(students, *X.shape[1:])), _array(targets.expand(students, *targets.shape[1:]))
