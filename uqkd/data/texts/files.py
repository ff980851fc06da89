"""Files of texts with classes: CSV, Parquet and JSONL as data frames. A text is data, whatever it looks like."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from uqkd.data.hub import chosen, class_names, from_saved, is_saved
from uqkd.data.labelled import PART_NAMES
from uqkd.errors import DataError, OptionError, nearest

_LONGEST = 2**31 - 1  # bytes of a cell; the library's own limit of 131,072 would refuse long texts


def read_text_file(path: Path) -> Any:
    """One `.csv`, `.parquet`, `.jsonl` or `.ndjson` file as a data frame; "NA" and "null" in a CSV are texts like others.

    Raises
    ------
    DataError
        Missing, not UTF-8, another kind, a line that does not fit: one line that names the place.
    OptionError
        A pickle.
    """
    from uqkd.store import refuse_unsafe

    refuse_unsafe(str(path))
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data {path} ends in {path.suffix!r}; a {', '.join(_READERS)} file is needed.")
    if not path.is_file():
        raise DataError(f"data {path} does not exist (looked in {path.resolve().parent}); check the path.")
    try:
        frame = reader(path)
    except UnicodeDecodeError as problem:
        raise DataError(
            f"data {path} is not UTF-8 ({problem.reason} at byte {problem.start}); save it as UTF-8."
        ) from None
    except DataError:
        raise
    except (
        ValueError,
        OSError,
        csv.Error,
        LookupError,
        TypeError,
        AttributeError,
    ) as problem:  # of Arrow, or damaged notes
        line = (str(problem).splitlines() or [""])[0][:160]
        raise DataError(f"data {path} cannot be read as {path.suffix[1:]}: {line}") from None
    names = [str(c) for c in frame.columns]
    if twice := sorted({c for c in names if names.count(c) > 1}):
        raise DataError(f"data {path} names the column {twice[0]!r} twice; rename one.")
    return frame.set_axis(names, axis=1)


def text_files(folder: Path, *, split: str | None) -> dict[str, Any]:
    """Parts of a folder with train.*, test.* and perhaps validation.* (val.*, valid.*, dev.*) files, as data frames by name.

    Raises
    ------
    DataError
        No train.* file, or two files of one part.
    OptionError
        No such part.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _READERS and path.stem in PART_NAMES:
            if path.stem in found:
                raise DataError(f"data {folder} has both {found[path.stem].name} and {path.name}; keep one of them.")
            found[path.stem] = path
    if "train" not in found:
        raise DataError(
            f"data {folder} is a folder without a train file ({', '.join('train' + kind for kind in _READERS)}) and was not "
            "saved by datasets.save_to_disk; bring one of them, or give a file."
        )
    return {part: read_text_file(path) for part, path in chosen(found, split, name=str(folder)).items()}


def _csv(path: Path) -> Any:
    import pandas as pd

    limit = csv.field_size_limit(_LONGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.reader(lines, strict=True)
            header = next(table, [])
            rows = []
            for row in table:
                if row and len(row) != len(header):
                    raise DataError(
                        f"data {path}, line {table.line_num} has {len(row)} columns and the header {len(header)}; put texts "
                        "with commas or line breaks in quotes."
                    )
                if row:
                    rows.append(row)
    finally:
        csv.field_size_limit(limit)
    return pd.DataFrame(rows, columns=header, dtype=object)


def _jsonl(path: Path) -> Any:
    import pandas as pd

    rows = []
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as problem:
                raise DataError(f"data {path}, line {number} is not JSON: {problem}.") from None
            if not isinstance(row, dict):
                raise DataError(f'data {path}, line {number} is {row!r:.60}; write {{"text": "...", "label": "..."}}.')
            rows.append(row)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return pd.DataFrame([[row.get(c) for c in columns] for row in rows], columns=columns, dtype=object)


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    frame = table.to_pandas()
    kept = json.loads(
        (table.schema.metadata or {}).get(b"huggingface", b"{}")
    )  # where `datasets` notes names of classes
    for column, kind in kept.get("info", {}).get("features", {}).items():
        names = kind.get("names") if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" else None
        if names and column in frame:
            frame[column] = named(frame[column], names)
    return frame


def named(numbers: Any, names: list[str]) -> list[str | None]:
    """Names of numbered classes; None for a number below 0, by which `datasets` marks rows without a class.

    Examples
    --------
    >>> named([1, -1, 0, None], ["x", "y"])
    ['y', None, 'x', None]
    """
    return [None if n is None or n != n or n < 0 else names[int(n)] for n in numbers]


_READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _csv, ".parquet": _parquet, ".jsonl": _jsonl, ".ndjson": _jsonl,
}  # fmt: skip
TEXT_KINDS = tuple(_READERS)


