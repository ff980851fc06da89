"""Tables as the page shows them: their first rows, with numbers short, and how many there are in all."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

FIRST_ROWS = 20  # rows of a table that the page itself holds; the others are in its file
LONGEST_CELL = 160  # characters of a cell: answers of language models have thousands


@dataclass(frozen=True)
class Column:
    """A column's title, and whether it holds numbers."""

    title: str
    numeric: bool


@dataclass(frozen=True)
class Row:
    """A row of a table on the page; marked ones are coloured."""

    cells: tuple[str, ...]
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """The first rows of a CSV file in the results."""

    path: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: int

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.rsplit("/", 1)[-1]


def read_texts(data: bytes) -> pd.DataFrame:
    """Every cell of a CSV file as it is written there; no columns of an empty file.

    Examples
    --------
    >>> read_texts(b"a,b\\n1.50,NA\\n").to_dict("records"), read_texts(b"").shape
    ([{'a': '1.50', 'b': 'NA'}], (0, 0))
    """
    try:
        return pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def first_rows(path: str, data: bytes, rows: int = FIRST_ROWS) -> Table:
    """The first rows of a CSV file.

    Examples
    --------
    >>> table = first_rows("tables/a.csv", b"who,share\\nx,0.123456\\ny,2\\n", 1)
    >>> table.rows[0].cells, table.total, [column.numeric for column in table.columns]
    (('x', '0.1235'), 2, [False, True])
    """
    texts = read_texts(data)
    columns = tuple(Column(str(c).replace("_", " "), _numeric(texts[c])) for c in texts.columns)
    found = tuple(
        Row(tuple(shorter(cell, numeric=c.numeric) for cell, c in zip(record, columns, strict=True)))
        for record in texts.head(rows).itertuples(index=False, name=None)
    )
    return Table(path, columns, found, len(texts))


def shorter(cell: str, *, numeric: bool = False) -> str:
    """A cell's number in four digits, or its text cut to `LONGEST_CELL` characters.

    Examples
    --------
    >>> shorter("0.30000000000000004", numeric=True), shorter("12345", numeric=True), len(shorter("x" * 999))
    ('0.3', '12345', 160)
    """
    if numeric and any(sign in cell for sign in ".eE"):
        return f"{float(cell):.4g}"
    return cell if len(cell) <= LONGEST_CELL else cell[: LONGEST_CELL - 1] + "…"


def shown(value: Any) -> str:
    """A value of a table that was read with its types.

    Examples
    --------
    >>> shown(0.5), shown(float("nan")), shown("x")
    ('0.5', '', 'x')
    """
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"  # an empty cell comes back as NaN
    return shorter(str(value))


def _numeric(cells: pd.Series) -> bool:
    filled = cells[cells != ""]
    return bool(len(filled)) and bool(pd.to_numeric(filled, errors="coerce").notna().all())
