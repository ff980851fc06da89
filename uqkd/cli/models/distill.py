"""`uqkd distill …`: students of a bank. Heavy libraries load when the command runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from uqkd.cli.app import MODELS, app, stoppable
from uqkd.cli.executing import (
    AddressOption,
    DryRunOption,
    Executor,
    ExecutorOption,
    PriceOption,
    WorkersOption,
    compare,
    show,
)
from uqkd.cli.models.cards import words_of, write_cards
from uqkd.cli.models.predicting import predict_training
from uqkd.errors import OptionError, one_of

_KEY = ("llm", "distill")
_SECONDS = 10.0  # between two lines of progress


@app.command(epilog=MODELS)
@stoppable
def distill(
    context: typer.Context,
    bank: Annotated[str, typer.Option(help="responses drawn by uqkd sample")],
    student: Annotated[str, typer.Option(help="folder of a model, or its name on the hub")],
    out: Annotated[str, typer.Option(help="folder or fsspec URL of the students")],
    students: Annotated[int, typer.Option(help="how many; each gets responses of its own")] = 4,
    weights: Annotated[
        str, typer.Option(help="single, multi, medoid, reranked, precision, or a method's file")
    ] = "multi",
    k: Annotated[int | None, typer.Option("--k", help="responses to each prompt; default: all there are")] = None,
    steps: Annotated[int | None, typer.Option(help="optimiser steps, the same for all weights; default: 500")] = None,
    epochs: Annotated[float | None, typer.Option(help="instead of steps: passes over a student's responses")] = None,
    batch: Annotated[int, typer.Option(help="responses per step")] = 32,
    lr: Annotated[float, typer.Option(help="learning rate before its schedule")] = 1e-4,
    optimiser: Annotated[
        str, typer.Option(help="adamw, adam or sgd, or another file of uqkd/stacked/optimisers")
    ] = "adamw",
    schedule: Annotated[str, typer.Option(help="cosine, linear or constant")] = "cosine",
    fresh: Annotated[bool, typer.Option("--fresh", help="use the architecture, not the parameters")] = False,
    lora: Annotated[int | None, typer.Option(help="rank of adapters on the frozen model")] = None,
    lora_layers: Annotated[int | None, typer.Option(help="blocks, from the last, with adapters; default: all")] = None,
    perturbation: Annotated[float | None, typer.Option(help="ε: begin at θ + ε·|θ|·N(0, 1)")] = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="draw prompts with replacement")] = False,
    freeze: Annotated[list[str] | None, typer.Option(help="initialisation or order: the same for all")] = None,
    validation: Annotated[float, typer.Option(help="share of the prompts held out, to stop early by")] = 0.0,
    patience: Annotated[
        int, typer.Option(help="evaluations without a lower validation loss before a student stops")
    ] = 5,
    validate_every: Annotated[int, typer.Option(help="steps between evaluations")] = 20,
    engine: Annotated[
        str, typer.Option(help="auto, stacked (all in one pass) or sequential (one after another)")
    ] = "auto",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    dtype: Annotated[str, typer.Option(help="of the computation: float32 or bfloat16")] = "float32",
    micro_batch: Annotated[int | None, typer.Option(help="rows at a time; default: what fits")] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="keep no activations (activation checkpointing)")
    ] = False,
    checkpoint_minutes: Annotated[float, typer.Option(help="between checkpoints of a student under way")] = 5.0,
    chat: Annotated[bool | None, typer.Option("--chat/--no-chat", help="default: if there is a template")] = None,
    seed_key: Annotated[str, typer.Option(help="another text gives independent students")] = "students",
    exclude_failed: Annotated[bool, typer.Option("--exclude-failed", help="go on without diverged ones")] = False,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    dry_run: DryRunOption = False,
    price_hour: PriceOption = None,
) -> None:
    """Distil students from a bank; those that are there already are kept, one under way goes on from its checkpoint.

    Each student's README.md is an uncertainty card: what it was made of, and, after uqkd measure, what it does not know.
    """
    from uqkd.llm import Encoder, Recipe, Sampling, SeedDesign
    from uqkd.llm.bank import Bank
    from uqkd.llm.models.revision import check_model, model_revision
    from uqkd.llm.students.facts import bank_facts, training_facts
    from uqkd.llm.students.rows.tokenising import student_tokens
    from uqkd.llm.students.second_source import targets_of
    from uqkd.llm.students.training.resuming import Keep
    from uqkd.llm.targets import method_names, responses_kept, second_source, weigh
    from uqkd.run.predictions import clock, key_of
    from uqkd.store import Store, mirrored

    began, where = clock(), Executor(executor, address, workers)
    one_of("weights", weights, method_names())
    adapters = _adapters(lora, lora_layers)
    held = Bank(bank, create=False)
    prompts, drawn = held.prompts()
    per_student = _per_student(bank, drawn, students, k)
    responses = held.responses(prompts, students=students, k=k or per_student, per_student=per_student)
    count = _steps(steps, epochs, len(prompts) * responses_kept(weights, responses.shape[2]), batch)
    recipe = Recipe(
        steps=count, batch=batch, optimiser=optimiser, lr=lr, schedule=schedule, warmup=count // 20, clip_norm=1.0,
        patience=patience if validation else None, validate_every=validate_every,
    )  # fmt: skip
    identity = held.identity or {}
    encoder = Encoder.of(student, chat=chat).on_day(identity.get("template_day"))
    said = student_tokens(responses.distinct, encoder)
    ended = next((n for n, one in enumerate(responses.distinct) if one.finished), None)  # one that was cut shows no end
    example = None if ended is None else said.response(ended)
    print(encoder.preflight(prompts, max_tokens=said.longest + 1, example=example), flush=True)
    for line in said.notes:
        print(f"note: {line}", flush=True)
    options: dict[str, Any] = {
        "students": students, "weights": weights, "k": responses.shape[2], "per_student": per_student, "steps": count,
        "batch": batch, "lr": lr, "optimiser": optimiser, "schedule": schedule, "fresh": fresh, "lora": lora,
        "lora_layers": lora_layers, "perturbation": perturbation, "bootstrap": bootstrap, "freeze": sorted(freeze or []),
        "validation": validation, "stop": [patience, validate_every] if validation else None, "dtype": dtype,
        "seed_key": seed_key, "bank": held.fingerprint, "model": model_revision(check_model(student)),
    }  # fmt: skip
    about = {**options, "inputs": _digest(options), "base": student, "sampling": _sampling_of(identity)}
    mirror = mirrored(out)
    keep = Keep(Path(out) if mirror is None else mirror.root, about, every_s=60.0 * checkpoint_minutes, mirror=mirror)
    if (left := students - len(keep.finished())) <= 0:
        print(f"{out}: all {students} students are there already")
        write_cards(out)
        return
    how: dict[str, Any] = {
        "encoder": encoder, "recipe": recipe, "fresh": fresh, "lora": adapters,
        "perturbation": perturbation, "engine": engine, "validation": validation,
        "device": device, "dtype": dtype, "micro_batch": micro_batch, "recompute": recompute,
        "seed_design": SeedDesign.independent(students, freeze=freeze or [], bootstrap=bootstrap),
    }  # fmt: skip
    key = (*_KEY, seed_key)
    sampling = Sampling(max_tokens=said.longest + 1)
    known_by = key_of(inputs=about["inputs"], executor=executor, workers=workers)
    passes = 2 if second_source(weights) == "cross-fitted" else 1  # students of half of the prompts come first
    if dry_run:
        how |= {"student": student, "key": key}
        found = predict_training(
            weigh(responses, "multi"), where=where, before_s=clock() - began, left=left * passes, how=how
        )
        show(found, Store(out), known_by, price_hour)
        return
    targets = targets_of(responses, weights, student=student, sampling=sampling, key=key, keep=keep, **how)
    print(f"distilling {students} students of {len(prompts)} prompts, k = {responses.shape[2]}, {weights}", flush=True)
    made = _trained(targets, where, count, student=student, key=key, exclude_failed=exclude_failed, keep=keep, **how)
    mean = float(made.loss[made.kept].mean())
    print(f"{out}: {len(made.kept)} students saved, mean loss {mean:.4g} nats a token, trained {made.engine}")
    compare(Store(out), known_by, count=left * passes * count, seconds=clock() - began)
    known = bank_facts(held, prompts, drawn, place=bank, fingerprint=options["bank"])
    if os.environ.get("RANK", "0") == "0":  # of several processes the first one saves
        write_cards(out, trained=training_facts(about, made, known, command=words_of(context)))
    print(f"next: uqkd measure --students {out} --prompts FILE --out FILE.csv")


def _trained(targets: Any, where: Executor, steps: int, *, keep: Any, exclude_failed: bool, **how: Any) -> Any:
    """Students trained in this process, or in groups on Ray."""
    from uqkd.llm import distill as train
    from uqkd.llm.students.groups import Distilling, groups_of, train_in_groups, training_bytes
    from uqkd.llm.teachers.distributed import from_anywhere
    from uqkd.run.progress import Progress

    students, student, device = how["seed_design"].students, how["student"], how["device"]
    if where.is_local:
        return train(targets, keep=keep, exclude_failed=exclude_failed, watch=_Watch(students, steps), **how)
    compute = tuple(how.pop(name) for name in ("device", "dtype", "micro_batch", "recompute"))
    keep = replace(keep, root=keep.root.absolute())
    make = Distilling(targets, compute, {**how, "student": from_anywhere(student), "keep": keep})
    needed = training_bytes(student, adapters=how["lora"] is not None)
    pool = where.actors(make, device=device, what="groups of students", memory=needed)
    try:
        with Progress("distill", total=students, what="students") as progress:

            def advance(count: int) -> None:
                for _ in range(count):
                    progress.advance()

            groups = groups_of(students, pool.workers)
            return train_in_groups(pool, groups, keep=keep, exclude_failed=exclude_failed, progress=advance)
    finally:
        pool.close()


def _per_student(bank: str, drawn: int, students: int, k: int | None) -> int:
    """Responses to each prompt that each student gets for its own."""
    if students < 1 or drawn // students < (k or 1):
        raise OptionError(
            f"the bank {bank!r} has {drawn} responses to each prompt, {drawn // max(students, 1)} for each of {students} students; "
            f"draw {students * (k or 1)} (uqkd sample --k {k or 1} --students {students}), or ask for fewer."
        )
    return drawn // students


def _adapters(rank: int | None, layers: int | None) -> Any:
    from uqkd.llm import Lora

    if rank is None and layers is not None:
        raise OptionError(
            f"got --lora-layers {layers} without --lora; give the rank of the adapters, such as --lora 8."
        )
    return None if rank is None else Lora(rank=rank, layers=layers)


def _steps(steps: int | None, epochs: float | None, rows: int, batch: int) -> int:
    """Optimiser steps: as many as are asked for, or as so many passes over a student's responses take."""
    if steps is not None and epochs is not None:
        raise OptionError(f"got both --steps {steps} and --epochs {epochs:g}; give one of them.")
    return steps or (500 if epochs is None else max(1, math.ceil(epochs * rows / batch)))


