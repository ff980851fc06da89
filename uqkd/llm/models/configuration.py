"""What a model's folder says about the model: its number type, its context, the tokens that end a response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from uqkd.errors import DataError


def saved_dtype(path: Path) -> str:
    """The number type that a model was saved in, "float32" if it does not say; engines read "auto" in ways of their own."""
    config = configuration(path)
    named = config.get("dtype") or config.get("torch_dtype") or "float32"
    return str(named).removeprefix("torch.")


CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")


def configuration(path: Path) -> dict[str, Any]:
    """config.json, that of the text part where there are several, and under 'eos' every token that ends a response."""
    try:
        whole = json.loads((path / "config.json").read_text(encoding="utf-8"))
        generation = path / "generation_config.json"
        more = json.loads(generation.read_text(encoding="utf-8")) if generation.is_file() else {}
    except (OSError, ValueError) as problem:
        raise DataError(f"the configuration of {path.name!r} cannot be read: {problem}.") from None
    config = {**whole, **whole.get("text_config", {})}
    found: set[int] = set()
    for value in (config.get("eos_token_id"), more.get("eos_token_id")):
        found |= set(value) if isinstance(value, list) else {value} if value is not None else set()
    return {**config, "eos": tuple(sorted(found))}


def attention_for(path: Path) -> dict[str, str]:
    """What transformers must be told to compute a model's attention as it was trained; empty if its default does.

    Its default leaves out the cap on attention logits of Gemma 2 and says nothing (seen with 5.19).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "config.json").write_text('{"attn_logit_softcapping": 50.0}')
    ...     attention_for(Path(place))
    {'attn_implementation': 'eager'}
    """
    return {"attn_implementation": "eager"} if configuration(path).get("attn_logit_softcapping") else {}
