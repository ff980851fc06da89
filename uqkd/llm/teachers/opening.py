"""The registry of backends: every file in `backends/` is one, called by the file's name."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from uqkd.errors import OptionError, nearest, one_of
from uqkd.llm.teachers import backends
from uqkd.llm.teachers.teacher import DTYPES, Teacher


def backend_names() -> tuple[str, ...]:
    """The names of the backends, none of them imported.

    Examples
    --------
    >>> backend_names()
    ('openai', 'server', 'transformers', 'vllm')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(backends.__path__)))


def open_teacher(
    name_or_path: str | Path,
    *,
    backend: str = "vllm",
    dtype: str = "auto",
    device: str = "auto",
    chat: bool | None = None,
    **options: Any,
) -> Teacher:
    """Open a teacher.

    Parameters
    ----------
    name_or_path : str or path
        A model's folder, or its name on the hub (see `check_model`); for "openai" the name that the API knows.
    backend : str
        "vllm" (in this process or beside it), "transformers" (no further engine), "server" (vLLM's own server or another that
        takes and returns token ids), "openai" (any OpenAI-compatible chat API, text only), or any other file in `backends/`.
    dtype : str
        "float32", "bfloat16", "float16", or "auto", the one that the model was saved in. What was used is in `.about`.
    device : str
        "auto" takes the GPU if there is one; "cpu" and "cuda" insist.
    chat : bool, optional
        Use the chat template; if not given, when there is one.
    **options
        Of the backend, see its class. None stands for an option that is not given.

    Raises
    ------
    OptionError, DataError, LibraryError
        Unknown option, unusable model, or an engine that is not installed; no engine is started.
    """
    one_of("backend", backend, backend_names())
    one_of("dtype", dtype, DTYPES)
    one_of("device", device, ("auto", "cpu", "cuda"))
    module = importlib.import_module(f"{backends.__name__}.{backend}")
    given = {name: value for name, value in options.items() if value is not None}
    known = [
        name for name in inspect.signature(module.open_backend).parameters if name not in ("dtype", "device", "chat")
    ][1:]
    for name in given:
        if name not in known:
            raise OptionError(f"backend {backend!r} has no option {name!r}; {nearest(name, known)}.")
    return module.open_backend(name_or_path, dtype=dtype, device=device, chat=chat, **given)  # type: ignore[no-any-return]
