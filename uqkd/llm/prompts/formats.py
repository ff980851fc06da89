"""The forms that rows come in: each a function that reads them, given the columns that are asked for."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, nearest
from uqkd.llm.prompts.columns import Columns

Record = tuple[str, dict[str, Any]]  # where it stands ("line 3"), and its columns

_LONGEST = 2**31 - 1  # characters of a CSV cell; the library's own limit of 131,072 would refuse long texts
_ROWS = 256  # of a Parquet file or data set, held at once


def undecodable(path: Path, problem: UnicodeDecodeError) -> str:
    """Where a file is no UTF-8; the decoder itself counts from the last block that it read."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as found:
                return f", line {number} is not UTF-8 ({found.reason} at byte {found.start} of the line)"
    return f" is not UTF-8 ({problem.reason} at byte {problem.start})"


def _jsonl(records: Columns) -> Iterator[Record]:
    with records.path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as problem:
                raise DataError(f"{records.name}, line {number} is not JSON: {problem}.") from None
            yield f"line {number}", _object(records, f"line {number}", row)


def _json(records: Columns) -> Iterator[Record]:
    """A JSON list of objects; or lines of JSON under this name."""
    with records.path.open(encoding="utf-8-sig") as file:
        head = file.read(2**16).lstrip()
        if head[:1] != "[":
            yield from _jsonl(records)
            return
        file.seek(0)
        try:
            rows = json.loads(file.read())
        except (ValueError, RecursionError) as problem:
            raise DataError(f"{records.name} is not JSON: {problem}.") from None
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", _object(records, f"row {number}", row)


def _object(records: Columns, place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        shown = repr(row)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        raise DataError(f'{records.name}, {place} is {shown}; write {{"prompt": "..."}}.')
    if not row.keys() <= records.seen.keys():
        records.saw(row)
    return row


def _csv(records: Columns) -> Iterator[Record]:
    limit = csv.field_size_limit(_LONGEST)
    try:
        with records.path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.reader(lines, strict=True)
            header = next(table, [])
            _check_header(records, header)
            line = table.line_num + 1
            while True:
                try:
                    row = next(table)
                except StopIteration:
                    return
                except csv.Error as problem:
                    raise DataError(f"{records.name}, line {line} is no CSV: {problem}; check its quotes.") from None
                if row and len(row) != len(header):
                    raise DataError(
                        f"{records.name}, line {line} has {len(row)} columns, not as many columns as the header "
                        f"({len(header)}); put texts with commas, quotes or line breaks in quotes."
                    )
                if row:
                    yield f"line {line}", dict(zip(header, row, strict=True))
                line = table.line_num + 1
    finally:
        csv.field_size_limit(limit)


def _check_header(records: Columns, header: list[str]) -> None:
    records.saw(header)
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{records.name} has the column {twice[0]!r} twice; rename one.")
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                f"{records.name} is separated by {name} ({header[0][:60]!r}); save it with commas, as CSV UTF-8."
            )
    if header:
        records.require_mapped()


def _parquet(records: Columns) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(records.path) as file:
            records.saw(file.schema_arrow.names)
            records.require_mapped()
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=records.wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except pa.ArrowException as problem:
        line = (str(problem).splitlines() or [""])[0]
        raise DataError(f"{records.name} cannot be read as Parquet: {line[:160]}") from None


READERS: dict[str, Callable[[Columns], Iterator[Record]]] = {
    ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet,
}  # fmt: skip


def rows_of_data_set(records: Columns) -> Iterator[Record]:
    """Each row of a data set with its number, from 1 on, batch by batch."""
    number = 0
    for batch in batches_of_data_set(records):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row


def batches_of_data_set(records: Columns) -> Iterator[Any]:
    """Arrow tables of the columns that are read."""
    records.saw(records.table.column_names)
    records.require_mapped()
    if records.wanted:
        yield from records.table.with_format("arrow", columns=records.wanted).iter(batch_size=_ROWS)


def open_data_set(name: str, split: str, what: str) -> Any:
    """A folder of `save_to_disk`, or what `load_dataset` finds under this name."""
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{what} is no {', '.join(READERS)} file, and the library datasets is not installed: pip install datasets, or "
            "give a file."
        ) from None
    folder = Path(name).expanduser()
    saved = any((folder / file).is_file() for file in ("dataset_dict.json", "state.json"))
    try:
        if not saved:
            return datasets.load_dataset(name, split=split)
        loaded = datasets.load_from_disk(str(folder))
    except Exception as problem:  # network, hub and parsing errors of many libraries: one line for all
        line = (str(problem).splitlines() or [""])[0][:160]
        what = what.replace(name, repr(name))
        if saved:
            raise DataError(f"{what} cannot be read as a folder of save_to_disk ({line}); save it again.") from None
        raise DataError(
            f"{what} could not be loaded as a data set, split {split!r} ({type(problem).__name__}: {line}). A name on the hub "
            "needs a network the first time; offline, give a .jsonl, .csv or .parquet file or a data set's folder."
        ) from None
    if not isinstance(loaded, dict):
        if split != "train":
            raise DataError(f"{what} has no split {split!r}: it is one data set without splits; leave the split out.")
        return loaded
    if split not in loaded:
        raise DataError(f"{what} has no split {split!r}; {nearest(split, loaded)}.")
    return loaded[split]
