"""The registry of backends: every file in `backends/` is one, called by the file's name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

from uqkd.errors import OptionError, nearest, one_of
from uqkd.llm.models.revision import check_model
from uqkd.llm.teachers import backends
from uqkd.llm.teachers.teacher import DTYPES, Teacher
from uqkd.registry import Registry

_FILES = Registry("backend", backends.__name__, importlib.import_module, ("open_backend",))


def backend_names() -> tuple[str, ...]:
    """The names of the backends, none of them imported.

    Examples
    --------
    >>> backend_names()
    ('openai', 'server', 'transformers', 'vllm')
    """
    return _FILES.names()


def backend_module(backend: str) -> ModuleType:
    """The module of a backend, imported.

    Examples
    --------
    >>> backend_module("transformer")
    Traceback (most recent call last):
    uqkd.errors.OptionError: backend got 'transformer'; did you mean 'transformers'? Valid: ...
    """
    return _FILES.named(backend)


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
    module, given = _backend(backend, dtype, device, options)
    return module.open_backend(name_or_path, dtype=dtype, device=device, chat=chat, **given)  # type: ignore[no-any-return]


def open_students(
    names_or_paths: Sequence[str | Path],
    *,
    backend: str = "vllm",
    dtype: str = "auto",
    device: str = "auto",
    chat: bool | None = None,
    **options: Any,
) -> Generator[tuple[int, Teacher], None, None]:
    """Open several models and adapters one after another, each with its place in the list; each is closed before the next.

    With "vllm" adapters of one model, and the model itself, share an engine and come behind one another, wherever they stand in
    the list: one start for all of them.

    Parameters
    ----------
    names_or_paths : sequence of str or path
        Folders of models or adapters, see `check_model`.
    backend, dtype, device, chat, **options
        See `open_teacher`.

    Raises
    ------
    OptionError, DataError, LibraryError
        As `open_teacher`, for any of them, before the first is opened.

    Examples
    --------
    >>> next(open_students(["no/such/folder"], backend="transformers"))
    Traceback (most recent call last):
    uqkd.errors.DataError: model 'no/such/folder' is no folder here, and no name on the hub is written like that; ...
    """
    module, given = _backend(backend, dtype, device, options)
    how = {"dtype": dtype, "device": device, "chat": chat, **given}
    together = getattr(module, "open_together", None) or _one_by_one(module)
    with closing(together(list(names_or_paths), **how)) as opened:
        for place, teacher in opened:
            with closing(teacher):
                yield place, teacher


def _one_by_one(module: ModuleType) -> Any:
    def opened(names_or_paths: list[str | Path], **how: Any) -> Generator[tuple[int, Teacher], None, None]:
        for name in names_or_paths:
            check_model(name)
        for place, name in enumerate(names_or_paths):
            yield place, module.open_backend(name, **how)

    return opened


def _backend(backend: str, dtype: str, device: str, options: dict[str, Any]) -> tuple[ModuleType, dict[str, Any]]:
    """A backend's module, and those of its options that were given."""
    one_of("dtype", dtype, DTYPES)
    one_of("device", device, ("auto", "cpu", "cuda"))
    module = backend_module(backend)
    given = {name: value for name, value in options.items() if value is not None}
    known = [
        name for name in inspect.signature(module.open_backend).parameters if name not in ("dtype", "device", "chat")
    ][1:]
    for name in given:
        if name not in known:
            raise OptionError(f"backend {backend!r} has no option {name!r}; {nearest(name, known)}.")
    return module, given
