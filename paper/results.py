"""A number that the paper names, found in a run's results: in a study's answer, or in a cell of a table (paper/cells.py)."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from paper.tex import tex
from uqkd.errors import UqkdError
from uqkd.estimators import half_width, normal_half_width, percent, variance_half_widths
from uqkd.report.answers import Answer, Number


class PaperError(UqkdError):
    """A number, a figure or a table that the paper names is not in the results."""


@dataclass(frozen=True)
class Cell:
    """Where in a study's tables a number stands, and how its interval is made.

    Attributes
    ----------
    where : mapping of column to text
        One row must fit. A number fits a column's number.
    value : str
        Column.
    limits : "exact", "mean", "variance", or columns
        Exact numbers have no sampling error. "mean" and "variance": from the column `error`, Student's t (mean) or
        chi-square (variance) with as many students as the column `students` says, if given. ("low", "high"): columns;
        ("half_width",): the column of a half-width.
    table : str
        "" is the study's own table, otherwise its part.
    """

    where: dict[str, Any]
    value: str = "simulated"
    form: str = ".2f"
    limits: Any = "mean"
    error: str = "standard_error"
    students: str | None = None
    table: str = ""


def written(number: Number) -> str:
    """LaTeX of a number: with its interval, unless it is exact.

    Examples
    --------
    >>> written(Number.measured(-0.2, -0.31, -0.1, ".0%")), written(Number.exact(8, "d"))
    ('$-$20\\\\,\\\\% [$-$31\\\\,\\\\%, $-$10\\\\,\\\\%]', '8')
    """
    shown = "value" if number.low == number.high else "limits"
    return tex(str(Number(number.value, number.low, number.high, number.form, shown)))


@dataclass(frozen=True)
class Results:
    """A folder that `make figures` wrote.

    Attributes
    ----------
    folder : Path
    cells : mapping of (study, name) to Cell
    """

    folder: Path
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def about(self, study: str, *, named: str) -> dict[str, Any]:
        """What a study wrote about its figure; `named` is what the paper wants of it, for the error."""
        file = self.folder / "figures" / f"{study}.json"
        if not file.exists():
            raise PaperError(
                f"the paper names {named} of study {study!r}, which is not in {self.folder}; "
                f"make it: .venv/bin/uqkd study {study} --out {self.folder}"
            )
        return json.loads(file.read_text(encoding="utf-8"))

    def answer(self, study: str) -> Answer | None:
        """The study's answer, with which it may be silent."""
        answer = self.about(study, named="the answer").get("answer")
        return Answer.from_json(answer) if answer else None

    def number(self, study: str, name: str) -> Number:
        """The number of this name: of the study's answer, else of a cell of its tables."""
        about = self.about(study, named=f"number {name!r}")
        numbers = (about.get("answer") or {}).get("numbers", {})
        if (study, name) in self.cells:
            return self._from_table(study, name, self.cells[study, name])
        if name in numbers:
            return Number(**{key: value for key, value in numbers[name].items() if key != "text"})
        raise PaperError(
            f"the paper names number {name!r} of study {study!r}; its answer has {', '.join(numbers) or 'none'}, and "
            "paper/cells.py names no cell for it."
        )

    def rows(self, study: str, table: str = "") -> list[dict[str, str]]:
        """Rows of one of the study's tables."""
        file = self.folder / "tables" / (f"{study}.{table}.csv" if table else f"{study}.csv")
        if not file.exists():
            raise PaperError(f"the paper needs {file}; make it: .venv/bin/uqkd study {study} --out {self.folder}")
        with file.open(encoding="utf-8", newline="") as opened:
            return list(csv.DictReader(opened))

    def _from_table(self, study: str, name: str, cell: Cell) -> Number:
        asked = f"number {name!r} of study {study!r}"
        rows = self.rows(study, cell.table)
        fit = [row for row in rows if all(_same(row.get(column), want) for column, want in cell.where.items())]
        if len(fit) != 1:
            raise PaperError(f"{asked} is to stand in one row with {cell.where}; {len(fit)} of {len(rows)} rows fit.")
        try:
            return _limited(fit[0], cell)
        except (KeyError, ValueError) as error:
            raise PaperError(f"{asked} cannot be read from its row: {error}.") from error


@dataclass(frozen=True)
class Coverage:
    """A table of docs/coverage: what intervals covered in simulations with a known truth."""

    file: Path

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """One row a cell of the simulation."""
        with self.file.open(encoding="utf-8", newline="") as opened:
            return list(csv.DictReader(opened))


def _same(found: str | None, want: Any) -> bool:
    if found is None:
        raise PaperError(f"a table has no column for {want!r}.")
    if isinstance(want, int | float) and not isinstance(want, bool):
        return bool(found) and math.isclose(float(found), want, rel_tol=1e-4)  # 1/7 is written 0.142857
    return found == str(want)


def _limited(row: dict[str, str], cell: Cell) -> Number:
    value = float(row[cell.value])
    if cell.limits == "exact":
        return Number.exact(int(value) if cell.form == "d" else value, cell.form)
    if isinstance(cell.limits, tuple):
        sides = [float(row[column]) for column in cell.limits]
        low, high = sides if len(sides) == 2 else (value - sides[0], value + sides[0])
        return Number.measured(value, low, high, cell.form)
    error = float(row[cell.error])
    count = int(row[cell.students]) if cell.students else None
    if cell.limits == "variance":
        down, up = variance_half_widths(value, error, count)
        return Number.measured(value, value - float(down), value + float(up), cell.form)
    reach = float(half_width(error, count) if count else normal_half_width(error))
    return Number.measured(value, value - reach, value + reach, cell.form)


LEVEL_TEXT = tex(percent())
