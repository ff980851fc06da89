"""Prompts files: JSONL, CSV or Parquet with `prompt` and optional `id` and `answers`, or a data set of `datasets`."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, nearest
from uqkd.llm.responses import Prompts

_COLUMNS = ("prompt", "id", "answers")
Row = tuple[str, dict[str, Any]]  # where it stands ("line 3"), and its columns


def prompt_id(text: str) -> str:
    """The id of a prompt that was given none: it depends on the text alone, so that adding lines keeps the others'.

    Examples
    --------
    >>> prompt_id("two plus two ?")
    'p05f20d5541f1'
    """
    return "p" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def read_prompts(source: str | Path, *, split: str = "train") -> Prompts:
    """Read prompts from a file, or from a data set of the `datasets` library.

    Parameters
    ----------
    source : path or str
        A `.jsonl`, `.csv` or `.parquet` file with a column `prompt` and optional `id` and `answers` (a list; in CSV a
        JSON list). Anything else is a data set's folder or its name on the hub, which needs a network the first time.
    split : str
        Of a data set; files have none.

    Returns
    -------
    Prompts

    Raises
    ------
    DataError
        Missing file, wrong or misspelt column, bad JSON or UTF-8 (naming the line), no prompts, the same id or prompt twice.
    OptionError
        A pickle file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = Path(place, "prompts.jsonl")
    ...     _ = path.write_text('{"prompt": "two plus two ?", "answers": ["four"]}')
    ...     read_prompts(path)
    Prompts(ids=('p05f20d5541f1',), texts=('two plus two ?',), answers=(('four',),))
    """
    from uqkd.store import refuse_unsafe

    path = Path(source).expanduser()
    refuse_unsafe(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        return _gathered(str(source), _data_set(str(source), split))
    if not path.is_file():
        raise DataError(f"prompts {path} does not exist (looked in {path.resolve().parent}); check the path.")
    try:
        return _gathered(path.name, reader(path))
    except UnicodeDecodeError as problem:
        raise DataError(
            f"prompts {path.name} is not UTF-8 ({problem.reason} at byte {problem.start}); save it as UTF-8."
        ) from None
    except (OSError, csv.Error) as problem:
        raise DataError(f"prompts {path.name} cannot be read: {' '.join(str(problem).split())}.") from None


def _gathered(name: str, rows: Iterable[Row]) -> Prompts:
    """Prompts from rows; what is wrong with one is said with its place."""
    ids: dict[str, str] = {}
    texts: dict[str, str] = {}
    answers = []
    for place, row in rows:
        _check_columns(f"prompts {name}, {place}", row)
        text = row["prompt"]
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"prompts {name}, {place}: prompt is {text!r}; it must be text that is not empty.")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise DataError(f"prompts {name}, {place}: prompt {text!r} holds half of a surrogate pair; it is no text.")
        own = row.get("id")
        key = prompt_id(text) if own is None or own == "" else str(own)
        for what, value, seen in (("prompt", text, texts), ("id", key, ids)):
            if value in seen:
                raise DataError(
                    f"prompts {name}: the same {what} {value[:60]!r} stands in {seen[value]} and in {place}; keep one."
                )
            seen[value] = place
        answers.append(_answers(f"prompts {name}, {place}", row.get("answers")))
    if not ids:
        raise DataError(f"prompts {name} holds no prompts; give at least one line with a 'prompt'.")
    return Prompts(tuple(ids), tuple(texts), tuple(answers))


def _check_columns(where: str, row: dict[str, Any]) -> None:
    unknown = [str(column) for column in row if column not in _COLUMNS]
    if "prompt" not in row:
        hint = nearest(unknown[0], _COLUMNS) if unknown else "Valid: " + ", ".join(map(repr, _COLUMNS))
        raise DataError(f"{where}: there is no column 'prompt', only {sorted(map(str, row))}; {hint}.")
    if unknown:
        raise DataError(f"{where}: unknown column {unknown[0]!r}; {nearest(unknown[0], _COLUMNS)}.")


def _answers(where: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise DataError(f'{where}: answers is {value[:60]!r}; write a JSON list, ["four"].') from None
    if value is None or (isinstance(value, str) and not value.strip()):  # an empty cell
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise DataError(f"{where}: answers is {value!r}; it must be a list of texts.")
    return tuple(value)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as problem:
                raise DataError(f"prompts {path.name}, line {number} is not JSON: {problem}.") from None
            if not isinstance(row, dict):
                raise DataError(f'prompts {path.name}, line {number} is {row!r}; write {{"prompt": "..."}}.')
            yield f"line {number}", row


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines, restkey="", strict=True)
        for row in table:
            if "" in row or None in row.values():
                raise DataError(
                    f"prompts {path.name}, line {table.line_num} has not as many columns as the header; put texts with "
                    "commas in quotes."
                )
            yield f"line {table.line_num}", dict(row)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for number, row in enumerate(pq.read_table(path).to_pylist(), start=1):
            yield f"row {number}", row
    except pa.ArrowException as problem:
        raise DataError(f"prompts {path.name} cannot be read as Parquet: {str(problem).splitlines()[0]}") from None


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".parquet": _parquet,
}  # fmt: skip


def _data_set(name: str, split: str) -> Iterator[Row]:
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"prompts {name!r} is no .jsonl, .csv or .parquet file, and the library datasets is not installed: "
            "pip install datasets, or give a file."
        ) from None
    try:
        table = datasets.load_dataset(name, split=split)
    except Exception as problem:  # network, hub and parsing errors of many libraries: one line for all
        raise DataError(
            f"prompts {name!r} could not be loaded as a data set, split {split!r} ({type(problem).__name__}: "
            f"{(str(problem).splitlines() or [''])[0][:160]}). A name on the hub needs a network the first time; offline, give "
            "a .jsonl, .csv or .parquet file or a data set's folder."
        ) from None
    for number, row in enumerate(table, start=1):
        kept = {column: value for column, value in row.items() if column in _COLUMNS}  # data sets bring others along
        yield f"row {number}", kept if "prompt" in kept else dict(row)
