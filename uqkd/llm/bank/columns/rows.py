"""Rows of the bank: what they hold, and what is flagged about a response."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from uqkd.llm.requests import Completion, TeacherInfo
from uqkd.llm.sampling import Sampling

if TYPE_CHECKING:
    import pyarrow as pa

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # control characters that texts do not hold
_SURROGATE = re.compile(r"[\ud800-\udfff]")
FLAGS = ("content_filter", "control", "empty", "length", "replacement", "surrogate")


class Wanted(NamedTuple):
    """Which response a row is: to which prompt, and with which seed (None where nobody knows)."""

    prompt_id: str
    prompt: str
    messages: str | None
    prompt_hash: str
    response_index: int
    seed: int | None


def stored_text(text: str) -> str:
    r"""The text as UTF-8 can hold it: halves of surrogate pairs are written out; token_ids keep the original.

    Examples
    --------
    >>> print(stored_text("a\ud800"))
    a\ud800
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def flags_of(text: str, finish_reason: str | None) -> str:
    r"""What is odd about a response, comma-separated and sorted; empty for most.

    "empty": no text; "length": cut at max_tokens; "content_filter": held back by a server; "control": control characters;
    "surrogate": half of a surrogate pair; "replacement": bytes that are no text, as where a character was cut in two.

    Examples
    --------
    >>> flags_of("four", "stop"), flags_of(" ", "length"), flags_of("a\x00b", "stop")
    ('', 'empty,length', 'control')
    """
    if finish_reason == "stop" and text.isascii() and text.isprintable() and text.strip():
        return ""
    found = (
        ("content_filter", finish_reason == "content_filter"),
        ("control", _CONTROL.search(text)),
        ("empty", not text.strip()),
        ("length", finish_reason == "length"),
        ("replacement", "\ufffd" in text),
        ("surrogate", _SURROGATE.search(text)),
    )
    return ",".join(name for name, there in found if there)


def table_of(
    wanted: Sequence[Wanted], completions: Sequence[Completion], *, about: TeacherInfo, sampling: dict[str, Any]
) -> pa.Table:
    """Rows of the bank as an Arrow table.

    Parameters
    ----------
    wanted : sequence of Wanted
    completions : sequence of Completion
        In the same order.
    about : TeacherInfo
        The same for all rows.
    sampling : dict
        Of `Sampling.columns`; None where a parameter is not known.

    Examples
    --------
    >>> about = TeacherInfo("tiny", "r", "transformers", "5", "float32", "processed", False)
    >>> one = Completion((7, 2), "four", (-0.5, -0.1), "stop")
    >>> row = Wanted("a", "two plus two ?", None, "", 0, 12)
    >>> table = table_of([row], [one], about=about, sampling=Sampling().columns())
    >>> table.select(["prompt_id", "response_index", "text", "tokens", "flags", "temperature"]).to_pylist()[0]
    {'prompt_id': 'a', 'response_index': 0, 'text': 'four', 'tokens': 2, 'flags': '', 'temperature': 1.0}
    """
    import pyarrow as pa

    types = column_types()
    ids = [one.token_ids for one in completions]
    named: dict[str, Any] = dict(zip(Wanted._fields, zip(*wanted, strict=True), strict=True))
    constant = {
        "teacher": about.name,
        "revision": about.revision,
        "backend": about.backend,
        "engine_version": about.engine_version,
        "dtype": about.dtype,
        "logprobs": about.logprobs,
        **sampling,
    }
    columns = {
        **{name: named[name] for name in ("prompt_id", "prompt", "messages", "prompt_hash", "response_index", "seed")},
        "token_ids": _lists(ids, np.int32),
        "text": [stored_text(one.text) for one in completions],
        "token_logprobs": _lists([one.token_logprobs for one in completions], np.float32),
        "tokens": [one.tokens if own is None else len(own) for one, own in zip(completions, ids, strict=True)],
        "finish_reason": [one.finish_reason for one in completions],
        "flags": [flags_of(one.text, one.finish_reason) for one in completions],
        **{name: pa.repeat(pa.scalar(value, types[name]), len(ids)) for name, value in constant.items()},
    }
    arrays = [value if isinstance(value, pa.Array) else pa.array(value, types[name]) for name, value in columns.items()]
    return pa.Table.from_arrays(arrays, schema=pa.schema([(name, types[name]) for name in columns]))


def _lists(rows: Sequence[Sequence[float] | None], dtype: type) -> pa.Array:
    """A list column; None is a null."""
    import pyarrow as pa

    lengths = np.array([0 if row is None else len(row) for row in rows], dtype=np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    values: Any = np.fromiter(
        chain.from_iterable(row for row in rows if row is not None), dtype=dtype, count=int(ends[-1])
    )
    missing = np.array([*(row is None for row in rows), False])
    offsets = pa.array(ends.astype(np.int32), mask=missing if missing.any() else None)
    return pa.ListArray.from_arrays(offsets, pa.array(values))


def column_types() -> dict[str, Any]:
    """Arrow types of the columns in their order, said outright: rows of empty responses must not have columns of other types."""
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    about = ("teacher", "revision", "backend", "engine_version", "dtype", "logprobs")
    return {
        **dict.fromkeys(("prompt_id", "prompt", "messages", "prompt_hash"), text),
        **dict.fromkeys(("response_index", "seed"), whole),
        "token_ids": pa.list_(pa.int32()),
        "text": text,
        "token_logprobs": pa.list_(pa.float32()),
        "tokens": whole,
        **dict.fromkeys(("finish_reason", "flags", *about), text),
        **{name: whole if name in ("top_k", "max_tokens") else real for name in Sampling().columns()},
    }


def unknown_sampling() -> dict[str, None]:
    """The sampling columns of responses that came from elsewhere."""
    return dict.fromkeys(Sampling().columns())
