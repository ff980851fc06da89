"""The embedded world as a testbed: tokenizer, teacher and base, small Llamas trained from scratch, and sample banks."""

from __future__ import annotations

import atexit
import hashlib
import inspect
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.bank import Bank
from uqkd.llm.bank.auditing import audit
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.models.revision import model_revision
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.responses import TextTargets
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.distilling import Students, distill
from uqkd.llm.synthetic.exact import answer_probabilities
from uqkd.llm.synthetic.placing import Place, bank_of
from uqkd.llm.synthetic.world import World
from uqkd.llm.teachers import open_teacher
from uqkd.llm.teachers.teacher import Teacher
from uqkd.stacked import Recipe, SeedDesign
from uqkd.store import commit_folder, verified_folder

Array = NDArray[np.float64]

PAD, BOS, EOS, UNK = SPECIAL = ("[PAD]", "[BOS]", "[EOS]", "[UNK]")


@dataclass(frozen=True)
class Size:
    """Size of a Llama.

    Attributes
    ----------
    hidden, intermediate, layers, heads : int

    Examples
    --------
    >>> Size(64, 176, 2, 4).config(vocabulary=100).hidden_size
    64
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int

    def config(self, vocabulary: int) -> Any:
        """The transformers configuration for a tokenizer of `tokenizer`."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            initializer_range=self.hidden**-0.5,  # from the usual 0.02 small models learn far more slowly
            max_position_embeddings=64,
            pad_token_id=SPECIAL.index(PAD),
            bos_token_id=SPECIAL.index(BOS),
            eos_token_id=SPECIAL.index(EOS),
            dtype="float32",
        )


TEACHER, STUDENT = Size(128, 344, 4, 4), Size(32, 128, 1, 4)
_MOST_CUT = 0.02  # share of answers that are no answer's beginning and go on until they are cut
MAX_TOKENS = 8  # tokens of a response; the longest answer has four and its end
_SCHEDULE: dict[str, Any] = {"optimiser": "adamw", "schedule": "cosine", "warmup": 20, "clip_norm": 1.0}
_MODELS: tuple[tuple[str, Size, Recipe, tuple[int, ...] | None], ...] = (
    ("teacher", TEACHER, Recipe(steps=250, batch=128, lr=3e-3, **_SCHEDULE), None),
    ("base", STUDENT, Recipe(steps=100, batch=64, lr=5e-3, **_SCHEDULE), (3,)),
)  # name, size, recipe, phrasings (None: all)


