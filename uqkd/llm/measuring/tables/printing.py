"""What was measured as lines for people: the students, beside them the undistilled one, and what cannot be said and why."""

from __future__ import annotations

import math
from collections.abc import Iterator

from uqkd.estimators.intervals.level import percent
from uqkd.llm.measuring.tables.sheet import BETWEEN, Measured

_MARKS = "*†‡§¶#"  # of the footnotes
_NONE = "–"


def lines(measured: Measured) -> list[str]:
    """The table of quantities with intervals, its footnotes, and the students one by one.

    Parameters
    ----------
    measured : Measured
    """
    return [*_quantities(measured), "", *_students(measured)]


def _quantities(measured: Measured) -> Iterator[str]:
    columns = measured.quantities
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    beside = any(not _missing(row["undistilled"]) for row in rows)
    marks: dict[str, str] = {}
    table = [["quantity", "students", *(["undistilled", "change"] if beside else []), "unit"]]
    for row in rows:
        mark = "".join(_mark(marks, part) for part in str(row["why"]).split(BETWEEN) if part)
        cells = [_cell(row, "estimate", "low", "high")]
        if beside:
            cells += [
                _cell(row, *(f"{name}{end}" for end in ("", "_low", "_high"))) for name in ("undistilled", "change")
            ]
        table.append([f"{row['quantity']}{mark}", *cells, str(row["unit"])])
    given = "; the undistilled student is one given model" if beside else ""
    yield f"estimate [interval of {percent()}], students and prompts taken as samples{given}"
    yield from _aligned(table)
    for why, mark in marks.items():
        yield f"{mark} {why}"


def _students(measured: Measured) -> Iterator[str]:
    """One line a student: estimates alone."""
    columns = measured.students
    names = list(dict.fromkeys(columns["quantity"]))
    found: dict[object, dict[object, object]] = {}
    for student, quantity, value in zip(columns["student"], columns["quantity"], columns["estimate"], strict=True):
        found.setdefault(student, {})[quantity] = value
    head = ["student", *map(str, names)]
    yield from _aligned(
        [head, *([str(student), *(_number(own.get(name)) for name in names)] for student, own in found.items())]
    )


def _mark(marks: dict[str, str], why: str) -> str:
    return marks.setdefault(why, _MARKS[len(marks) % len(_MARKS)] * (1 + len(marks) // len(_MARKS)))


def _cell(row: dict[str, object], estimate: str, low: str, high: str) -> str:
    """ "0.4123 [0.4001, 0.4245]"; without what is missing."""
    if _missing(row[estimate]):
        return _NONE
    bounds = "" if _missing(row[low]) else f" [{_number(row[low])}, {_number(row[high])}]"
    return f"{_number(row[estimate])}{bounds}"


def _missing(value: object) -> bool:
    return not isinstance(value, float) or math.isnan(value)


def _number(value: object) -> str:
    return _NONE if _missing(value) else f"{value:.4f}"


def _aligned(table: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
