"""Rows that people have: JSONL, CSV, Parquet, a folder that `datasets` saved, or a data set's name, all read one way."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from uqkd.errors import DataError
from uqkd.llm.prompts.columns import Columns
from uqkd.llm.prompts.formats import READERS, Record, batches_of_data_set, open_data_set, rows_of_data_set, undecodable


class Records(Columns):
    """Rows of a file or a data set, one at a time; each iteration reads them anew.

    Parameters
    ----------
    source : path or str
        A `.jsonl`, `.json`, `.csv` or `.parquet` file, a folder saved by `save_to_disk`, or what `load_dataset` takes.
    known : sequence of str
        Names of the columns that are read.
    columns : mapping of str to str, optional
        Known names to the names that they have in this file; an empty one leaves the column unread.
    split : str
        Of a data set; files have none.
    what : str
        What the rows are, for messages.

    Attributes
    ----------
    name : str
        For messages.
    seen : dict
        The columns that there are, in order; filled while reading.
    typed : bool
        Whether lists and numbers can be told from texts; in CSV all cells are texts.
    table : Dataset
        Of `datasets`; None of a file.

    Raises
    ------
    OptionError
        A mapping of a column that is not known, or a pickle.
    DataError
        No such file or data set; while reading, one line that names the place.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = Path(place, "some.csv")
    ...     _ = path.write_text("question,topic\\ntwo plus two ?,sums\\n")
    ...     records = Records(path, ("prompt", "id"), columns={"prompt": "question"})
    ...     list(records), records.note()
    ([('line 2', {'prompt': 'two plus two ?'})], "columns not read: 'topic'")
    """

    def __init__(
        self,
        source: str | Path,
        known: Sequence[str],
        *,
        columns: Mapping[str, str] | None = None,
        split: str = "train",
        what: str = "prompts",
    ) -> None:
        from uqkd.store import refuse_unsafe

        self.path = Path(source).expanduser()
        refuse_unsafe(self.path)
        super().__init__(known, columns)
        suffix = self.path.suffix.lower()
        self._reader = READERS.get(suffix)
        if self._reader is None and self.path.is_file():
            raise DataError(f"{what} {self.path} ends in {suffix!r}; give a {', '.join(READERS)} file.")
        if self._reader is not None and not self.path.is_file():
            raise DataError(
                f"{what} {self.path} does not exist (looked in {self.path.resolve().parent}); check the path."
            )
        self.name = f"{what} {self.path.name if self._reader else source}"
        self.typed = suffix != ".csv"
        self.table: Any = None if self._reader else open_data_set(str(source), split, self.name)

    def __iter__(self) -> Iterator[Record]:
        """Rows in their order, with their known columns only, under our names."""
        reader = self._reader or rows_of_data_set
        ours = self._ours
        try:
            for place, row in reader(self):
                yield place, {ours[name]: value for name, value in row.items() if name in ours}
        except UnicodeDecodeError as problem:
            raise DataError(f"{self.name}{undecodable(self.path, problem)}; save it as UTF-8.") from None
        except (OSError, csv.Error) as problem:
            raise DataError(f"{self.name} cannot be read: {' '.join(str(problem).split())}.") from None
        self.require_mapped()

    def fingerprint(self) -> str:
        """32 hexadecimal digits of what is read: the file's bytes or the data set's rows, and which columns of it are which."""
        digest = hashlib.blake2b(digest_size=16)
        if self._reader:
            with self.path.open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
        else:
            for batch in batches_of_data_set(self):
                for column in batch.columns:
                    digest.update(repr(column.to_pylist()).encode("utf-8", "surrogatepass"))
        digest.update(json.dumps(sorted(self.columns.items())).encode())
        return digest.hexdigest()
