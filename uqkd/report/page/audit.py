"""The audit of a page: its comparisons of theory with simulation, and those that lie too far apart."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scipy import stats

from uqkd.estimators import normal_quantile
from uqkd.report.page.tables import Column, Row, shown

FAMILY_ALPHA = 1e-3  # chance that any comparison on a page of true statements is marked
AUDITED_ROWS = 40  # rows: of a study's comparisons that the page itself holds; the farthest apart come first


@dataclass(frozen=True)
class Comparisons:
    """A table of theory against simulation, folded under its summary."""

    summary: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: int


def threshold(comparisons: int) -> float:
    """|z| beyond which a comparison is marked: family-wise error `FAMILY_ALPHA` over the page.

    Examples
    --------
    >>> round(threshold(100), 2)
    4.42
    """
    return float(stats.norm.isf(FAMILY_ALPHA / max(comparisons, 1) / 2))


def compared(table: pd.DataFrame, *, judged: bool) -> pd.DataFrame:
    """Rows of a table that hold a prediction against a simulation: those with a statement, or those without one.

    Parameters
    ----------
    table : DataFrame
        Of `uqkd.estimators.comparison`, or any other: that has no such rows.
    judged : bool
        With a statement; the others (a limit outside its range, a wrong version) are drawn and never marked.
    """
    if not {"statement", "z"} <= set(table.columns):
        return pd.DataFrame({"statement": [], "z": []})
    return table[(table["statement"].astype(object).fillna("") != "").eq(judged) & table["z"].notna()]


def numbers(table: pd.DataFrame, limit: float) -> list[str]:
    """What the summary says of one study's table, where |z| beyond the limit is marked."""
    z = compared(table, judged=True)["z"].abs()
    found = (
        [str(len(z)), f"{(z < normal_quantile()).mean():.1%}", f"{z.max():.2f}", str(int((z > limit).sum()))]
        if len(z)
        else ["–", "–", "–", "nothing judged"]
    )
    return [*found, str(len(compared(table, judged=False)))]


def comparisons(table: pd.DataFrame, limit: float) -> list[Comparisons]:
    """Tables of the rows that are judged, marked beyond the limit, and of those that are not."""
    parts = [(compared(table, judged=True), "theory check", limit)]
    parts += [(compared(table, judged=False), "comparison that is not judged", float("inf"))]
    return [_comparisons(rows, name, bound) for rows, name, bound in parts if len(rows)]


def _comparisons(checks: pd.DataFrame, name: str, limit: float) -> Comparisons:
    found = ["predicted", "simulated", "standard_error", "z"]
    # the cell's columns say which point it is; those that never vary are left out
    before = list(checks.columns)[: list(checks.columns).index("statement")]
    where = [c for c in before if c not in {*found, "quantity", "label_var"} and checks[c].nunique() > 1]
    farthest = checks.reindex(checks["z"].abs().sort_values(ascending=False, kind="stable").index)
    rows = []
    for record in farthest.head(AUDITED_ROWS).to_dict("records"):
        text = [shown(record[c]) for c in ("statement", "quantity", *where)]
        values = [f"{record[c]:.4g}" for c in found[:3]] + [f"{record['z']:.2f}"]
        rows.append(Row(tuple(text + values), marked=abs(record["z"]) > limit))
    head = [("statement", False), ("quantity", False)]
    head += [(str(c), pd.api.types.is_numeric_dtype(checks[c])) for c in where]
    columns = tuple(Column(title.replace("_", " "), numeric) for title, numeric in head + [(c, True) for c in found])
    first, rest = name.split(" ", 1) if name.startswith("comparison") else (name, "")
    summary = f"{len(checks)} {first}{'s' * (len(checks) != 1)} {rest}".strip()
    summary = summary if len(checks) == 1 else summary.replace("that is", "that are")
    return Comparisons(summary, columns, tuple(rows), len(checks))
