"""Pilots from files: the tables of `uqkd measure`, recorded answers, tidy tables of draws, and components as JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, OptionError, nearest, one_of
from uqkd.plan.components import PilotComponents, known_components
from uqkd.plan.pilots import (
    components_at_several_k,
    components_of_draws,
    of_mean_squares,
)

Array = NDArray[np.float64]
Rows = list[dict[str, str]]

SCORES = ("accuracy", "unsupported")  # of recorded answers


def components_of_file(path: str) -> PilotComponents:
    """Known components from a JSON file: an object of effects; "k" and "draws" say what they hold for.

    Raises
    ------
    DataError
        No such file, or no object of numbers.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise DataError(f"--components {path!r} cannot be read: {problem.strerror}.") from None
    except ValueError as problem:
        raise DataError(f"--components {path!r} is no JSON: {problem}.") from None
    if not isinstance(found, dict) or not all(isinstance(v, (int, float)) for v in found.values()):
        raise DataError(
            f'--components {path!r} must hold an object of numbers, such as {{"prompt": 0.04, "student": 0.01}}.'
        )
    held = {name: int(found.pop(name)) for name in ("k", "draws") if name in found}
    return known_components(found, **held)


def pilot_of_table(
    path: str,
    *,
    quantity: str | None = None,
    where: Mapping[str, str] | None = None,
    limits: Mapping[str, Any] | None = None,
) -> PilotComponents:
    """Components from the table of a pilot.

    Parameters
    ----------
    path : str
        A CSV file: of quantities as `uqkd measure` writes it, with NAME.students.csv beside it; or recorded answers with the
        columns student, prompt, supported (0 and 1, a digit an answer) as docs/llm_real has them; or student, prompt, value, a row
        for each answer. A column k with several values tells apart what the number of responses removes.
    quantity : str, optional
        Of a table of `uqkd measure`: one of its quantities. Of recorded answers: "accuracy", "unsupported" (the default), or
        "inter".
    where : mapping of column to value
        Rows that are taken.
    limits : mapping
        Counts that the caller holds: k and draws of a pilot that does not say them.

    Raises
    ------
    DataError
        No such file, columns that are neither, cells that lack answers.
    """
    rows = _chosen(_read(path), where or {}, path)
    columns = list(rows[0])
    if "quantity" in columns and "standard_error" in columns:
        return _of_quantities(path, rows, quantity, limits or {})
    if {"student", "prompt", "supported"} <= set(columns):
        if quantity is not None:
            one_of("quantity", quantity, (*SCORES, "inter"))
        score = 1.0 if quantity == "accuracy" else 0.0
        cells = [[float((c == "1") == score) for c in row["supported"]] for row in rows]
        return _of_cells(rows, cells, path, named=where or {}, k=_held(limits, "k"))
    if {"student", "prompt", "value"} <= set(columns):
        cells = [[_number(row["value"], path)] for row in rows]
        return _of_cells(rows, cells, path, named=where or {}, k=_held(limits, "k"))
    raise DataError(
        f"{path!r} is no table of a pilot: it needs the columns quantity and standard_error (uqkd measure), or student, prompt and "
        f"supported, or student, prompt and value; got {', '.join(columns)}."
    )


def _read(path: str) -> Rows:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as problem:
        raise DataError(f"--answers {path!r} cannot be read: {problem.strerror}.") from None
    if not rows:
        raise DataError(f"--answers {path!r} holds no rows.")
    return rows


def _chosen(rows: Rows, where: Mapping[str, str], path: str) -> Rows:
    """Rows whose columns hold what is asked for; commas separate several values."""
    for name, wanted in where.items():
        if name not in rows[0]:
            raise DataError(f"{path!r} has no column {name!r}; {nearest(name, rows[0])}.")
        there = sorted({row[name] for row in rows})
        for value in wanted.split(","):
            if value not in there:
                raise DataError(f"{path!r} has no row with {name}={value}; {nearest(value, there[:20])}.")
        rows = [row for row in rows if row[name] in wanted.split(",")]
    return rows


