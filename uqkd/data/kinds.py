"""Whether a name or path means images or texts, told without loading, and which options matter for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from uqkd.data.hub import IMAGES, TEXTS, holds_pictures, is_saved
from uqkd.data.images.loading import DIGITS
from uqkd.data.labelled import PART_NAMES
from uqkd.data.tabular.loading import local_path, normalise_name
from uqkd.data.texts.files import TEXT_KINDS
from uqkd.errors import DataError, OptionError, nearest

INTENTS = "intents"
LENGTH = 128  # tokens of a row, if nothing is said

# the options that matter for each kind of data, and the values that mean that nothing was said
OPTIONS: Mapping[str, tuple[str, ...]] = {"images": ("size",), "texts": ("tokenizer", "length", "text", "target")}
_USUAL = {"length": LENGTH}
OTHER_KIND = {
    "images": "holds texts, but this study mixes rows by averaging, and token ids have no average; give images.",
    "texts": "holds images, but this study reads tokens; give texts.",
}


def kind_of(name: str | Path, *, tokenizer: str | None = None) -> str:
    """What `load_task` would load, told without loading: "images" or "texts".

    Parameters
    ----------
    name : str or Path
        As for `load_task`.
    tokenizer : str, optional
        Where a folder's contents tell nothing, a tokenizer tells that texts are meant.

    Raises
    ------
    OptionError
        Unknown name.
    DataError
        A path where nothing is, or a file of another kind.

    Examples
    --------
    >>> kind_of("digits"), kind_of("intents:6"), kind_of("banking77")
    ('images', 'texts', 'texts')
    """
    name = normalise_name(name)
    if is_generated(name) or name in TEXTS:
        return "texts"
    if name == DIGITS or name in IMAGES:
        return "images"
    path = local_path(name)
    if path is None:
        known = (DIGITS, INTENTS, *TEXTS, *IMAGES)
        raise OptionError(f"data got {name!r}; {nearest(name, known)}, or the path of texts or images.")
    if path.is_dir():
        return "texts" if _holds_texts(path, likely=tokenizer is not None) else "images"
    if path.suffix.lower() in TEXT_KINDS:
        return "texts"
    if path.suffix.lower() == ".npz":
        return "images"
    raise DataError(
        f"data {name} ends in {path.suffix!r}; texts come as {', '.join(TEXT_KINDS)} and images as .npz, or either as a folder."
    )


def _holds_texts(folder: Path, *, likely: bool) -> bool:
    """Whether a folder holds texts, by what is in it; `likely` where that tells nothing."""
    if is_saved(folder):
        return not holds_pictures(folder)
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    files = [path for path in shown if path.suffix.lower() in TEXT_KINDS and path.is_file()]
    if any(path.stem in PART_NAMES for path in files):
        return True
    return (bool(files) and not any(path.is_dir() for path in shown)) or (likely and not shown)


def is_generated(name: str) -> bool:
    """Whether a name is that of generated intents.

    Examples
    --------
    >>> is_generated("intents:6"), is_generated("digits")
    (True, False)
    """
    return name.split(":")[0] == INTENTS


def reading_of(name: str, kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that matter for this data and are not as they are if nothing is said."""
    matter = () if is_generated(name) else OPTIONS[kind]
    said = {key: options[key] for key in matter if options[key] not in (None, _USUAL.get(key))}
    return {key: str(value) if isinstance(value, PurePath) else value for key, value in said.items()}
