"""Texts as unit vectors: without any model, or by a sentence-transformers model by name or path."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, LibraryError, NotFiniteError, OptionError

Array = NDArray[np.float64]

DIMENSIONS = 256  # of the built-in embedding: two of 20 features share a place about half the time, signs then differ
_PERSON = b"uqkd-embedding-1"  # BLAKE2b personalisation; another embedding is another name
_WORD = re.compile(r"\w+")


def embed(texts: Iterable[str], model: str = "builtin", *, device: str = "cpu") -> Array:
    """Unit-norm embeddings of texts; equal texts are embedded once and get the same vector.

    Parameters
    ----------
    texts : iterable of N str
    model : str
        "builtin": signed hashes (BLAKE2b) of the words and of the character 3-grams of the casefolded,
        NFKC-normalised text, 256 dimensions, no model and no network. It sees spelling, not meaning. Any other name or
        path: a sentence-transformers model; a path works without a network.
    device : str
        Where that model runs.

    Returns
    -------
    (N, D) float64
        Rows of norm one. The empty text has a vector of its own.

    Raises
    ------
    LibraryError
        sentence-transformers is asked for and not installed.
    OptionError
        A model that cannot be loaded, or only by unpickling or by running code that comes with it.

    Notes
    -----
    Weinberger et al. (2009), feature hashing: inner products of signed hashes are unbiased for those of the counts.

    Examples
    --------
    >>> vectors = embed(["Paris", "paris", "Rome", ""])
    >>> vectors.shape, (vectors @ vectors.T).round(2)[0].tolist()
    ((4, 256), [1.0, 1.0, 0.0, 0.0])
    """
    wanted = list(texts)
    if bad := [t for t in wanted if not isinstance(t, str)]:
        raise DataError(f"embed needs texts; got {type(bad[0]).__name__} ({bad[0]!r}).")
    place: dict[str, int] = {}
    index = np.array([place.setdefault(text, len(place)) for text in wanted], dtype=np.int64)
    if not place:
        raise DataError("embed needs at least one text; got none.")
    distinct = list(place)
    vectors = np.stack([_hashed(t) for t in distinct]) if model == "builtin" else _by_model(distinct, model, device)
    return vectors[index]


def folded(text: str) -> str:
    """The text in NFKC form, casefolded, with single blanks between its words.

    Examples
    --------
    >>> folded("  The ﬁnal\\tANSWER ")
    'the final answer'
    """
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def _features(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        yield f"w:{word}"
    padded = f" {text} "
    for start in range(len(padded) - 2):
        yield f"c:{padded[start : start + 3]}"


@lru_cache(maxsize=2**16)
def _place(feature: str) -> tuple[int, float]:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8, person=_PERSON).digest()
    number = int.from_bytes(digest, "big")
    return number % DIMENSIONS, 1.0 if number >> 63 else -1.0


def _hashed(text: str) -> Array:
    vector, plain = np.zeros(DIMENSIONS), folded(text)
    for feature in _features(plain) if plain else ["empty"]:
        place, sign = _place(feature)
        vector[place] += sign
    if not vector.any():  # every feature cancelled another: a rare text, told apart by its own hash
        place, sign = _place(f"t:{plain}")
        vector[place] = sign
    return np.asarray(vector / np.linalg.norm(vector))


def _by_model(texts: Sequence[str], name: str, device: str) -> Array:
    model = _load(name, device)
    raw = np.asarray(model.encode(list(texts), convert_to_numpy=True, show_progress_bar=False), dtype=np.float64)
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    good = np.isfinite(norms) & (norms > 0)
    if not good.all():
        bad = texts[int(np.argmin(good))]
        raise NotFiniteError(f"embedding model {name!r} gives {bad[:40]!r} no direction (norm zero or not finite).")
    return np.asarray(raw / norms)


@lru_cache(maxsize=2)
def _load(name: str, device: str) -> Any:
    refuse_unsafe(name)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as missing:
        raise LibraryError(
            f"embedding {name!r} needs sentence-transformers, which is not installed: pip install sentence-transformers, "
            "or use embedding='builtin'."
        ) from missing
    try:
        return SentenceTransformer(
            name,
            device=device,
            trust_remote_code=False,
            local_files_only=Path(name).is_dir(),
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, ImportError) as problem:
        raise OptionError(
            f"embedding model {name!r} could not be loaded ({str(problem).splitlines()[0]}). Pass 'builtin', or the "
            "folder of a sentence-transformers model in safetensors form."
        ) from problem


def refuse_unsafe(name: str) -> None:
    """Refuse a model folder whose weights are pickled or that brings code of its own; names are left to the loader.

    Examples
    --------
    >>> refuse_unsafe("no/such/folder")
    """
    root = Path(name)
    if not root.is_dir():
        return
    for pickled in sorted(root.rglob("pytorch_model*.bin")):
        if not list(pickled.parent.glob("model*.safetensors")):
            raise OptionError(
                f"model {name!r} holds pickled weights ({pickled.name}), which run code when loaded. Convert them: "
                "load the model where it is trusted and save_pretrained(..., safe_serialization=True)."
            )
    for file in sorted([*root.rglob("config.json"), *root.rglob("modules.json")]):
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = content if isinstance(content, list) else []
        foreign = [r["type"] for r in rows if not str(r.get("type", "")).startswith("sentence_transformers.")]
        if foreign or (isinstance(content, dict) and "auto_map" in content):
            raise OptionError(
                f"model {name!r} brings code of its own ({foreign[0] if foreign else 'auto_map'} in {file.name}), which "
                "is never run here. Use a model of a class that the library has."
            )
