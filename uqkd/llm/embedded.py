"""Tokenizer and teacher of the embedded world: a small Llama trained from scratch, kept in the store."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.llm.world import World
from uqkd.stacked import Recipe
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
            max_position_embeddings=64,
            pad_token_id=SPECIAL.index(PAD),
            bos_token_id=SPECIAL.index(BOS),
            eos_token_id=SPECIAL.index(EOS),
            dtype="float32",
        )


TEACHER, STUDENT = Size(128, 344, 4, 4), Size(48, 128, 2, 4)
RECIPE = Recipe(steps=400, batch=128, optimiser="adamw", lr=3e-3, schedule="cosine", warmup=20, clip_norm=1.0)


def tokenizer(world: World) -> Any:
    """A word-level tokenizer of the world's words, as transformers loads and saves it; prompts begin with BOS.

    Examples
    --------
    >>> made = tokenizer(World.make(clans=1, members=1, key=("doc",)))
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


def model_folder(root: str | Path, world: World, size: Size, *, key: tuple[Any, ...], recipe: Recipe = RECIPE) -> Path:
    """The folder of the world's teacher, trained now if it is not in the store.

    Parameters
    ----------
    root : path
        A local folder: a store.
    world : World
    size : Size
    key : tuple
        Names the streams of initialisation and order.
    recipe : Recipe

    Returns
    -------
    Path
        With config, tokenizer and safetensors, as transformers and vLLM load it.
    """
    name = f"models/world-{_fingerprint(world, size, recipe, key)}"
    found = verified_folder(root, name)
    return found or commit_folder(root, name, lambda folder: _save(folder, world, size, recipe, key))


def _fingerprint(world: World, size: Size, recipe: Recipe, key: tuple[Any, ...]) -> str:
    import torch
    import transformers

    versions = (torch.__version__, transformers.__version__, inspect.getsource(_trained), inspect.getsource(_rows))
    parts = repr((world.questions, asdict(size), asdict(recipe), key, versions))
    return hashlib.blake2b(parts.encode(), digest_size=8).hexdigest()


def _save(folder: Path, world: World, size: Size, recipe: Recipe, key: tuple[Any, ...]) -> None:
    coder = tokenizer(world)
    _trained(world, coder, size, recipe, key).save_pretrained(folder)
    coder.save_pretrained(folder)


def _trained(world: World, coder: Any, size: Size, recipe: Recipe, key: tuple[Any, ...]) -> Any:
    """A model trained on every question, phrasing and answer, each answer weighted by its true probability."""
    from transformers import LlamaForCausalLM

    from uqkd.llm.language import SequenceLikelihood, know_leaves, row_table, weighted_loss
    from uqkd.stacked import batch_orders, stack, train

    rows, weights = _rows(world, coder)

    def build() -> SequenceLikelihood:
        made = SequenceLikelihood(LlamaForCausalLM(size.config(len(coder))))
        know_leaves(made)
        return made

    model = stack(build, 1, key=(*key, "teacher"))
    order = batch_orders(len(rows), recipe.batch or len(rows), recipe.steps, [0], key=(*key, "teacher"))
    train(model, row_table(rows), weights[None], recipe, loss=weighted_loss, orders=order).refuse_failed()
    return model.student(0).model


def _rows(world: World, coder: Any) -> tuple[list[Any], Array]:
    """Every question, phrasing and answer: token ids and which are supervised, and the weight, one on average."""
    rows, weights = [], []
    for question in world.questions:
        for way in range(world.phrasings):
            prompt = coder(question.text(way))["input_ids"]
            for answer, probability in zip(question.answers, question.probabilities, strict=True):
                learnt = [*coder(answer, add_special_tokens=False)["input_ids"], coder.eos_token_id]
                rows.append(([*prompt, *learnt], [False] * len(prompt) + [True] * len(learnt)))
                weights.append(probability)
    return rows, np.array(weights) * (len(rows) / (len(world.questions) * world.phrasings))
