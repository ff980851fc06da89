"""Data sets of texts and images from the hub, or from a folder that `datasets` saved: named parts of rows.

No code that comes with data is ever run: the library refuses it, and `trust_remote_code` is never passed. Data sets that
are published with a script are read from the Parquet files that the hub makes of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uqkd.data.labelled import TEST, TRAINING, part_name
from uqkd.errors import DataError, LibraryError, OptionError, nearest

_PARQUET = "refs/convert/parquet"  # the branch that holds the hub's own conversion


@dataclass(frozen=True)
class HubData:
    """Where a data set is found on the hub, and what its columns are.

    Attributes
    ----------
    repository : str
    content, label : str
        Columns of the text or image, and of the class.
    config : str, optional
        Which of the repository's data sets.
    parquet : str, optional
        Folder of the hub's own conversion, for data that are published with a script.
    outside : str, optional
        Class of what belongs to no class.
    rows : int
        How many images, where memory must be known before the download.
    """

    repository: str
    content: str
    label: str
    config: str | None = None
    parquet: str | None = None
    outside: str | None = None
    rows: int = 0


TEXTS: Mapping[str, HubData] = {
    "banking77": HubData("mteb/banking77", "text", "label_text"),
    "clinc150": HubData("clinc/clinc_oos", "text", "intent", config="plus", outside="oos"),
    "trec": HubData("CogComp/trec", "text", "coarse_label", parquet="default"),
    "ag_news": HubData("fancyzhx/ag_news", "text", "label"),
    "massive": HubData("AmazonScience/massive", "utt", "intent", parquet="en-US"),
}
IMAGES: Mapping[str, HubData] = {
    "cifar10": HubData("uoft-cs/cifar10", "img", "label"),
    "cifar100": HubData("uoft-cs/cifar100", "img", "fine_label"),
    "imagenet": HubData("ILSVRC/imagenet-1k", "image", "label", rows=1_331_167),  # training and validation
}


def from_hub(name: str, found: HubData, *, split: str | None, offline: str) -> dict[str, Any]:
    """Parts of a data set of the hub, as `datasets.Dataset` by name.

    Parameters
    ----------
    name : str
    found : HubData
    split : str, optional
        One part, or where the data are no conversion a piece of one, as `datasets` writes it: "train", "train[:1%]". All
        parts if not given.
    offline : str
        What can be had without a network, for the error.

    Raises
    ------
    DataError
        Not fetched: one line that says what to do.
    LibraryError
        `datasets` is not installed.
    """
    with _quiet_library() as datasets:
        try:
            if found.parquet is not None:
                loaded = _converted(found, datasets)
            else:
                loaded = datasets.load_dataset(path=found.repository, name=found.config, split=split)
        except Exception as problem:  # network, hub and parsing errors of many libraries: one line for all
            raise DataError(
                f"data {name} ({found.repository} on the hub, {'all parts' if split is None else f'split {split!r}'}) could "
                f"not be fetched ({type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:160]}); it needs a "
                f"network the first time, and HF_TOKEN where its owners ask for consent. Offline: {offline}."
            ) from None
    if split is not None and found.parquet is None:
        return {split: loaded}
    return chosen(dict(loaded), split, name=name)


def _converted(found: HubData, datasets: Any) -> dict[str, Any]:
    """Parts of the hub's own conversion. `load_dataset` would not find these files again without a network."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import snapshot_download

    root = snapshot_download(
        repo_id=found.repository, repo_type="dataset", revision=_PARQUET, allow_patterns=f"{found.parquet}/*/*.parquet"
    )
    parts: dict[str, list[Any]] = {}
    for path in sorted((Path(root) / str(found.parquet)).glob("*/*.parquet")):
        parts.setdefault(path.parent.name, []).append(pq.read_table(path))
    if not parts:
        raise FileNotFoundError(f"no files {found.parquet}/*/*.parquet on branch {_PARQUET}")
    return {part: datasets.Dataset(pa.concat_tables(tables)) for part, tables in parts.items()}


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved this folder."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def holds_pictures(folder: Path) -> bool:
    """Whether a folder that `datasets` saved has a column of pictures, by the notes beside its first part."""
    notes = sorted(folder.glob("dataset_info.json")) or sorted(folder.glob("*/dataset_info.json"))
    try:
        features = json.loads(notes[0].read_text(encoding="utf-8"))["features"].values()
        return any(isinstance(kind, dict) and kind.get("_type") == "Image" for kind in features)
    except (IndexError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return False  # damaged notes are named where the folder is read


def from_saved(folder: Path, *, split: str | None) -> dict[str, Any]:
    """Parts of a folder made by `save_to_disk`, as `datasets.Dataset` by name; a single data set is named "all"."""
    with _quiet_library() as datasets:
        try:
            loaded = datasets.load_from_disk(str(folder))
        except Exception as problem:  # Arrow, JSON and file errors: one line for all
            raise DataError(
                f"data {folder} cannot be read as a folder of datasets.save_to_disk ({type(problem).__name__}: "
                f"{(str(problem).splitlines() or [''])[0][:160]}); save it again."
            ) from None
    parts = dict(loaded) if isinstance(loaded, dict) else {"all": loaded}
    return chosen(parts, split, name=str(folder))


def chosen(parts: dict[str, Any], split: str | None, *, name: str) -> dict[str, Any]:
    """All parts, training first and test last, or the one asked for. "val", "valid" and "dev" become "validation".

    Examples
    --------
    >>> list(chosen({"test": 0, "validation": 0, "train": 0}, None, name="toy"))
    ['train', 'validation', 'test']
    >>> chosen({"train": 0}, "tests", name="toy")
    Traceback (most recent call last):
    uqkd.errors.OptionError: data toy has no part 'tests'; Valid: 'train'.
    """
    found: dict[str, str] = {}
    for part in parts:
        if (usual := part_name(part)) in found:
            raise DataError(f"data {name} has both parts {found[usual]!r} and {part!r}; keep one of them.")
        found[usual] = part
    if split is not None and part_name(split) not in found:
        raise OptionError(f"data {name} has no part {split!r}; {nearest(split, parts)}.")
    order = {TRAINING: 0, TEST: 2}
    wanted = [part_name(split)] if split is not None else sorted(found, key=lambda part: order.get(part, 1))
    return {part: parts[found[part]] for part in wanted}


def class_names(part: Any, column: str) -> list[str] | None:
    """Names of a column's classes, where `datasets` keeps them as numbers; None where the column holds them itself."""
    return getattr(part.features.get(column), "names", None)


@contextmanager
def _quiet_library() -> Iterator[Any]:
    """The library `datasets`, its progress bars off unless someone watches; afterwards they are as before."""
    try:
        import datasets
    except ImportError:
        raise LibraryError(
            "this data needs the library datasets, which is not installed: pip install datasets."
        ) from None
    from huggingface_hub import utils as hub

    shown = [library for library in (datasets, hub) if not library.are_progress_bars_disabled()]
    if not sys.stderr.isatty():
        for library in shown:
            library.disable_progress_bars()
    try:
        yield datasets
    finally:
        for library in shown:
            library.enable_progress_bars()
