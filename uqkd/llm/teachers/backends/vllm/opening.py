"""Open one model with vLLM, or several: adapters of one model, and the model itself, share an engine."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from uqkd.errors import OptionError
from uqkd.llm.models.configuration import saved_dtype
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.models.revision import base_of, check_model, is_adapter, whole_revision
from uqkd.llm.requests import Answers
from uqkd.llm.teachers.backends.vllm import library
from uqkd.llm.teachers.backends.vllm.adapters import RANKS, not_put_on, rank_of
from uqkd.llm.teachers.backends.vllm.engine import Engine, Options
from uqkd.llm.teachers.backends.vllm.families import unsupported_by_vllm
from uqkd.llm.teachers.backends.vllm.quiet import silent
from uqkd.llm.teachers.backends.vllm.teacher import Prompting, VllmTeacher, installed

Opened = Generator[tuple[int, VllmTeacher], None, None]

_SEQUENCES = 256  # sequences decoded together


def open_backend(
    name_or_path: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    chat: bool | None = None,
    template_args: Mapping[str, Any] | None = None,
    isolated: bool | None = None,
    max_sequences: int = _SEQUENCES,
    memory_share: float = 0.85,
    cache_gib: float | None = None,
) -> VllmTeacher:
    """A model that vLLM samples offline, or an adapter of one.

    Parameters
    ----------
    name_or_path, dtype, device, chat
        See `open_teacher`.
    template_args : mapping, optional
        Arguments of the chat template.
    isolated : bool, optional
        The engine in a process of its own, so that its death is an error here and not the end of this process.
    max_sequences : int
        Sequences decoded together.
    memory_share : float
        Share of a GPU's memory that the engine may take.
    cache_gib : float, optional
        Key-value cache on a CPU; if not given, what the sequences need, at most 40 % of the free memory.

    Raises
    ------
    LibraryError
        vLLM is not installed.
    OptionError
        A model or a device that this build of vLLM does not have.
    WorkerError
        The engine did not start (when it is first asked).
    """
    opened = open_together(
        [name_or_path], dtype=dtype, device=device, chat=chat, template_args=template_args, isolated=isolated,
        max_sequences=max_sequences, memory_share=memory_share, cache_gib=cache_gib,
    )  # fmt: skip
    with closing(opened):
        return next(opened)[1]


def open_together(
    names_or_paths: Sequence[str | Path],
    *,
    dtype: str = "auto",
    device: str = "auto",
    chat: bool | None = None,
    template_args: Mapping[str, Any] | None = None,
    isolated: bool | None = None,
    max_sequences: int = _SEQUENCES,
    memory_share: float = 0.85,
    cache_gib: float | None = None,
) -> Opened:
    """Several models and adapters as teachers, each with its place in the list, those of one engine behind one another.

    All are checked before the first is given out. An adapter that vLLM cannot put on a running model (see `not_put_on`) is
    merged into a copy of it in a temporary folder, and has an engine of its own. Close each before asking for the next.

    Parameters
    ----------
    names_or_paths : sequence of str or path
    dtype, device, chat, template_args, isolated, max_sequences, memory_share, cache_gib
        See `open_backend`.
    """
    installed()
    options = Options(dtype, device, isolated, max_sequences, memory_share, cache_gib)
    models = [_Model.of(name, Prompting(chat, template_args)) for name in names_or_paths]
    if device != "auto":
        with silent():
            library.prepare(device, isolated)
    groups: dict[Path | int, list[int]] = {}
    for place, model in enumerate(models):
        groups.setdefault(place if model.merged else model.base, []).append(place)
    return _opened(models, list(groups.values()), options)


def _opened(models: Sequence[_Model], groups: Sequence[Sequence[int]], options: Options) -> Opened:
    for group in groups:
        own = [models[place] for place in group]
        if own[0].merged:
            yield group[0], _Merged(own[0], options)
            continue
        adapters = [model.path for model in own if model.path != model.base]
        rank = max(map(rank_of, adapters), default=0)
        engine = Engine(
            own[0].base, own[0].typed(options), adapters=adapters, rank=next(size for size in RANKS if size >= rank)
        )
        engine.users += 1  # until all were given out
        try:
            for place, model in zip(group, own, strict=True):
                yield place, model.on(engine)
        finally:
            engine.release()


@dataclass(frozen=True)
class _Model:
    """A model or adapter that was asked for and can be run."""

    name: str
    path: Path
    base: Path  # the model itself, or that below the adapter
    encoder: Encoder
    merged: bool  # an adapter that must be merged

    @classmethod
    def of(cls, name_or_path: str | Path, prompting: Prompting) -> _Model:
        path = check_model(name_or_path)
        adapter = is_adapter(path)
        base = check_model(base_of(path)).resolve() if adapter else path.resolve()
        if reason := unsupported_by_vllm(base):
            raise OptionError(reason)
        merged = adapter and bool(not_put_on(path, base))
        return cls(Path(name_or_path).name, path if adapter else base, base, prompting.encoder(path), merged)

    def typed(self, options: Options) -> Options:
        """The options with the number type that the model was saved in, where none was asked for."""
        # vLLM's "auto" makes bfloat16 of float32.
        return replace(options, dtype=saved_dtype(self.base)) if options.dtype == "auto" else options

    def on(self, engine: Engine) -> VllmTeacher:
        adapter = None if self.path == self.base or self.merged else self.path
        return VllmTeacher(engine, self.encoder, name=self.name, revision=whole_revision(self.path), adapter=adapter)


class _Merged(VllmTeacher):
    """A model with an adapter merged into it, in a folder that is there as long as the teacher is open."""

    def __init__(self, model: _Model, options: Options) -> None:
        self._model, self._options = model, model.typed(options)
        self._folder: Any = None
        super().__init__(
            Engine(model.base, self._options), model.encoder, name=model.name, revision=whole_revision(model.path)
        )

    def stream(self, requests: Any, sampling: Any) -> Answers:
        """See `Teacher.stream`."""
        if self._folder is None:
            from uqkd.llm.teachers.backends.transformers import load

            self._folder = tempfile.TemporaryDirectory(prefix="uqkd-merged-")
            with silent():
                load(self._model.path, self._options.dtype).save_pretrained(self._folder.name)
            self.encoder.tokenizer.save_pretrained(self._folder.name)
            self.engine.path = Path(self._folder.name)
        return super().stream(requests, sampling)

    def close(self) -> None:
        """See `Teacher.close`."""
        super().close()
        if self._folder is not None:
            self._folder.cleanup()
