"""Any model of the sentence-transformers library, by name or folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import LibraryError, NotFiniteError, OptionError

Array = NDArray[np.float64]


def vectors(texts: Sequence[str], model: str, *, device: str = "cpu") -> Array:
    """(N, D) vectors of a model by name or folder, scaled to norm one; a folder works without a network.

    Raises
    ------
    LibraryError
        sentence-transformers is not installed.
    OptionError
        A model that cannot be loaded, or only by unpickling or by running code that comes with it.
    """
    if not model:
        raise OptionError("embedding 'sentence_transformers' needs a model: 'sentence_transformers:FOLDER_OR_NAME'.")
    loaded, name = _load(model, device), model
    raw = np.asarray(loaded.encode(list(texts), convert_to_numpy=True, show_progress_bar=False), dtype=np.float64)
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
