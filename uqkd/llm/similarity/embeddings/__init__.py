"""Texts as unit vectors. Every file here is a kind of embedding, called by its name: `vectors(texts, model, *, device)`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, OptionError, nearest
from uqkd.llm.similarity.embeddings.builtin import DIMENSIONS, folded
from uqkd.llm.similarity.embeddings.sentence_transformers import refuse_unsafe
from uqkd.registry import Registry

__all__ = ["DIMENSIONS", "embed", "embedding_names", "folded", "refuse_unsafe"]

_FILES = Registry("embedding", __name__, importlib.import_module, ("vectors",))
_OF_MODELS = "sentence_transformers"  # the kind that a model's name or folder alone stands for


def embedding_names() -> tuple[str, ...]:
    """The kinds of embeddings, none of them loaded.

    Examples
    --------
    >>> embedding_names()
    ('builtin', 'sentence_transformers')
    """
    return _FILES.names()


def embed(texts: Iterable[str], model: str = "builtin", *, device: str = "cpu") -> NDArray[np.float64]:
    """Unit-norm embeddings of texts; equal texts are embedded once and get the same vector.

    Parameters
    ----------
    texts : iterable of N str
    model : str
        A kind of embedding (a file of this folder), "KIND:MODEL", or a sentence-transformers model by name or folder alone.
        "builtin" sees spelling, not meaning, and needs no model; see each file.
    device : str
        Where a model runs.

    Returns
    -------
    (N, D) float64
        Rows of norm one. The empty text has a vector of its own.

    Raises
    ------
    LibraryError
        A library that is asked for and not installed.
    OptionError
        An unknown kind, or a model that cannot be loaded safely.

    Examples
    --------
    >>> vectors = embed(["Paris", "paris", "Rome", ""])
    >>> vectors.shape, (vectors @ vectors.T).round(2)[0].tolist()
    ((4, 256), [1.0, 1.0, 0.0, 0.0])
    >>> embed(["Paris"], "bulitin")
    Traceback (most recent call last):
    uqkd.errors.OptionError: embedding got 'bulitin'; did you mean 'builtin'? Valid: 'builtin', 'sentence_transformers'.
    """
    wanted = list(texts)
    if bad := [t for t in wanted if not isinstance(t, str)]:
        raise DataError(f"embed needs texts; got {type(bad[0]).__name__} ({bad[0]!r}).")
    place: dict[str, int] = {}
    index = np.array([place.setdefault(text, len(place)) for text in wanted], dtype=np.int64)
    if not place:
        raise DataError("embed needs at least one text; got none.")
    kind, name = _kind(model)
    return np.asarray(_FILES.named(kind).vectors(list(place), name, device=device))[index]


def _kind(model: str) -> tuple[str, str]:
    """Kind of embedding and name of its model."""
    names = embedding_names()
    kind, _colon, rest = model.partition(":")
    if kind in names:
        return kind, rest
    if not Path(model).exists() and difflib.get_close_matches(kind, names, n=1):
        raise OptionError(f"embedding got {model!r}; {nearest(kind, names)}.")
    return _OF_MODELS, model
