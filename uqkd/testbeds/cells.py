"""Data as a study's cells name them: name, options and a fingerprint of the contents, and the same data again from these."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from uqkd.data.kinds import LENGTH, OPTIONS, OTHER_KIND, kind_of, reading_of
from uqkd.data.tabular.classes import ClassDataset, load_classes
from uqkd.data.tabular.dataset import Dataset
from uqkd.data.tabular.loading import load, normalise_name, short_name
from uqkd.data.tabular.splitting import split
from uqkd.data.tasks import Task, load_task
from uqkd.errors import DataError, OptionError, ProvenanceError, one_of


class _Fingerprinted(Protocol):
    @property
    def fingerprint(self) -> str: ...


Found = TypeVar("Found", bound=_Fingerprinted)


def regression_cell(name: str, target: str | None) -> dict[str, str | None]:
    """What identifies a regression data set in a study's cell: name, target and fingerprint of the contents.

    Examples
    --------
    >>> sorted(regression_cell("diabetes", None))
    ['data', 'data_fingerprint', 'target']
    """
    dataset = load(name, target=target)
    split(dataset)  # what no teacher can be fitted to is refused here, before any work
    return {"data": name, "target": dataset.target, "data_fingerprint": dataset.fingerprint}


def regression_of(cell: Mapping[str, Any]) -> Dataset:
    """The data set of a study's cell; `ProvenanceError` if its contents are no longer those of the fingerprint."""
    return _unchanged(load(cell["data"], target=cell["target"]), cell)


def classes_cell(name: str, target: str | None) -> dict[str, str | None]:
    """What identifies a classification data set in a study's cell: as `regression_cell`.

    Examples
    --------
    >>> sorted(classes_cell("wine", None))
    ['data', 'data_fingerprint', 'target']
    """
    dataset = load_classes(name, target=target)
    return {"data": name, "target": dataset.target, "data_fingerprint": dataset.fingerprint}


def classes_of(cell: Mapping[str, Any]) -> ClassDataset:
    """The classification data set of a study's cell: as `regression_of`."""
    return _unchanged(load_classes(cell["data"], target=cell["target"]), cell)


def task_cell(
    name: str | Path,
    *,
    only: str | None = None,
    tokenizer: str | None = None,
    length: int = LENGTH,
    size: int | None = None,
    text: str | None = None,
    target: str | None = None,
) -> dict[str, Any]:
    """What identifies a task in a study's cell: name, kind, options that matter for it, and fingerprint of the contents.

    Parameters
    ----------
    name, tokenizer, length, size, text, target
        As for `uqkd.data.load_task`.
    only : {"images", "texts"}, optional
        The one kind of data that the study takes.

    Raises
    ------
    OptionError
        Data of the other kind; and as for `load_task`.

    Examples
    --------
    >>> cell = task_cell("digits", tokenizer="bert", length=64)
    >>> sorted(cell), cell["kind"], cell["reading"]
    (['data', 'data_fingerprint', 'kind', 'reading'], 'images', {})
    """
    name = normalise_name(name)
    kind = kind_of(name, tokenizer=tokenizer)
    if only is not None and one_of("only", only, OPTIONS) != kind:
        raise OptionError(f"data {name!r} {OTHER_KIND[only]}")
    options = {"tokenizer": tokenizer, "length": length, "size": size, "text": text, "target": target}
    reading = reading_of(name, kind, options)
    fingerprint = load_task(name, **reading).fingerprint
    return {"data": name, "kind": kind, "reading": reading, "data_fingerprint": fingerprint}


def task_of(cell: Mapping[str, Any]) -> Task:
    """The task of a study's cell: as `regression_of`."""
    return _unchanged(load_task(cell["data"], **cell["reading"]), cell)


def data_label(cell: Mapping[str, Any]) -> str:
    """Name of a cell's data set for tables and figures: a file's name without its folder.

    Examples
    --------
    >>> data_label({"data": "some/folder/mine.csv"}), data_label({"data": "diabetes"})
    ('mine.csv', 'diabetes')
    """
    return short_name(cell["data"])


def file_fingerprint(path: str) -> str:
    """Fingerprint of a file that a cell names.

    Examples
    --------
    >>> file_fingerprint("no such file")
    Traceback (most recent call last):
    uqkd.errors.DataError: 'no such file' cannot be read (No such file or directory); run where that file is.
    """
    try:
        return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError as problem:
        raise DataError(f"{path!r} cannot be read ({problem.strerror}); run where that file is.") from None


def _unchanged(dataset: Found, cell: Mapping[str, Any]) -> Found:
    """Return the data set if it is the one that the cell was planned with."""
    if dataset.fingerprint != cell["data_fingerprint"]:
        raise ProvenanceError(
            f"data {cell['data']} changed during the run: fingerprint {dataset.fingerprint}, planned with "
            f"{cell['data_fingerprint']}. Start the study again."
        )
    return dataset