def tokenizer(world: World) -> Any:
    """A word-level tokenizer of the world's words, as transformers loads and saves it; prompts begin with BOS.

    Examples
    --------
    >>> made = tokenizer(World.make(groups=1, entities=1, key=("doc",)))
    >>> made.convert_ids_to_tokens(made("home of")["input_ids"])
    ['[BOS]', 'home', 'of']
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate((*SPECIAL, *world.words))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Testbed:
    """The embedded world with its models and sample banks in one folder; made by `Testbed.open`.

    Attributes
    ----------
    folder : Path
        `teacher` and `base`, as transformers and vLLM load them, and a sample bank for each temperature.
    world : World

    Notes
    -----
    The teacher knows every question in every phrasing. The base is a model of the students' size that was trained for a
    short time on the last phrasing: what a student is before it is distilled.
    """

    folder: Path
    world: World

    @classmethod
    def open(cls, root: str | Path, *, groups: int = 8, entities: int = 6) -> Testbed:
        """The testbed below a results folder; teacher and base are trained if they are not there (a minute or two).

        Parameters
        ----------
        root : path or URL
            Results folder. Models need a local folder: those of a URL have twins in the user's cache, its banks have not.
        groups, entities : int
            Size of the world.
        """
        from transformers.utils import logging

        world = World.make(groups=groups, entities=entities, key=("llm", "world"))
        name = f"embedded/world-{groups}x{entities}-{_fingerprint(world)}"
        shared = Place(root)
        place = shared.root
        for part, size, recipe, ways in _MODELS:
            known = range(world.phrasings) if ways is None else ways
            shared.bring(name, part)
            if verified_folder(place, f"{name}/{part}") is None:
                begun = time.monotonic()
                with _all_threads():
                    model, coder = _trained(world, size, recipe, known, key=("llm", "world", part))
                print(
                    f"embedded world: {part} trained in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True
                )

                def write(folder: Path, model: Any = model, coder: Any = coder) -> None:
                    logging.disable_progress_bar()
                    model.save_pretrained(folder)
                    coder.save_pretrained(folder)

                commit_folder(place, f"{name}/{part}", write)
            shared.push(name, part)
        return cls(place / name, world)

    @classmethod
    def at(cls, folder: str | Path) -> Testbed:
        """The testbed that lies in a folder, as `open` made it."""
        path = Path(folder)
        groups, entities = path.name.split("-")[1].split("x")
        return cls(path, World.make(groups=int(groups), entities=int(entities), key=("llm", "world")))

    @property
    def teacher(self) -> Path:
        """The teacher's folder."""
        return self.folder / "teacher"

    @property
    def base(self) -> Path:
        """The folder of an undistilled student."""
        return self.folder / "base"

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer of all models of the testbed."""
        return Encoder.of(self.teacher)

    def predict_proba(self, prompts: Prompts, *, temperature: float = 1.0) -> Array:
        """The teacher's exact answer distribution, (P, C + 1); see `answer_probabilities`."""
        return _teacher_probabilities(self.teacher, self.encoder, prompts, temperature)

    def student_config(self, size: Size | None = None) -> Any:
        """Configuration of a student that begins fresh."""
        return (size or STUDENT).config(len(self.encoder.tokenizer))

    def student_recipe(self, *, steps: int, batch: int, lr: float) -> Recipe:
        """How students of this world are trained: AdamW on a cosine schedule with a short warm-up, clipped."""
        return Recipe(steps=steps, batch=batch, lr=lr, **{**_SCHEDULE, "warmup": min(20, steps // 10)})

    def distill(
        self, targets: TextTargets, cell: Mapping[str, Any], *, seed_design: SeedDesign, key: tuple[Any, ...]
    ) -> Students:
        """Small Llamas that begin fresh, distilled with a cell's steps, batch and learning rate; see `uqkd.llm.distill`."""
        recipe = self.student_recipe(steps=cell["steps"], batch=cell["batch"], lr=cell["lr"])
        return distill(
            targets,
            student=self.student_config(),
            encoder=self.encoder,
            recipe=recipe,
            seed_design=seed_design,
            key=key,
        )

    def bank(self, temperature: float = 1.0) -> Bank:
        """The sample bank of a temperature."""
        return Bank(bank_of(self.folder, f"bank-{temperature:g}"))

    def draw(
        self, prompts: Prompts, *, students: int, per_student: int, temperature: float = 1.0, backend: str = "vllm"
    ) -> str:
        """Draw what the bank lacks for so many students, audit their independence, and return the fingerprint of all this.

        The fingerprint is that of the models and of these responses: what else the bank holds does not change it.

        The engine is started only if something is missing, and kept for the next call of this process.
        """
        bank, k = self.bank(temperature), students * per_student
        if bank.inventory(prompts, k).missing.size:
            teacher = shared_teacher(self.teacher, backend)
            sampling = Sampling(temperature=temperature, max_tokens=MAX_TOKENS)
            fill_bank(teacher, prompts, k, bank=bank, sampling=sampling, max_flagged=_MOST_CUT)
        audit(bank, prompts, students=students, k=per_student, per_student=per_student)
        drawn = bank.responses(prompts, students=students, k=per_student, per_student=per_student)
        parts = (model_revision(self.teacher), model_revision(self.base), drawn.fingerprint)
        return hashlib.blake2b("".join(parts).encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=1)
def shared_teacher(folder: Path, backend: str) -> Teacher:
    """A teacher in full precision that stays open until the process ends."""
    teacher = open_teacher(folder, backend=backend, dtype="float32")
    atexit.register(teacher.close)
    return teacher


@lru_cache(maxsize=8)
def _teacher_probabilities(folder: Path, encoder: Encoder, prompts: Prompts, temperature: float) -> Array:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder)
    return answer_probabilities(model, encoder, prompts, temperature=temperature)[0]


@contextmanager
def _all_threads() -> Iterator[None]:
    """The teacher is one model, trained before any worker starts: it may use every core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fingerprint(world: World) -> str:
    import torch
    import transformers

    code = tuple(inspect.getsource(function) for function in (_trained, _rows, tokenizer, Size.config))
    parts = repr((world.questions, _MODELS, torch.__version__, transformers.__version__, code))
    return hashlib.blake2b(parts.encode(), digest_size=6).hexdigest()


def _trained(world: World, size: Size, recipe: Recipe, ways: Iterable[int], *, key: tuple[Any, ...]) -> tuple[Any, Any]:
    """A model that learnt every question in these phrasings, each answer weighted by its true probability; its tokenizer."""
    from transformers import LlamaForCausalLM

    from uqkd.llm.students.networks.likelihood import SequenceLikelihood, know_leaves, row_table, weighted_loss
    from uqkd.stacked import batch_orders, stack, train

    coder = tokenizer(world)
    rows, weights = _rows(world, coder, ways)

    def build() -> SequenceLikelihood:
        made = SequenceLikelihood(LlamaForCausalLM(size.config(len(coder))))
        know_leaves(made)
        return made

    model: Any = stack(build, 1, key=key)
    order = batch_orders(len(rows), recipe.batch or len(rows), recipe.steps, [0], key=key)
    train(model, row_table(rows), weights[None], recipe, loss=weighted_loss, orders=order).refuse_failed()
    return model.student(0).model, coder


def _rows(world: World, coder: Any, ways: Iterable[int]) -> tuple[list[Any], Array]:
    """Every question, phrasing and answer: token ids and which are supervised, and the weight, one on average."""
    rows, weights, asked = [], [], list(ways)
    for question in world.questions:
        for way in asked:
            prompt = coder(question.text(way))["input_ids"]
            for answer, probability in zip(question.answers, question.probabilities, strict=True):
                learnt = [*coder(answer, add_special_tokens=False)["input_ids"], coder.eos_token_id]
                rows.append(([*prompt, *learnt], [False] * len(prompt) + [True] * len(learnt)))
                weights.append(probability)
    return rows, np.array(weights) * (len(rows) / (len(world.questions) * len(asked)))
