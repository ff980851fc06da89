"""The page of results: every published figure, its caption and tables, and every theory check."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd
from scipy import stats

from uqkd.estimators import normal_quantile, percent
from uqkd.report.captions import BARS, NORMAL
from uqkd.store import Store

FAMILY_ALPHA = 1e-3  # chance that any comparison on a page of true statements is marked


@dataclass(frozen=True)
class Row:
    """A row of a table on the page; marked ones are coloured."""

    cells: list[str]
    marked: bool = False


@dataclass(frozen=True)
class Comparisons:
    """A table of theory against simulation, folded under its summary."""

    summary: str
    head: list[str]
    rows: list[Row]


@dataclass(frozen=True)
class Published:
    """One published figure and its tables."""

    name: str
    title: str
    caption: str
    table: pd.DataFrame
    files: tuple[str, ...]
    place: int

    @property
    def checks(self) -> pd.DataFrame:
        """The rows that hold a statement against a simulation with something random in it."""
        return self._compared(judged=True)

    @property
    def unjudged(self) -> pd.DataFrame:
        """Rows with a prediction that is drawn but no statement: a limit outside its range, a wrong version."""
        return self._compared(judged=False)

    def _compared(self, *, judged: bool) -> pd.DataFrame:
        if not {"statement", "z"} <= set(self.table.columns):
            return pd.DataFrame({"statement": [], "z": []})
        return self.table[
            (self.table["statement"].astype(object).fillna("") != "").eq(judged) & self.table["z"].notna()
        ]

    def numbers(self, limit: float) -> list[str]:
        """What the overview says of the figure, where |z| beyond the limit is marked."""
        z = self.checks["z"].abs()
        judged = (
            [str(len(z)), f"{(z < normal_quantile()).mean():.1%}", f"{z.max():.2f}", str(int((z > limit).sum()))]
            if len(z)
            else ["–", "–", "–", "nothing judged"]
        )
        return [*judged, str(len(self.unjudged))]

    def comparisons(self, limit: float) -> list[Comparisons]:
        """Tables of the rows that are judged, marked beyond the limit, and of those that are not."""
        judged, others = self.checks, self.unjudged
        parts = [
            _comparisons(f"{len(judged)} theory checks", judged, limit),
            _comparisons(f"{len(others)} comparisons that are not judged", others, float("inf")),
        ]
        return [part for part in parts if part.rows]


def published(store: Store) -> list[Published]:
    """Every figure in the store, in the order of the gallery."""
    files = [f"{room}/{file}" for room in ("figures", "tables") for file in store.folder.names(room)]
    found = []
    for about in (path for path in files if path.startswith("figures/") and path.endswith(".json")):
        name = about.removeprefix("figures/").removesuffix(".json")
        text = json.loads(store.folder.read(about))
        table = pd.read_csv(io.BytesIO(store.folder.read(f"tables/{name}.csv")))
        own = [path for path in files if path.split("/", 1)[1].split(".", 1)[0] == name and not path.endswith(".json")]
        found.append(Published(name, text["title"], text["caption"], table, tuple(sorted(own)), text["place"]))
    return sorted(found, key=lambda item: (item.place, item.name))


def threshold(comparisons: int) -> float:
    """|z| beyond which a comparison is marked: family-wise error `FAMILY_ALPHA` over the page.

    Examples
    --------
    >>> round(threshold(100), 2)
    4.42
    """
    return float(stats.norm.isf(FAMILY_ALPHA / max(comparisons, 1) / 2))


def write(store: Store) -> str:
    """Write `index.html` from what is published in the store; returns its path there."""
    items = published(store)
    total = sum(len(item.checks) for item in items)
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("uqkd", "report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    page = pages.get_template("page.html.jinja").render(
        studies=items,
        total=total,
        limit=threshold(total),
        once=f"{1 / FAMILY_ALPHA:,.0f}",
        bars=BARS,
        normal=NORMAL,
        percent=percent(),
    )
    store.write_bytes("index.html", page.encode())
    return "index.html"


def _comparisons(summary: str, checks: pd.DataFrame, limit: float) -> Comparisons:
    numbers = ["predicted", "simulated", "standard_error", "z"]
    # the cell's columns say which point it is; those that never vary are left out
    before = list(checks.columns)[: list(checks.columns).index("statement")]
    where = [c for c in before if c not in {*numbers, "quantity", "label_var"} and checks[c].nunique() > 1]
    rows = []
    for record in checks.to_dict("records"):
        text = [_shown(record[c]) for c in ("statement", "quantity", *where)]
        found = [f"{record[c]:.4g}" for c in numbers[:3]] + [f"{record['z']:.2f}"]
        rows.append(Row(text + found, marked=abs(record["z"]) > limit))
    head = ["statement", "quantity", *where, "predicted", "simulated", "standard error", "z"]
    return Comparisons(summary, head, rows)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"  # an empty cell comes back as NaN
    return str(value)
