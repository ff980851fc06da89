"""One row of the bank: what it holds, and what is flagged about a response."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Completion, TeacherInfo

if TYPE_CHECKING:
    import pandas as pd

FLAGS = ("empty", "length", "control", "surrogate", "replacement")
_SPACES = "\n\r\t"  # control characters that texts hold


def stored_text(text: str) -> str:
    r"""The text as UTF-8 can hold it: halves of surrogate pairs are written out; token_ids keep the original.

    Examples
    --------
    >>> print(stored_text("a\ud800"))
    a\ud800
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def flags_of(text: str, finish_reason: str) -> str:
    r"""What is odd about a response, comma-separated and sorted; empty for most.

    "empty": no text; "length": cut at max_tokens; "control": control characters; "surrogate": half of a surrogate pair;
    "replacement": bytes that are no text, as where a character was cut in two.

    Examples
    --------
    >>> flags_of("four", "stop"), flags_of(" ", "length"), flags_of("a\x00b", "stop")
    ('', 'empty,length', 'control')
    """
    found = set()
    if not text.strip():
        found.add("empty")
    if finish_reason == "length":
        found.add("length")
    for character in set(text):
        if unicodedata.category(character) == "Cc" and character not in _SPACES:
            found.add("control")
        elif "\ud800" <= character <= "\udfff":
            found.add("surrogate")
        elif character == "\ufffd":
            found.add("replacement")
    return ",".join(sorted(found))


def frame(
    wanted: Sequence[tuple[str, str, int, int]],
    completions: Sequence[Completion],
    *,
    about: TeacherInfo,
    sampling: Sampling,
) -> pd.DataFrame:
    """Rows of the bank.

    Parameters
    ----------
    wanted : sequence of (prompt_id, prompt, response_index, seed)
    completions : sequence of Completion
        In the same order.
    about, sampling
        The same for all rows.

    Examples
    --------
    >>> about = TeacherInfo("tiny", "r", "transformers", "5", "float32", "processed", False)
    >>> one = Completion((7, 2), "four", (-0.5, -0.1), "stop")
    >>> table = frame([("a", "two plus two ?", 0, 12)], [one], about=about, sampling=Sampling())
    >>> table[["prompt_id", "response_index", "text", "flags", "temperature"]].values.tolist()
    [['a', 0, 'four', '', 1.0]]
    """
    import pandas as pd
    import pyarrow as pa

    ids, prompts, indices, drawn_with = zip(*wanted, strict=True)
    columns: dict[str, Any] = {
        "prompt_id": ids,
        "prompt": prompts,
        "response_index": indices,
        "seed": drawn_with,
        "token_ids": [list(one.token_ids) for one in completions],
        "text": [stored_text(one.text) for one in completions],
        "token_logprobs": [list(one.token_logprobs) for one in completions],
        "finish_reason": [one.finish_reason for one in completions],
        "flags": [flags_of(one.text, one.finish_reason) for one in completions],
        "teacher": about.name,
        "revision": about.revision,
        "backend": about.backend,
        "engine_version": about.engine_version,
        "dtype": about.dtype,
        "logprobs": about.logprobs,
        **sampling.columns(),
    }
    types, count = _types(), len(completions)
    typed = {}
    for name, value in columns.items():
        cells = value if isinstance(value, (list, tuple)) else [value] * count
        typed[name] = pd.Series(pa.array(cells, type=types[name]), dtype=pd.ArrowDtype(types[name]))
    return pd.DataFrame(typed)


def _types() -> dict[str, Any]:
    """Arrow types of the columns, said outright: a chunk of empty responses must not have columns of another kind."""
    import pyarrow as pa

    texts = (
        "prompt_id",
        "prompt",
        "text",
        "finish_reason",
        "flags",
        "teacher",
        "revision",
        "backend",
        "engine_version",
    )
    shares = ("temperature", "top_p", "min_p", "repetition_penalty")
    return {
        **dict.fromkeys((*texts, "dtype", "logprobs"), pa.string()),
        **dict.fromkeys(("response_index", "seed", "top_k", "max_tokens"), pa.int64()),
        **dict.fromkeys(shares, pa.float64()),
        "token_ids": pa.list_(pa.int32()),
        "token_logprobs": pa.list_(pa.float32()),
    }