def local_texts(path: Path, *, split: str | None) -> dict[str, Any]:
    """Parts of a file or a folder, as data frames by name; one file is named "all".

    Raises
    ------
    DataError, OptionError
        As for `read_text_file` and `text_files`.
    """
    if not path.is_dir():
        if split is not None:
            raise OptionError(
                f"data {path} is one file, which has no part {split!r}; leave split out, or give a folder."
            )
        return {"all": read_text_file(path)}
    if is_saved(path):
        return {part: frame_of(table) for part, table in from_saved(path, split=split).items()}
    return text_files(path, split=split)


def frame_of(table: Any) -> Any:
    """A `datasets.Dataset` as a data frame, with the names of its classes."""
    frame = table.to_pandas()
    for column in frame.columns:
        if names := class_names(table, column):
            frame[column] = named(frame[column], names)
    return frame


def checked_texts(
    frame: Any, *, name: str, text: str | None, target: str | None, annotators: Sequence[str] = ()
) -> Any:
    """Columns "text", "label" and "annotator 0" ..., once every text is known to be one and to have a class.

    Examples
    --------
    >>> import pandas as pd
    >>> checked_texts(pd.DataFrame({"q": ["hi", " "], "label": [1, 2]}), name="toy", text="q", target=None)
    Traceback (most recent call last):
    uqkd.errors.DataError: column 'q' of data toy holds an empty text in row 2; clean the column.
    """
    import pandas as pd

    columns = [str(c) for c in frame.columns]
    for option, wanted, usual in (("text", text, "text"), ("target", target, "label")):
        if wanted is None and usual not in columns:
            raise OptionError(
                f"data {name} has no column {usual!r}: say which one to use with {option}=; it has {columns}."
            )
    text, target = text or "text", target or "label"
    if missing := next((c for c in (text, target, *annotators) if c not in columns), None):
        raise DataError(f"data {name} has no column {missing!r}; {nearest(missing, columns)}.")
    if len(frame) == 0:
        raise DataError(f"data {name} has no rows; bring some.")
    for row, value in enumerate(frame[text], start=1):
        if (fault := _fault(value)) is not None:
            raise DataError(f"column {text!r} of data {name} holds {fault} in row {row}; clean the column.")
    others = {f"annotator {a}": list(frame[column]) for a, column in enumerate(annotators)}
    labels = _labels(frame[target], name, target)
    # Lists, not columns: a file's own index would put rows in another order.
    return pd.DataFrame({"text": pd.Series(list(frame[text]), dtype=object), "label": labels, **others})


def _labels(column: Any, name: str, target: str) -> Any:
    """Classes as they are given, once each row is known to have one."""
    import pandas as pd

    values = [None if isinstance(value, str) and not value.strip() else value for value in column]
    if gaps := [row for row, gone in enumerate(pd.isna(pd.Series(values, dtype=object)), start=1) if gone]:
        raise DataError(
            f"class column {target!r} of data {name} has no class in row {gaps[0]} ({len(gaps)} such rows of {len(values)}); "
            "uqkd drops and fills nothing: clean the column."
        )
    for row, value in enumerate(values, start=1):
        if isinstance(value, str) and (fault := _fault(value)) is not None:
            raise DataError(f"class column {target!r} of data {name} holds {fault} in row {row}; clean the column.")
    return pd.Series(values, dtype=object).infer_objects()


def _fault(value: Any) -> str | None:
    """Why a value is no text; None if it is one."""
    if not isinstance(value, str):
        return "nothing" if value is None or value != value else f"{value!r:.40}, which is no text,"
    if not value.strip():
        return "an empty text"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"half of a surrogate pair ({value!r:.40})"
    return None
