"""Tiny models of random weights, one of every family that a teacher may be of, with the word tokenizer of the tests."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = {
    "vocab_size": 256, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
    "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3,
}  # fmt: skip
PLAIN = {**SHARED, "intermediate_size": 128}
GROUPED = {**PLAIN, "num_key_value_heads": 1}  # the two heads share keys and values
GATED = {**GROUPED, "head_dim": 32}
SLIDING = {**GATED, "sliding_window": 8}  # shorter than some prompts of the tests, so that it acts
GEMMA = {
    **SLIDING,
    "initializer_range": 0.13,
    "query_pre_attn_scalar": 32,
    "layer_types": ["sliding_attention", "full_attention"],
}
STATES = {"state_size": 16, "num_hidden_layers": 2, "tie_word_embeddings": False}

# Family -> name of transformers' model class (its configuration is `<stem>Config`) and its sizes.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("Llama", GATED),
    "Qwen2": ("Qwen2", GATED),
    "Qwen3": ("Qwen3", GATED),
    "SmolLM3": ("SmolLM3", {**GATED, "no_rope_layers": [1, 0]}),
    "Mistral": ("Mistral", SLIDING),
    "Gemma 2": ("Gemma2", GEMMA),
    "Gemma 3": ("Gemma3", GEMMA),
    "Phi-3": ("Phi3", GROUPED),
    "OLMo 2": ("Olmo2", PLAIN),
    "GPT-2": ("GPT2", {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "OPT": ("OPT", {**SHARED, "ffn_dim": 128, "word_embed_proj_dim": 64, "init_std": 0.2}),
    "GPT-NeoX": ("GPTNeoX", PLAIN),
    "Falcon": ("Falcon", {**SHARED, "alibi": False, "bias": False}),
    "Mamba": ("Mamba", STATES),
    "Mamba-2": ("Mamba2", {**STATES, "num_heads": 4, "head_dim": 32, "n_groups": 1, "chunk_size": 8}),
}


# One of each kind of code that a family goes through: plain attention with other names and shapes, windows and capped logits, a
# class of transformers inside vLLM, states in place of attention, and what vLLM refuses. `make test-wide` takes the others too.
REPRESENTATIVE = ("GPT-2", "Gemma 2", "SmolLM3", "Mamba-2", "Mamba")
CASES = [pytest.param(name, marks=() if name in REPRESENTATIVE else pytest.mark.wide) for name in FAMILIES]

_CONFIGS = {"Gemma3": "Gemma3TextConfig"}  # where it is not `<stem>Config`

# A model's own wishes for how it is sampled, as many as there are: no engine may follow one of them.
WISHES = {
    "do_sample": True, "temperature": 0.01, "top_k": 1, "top_p": 0.1, "min_p": 0.9, "typical_p": 0.1, "min_new_tokens": 30,
    "max_length": 3, "max_new_tokens": 1, "repetition_penalty": 9.0, "no_repeat_ngram_size": 1, "suppress_tokens": [4, 5, 6, 7],
    "begin_suppress_tokens": [8, 9, 10], "bad_words_ids": [[11]], "forced_bos_token_id": 12, "forced_eos_token_id": 13,
    "sequence_bias": [[[14], 9.0]], "num_beams": 3, "num_return_sequences": 2, "exponential_decay_length_penalty": [1, 2.0],
    "use_cache": False, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3,
}  # fmt: skip


def save_family(family: str, path: Path, make_model: Callable[..., Path], **more: object) -> Path:
    """Save the family's tiny model with the tests' tokenizer and wishes that nobody may follow; returns the folder."""
    import transformers

    from uqkd import seeds

    stem, sizes = FAMILIES[family]
    config = getattr(transformers, _CONFIGS.get(stem, f"{stem}Config"))(**{**SHARED, **sizes, **more})
    head = next(name for name in (f"{stem}ForCausalLM", f"{stem}LMHeadModel") if hasattr(transformers, name))
    make_model(path)  # its tokenizer; the model is written over
    with seeds.torch_stream("tests", "family", family, shared=True):
        getattr(transformers, head)(config).save_pretrained(path)
    (path / "generation_config.json").write_text(json.dumps(WISHES))
    return path


DOCS = Path(__file__).parents[1] / "docs" / "families.md"
PARTS = ("# Families of models as teachers", "# Families of models as students")  # each made by a test of its own


def check_docs(made: str) -> None:
    """Assert that a part of docs/families.md, which begins with one of `PARTS`, is as made; write it with UQKD_WRITE_DOCS=1."""
    import torch

    before = DOCS.read_text(encoding="utf-8") if DOCS.is_file() else ""
    found = re.split(f"^(?={'|'.join(PARTS)})", before, flags=re.MULTILINE)
    parts = {head: part for head in PARTS for part in found if part.startswith(head)}
    (head,) = (head for head in PARTS if made.startswith(head))
    if os.environ.get("UQKD_WRITE_DOCS"):
        parts[head] = made
        texts = [parts[name].rstrip("\n") + "\n" for name in PARTS if name in parts]
        DOCS.write_text("\n".join(texts), encoding="utf-8")
    there, made = (text.rstrip("\n") for text in (parts.get(head, ""), made))
    if torch.cuda.is_available():  # the columns of vLLM are of vLLM on a CPU; elsewhere it may do more
        there, made = _without_vllm(there), _without_vllm(made)
    assert there == made, "docs/families.md is stale; make it anew with: UQKD_WRITE_DOCS=1 and the tests of families"


def _without_vllm(text: str) -> str:
    lines = text.splitlines()
    rows = [line.split("|") for line in lines if line.startswith("|")]
    kept = [n for n, name in enumerate(rows[0]) if "vLLM" not in name]
    prose = [line for line in lines if not line.startswith("|")]
    return "\n".join([*prose, *("|".join(row[n] for n in kept) for row in rows)])