def _sampling_of(identity: dict[str, Any]) -> dict[str, Any] | None:
    """How the teacher was sampled, as far as the bank knows."""
    from uqkd.llm import Sampling

    known = {name: identity[name] for name in Sampling().columns() if identity.get(name) is not None}
    return known or None


def _digest(options: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=16).hexdigest()


class _Watch:
    """A line now and then: student, step, loss, time left."""

    def __init__(self, students: int, steps: int) -> None:
        self._students, self._steps = students, steps
        self._begun = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, moment: Any) -> None:
        """After every step."""
        done = moment.student * self._steps + moment.at_once * (moment.step + 1)
        if self._first is None:
            self._first = done - moment.at_once  # what a call before this one did
        now = time.monotonic()
        if now - self._last < _SECONDS:
            return
        self._last = now
        left = (self._students * self._steps - done) * (now - self._begun) / (done - self._first)
        who = f"student {moment.student + 1} of {self._students}, " if moment.at_once < self._students else ""
        where = f"{who}step {moment.step + 1} of {self._steps}"
        print(f"{where}: {moment.loss:.3f} nats a token, {_time(left)} left", file=sys.stderr, flush=True)


def _time(seconds: float) -> str:
    """Seconds as people say them.

    Examples
    --------
    >>> _time(42.0), _time(400.0), _time(9000.0)
    ('42 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
