"""How large an engine must be: the context that prompts and responses need, and the key-value cache for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

GIB = 2**30
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_STEP = 64  # contexts are multiples of it, so that prompts of nearly equal lengths share an engine
_SHARE = 0.4  # of the memory that is free, for the cache of an engine on a CPU


def context_for(longest: int, max_tokens: int, model: int) -> int:
    """Tokens that an engine must hold for one sequence: a multiple of 64, no more than the model's own context.

    Parameters
    ----------
    longest : int
        Tokens of the longest prompt.
    max_tokens : int
        Of a response.
    model : int
        The model's own context; 0 where it is not known.

    Examples
    --------
    >>> context_for(37, 32, 131_072), context_for(8_000, 190, 8_192)
    (128, 8192)
    """
    wanted = -(-(longest + max_tokens) // _STEP) * _STEP
    return min(wanted, model) if model else wanted


def cache_bytes(config: Mapping[str, Any], dtype: str, *, context: int, sequences: int, free: int | None = None) -> int:
    """Bytes of key-value cache for so many sequences of a context, at least 1 GiB and at most 40 % of what is free.

    With less than every sequence needs an engine puts some aside and computes them again, which costs time and changes
    nothing; one sequence must fit in any case.

    Parameters
    ----------
    config : mapping
        The model's configuration.
    dtype : str
    context, sequences : int
    free : int, optional
        Bytes of memory that are free; if not given, asked of the machine.

    Examples
    --------
    >>> small = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}
    >>> round(cache_bytes(small, "float32", context=128, sequences=256, free=20 * GIB) / GIB, 2)
    1.41
    >>> cache_bytes({}, "float32", context=128, sequences=256) == GIB
    True
    """
    heads = int(config.get("num_attention_heads") or config.get("n_head") or 0)
    layers = int(config.get("num_hidden_layers") or config.get("n_layer") or 0)
    hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
    if not heads or not layers or not hidden:
        return GIB  # recurrent models, whose state does not grow
    groups = int(config.get("num_key_value_heads") or heads)
    width = int(config.get("head_dim") or hidden // heads)
    sequence = 2 * layers * groups * width * _BYTES.get(dtype, 4) * context
    most = int(_SHARE * (_free() if free is None else free))
    return max(GIB, min(sequence * sequences, most), sequence)


def fewer_positions(config: Mapping[str, Any], context: int) -> dict[str, int]:
    """What to change in a configuration so that no table of rotary angles is made for millions of positions nobody asks for.

    Only where the angles of a position do not depend on how many there are: plain rotary embeddings and Llama 3's.

    Examples
    --------
    >>> fewer_positions({"max_position_embeddings": 10_485_760, "rope_parameters": {"rope_type": "llama3"}}, 128)
    {'max_position_embeddings': 262144}
    >>> fewer_positions({"max_position_embeddings": 10_485_760, "rope_scaling": {"rope_type": "yarn"}}, 128)
    {}
    """
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kinds = {
        one.get("rope_type", one.get("type", "default"))
        for one in (scaling, *scaling.values())
        if isinstance(one, dict)
    }
    needed = max(context, _POSITIONS)
    if int(config.get("max_position_embeddings") or 0) <= needed or not kinds <= {"default", "llama3"}:
        return {}
    return {"max_position_embeddings": needed}


_POSITIONS = 2**18  # a table of them takes 130 MB at most


def _free() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # a system that does not tell
        return 4 * GIB
