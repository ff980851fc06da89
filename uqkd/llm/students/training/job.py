"""One call of `distill`, or the part of it that a group of its students is: what is trained, from where, and kept where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from uqkd import seeds
from uqkd.errors import OptionError, one_of
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.responses import TextTargets
from uqkd.llm.students.models import Apart, Models, Together
from uqkd.llm.students.networks.initializer import Initializer, Lora
from uqkd.llm.students.networks.likelihood import SequenceLikelihood
from uqkd.llm.students.rows.tokenising import check_embedding
from uqkd.llm.students.rows.training_rows import training_rows
from uqkd.llm.students.training.engine_choice import ENGINES, chosen_engine
from uqkd.llm.students.training.resuming import Keep
from uqkd.llm.students.training.ways_to_train import Compute, Split, Watch, stacked_of, train_sequential, train_stacked
from uqkd.stacked import Recipe, SeedDesign, Training
from uqkd.stacked.engines.one_module import Outcome


@dataclass(frozen=True)
class Job:
    """Students to train; made by `Job.of`."""

    initializer: Initializer
    split: Split
    recipe: Recipe
    encoder: Encoder
    key: tuple[Any, ...]
    levels: list[tuple[int, int, int]]
    recurs: bool
    compute: Compute
    engine: str
    keep: Keep | None
    watch: Watch | None

    @classmethod
    def of(
        cls,
        targets: TextTargets,
        *,
        student: Any,
        encoder: Encoder,
        recipe: Recipe,
        seed_design: SeedDesign,
        key: tuple[Any, ...],
        compute: Compute,
        fresh: bool = False,
        lora: Lora | None = None,
        perturbation: float | None = None,
        adapter: Sequence[int] | None = None,
        dropout: Sequence[int] | None = None,
        validation: float = 0.0,
        engine: str = "auto",
        keep: Keep | None = None,
        watch: Watch | None = None,
        group: range | None = None,
    ) -> Job:
        """See `distill`. `group`: only these of the students, each as it would be among all of them."""
        one_of("engine", engine, ENGINES)
        initializer = Initializer.of(student, fresh=fresh, lora=lora, perturbation=perturbation)
        seed_design.refuse_others("llm.distill", ("responses", "initialisation", "order", "bootstrap"))
        split = _split(targets, validation, encoder=encoder, recipe=recipe, seed_design=seed_design, key=key)
        check_embedding(split.rows.tokens, initializer.template.model)
        own = np.asarray(seed_design.initialisation * (perturbation is None) if adapter is None else adapter)
        masks = seed_design.order if dropout is None else np.asarray(dropout)
        levels = [(int(a), int(b), int(c)) for a, b, c in zip(seed_design.initialisation, own, masks, strict=True)]
        recurs = seed_design.recurs("initialisation") or (not perturbation and not fresh and lora is None)
        if group is not None:
            levels, split = levels[group.start : group.stop], split.of_students(group)
            keep = None if keep is None else replace(keep, group=group)
        return cls(initializer, split, recipe, encoder, key, levels, recurs, compute, engine, keep, watch)

    def run(self) -> tuple[Models, Training, tuple[str, ...]]:
        """Train; the models, what became of each, and what a user should know of the rows."""
        way = chosen_engine(self.engine, self.initializer, self.compute)
        models, training = self._stacked() if way == "stacked" else self._sequential()
        return models, training, self.split.rows.notes

    def _place(self, s: int) -> Path:
        assert self.keep is not None
        return self.keep.root / f"student-{self.keep.number(s)}"

    def _stacked(self) -> tuple[Models, Training]:
        """All students in one pass."""
        begin = [
            self.initializer.parameters(level, key=self.key, adapter=own, shared=self.recurs)
            for level, own, _ in self.levels
        ]
        masks = [mask for *_, mask in self.levels]
        model = stacked_of(
            self.initializer, begin, key=(*self.key, "dropout"), dropout=masks, device=self.compute.device
        )
        done = train_stacked(model, self.split, self.recipe, chunk=self.compute.chunk, keep=self.keep, watch=self.watch)
        models = Together(model)
        if self.keep is not None:
            for s in np.flatnonzero(done.healthy).tolist():
                self.keep.save(s, models.alone(s), self.encoder, loss=float(done.loss[s]))
            self.keep.clear()
        return models, done

    def _sequential(self) -> tuple[Models, Training]:
        """One student after another."""
        places: dict[int, Any] = {}
        ended: dict[int, Outcome] = {}
        for s, known in (self.keep.finished() if self.keep else {}).items():
            made = int(known.get("steps_made", self.recipe.steps))
            places[s], ended[s] = self._place(s), Outcome(known["loss"], made=made)

        def finish(s: int, student: SequenceLikelihood, done: Outcome, writes: bool) -> None:
            ended[s] = done
            if self.keep is not None and done.failed_at < 0:
                places[s] = self._place(s)
                if writes:
                    more = {"steps_made": done.made, "validation": done.validation}
                    self.keep.save(s, student.model, self.encoder, loss=done.loss, **more)
                    self.keep.checkpoint(f"{self.keep.number(s)}").clear()
            else:
                places[s] = {n: p.detach().cpu().clone() for n, p in student.named_parameters() if p.requires_grad}

        train_sequential(
            self.initializer, self.split, self.recipe, levels=self.levels, key=self.key, compute=self.compute,
            finish=finish, keep=self.keep, shared=self.recurs, watch=self.watch, skip=tuple(places),
        )  # fmt: skip
        every = [ended[s] for s in range(len(self.levels))]
        of_all = {name: np.array([getattr(one, name) for one in every]) for name in ("loss", "failed_at", "made")}
        if self.keep is not None:
            self.keep.clear()
        models = Apart(self.initializer, [places[s] for s in range(len(every))])
        return models, Training(of_all["loss"], of_all["failed_at"], of_all["made"], "sequential")


def _split(targets: TextTargets, validation: float, *, recipe: Recipe, key: tuple[Any, ...], **how: Any) -> Split:
    """Rows of the prompts that are trained on, and of those held out."""
    if (validation > 0) != (recipe.patience is not None) or not 0.0 <= validation < 1.0:
        raise OptionError(
            f"early stopping needs a share of the prompts, 0 < validation < 1, and a recipe with patience; got "
            f"validation={validation} and patience={recipe.patience}."
        )
    if not validation:
        return Split(training_rows(targets, recipe=recipe, key=key, **how))
    prompts = len(targets.responses.prompts)
    held = min(max(round(validation * prompts), 1), prompts - 1)
    order = seeds.generator(*key, "validation").permutation(prompts)
    out, kept = (targets.of_prompts(sorted(part.tolist())) for part in (order[:held], order[held:]))
    rows = training_rows(kept, recipe=recipe, key=key, **how)
    how["seed_design"] = replace(how["seed_design"], bootstrap=None)
    return Split(rows, training_rows(out, recipe=replace(recipe, batch=None), key=key, **how))
