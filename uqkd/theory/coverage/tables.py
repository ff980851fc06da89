"""The files of the coverage tables: one CSV a kind, and the page that shows them."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from uqkd import __version__
from uqkd.errors import DataError
from uqkd.theory.coverage import kind, kinds

RESULTS = ("nominal", "covered", "experiments", "median_width")  # what every row has after the columns of its cell
LONGEST_TABLE = 40  # rows that the page shows one by one; a longer table is gathered
HEAD = """# What the intervals cover

Every table here is a simulation with a known truth: the share of experiments in which an interval held it, beside the share that
it promises (`nominal`) and its median width. `make coverage` makes all of them; one of them by the command above its table. The
whole tables, one row a cell, are the CSV files that are linked. Simulated by uqkd {version}.
"""


def write_table(rows: Sequence[Mapping[str, object]], folder: Path, name: str) -> Path:
    """Write the cells of one kind as CSV, numbers to six significant digits; the file.

    Raises
    ------
    DataError
        No rows, a row with other columns than the first, or one of `RESULTS` missing.
    """
    if not rows:
        raise DataError(f"the coverage table {name!r} has no rows.")
    columns = list(rows[0])
    missing = [column for column in RESULTS if column not in columns]
    if missing:
        raise DataError(f"the coverage table {name!r} needs the columns {RESULTS}; {missing} are missing.")
    for number, row in enumerate(rows):
        if list(row) != columns:
            raise DataError(
                f"row {number} of the coverage table {name!r} has columns {list(row)}, the first {columns}."
            )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    written = path.with_suffix(".part")
    with written.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_text(row[column]) for column in columns] for row in rows])
    os.replace(written, path)
    return path


def _text(value: object) -> str:
    return f"{float(value):.6g}" if isinstance(value, float) else str(value)


def write_page(folder: Path) -> Path:
    """Write coverage.md from the tables that lie in `folder`/coverage; kinds without one are left out.

    A table longer than `LONGEST_TABLE` is gathered by the columns that its module names in `BY` (otherwise by the columns of
    words): lowest and highest coverage of the cells, and the median of their median widths.
    """
    parts = [HEAD.format(version=__version__)]
    for name in kinds():
        path = folder / "coverage" / f"{name}.csv"
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                parts.append(_section(name, list(csv.DictReader(file))))
    page = folder / "coverage.md"
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def _section(name: str, rows: list[dict[str, str]]) -> str:
    module = kind(name)
    about = (module.__doc__ or "").strip()
    shown = rows if len(rows) <= LONGEST_TABLE else gathered(rows, getattr(module, "BY", None))
    head = f"## {name.replace('_', ' ').capitalize()}\n\n{about}\n\n"
    made = f"[All {len(rows)} cells](coverage/{name}.csv), by `python -m uqkd.theory.coverage {name}`.\n\n"
    return head + made + markdown(shown)


def gathered(rows: Sequence[Mapping[str, str]], by: Sequence[str] | None = None) -> list[dict[str, str]]:
    """One row a group of cells: how many, lowest and highest coverage, median of the median widths.

    Examples
    --------
    >>> cell = {"data": "normal", "nominal": "0.95", "experiments": "99", "median_width": "1"}
    >>> found = gathered([{"S": "3", **cell, "covered": "0.94"}, {"S": "5", **cell, "covered": "0.96"}], ["data"])
    >>> found[0]["cells"], found[0]["lowest"], found[0]["highest"]
    ('2', '94.0 %', '96.0 %')
    """
    cell = list(rows[0])[: list(rows[0]).index(RESULTS[0])]
    columns = list(by) if by is not None else [c for c in cell if not all(_is_number(row[c]) for row in rows)]
    groups: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    found = []
    for values, members in groups.items():
        covered = [float(row["covered"]) for row in members]
        widths = [float(row["median_width"]) for row in members if _is_number(row["median_width"])]  # a test has none
        worst = members[covered.index(min(covered))]
        rest = [f"{column} {worst[column]}" for column in cell if column not in columns]
        found.append(
            {
                **dict(zip(columns, values, strict=True)),
                "nominal": members[0]["nominal"],
                "cells": str(len(members)),
                "experiments": members[0]["experiments"],
                "lowest": f"{100 * min(covered):.1f} %",
                "highest": f"{100 * max(covered):.1f} %",
                "median width": f"{median(widths):.3g}" if widths else "–",
                "lowest at": ", ".join(rest) or "all",
            }
        )
    return found


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit()


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """A table of Markdown; columns as they are in the first row.

    Examples
    --------
    >>> print(markdown([{"S": "3", "covered": "0.95"}]))
    | S | covered |
    |---|---|
    | 3 | 0.95 |
    <BLANKLINE>
    """
    columns = list(rows[0])
    lines = [columns, *([row[column].replace("|", "/") for column in columns] for row in rows)]
    written = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([written[0], "|" + "---|" * len(columns), *written[1:]]) + "\n"
