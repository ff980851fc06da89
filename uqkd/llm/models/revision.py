"""Which model is it: its files checked before use, and a fingerprint of what they hold."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, OptionError

# What decides a draw: configuration, weights, tokenizer, chat template.
_KEPT = (
    "config.json", "generation_config.json", "adapter_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*",
    "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model", "chat_template*",
)  # fmt: skip
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tokenizer_config.json")


def check_model(name_or_path: str | Path) -> Path:
    """The folder of a model that is safe and complete; a name on the hub is fetched the first time.

    Parameters
    ----------
    name_or_path : str or path
        A folder with config.json, safetensors and a tokenizer; a folder with an adapter (adapter_config.json and
        adapter_model.safetensors); or a name on the hub.

    Returns
    -------
    Path
        For a name on the hub the folder of its newest commit, whose name is that commit.

    Raises
    ------
    OptionError
        Weights as pickle only (`.bin`, `.pt`), or a model that needs code of its own.
    DataError
        No such folder, files missing, or a name that cannot be fetched.

    Examples
    --------
    >>> check_model("no/such/folder/anywhere")
    Traceback (most recent call last):
    uqkd.errors.DataError: model 'no/such/folder/anywhere' is no folder here, and no name on the hub is written like that; ...
    """
    path = Path(name_or_path).expanduser()
    if not path.is_dir():
        path = _fetched(str(name_or_path))
    names = {entry.name for entry in path.iterdir() if entry.is_file()}
    for name in ("config.json", "adapter_config.json", "tokenizer_config.json"):
        if name in names and _json(path / name).get("auto_map") and not _built_in(path, name):
            raise OptionError(
                f"model {path.name!r} brings code of its own ({name} has 'auto_map'), which would run when it is loaded; use "
                "a model whose architecture transformers has built in."
            )
    if is_adapter(path):
        return path
    _check_complete(path, names)
    return path


def _built_in(path: Path, name: str) -> bool:
    """Whether transformers has what this file describes, so that the code it also names is not needed and never loaded."""
    try:
        import transformers
    except ImportError:
        return False
    model, own = _json(path / "config.json"), _json(path / name)
    classes = model.get("architectures") or [""]
    built_in = model.get("model_type") in transformers.CONFIG_MAPPING and hasattr(transformers, classes[0])
    if name != "tokenizer_config.json":
        return name == "config.json" and built_in
    tokenizer = own.get("tokenizer_class")
    named = hasattr(transformers, str(tokenizer)) or hasattr(transformers, f"{tokenizer}Fast")
    return named if tokenizer else built_in


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter (PEFT) and not a whole model.

    Raises
    ------
    OptionError
        The adapter's weights are a pickle.
    """
    if not (path / "adapter_config.json").is_file():
        return False
    if not (path / "adapter_model.safetensors").is_file():
        raise OptionError(
            f"adapter {path.name!r} has no adapter_model.safetensors; save it again with safe_serialization=True "
            "(a .bin is a pickle, which can run code when loaded)."
        )
    return True


def base_of(path: Path) -> str:
    """Name or folder of the model below an adapter."""
    base = _json(path / "adapter_config.json").get("base_model_name_or_path")
    if not base:
        raise DataError(f"adapter {path.name!r} does not name its base model (base_model_name_or_path).")
    return str(base)


def _check_complete(path: Path, names: set[str]) -> None:
    pickles = sorted(n for n in names if n.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl")) and "training" not in n)
    if not any(name.endswith(".safetensors") for name in names):
        if pickles:
            raise OptionError(
                f"model {path.name!r} has its weights in {pickles[0]} only, a pickle, which can run code when loaded; give "
                "it as safetensors (model.save_pretrained writes them)."
            )
        raise DataError(f"model folder {path.name!r} holds no *.safetensors; give the folder of a saved model.")
    if "config.json" not in names:
        raise DataError(f"model folder {path.name!r} holds no config.json; give the folder of a saved model.")
    if not names.intersection(_TOKENIZERS):
        raise DataError(f"model folder {path.name!r} holds no tokenizer; save it there with tokenizer.save_pretrained.")


def _fetched(name: str) -> Path:
    """The folder of a model on the hub, from the cache where there is no network."""
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or (Path(name).parent.is_dir() and "/" in name):
        parent = Path(name).expanduser().parent
        siblings = sorted(entry.name for entry in parent.iterdir() if entry.is_dir()) if parent.is_dir() else []
        close = difflib.get_close_matches(Path(name).name, siblings, n=1)
        hint = (
            f"did you mean {str(parent / close[0])!r}?"
            if close
            else f"looked in {parent.resolve().name!r}; check the path."
        )
        raise DataError(f"model {name!r} is no folder here, and no name on the hub is written like that; {hint}")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=list(_KEPT)))
    except Exception as problem:  # network, hub and name errors of many libraries: one line for all
        raise DataError(
            f"model {name!r} is no folder here and could not be fetched ({type(problem).__name__}). The first fetch needs a "
            "network; offline, give the folder of a saved model (HF_HUB_OFFLINE=1 uses what was fetched before)."
        ) from None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as problem:
        raise DataError(f"{path.name} of model {path.parent.name!r} cannot be read: {problem}.") from None
    return value if isinstance(value, dict) else {}


def model_revision(path: str | Path) -> str:
    """Fingerprint of a model's folder: the contents of its configuration, weights and tokenizer, whatever its place.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = Path(place, "config.json").write_text("{}"), Path(place, "notes.txt").write_text("not a part of it")
    ...     model_revision(place)
    '2e2ca4c6631701f3ecfff6d08d10221c'
    """
    folder = Path(path)
    names = sorted(e.name for e in folder.iterdir() if e.is_file() and any(fnmatch.fnmatch(e.name, k) for k in _KEPT))
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        state = os.stat(folder / name)
        digest.update(f"{name}\0{_contents(str(folder / name), state.st_size, state.st_mtime_ns)}\0".encode())
    return digest.hexdigest()


def whole_revision(name_or_path: str | Path) -> str:
    """Fingerprint of all that decides a draw: of an adapter its own and, behind a plus sign, that of the model below it.

    Raises
    ------
    OptionError, DataError
        See `check_model`.
    """
    path = check_model(name_or_path)
    own = model_revision(path)
    return f"{own}+{model_revision(check_model(base_of(path)))}" if is_adapter(path) else own


@lru_cache(maxsize=1024)
def _contents(path: str, _size: int, _modified: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
