"""Train S students in one pass, chunk by chunk, by the fastest engine that can."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from uqkd.errors import DivergedError, OptionError, UqkdWarning, one_of
from uqkd.stacked.engines.running import Checkpoints, Runner, Watch, run_chunks, run_fused
from uqkd.stacked.engines.sequential import LARGE, run_sequential
from uqkd.stacked.engines.stepping import Stepper
from uqkd.stacked.jobs import Job, Transform
from uqkd.stacked.losses import Loss, named
from uqkd.stacked.recipe import Recipe
from uqkd.stacked.stacking import Stacked

ENGINES = ("auto", "eager", "compiled", "fused", "sequential")


@dataclass(frozen=True)
class Training:
    """What became of S students; made by `train`. Their parameters are in the model.

    Attributes
    ----------
    loss : (S,) float
        At each student's last step, before its update; of a failed student, at the step that failed.
    failed_at : (S,) int
        -1 for healthy students; otherwise the step whose loss, gradient norm or update was not finite. That update was
        not made: the parameters are the last finite ones.
    stopped_at : (S,) int
        Steps made.
    engine : str
        "eager", "compiled", "fused" or "sequential": what ran.
    halved : bool
        Memory ran out once, and chunks of half as many students were trained.

    Examples
    --------
    >>> Training(np.zeros(2), np.array([-1, 7]), np.array([9, 7]), "eager").refuse_failed()
    Traceback (most recent call last):
    uqkd.errors.DivergedError: 1 of 2 students diverged: student 1 at step 7. ...
    """

    loss: NDArray[np.float64]
    failed_at: NDArray[np.int64]
    stopped_at: NDArray[np.int64]
    engine: str
    halved: bool = False

    @property
    def healthy(self) -> NDArray[np.bool_]:
        """(S,) True where the student did not fail."""
        return self.failed_at < 0

    def refuse_failed(
        self, *, exclude_failed: bool = False, who: str = "student", stacklevel: int = 2
    ) -> NDArray[np.bool_]:
        """Raise `DivergedError` if any student failed, or return `healthy`, (S,) bool.

        With `exclude_failed=True` a `UqkdWarning` says how many are kept, and the caller goes on with these, if there are any.
        `who` is what the message calls one of them; only students can be excluded. `stacklevel` is that of the warning.
        """
        failed = np.flatnonzero(~self.healthy)
        if len(failed) and not (exclude_failed and self.healthy.any()):
            named = ", ".join(f"{who} {s} at step {self.failed_at[s]}" for s in failed[:20])
            more = f" and {len(failed) - 20} more" if len(failed) > 20 else ""
            rest = "; or say exclude_failed=True to go on with the others, and report how many they are"
            offer = rest if who == "student" and not exclude_failed else ""
            raise DivergedError(
                f"{len(failed)} of {len(self.failed_at)} {who}s diverged: {named}{more}. Lower the learning rate or clip{offer}."
            )
        if len(failed):
            kept = len(self.failed_at) - len(failed)
            warnings.warn(
                f"{kept} of {len(self.failed_at)} {who}s are kept; the others diverged.",
                UqkdWarning,
                stacklevel=stacklevel,
            )
        return self.healthy


def train(
    model: Stacked,
    X: ArrayLike | Tensor,
    targets: ArrayLike | Tensor,
    recipe: Recipe,
    *,
    loss: str | Loss = "mse",
    orders: ArrayLike | None = None,
    shared: bool = True,
    validation: tuple[ArrayLike | Tensor, ArrayLike | Tensor] | None = None,
    rates: ArrayLike | None = None,
    transform: Transform | None = None,
    engine: str = "auto",
    chunk: int | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Training:
    """Train all students of a model; each becomes what it would become alone.

    Parameters
    ----------
    model : Stacked
        Changed in place, and left in evaluation mode.
    X : (N, ...), or (S, N, ...) with shared=False
    targets : (S, N, ...) or (1, N, ...)
        The first axis is always students: 1 where all learn from the same targets. "mse" takes (S, N) for one output.
    recipe : Recipe
    loss : {"mse", "gaussian", "cross_entropy"} or callable
        See `uqkd.stacked.losses`; a callable gives (S,) means for outputs and targets (S, rows, ...).
    orders : (S or 1, T, B) int, optional
        Rows of step t are `orders[:, t % T]`. Needed where the recipe has a batch size, which B must equal; one order of
        resampled rows (T = 1) makes bootstrap students. Without orders every step takes all rows.
    shared : bool
        X holds rows shared by all students.
    validation : (X, targets), optional
        Shaped like X and targets; with `recipe.patience`, stops each student early and takes back its best parameters.
    rates : (S, steps) or (steps,) float, optional
        Learning rates instead of the recipe's.
    transform : callable, optional
        `transform(step, students, X, targets)` gives the rows and targets that a step is trained on, from those of its batch,
        (S, B, ...) of the students whose numbers are given: mixing, augmentation, a teacher's answers to what comes of
        them. It must draw from named keys only, or results depend on chunks. Validation rows do not pass through it.
    engine : {"auto", "eager", "compiled", "fused", "sequential"}
        "fused" is the kernel for plain multilayer perceptrons, "compiled" a graph for everything else, worth its
        seconds of compiling from some 200,000 student-steps on; "sequential" trains one student after another in place by
        torch's own optimiser, the fastest for large ones; "auto" chooses.
    chunk : int, optional
        Students trained at a time; by default as many as memory and caches hold. No result depends on it beyond rounding.
    checkpoints : callable, optional
        `checkpoints(start, count)` gives the `Checkpoint` of these students: a stopped training goes on from there. Of the
        engines "eager" and "compiled".
    watch : callable, optional
        Told numbers of students, step and their losses after every step, by all engines but "fused".

    Returns
    -------
    Training

    Raises
    ------
    ShapeError, OptionError
        Arguments that do not fit each other.
    UqkdError
        Not enough memory even for half a chunk.

    Examples
    --------
    >>> from torch import nn
    >>> model = Stacked.of(nn.Linear(1, 1, bias=False), 2)
    >>> model.load({"weight": np.zeros((2, 1, 1))})
    >>> recipe = Recipe(steps=200, optimiser="sgd", lr=0.1)
    >>> train(model, [[1.0], [2.0]], [[3.0, 6.0], [-1.0, -2.0]], recipe).healthy
    array([ True,  True])
    >>> model.parameters_by_name()["weight"].flatten()
    tensor([ 3., -1.])
    """
    one_of("engine", engine, ENGINES)
    job = Job.of(
        Stepper(model, recipe, named(loss)),
        X,
        targets,
        shared=shared,
        orders=orders,
        rates=rates,
        validation=validation,
        transform=transform,
    )
    model.train()
    try:
        if engine == "fused" or (engine == "auto" and checkpoints is None):
            outcome = run_fused(job, loss)
            if outcome is not None:
                return Training(outcome.loss, outcome.failed_at, outcome.stopped_at, "fused")
            if engine == "fused":
                raise OptionError(
                    "engine='fused' trains plain multilayer perceptrons on a CPU, by an optimiser that has a step for it; use "
                    f"'auto' for this model and optimiser={recipe.optimiser!r}."
                )
        if engine == "sequential" or (engine == "auto" and checkpoints is None and sum(job.stepper.sizes) >= LARGE):
            return Training(*run_sequential(job, watch), "sequential")
        runner = Runner(job, engine, checkpoints=checkpoints, watch=watch)
        carry, halved = run_chunks(runner, chunk)
        loss_, failed_at, made = (t.cpu().numpy() for t in (carry.loss, carry.failed_at, carry.made))
        return Training(loss_.astype(np.float64), failed_at, made, runner.engine, halved)
    finally:
        model.eval()
