"""Language-model students: distil S of them from weighted responses, let them answer, save them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import OptionError
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.responses import Prompts, Response, Responses, TextTargets
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.models import Apart, Models
from uqkd.llm.students.networks.initializer import Initializer, Lora
from uqkd.llm.students.training.job import Job
from uqkd.llm.students.training.resuming import Keep, save_student
from uqkd.llm.students.training.ways_to_train import Compute, Watch
from uqkd.stacked import Recipe, SeedDesign

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Students:
    """S language models; made by `distill`.

    Attributes
    ----------
    models : Models
        All students that were trained, the failed ones at their last finite parameters.
    encoder : Encoder
    failed_at : (S + failed,) int
        Of every student trained, the step at which it diverged; -1 for those kept.
    loss : (S + failed,) float
        At each student's last step, in nats a learnt token.
    engine : str
    notes : tuple of str
        What a user should know of how they were trained.
    """

    models: Models
    encoder: Encoder
    failed_at: NDArray[np.int64]
    loss: Array
    engine: str
    notes: tuple[str, ...] = ()

    @classmethod
    def untrained(cls, student: Any, *, encoder: Encoder, fresh: bool = False, device: str = "cpu") -> Students:
        """One student before it is distilled: S = 1."""
        initializer = Initializer.of(student, fresh=fresh)
        initializer.template.to(device)
        begin = initializer.parameters(0, key=("llm", "untrained"), adapter=0, shared=True)
        return cls(Apart(initializer, [begin]), encoder, np.array([-1]), np.full(1, np.nan), "untrained")

    @property
    def kept(self) -> NDArray[np.int64]:
        """(S,) places of the students kept among all that were trained."""
        return np.flatnonzero(self.failed_at < 0)

    def predict_proba(self, prompts: Prompts, *, temperature: float = 1.0) -> Array:
        """Exact probability of every reference answer, and of anything else, (S, P, C + 1); see `answer_probabilities`."""
        return self.models.predict_proba(self.encoder, prompts, temperature=temperature)[self.kept]

    def predict(
        self, prompts: Prompts, draws: int, *, key: tuple[Any, ...], sampling: Sampling | None = None
    ) -> Responses:
        """Draw R responses to each prompt from each student.

        Parameters
        ----------
        prompts : Prompts
        draws : int
            R.
        key : tuple
            Names the streams: one for each student, prompt and draw.
        sampling : Sampling, optional
            The students' own distribution, up to 16 tokens, if not given.

        Returns
        -------
        Responses
            (S, P, R).
        """
        from uqkd.llm.students.answering import draw_answers

        if draws < 1:
            raise OptionError(f"predict needs draws >= 1; got {draws}.")
        drawn: list[Response] = []
        for s in self.kept.tolist():
            drawn += draw_answers(
                self.models.alone(s), self.encoder, prompts, draws, sampling=sampling or Sampling(), key=(*key, s)
            )
        return Responses.gather(prompts, drawn, (len(self.kept), len(prompts), draws))

    def student(self, s: int) -> Any:
        """Kept student s as a transformers model (with PEFT adapters where it was trained with them)."""
        return self.models.alone(int(self.kept[s]))

    def save(self, root: str | Path, *, about: dict[str, Any] | None = None) -> list[Path]:
        """Save every kept student as `root/student-<s>`: safetensors, configuration and tokenizer; return the folders.

        Each loads in transformers and vLLM as it is. A folder is there wholly or not at all.
        """
        return [
            save_student(root, int(s), self.models.alone(int(s)), self.encoder, float(self.loss[s]), about or {})
            for s in self.kept
        ]


def distill(
    targets: TextTargets,
    *,
    student: Any,
    encoder: Encoder,
    fresh: bool = False,
    lora: Lora | None = None,
    recipe: Recipe,
    seed_design: SeedDesign,
    key: tuple[Any, ...],
    perturbation: float | None = None,
    adapter: Sequence[int] | None = None,
    dropout: Sequence[int] | None = None,
    validation: float = 0.0,
    engine: str = "auto",
    device: str = "cpu",
    dtype: str = "float32",
    chunk: int | None = None,
    micro_batch: int | None = None,
    recompute: bool = False,
    keep: Keep | None = None,
    watch: Watch | None = None,
    exclude_failed: bool = False,
) -> Students:
    """Distil S language models from weighted responses.

    Parameters
    ----------
    targets : TextTargets
        Of S students, or of one for all alike; the prompts are those of its responses. Where the tokenizer is not the
        teacher's, texts are encoded anew.
    student : path, name or transformers configuration
        Any causal language model; a configuration begins fresh.
    encoder : Encoder
        Of the student.
    fresh : bool
        Begin anew with the architecture of a saved model.
    lora : Lora, optional
        Train adapters on the frozen model; otherwise all parameters.
    recipe : Recipe
        Optimiser steps, rows per step (at most a student's different rows), rates; the same steps whatever the method.
    seed_design : SeedDesign
        Levels of initialisation (or perturbation), order and bootstrap.
    key : tuple
        Names the streams of this set of students.
    perturbation : float, optional
        None: students begin as `student`, `fresh` and `seed_design` say. A number ε >= 0: all near one beginning θ, at
        θ + ε·|θ|·N(0, 1).
    adapter, dropout : (S,) int, optional
        Levels of the adapters' initialisation and of the dropout masks. If not given those of initialisation (one for all near
        one beginning) and of order.
    validation : float
        Share of the prompts that is held out of training; with `recipe.patience` students stop early by their loss on it.
    engine : {"auto", "stacked", "sequential"}
        All in one pass, one after another in place, or whichever is faster for this student (see `chosen_engine`).
    device : str
        "cpu", "cuda" or "cuda:1".
    dtype : {"float32", "bfloat16"}
        Precision of training; parameters and the optimiser's state stay in float32.
    chunk : int, optional
        Students trained at a time; as many as memory and caches hold if not given.
    micro_batch, recompute
        See `Compute`.
    keep : Keep, optional
        Folder in which students are saved as they are trained, and checkpoints while they are: a stopped call is begun again
        and goes on. Without it students stay in memory.
    watch : callable, optional
        Told where the training is (`Moment`) after every step.
    exclude_failed : bool
        Leave diverged students out, with a warning that says how many remain. Otherwise they are an error.

    Returns
    -------
    Students

    Raises
    ------
    DivergedError
        Names the students that diverged, and when.
    DataError
        No response ends by itself.
    PreflightError
        A response holds a token for which the student has no row.

    Notes
    -----
    The loss of a student is the weighted negative log-likelihood of its responses, their ends included, averaged over
    prompts: with weights 1/k of k responses, the cross-entropy to their empirical distribution (T4).
    """
    models, training, notes = Job.of(
        targets, student=student, encoder=encoder, fresh=fresh, lora=lora, recipe=recipe, seed_design=seed_design, key=key,
        perturbation=perturbation, adapter=adapter, dropout=dropout, validation=validation,
        compute=Compute(device, dtype, micro_batch, recompute, chunk), engine=engine, keep=keep, watch=watch,
    ).run()  # fmt: skip
    training.refuse_failed(exclude_failed=exclude_failed, stacklevel=3)
    return Students(models, encoder, training.failed_at, training.loss, training.engine, notes)
