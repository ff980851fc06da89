"""`uqkd compare A.csv B.csv`: do two methods differ, and how many more students or prompts would tell?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.errors import DataError, OptionError, one_of

if TYPE_CHECKING:
    import pandas as pd

    from uqkd.estimators.comparing.compared import Comparison

_KEYS = ("student", "prompt_id")
_OF_TEACHER = ("kappa", "distance_from_teacher", "bias_from_teacher", "held_out_loss", "shared_errors")


@app.command(epilog=STUDIES)
@stoppable
def compare(
    tables: Annotated[
        list[str], typer.Argument(help="of uqkd measure, one a method; or .csv of student, prompt_id and numbers")
    ],
    quantity: Annotated[
        list[str] | None, typer.Option(help="a column to compare, again for another one; default: all")
    ] = None,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="students of the files are independent, though of one name")
    ] = False,
    prompts: Annotated[str, typer.Option(help="random: a sample; fixed: the ones that matter")] = "random",
    level: Annotated[float | None, typer.Option(help="of the intervals; default .95")] = None,
    out: Annotated[str | None, typer.Option(help="table to write: .csv")] = None,
) -> None:
    """Compare methods on the same prompts: each file but the last less the last, students paired by name."""
    from uqkd.estimators import LEVEL, compare_methods, percent

    if len(tables) < 2:
        raise OptionError(f"compare needs two tables or more; got {len(tables)}: uqkd compare multi.csv single.csv.")
    if out is not None and not out.endswith(".csv"):
        raise OptionError(f"--out got {out!r}; give a file that ends in .csv.")
    names = _names(tables)
    found = {name: _read(table) for name, table in zip(names, tables, strict=True)}
    wanted = _wanted(found, quantity)
    results: list[tuple[str, Comparison]] = []
    for one in wanted:
        arrays = {name: _array(name, table, one) for name, table in found.items()}
        _check_teachers(found, one)
        values = _matched(one, arrays, unpaired)
        several = compare_methods(
            values, baseline=names[-1], paired=not unpaired, prompts=prompts, level=LEVEL if level is None else level
        )
        adjusted = len(tables) > 2
        results += [(one, replace(c, measure=one, adjusted=c.adjusted if adjusted else None)) for c in several.values()]
    print(f"difference [interval of {percent(LEVEL if level is None else level)}]")
    print("\n".join(_lines(results)))
    print()
    for _, comparison in results:
        print(comparison.sentence())
    if out is not None:
        _write(out, results)
        print(out)


def _names(tables: list[str]) -> list[str]:
    """What the files are called by: their names, or their folders' where the names are one."""
    stems = [Path(table).name.removesuffix(".csv").removesuffix(".cells") for table in tables]
    if len(set(stems)) < len(stems):
        stems = [f"{Path(table).parent.name}/{stem}" for table, stem in zip(tables, stems, strict=True)]
    if len(set(stems)) < len(stems):
        raise OptionError(f"compare got two files of one name: {', '.join(tables)}; give each method its own.")
    return stems


def _read(place: str) -> pd.DataFrame:
    """The numbers of a file, or those beside it, one row for each student and prompt."""
    import pandas as pd

    beside = Path(f"{place.removesuffix('.csv')}.cells.csv")
    if not Path(place).is_file() and not beside.is_file():
        raise DataError(f"{place!r} is no file; give a table of uqkd measure, such as multi.csv.")
    for path in (beside, Path(place)):
        if path.is_file():
            try:
                table = pd.read_csv(path, dtype={"student": str, "prompt_id": str, "prompt": str, "teacher": str})
            except (ValueError, UnicodeDecodeError) as problem:
                raise DataError(f"{str(path)!r} is no table: {problem}") from None
            if "prompt_id" not in table and "prompt" in table:
                table = table.rename(columns={"prompt": "prompt_id"})
            if set(_KEYS) <= set(table):
                return _crossed(place, table)
    raise DataError(
        f"{place!r} holds no numbers per student and prompt: measure again, which writes {beside.name!r}, or give "
        "a table of student, prompt_id and a column for each quantity."
    )


def _crossed(place: str, table: pd.DataFrame) -> pd.DataFrame:
    """The table in the order of its students and prompts, each of them once."""
    twice = table.duplicated(list(_KEYS))
    if twice.any():
        first = table[twice].iloc[0]
        raise DataError(
            f"{place!r} has two rows of student {first['student']!r}, prompt {first['prompt_id']!r}; one is needed."
        )
    count = table["student"].nunique() * table["prompt_id"].nunique()
    if len(table) != count:
        raise DataError(f"{place!r} has {len(table)} rows and needs {count}: every student answers every prompt.")
    return table.sort_values(list(_KEYS)).reset_index(drop=True)


