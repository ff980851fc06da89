"""Language-model students: distil S of them from weighted responses, let them answer, save them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import OptionError, UqkdWarning, one_of
from uqkd.llm.encoding import Encoder
from uqkd.llm.exact import answer_probabilities
from uqkd.llm.responses import Prompts, Response, Responses, TextTargets
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.initializer import Initializer, Lora
from uqkd.llm.students.rows import training_rows
from uqkd.llm.students.trainers import stacked_of, train_stacked, train_transformers
from uqkd.llm.teachers.choosing import choose
from uqkd.stacked import Recipe, Sources, Stacked
from uqkd.store import commit_folder

Array = NDArray[np.float64]

TRAINERS = ("stacked", "transformers")


@dataclass(frozen=True)
class Students:
    """S language models; made by `distill`.

    Attributes
    ----------
    model : Stacked
        All students that were trained, the failed ones at their last finite parameters.
    encoder : Encoder
    initializer : Initializer
    failed_at : (S + failed,) int
        Of every student trained, the step at which it diverged; -1 for those kept.
    loss : (S + failed,) float
        At each student's last step.
    engine : str
    """

    model: Stacked
    encoder: Encoder
    initializer: Initializer
    failed_at: NDArray[np.int64]
    loss: Array
    engine: str

    @classmethod
    def untrained(cls, student: Any, *, encoder: Encoder, fresh: bool = False, device: str = "cpu") -> Students:
        """One student before it is distilled: S = 1."""
        initializer = Initializer.of(student, fresh=fresh)
        begin = [initializer.parameters(0, key=("llm", "untrained"), adapter=0, shared=True)]
        model = stacked_of(initializer, begin, key=("llm", "untrained"), dropout=[0], device=device)
        return cls(model, encoder, initializer, np.array([-1]), np.full(1, np.nan), "untrained")

    @property
    def kept(self) -> NDArray[np.int64]:
        """(S,) places of the students kept among all that were trained."""
        return np.flatnonzero(self.failed_at < 0)

    def probabilities(self, prompts: Prompts, *, temperature: float = 1.0) -> Array:
        """Exact probability of every reference answer, and of anything else, (S, P, C + 1); see `answer_probabilities`."""
        return answer_probabilities(self.model, self.encoder, prompts, temperature=temperature)[self.kept]

    def predict(
        self, prompts: Prompts, responses: int, *, sampling: Sampling | None = None, key: tuple[Any, ...]
    ) -> Responses:
        """Draw R responses to each prompt from each student.

        Parameters
        ----------
        prompts : Prompts
        responses : int
            R.
        sampling : Sampling, optional
            The students' own distribution, up to 16 tokens, if not given.
        key : tuple
            Names the streams: one for each student and prompt.

        Returns
        -------
        Responses
            (S, P, R).
        """
        if responses < 1:
            raise OptionError(f"predict needs responses >= 1; got {responses}.")
        how = sampling or Sampling()
        drawn: list[Response] = []
        for s in self.kept:
            drawn += _drawn(self.model, int(s), self.encoder, prompts, responses, how, key)
        return Responses.gather(prompts, drawn, (len(self.kept), len(prompts), responses))

    def student(self, s: int) -> Any:
        """Kept student s as a transformers model (with PEFT adapters where it was trained with them)."""
        return self.model.student(int(self.kept[s])).model  # type: ignore[union-attr]

    def save(self, root: str | Path, *, about: dict[str, Any] | None = None) -> list[Path]:
        """Save every kept student as `root/student-<s>`: safetensors, configuration and tokenizer; return the folders.

        Each loads in transformers and vLLM as it is. A folder is there wholly or not at all.
        """
        folders = []
        for s, trained in enumerate(self.kept):
            notes = {"student": int(trained), "loss": float(self.loss[trained]), **(about or {})}

            def write(folder: Path, s: int = s, notes: dict[str, Any] = notes) -> None:
                self.student(s).save_pretrained(folder)
                self.encoder.tokenizer.save_pretrained(folder)
                (folder / "distilled.json").write_text(json.dumps(notes, indent=1, sort_keys=True))

            folders.append(commit_folder(root, f"student-{s}", write))
        return folders


def distill(
    student: Any,
    targets: TextTargets,
    *,
    encoder: Encoder,
    recipe: Recipe,
    sources: Sources,
    key: tuple[Any, ...],
    fresh: bool = False,
    lora: Lora | None = None,
    perturbation: float = 0.0,
    adapter: Sequence[int] | None = None,
    dropout: Sequence[int] | None = None,
    trainer: str = "stacked",
    device: str = "cpu",
    chunk: int | None = None,
    exclude_failed: bool = False,
) -> Students:
    """Distil S language models from weighted responses.

    Parameters
    ----------
    student : path, name or transformers configuration
        Any causal language model; a configuration begins fresh.
    targets : TextTargets
        Of S students, or of one for all alike.
    encoder : Encoder
        Of the student.
    recipe : Recipe
        Optimiser steps, rows per step (at most a student's different rows), rates; the same steps whatever the method.
    sources : Sources
        Levels of initialisation (or perturbation), order and bootstrap.
    key : tuple
        Names the streams of this set of students.
    fresh : bool
        Begin anew with the architecture of a saved model.
    lora : Lora, optional
        Train adapters on the frozen model; otherwise all parameters.
    perturbation : float
        Begin at θ + ε·|θ|·N(0, 1).
    adapter, dropout : (S,) int, optional
        Levels of the adapters' initialisation and of the dropout masks; those of initialisation and order if not given.
    trainer : {"stacked", "transformers"}
        All in one pass, or one after another by transformers' Trainer.
    device : str
    chunk : int, optional
        Students trained at a time; as many as memory holds if not given.
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

    Notes
    -----
    The loss of a student is the weighted negative log-likelihood of its responses, their ends included, averaged over
    prompts: with weights 1/k of k responses, the cross-entropy to their empirical distribution (T4).
    """
    one_of("trainer", trainer, TRAINERS)
    initializer = Initializer.of(student, fresh=fresh, lora=lora, perturbation=perturbation)
    rows = training_rows(targets, encoder, recipe=recipe, sources=sources, key=key)
    levels = sources.initialisation if adapter is None else np.asarray(adapter)
    masks = sources.order if dropout is None else np.asarray(dropout)
    recurs = sources.recurs("initialisation") or (perturbation == 0 and not fresh and lora is None)
    begin = [
        initializer.parameters(int(level), key=key, adapter=int(own), shared=recurs)
        for level, own in zip(sources.initialisation, levels, strict=True)
    ]
    model = stacked_of(initializer, begin, key=(*key, "dropout"), dropout=list(masks), device=device)
    if trainer == "stacked":
        done = train_stacked(model, rows, recipe, chunk=chunk)
    else:
        done = train_transformers(model, initializer, rows, recipe, key=key, dropout=list(masks))
    healthy = done.training.refuse_failed(exclude_failed=exclude_failed)
    if not healthy.all():
        warnings.warn(
            f"{int(healthy.sum())} of {len(healthy)} students are kept; the others diverged.", UqkdWarning, stacklevel=2
        )
    return Students(done.model, encoder, initializer, done.training.failed_at, done.training.loss, done.training.engine)


@torch.inference_mode()
def _drawn(
    model: Stacked, s: int, encoder: Encoder, prompts: Prompts, k: int, sampling: Sampling, key: tuple[Any, ...]
) -> list[Response]:
    """Responses of one student, prompt by prompt. Equal beginnings of responses are computed once."""
    alone = model.student(s).model.eval()  # type: ignore[union-attr]
    begin = encoder.encode_prompts(prompts)
    uniform = np.concatenate([seeds.generator(*key, s, name).random((k, sampling.max_tokens)) for name in prompts.ids])
    made: list[tuple[int, ...]] = [()] * (len(begin) * k)
    open_rows = list(range(len(made)))
    stops = set(encoder.stop_ids)
    for step in range(sampling.max_tokens):
        prefixes: dict[tuple[int, ...], int] = {}
        which = [prefixes.setdefault((*begin[row // k], *made[row]), len(prefixes)) for row in open_rows]
        logits = _next_logits(alone, list(prefixes), model.device)[which]
        chosen, _ = choose(logits, uniform[open_rows, step], sampling)
        for row, token in zip(open_rows, chosen.tolist(), strict=True):
            made[row] = (*made[row], token)
        open_rows = [row for row in open_rows if made[row][-1] not in stops]
        if not open_rows:
            break
    cut = set(open_rows)
    found = []
    for row, ids in enumerate(made):
        kept = ids if row in cut else ids[:-1]
        found.append(Response(kept, encoder.decode(kept), row not in cut))
    return found


_ROWS = 1024  # beginnings per pass


def _next_logits(alone: Any, prefixes: list[tuple[int, ...]], device: Any) -> Array:
    """(N, V) logits of the next token after each initializer."""
    found = []
    for start in range(0, len(prefixes), _ROWS):
        part = prefixes[start : start + _ROWS]
        lengths = torch.tensor([len(ids) for ids in part], device=device)
        ids = torch.zeros((len(part), int(lengths.max())), dtype=torch.int64)
        for n, prefix in enumerate(part):
            ids[n, : len(prefix)] = torch.tensor(prefix)
        logits = alone(input_ids=ids.to(device), use_cache=False).logits
        found.append(logits[torch.arange(len(part), device=device), lengths - 1].double().cpu().numpy())
    return np.concatenate(found)
