"""The ways to train S students: all in one pass, or one after another in place. The same rows, orders, weights and rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.llm.students.networks.frozen import frozen_base
from uqkd.llm.students.networks.initializer import Initializer, Parameters
from uqkd.llm.students.networks.likelihood import SequenceLikelihood, know_leaves, only_supervised, weighted_loss
from uqkd.llm.students.rows.training_rows import TrainingRows
from uqkd.llm.students.training.micro_batches import micro_batches
from uqkd.llm.students.training.resuming import Keep
from uqkd.stacked import Recipe, Stacked, Training, train
from uqkd.stacked.engines.one_module import Outcome, Part, train_alone
from uqkd.stacked.engines.processes import joined
from uqkd.stacked.engines.sequential import LARGE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """Where a training is.

    Attributes
    ----------
    student, at_once : int
        The first of the students under way, and how many there are.
    step : int
        The step that was made, from 0.
    loss : float
        Of it, in nats a learnt token.
    """

    student: int
    at_once: int
    step: int
    loss: float


Watch = Callable[[Moment], None]


@dataclass(frozen=True)
class Compute:
    """How and where students are trained; no result depends on it beyond rounding.

    Attributes
    ----------
    device : str
        "cpu", "cuda" or "cuda:1".
    dtype : {"float32", "bfloat16"}
        Of the computation; parameters and the optimiser's state stay in float32.
    micro_batch : int, optional
        Rows that pass through a student at a time, of similar length; as many as some 16,000 tokens if not given. The
        gradient is that of the whole batch.
    recompute : bool
        Keep no activations inside the blocks and compute them again in the backward pass (activation checkpointing).
    chunk : int, optional
        Students trained in one pass, where they are; as many as memory holds if not given.
    """

    device: str = "cpu"
    dtype: str = "float32"
    micro_batch: int | None = None
    recompute: bool = False
    chunk: int | None = None

    def __post_init__(self) -> None:
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise OptionError(
                f"device got {self.device!r}, but torch {torch.__version__} sees no GPU; use device='cpu'."
            )
        if self.micro_batch is not None and self.micro_batch < 1:
            raise OptionError(f"micro_batch must be a positive number of rows; got {self.micro_batch}.")

    @property
    def plain(self) -> bool:
        """Whether nothing is asked that only students trained one after another have."""
        return self.dtype == "float32" and self.micro_batch is None and not self.recompute


@dataclass(frozen=True)
class Split:
    """Rows to train on, and rows to stop early by."""

    rows: TrainingRows
    held_out: TrainingRows | None = None

    def of_students(self, group: range) -> Split:
        """Of the same rows what some students take."""
        return Split(self.rows.of_students(group), None if self.held_out is None else self.held_out.of_students(group))


def stacked_of(
    initializer: Initializer, begin: Sequence[Parameters], *, key: tuple[Any, ...], dropout: Sequence[int], device: str
) -> Stacked:
    """S students in one model, each at its own initial parameters.

    Parameters
    ----------
    initializer : Initializer
    begin : sequence of S dicts
        From `Initializer.parameters`.
    key : tuple
    dropout : sequence of S int
        Levels of the dropout masks.
    device : str
    """
    know_leaves(initializer.template)
    share = initializer.lora is not None
    model = Stacked.of(
        initializer.template, len(begin), key=key, device=device, share_frozen=share, dropout=list(map(int, dropout))
    )
    held = model.parameters_by_name()
    with torch.no_grad():
        for s, parameters in enumerate(begin):
            for name, value in parameters.items():
                held[name][s].copy_(value)
    return model


def train_stacked(
    model: Stacked,
    split: Split,
    recipe: Recipe,
    *,
    chunk: int | None = None,
    keep: Keep | None = None,
    watch: Watch | None = None,
) -> Training:
    """All students in one pass; see `uqkd.stacked.train`. The last losses in nats a token."""
    rows = split.rows
    recipe = replace(recipe, batch=rows.orders.shape[2])
    parts = [rows] if split.held_out is None else [rows, split.held_out]
    width = max(int(one.lengths.max()) for one in parts)
    table, *others = (one.table(width=width) for one in parts)
    held_out = None if split.held_out is None else (others[0], split.held_out.weights)

    def tell(students: NDArray[np.int64], step: int, losses: Tensor) -> None:
        if watch is not None:
            loss = rows.nats_a_token(losses.double().cpu().numpy(), step, students).mean()
            watch(Moment(int(students[0]), len(students), step, float(loss)))

    with only_supervised(model.body, table), frozen_base(model):
        done = train(
            model, table, rows.weights, recipe, loss=weighted_loss, orders=rows.orders, chunk=chunk,
            validation=held_out, watch=tell,
            checkpoints=None if keep is None else lambda start, count: keep.checkpoint(f"{keep.number(start)}-{count}"),
            engine="auto" if _trained(model) < LARGE else "eager",  # adapters: in one pass over their base, however many
        )  # fmt: skip
    return replace(done, loss=rows.nats_a_token(done.loss, np.maximum(done.stopped_at - 1, 0)))


def train_sequential(
    initializer: Initializer,
    split: Split,
    recipe: Recipe,
    *,
    levels: Sequence[tuple[int, int, int]],
    key: tuple[Any, ...],
    compute: Compute,
    finish: Callable[[int, SequenceLikelihood, Outcome, bool], None],
    keep: Keep | None = None,
    shared: bool = False,
    watch: Watch | None = None,
    skip: Sequence[int] = (),
) -> None:
    """One student after another, in place: one model's memory, whatever their number.

    Parameters
    ----------
    initializer : Initializer
    split : Split
    recipe : Recipe
    levels : sequence of S (int, int, int)
        Of initialisation, adapters and dropout of each student.
    key : tuple
    compute : Compute
    finish : callable
        Given each student when it is trained, and whether this process is the one that writes; the next student takes its
        memory.
    keep : Keep, optional
        Where checkpoints are written.
    shared : bool
        Levels of the initialisation recur on purpose.
    watch : callable, optional
    skip : sequence of int
        Students that are there already.
    """
    rows = split.rows
    with joined(compute.device) as processes, frozen_base(initializer.template.to(processes.device)):
        for s, (level, adapter, mask) in enumerate(levels):
            if s in skip:
                continue
            student = initializer.begin(level, key=key, adapter=adapter, shared=shared)
            _recompute(student, compute.recompute)

            def parts(step: int, s: int = s, student: SequenceLikelihood = student) -> Iterator[Part]:
                order = rows.orders[s, step % rows.orders.shape[1]]
                return _parts(student, rows, order, rows.weights[s], rows_at_most=compute.micro_batch)

            checkpoint = None if keep is None else keep.checkpoint(f"{keep.number(s)}", write=processes.number == 0)
            done = train_alone(
                student, recipe, parts, precision=compute.dtype, checkpoint=checkpoint, processes=processes,
                evaluate=_evaluation(student, split.held_out, s, compute),
                stream=partial(_stream, key, mask),
                watch=_told(watch, rows, s),
            )  # fmt: skip
            _recompute(student, False)
            last = max(done.made - (done.failed_at < 0), 0)
            done.loss = float(rows.nats_a_token(np.array([done.loss]), last, np.array([s]))[0])
            finish(s, student, done, processes.number == 0)
            processes.wait()


def _stream(key: tuple[Any, ...], mask: int, step: int) -> AbstractContextManager[None]:
    """What the dropout of a step draws from."""
    return seeds.torch_stream(*key, "dropout", mask, step, shared=True)


def _trained(model: Stacked) -> int:
    """Numbers trained in one student."""
    own = {id(p): p for p in model.body.parameters() if p.requires_grad}
    return sum(p.numel() for p in own.values()) // model.students


def _told(watch: Watch | None, rows: TrainingRows, s: int) -> Callable[[int, float], None] | None:
    if watch is None:
        return None
    own = np.array([s])
    return lambda step, loss: watch(Moment(s, 1, step, float(rows.nats_a_token(np.array([loss]), step, own)[0])))


def _parts(
    student: SequenceLikelihood, rows: TrainingRows, order: Any, weights: Array, *, rows_at_most: int | None
) -> Iterator[Part]:
    """The micro-batches of a batch; their losses add up to the mean over its rows."""
    for chosen in micro_batches(
        order, rows.lengths, rows.learnt, rows_at_most=rows_at_most, vocabulary=_vocabulary(student)
    ):

        def part(chosen: Any = chosen) -> Tensor:
            device = next(student.parameters()).device
            table = rows.table(chosen)
            weight = torch.as_tensor(weights[chosen], dtype=torch.float32, device=device)
            with only_supervised(student, table):
                likelihoods = student(torch.as_tensor(table, device=device))
            return -(likelihoods.float() * weight).sum() / len(order)

        yield part


def _vocabulary(student: SequenceLikelihood) -> int:
    config: Any = student.model.config
    return int(config.get_text_config().vocab_size)


def _evaluation(
    student: SequenceLikelihood, held_out: TrainingRows | None, s: int, compute: Compute
) -> Callable[[], float] | None:
    """The validation loss of a student, in nats a token."""
    if held_out is None:
        return None
    own = np.flatnonzero(held_out.shares[s] > 0)
    weights = held_out.shares[s]

    @torch.no_grad()
    def evaluate() -> float:
        student.eval()
        parts = _parts(student, held_out, own, weights, rows_at_most=compute.micro_batch)
        total = sum(float(part()) for part in parts) * len(own)
        return total / float((weights[own] * held_out.learnt_tokens[own]).sum())

    return evaluate


def _recompute(student: SequenceLikelihood, wanted: bool) -> None:
    """Switch activation checkpointing of a transformers model."""
    model: Any = student.model
    if wanted and not getattr(model, "supports_gradient_checkpointing", False):
        raise OptionError(
            f"{type(model).__name__} has no activation checkpointing; leave recompute out, or use a smaller micro_batch."
        )
    if wanted:
        model.enable_input_require_grads()  # a frozen base gives the blocks no input that needs a gradient
        model.gradient_checkpointing_enable({"use_reentrant": False})
    elif getattr(model, "is_gradient_checkpointing", False):
        model.gradient_checkpointing_disable()