def _wanted(found: dict[str, pd.DataFrame], asked: list[str] | None) -> list[str]:
    """Quantities that all files have."""
    every = [_quantities(table) for table in found.values()]
    shared = [name for name in every[0] if all(name in other for other in every)]
    if not shared:
        raise DataError(f"no quantity is in all of {', '.join(found)}; the first has {', '.join(every[0]) or 'none'}.")
    return [one_of("--quantity", name, shared) for name in asked] if asked else shared


def _quantities(table: pd.DataFrame) -> list[str]:
    numbers: Any = table.select_dtypes("number")
    return [str(name) for name in numbers if name not in _KEYS and numbers[name].notna().any()]


def _array(name: str, table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Students × prompts of one quantity, of the prompts that have it."""
    values = table.pivot(index="student", columns="prompt_id", values=quantity).dropna(axis=1, how="all")
    if values.isna().any(axis=None):
        missing: Any = values.isna().stack()
        student, prompt = missing.idxmax()
        raise DataError(f"{name} lacks {quantity} of student {student!r} at prompt {prompt!r}, which others have.")
    return values


def _check_teachers(found: dict[str, pd.DataFrame], quantity: str) -> None:
    """Distances are compared from one teacher's answers only."""
    if quantity not in _OF_TEACHER:
        return
    said = {name: table["teacher"].iloc[0] for name, table in found.items() if "teacher" in table}
    if len({str(one) for one in said.values()}) > 1:
        raise DataError(
            f"{quantity} was measured from different teachers' answers: {', '.join(f'{n} {str(b)[:8]}' for n, b in said.items())} "
            "(teacher_bank); measure with one bank, or leave it out with --quantity."
        )


def _matched(quantity: str, arrays: dict[str, pd.DataFrame], unpaired: bool) -> dict[str, Any]:
    """Arrays of the same prompts and, where students are pairs, the same students."""
    (last, base), *others = reversed(arrays.items())
    for name, values in others:
        if list(values.columns) != list(base.columns):
            both = len(set(values.columns) & set(base.columns))
            raise DataError(
                f"{name} and {last} answer different prompts ({quantity}): {len(values.columns)} and {len(base.columns)}, "
                f"{both} of them in both; measure them on one file of prompts."
            )
        if len(values) == len(base) == 1:
            raise DataError(f"{name} and {last} have one student each: how students differ takes two of each method.")
        if not unpaired and list(values.index) != list(base.index):
            raise DataError(
                f"students of {name} and {last} do not pair by name: {', '.join(values.index[:3])} ... and "
                f"{', '.join(base.index[:3])} ...; name pairs alike, or say --unpaired if they are independent."
            )
    return {name: values.to_numpy() for name, values in arrays.items()}


def _lines(results: list[tuple[str, Comparison]]) -> list[str]:
    """One row for each quantity and method."""
    rows = [
        ["quantity", "first", "second", "of first", "of second", "difference", "p", "more students", "more prompts"]
    ]
    for quantity, one in results:
        p_value = one.p_value if one.adjusted is None else one.adjusted
        limits = f"{one.difference:.4f} [{one.low:.4f}, {one.high:.4f}]"
        more = ["–" if one.decided else _count(n) for n in (one.more_students, one.more_prompts)]
        rows.append([quantity, *one.names, f"{one.first:.4f}", f"{one.second:.4f}", limits, f"{p_value:.4f}", *more])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _count(more: float) -> str:
    return "–" if more != more else "never" if more == float("inf") else f"{more:,.0f}"


def _write(out: str, results: list[tuple[str, Comparison]]) -> None:
    import pandas as pd

    from uqkd.store import Store

    rows = [
        {
            "quantity": quantity, "first": one.names[0], "second": one.names[1], "of_first": one.first, "of_second": one.second,
            "difference": one.difference, "standard_error": one.standard_error, "low": one.low, "high": one.high,
            "level": one.level, "p_value": one.p_value, "holm": one.adjusted, "dof": one.dof, "more_students": one.more_students,
            "more_prompts": one.more_prompts, "note": one.note,
        }
        for quantity, one in results
    ]  # fmt: skip
    path = Path(out).absolute()
    Store(path.parent).write_bytes(path.name, pd.DataFrame(rows).to_csv(index=False).encode(), recorded=False)