def _number(text: str, path: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{path!r} holds {text!r} where a number is needed.") from None


def _held(limits: Mapping[str, Any] | None, level: str) -> int | None:
    """The one count of a level that the caller gives."""
    low, high = (limits or {}).get(level, (None, None))
    return low if low == high else None


def _of_cells(
    rows: Rows, scores: Sequence[list[float]], path: str, *, named: Mapping[str, str], k: int | None
) -> PilotComponents:
    """From scores of answers, by student and prompt; at several k where there is a column k."""
    for name in ("method", "part"):
        if name not in named and len(there := {row.get(name) for row in rows}) > 1:
            raise DataError(
                f"{path!r} holds several of the column {name!r} ({', '.join(sorted(map(str, there)))}); say --where {name}=..."
            )
    ks = [_count(row["k"], path) if "k" in row else k for row in rows]
    cubes = {}
    for one in dict.fromkeys(ks):
        own = [place for place, value in enumerate(ks) if value == one]
        cubes[one] = _cube([rows[place] for place in own], [scores[place] for place in own], path)
    if len(cubes) == 1:
        ((one, draws),) = cubes.items()
        return components_of_draws(draws, k=one)
    return components_at_several_k({one: draws for one, draws in cubes.items() if one is not None})


def _count(text: str, path: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise DataError(
            f"{path!r} has k={text!r}, where students have a k of at least 1; leave such rows out with --where."
        )
    return int(text)


def _cube(rows: Rows, scores: Sequence[list[float]], path: str) -> Array:
    """Scores (S, P, R); every student must have answered every prompt equally often."""
    cells: dict[tuple[str, str], list[float]] = {}
    for row, own in zip(rows, scores, strict=True):
        cells.setdefault((row["student"], row["prompt"]), []).extend(own)
    students, prompts = (sorted({cell[axis] for cell in cells}) for axis in (0, 1))
    counts = {(s, p): len(cells.get((s, p), ())) for s in students for p in prompts}
    most = max(counts.values())
    if lacking := [cell for cell, count in counts.items() if count < most]:
        (student, prompt), few = lacking[0], counts[lacking[0]]
        raise DataError(
            f"{path!r}: student {student} has {few} answers to prompt {prompt!r} where others have {most}; a pilot needs as many "
            "of every student to every prompt."
        )
    return np.array([[cells[s, p] for p in prompts] for s in students])


def _of_quantities(path: str, rows: Rows, quantity: str | None, limits: Mapping[str, Any]) -> PilotComponents:
    """From the tables of `uqkd measure`: a standard error over students and prompts, and one over prompts of each student.

    The mean of the students' squared errors over prompts is (MS_prompt + (S − 1)·MS_both)/(S·P), their spread MS_student/P, and the
    squared error over both (MS_student + MS_prompt − MS_both)/(S·P): three equations for three mean squares.
    """
    names = [row["quantity"] for row in rows]
    if quantity is None:
        raise OptionError(f"--quantity says what is planned for: one of {', '.join(names)}.")
    row = rows[names.index(one_of("quantity", quantity, names))]
    beside = str(Path(path).with_suffix("")) + ".students.csv"
    each = [r for r in _read(beside) if r["quantity"] == quantity and r["student"] != "undistilled"]
    S, P = len(each), int(row["n_prompts"])
    if S < 2:
        alone = dict.fromkeys(r["quantity"] for r in _read(beside))
        raise DataError(
            f"{quantity!r} is not measured of each student alone, so that it cannot be planned for; {', '.join(alone)} are."
        )
    if row["over"] != "students, prompts" or row["standard_error"] in ("", "nan"):
        raise DataError(f"{quantity!r} of {path!r} has no spread over students and prompts to plan by: {row['why']}.")
    own = np.array([[_number(r["estimate"], beside), _number(r["standard_error"] or "0", beside)] for r in each])
    ms_students = P * float(own[:, 0].var(ddof=1))
    within = P * float((own[:, 1] ** 2).mean())  # (MS_prompt + (S − 1) MS_both)/S
    both = (
        S * P * _number(row["standard_error"], path) ** 2
    )  # MS_student + MS_prompt − MS_both, or MS_both where that is more
    ms_both = within - (both - ms_students) / S
    ms_prompts = both - ms_students + ms_both
    k, draws = (_held(limits, level) for level in ("k", "draws"))
    return of_mean_squares(
        [ms_students, max(ms_prompts, 0.0), max(ms_both, 0.0)], students=S, prompts=P, k=k, draws=draws
    )
