"""The page of results: every published figure, its caption and tables, and every theory check."""

from __future__ import annotations

import html
import io
import json
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from uqkd.store import Store

FAMILY_ALPHA = 1e-3  # chance that any comparison on a page of true statements is marked

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>uqkd results</title>
<style>
:root {{ color-scheme: light; }}
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.2rem; margin-top: 3rem; }}
img {{ width: 100%; height: auto; }}
p.note {{ color: #555; }}
table {{ border-collapse: collapse; font-size: .85rem; margin: .5rem 0; }}
th, td {{ padding: .15rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th.text, td.text {{ text-align: left; white-space: normal; }}
tr.out td {{ background: #fde2d2; }}
details > summary {{ cursor: pointer; color: #0645ad; }}
.wide {{ overflow-x: auto; }}
</style>
</head>
<body>
<h1>uqkd results</h1>
<p class="note">Points are simulation ± 1.96 standard errors, lines are theory, where a figure says nothing else.</p>
{overview}
{sections}
</body>
</html>
"""


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
            return self.table.iloc[:0]
        return self.table[
            (self.table["statement"].astype(object).fillna("") != "").eq(judged) & self.table["z"].notna()
        ]


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
    limit = threshold(sum(len(item.checks) for item in items))
    sections = "\n".join(_section(item, limit) for item in items)
    page = PAGE.format(overview=_overview(items, limit), sections=sections)
    store.write_bytes("index.html", page.encode())
    return "index.html"


def _overview(items: list[Published], limit: float) -> str:
    rows = []
    for item in items:
        z = item.checks["z"].abs() if len(item.checks) else pd.Series(dtype=float)
        inside = f"{(z < 1.96).mean():.1%}" if len(z) else "–"
        largest = f"{z.max():.2f}" if len(z) else "–"
        link = f'<a href="#{html.escape(item.name)}">{html.escape(item.title)}</a>'
        marked = str(int((z > limit).sum())) if len(z) else "nothing judged"
        numbers = [str(len(z)) if len(z) else "–", inside, largest, marked, str(len(item.unjudged))]
        rows.append((False, [link, *numbers]))
    total = sum(len(item.checks) for item in items)
    once = f"{1 / FAMILY_ALPHA:,.0f}"
    note = (
        f'<p class="note">{total} comparisons of theory with simulation on this page. One is marked where |z| exceeds '
        f"{limit:.2f}: a page of true statements has a marked row once in {once} times at most, however "
        "the comparisons depend on one another (many share their draws). About 95 % of |z| should lie below 1.96. Rows that "
        "are drawn but not judged (a large-sample limit at small samples, wrong versions) are listed with no colour.</p>"
    )
    head = ["study", "comparisons", "|z| &lt; 1.96", "largest |z|", "marked", "not judged"]
    return note + _html_table(head, rows, text_columns=1)


def _section(item: Published, limit: float) -> str:
    name = html.escape(item.name)
    links = " · ".join(f'<a href="{html.escape(path)}">{html.escape(path.split("/")[1])}</a>' for path in item.files)
    parts = [
        f'<h2 id="{name}">{html.escape(item.title)}</h2>',
        f'<img src="figures/{name}.png" alt="{html.escape(item.title)}">',
        f"<p>{html.escape(item.caption)}</p>",
        f'<p class="note">{links}</p>',
    ]
    if len(item.checks):
        parts.append(_checks(f"{len(item.checks)} theory checks", item.checks, limit))
    if len(item.unjudged):
        parts.append(_checks(f"{len(item.unjudged)} comparisons that are not judged", item.unjudged, float("inf")))
    return "\n".join(parts)


def _checks(summary: str, checks: pd.DataFrame, limit: float) -> str:
    numbers = ["predicted", "simulated", "standard_error", "z"]
    # the cell's columns say which point it is; those that never vary are left out
    where = [c for c in checks.columns if c not in {*numbers, "statement", "quantity"}]
    end = list(checks.columns).index("statement")
    where = [c for c in where if list(checks.columns).index(c) < end and checks[c].nunique() > 1 and c != "label_var"]
    head = ["statement", "quantity", *where, "predicted", "simulated", "standard error", "z"]
    rows = []
    for record in checks.to_dict("records"):
        text = [_escaped(record[c]) for c in ("statement", "quantity", *where)]
        rows.append(
            (abs(record["z"]) > limit, text + [f"{record[c]:.4g}" for c in numbers[:3]] + [f"{record['z']:.2f}"])
        )
    body = _html_table([html.escape(h) for h in head], rows, text_columns=2)
    return f'<details><summary>{html.escape(summary)}</summary><div class="wide">{body}</div></details>'


def _escaped(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"  # an empty cell comes back as NaN
    return html.escape(str(value))


def _html_table(head: list[str], rows: list[tuple[bool, list[str]]], *, text_columns: int) -> str:
    def cells(tag: str, values: list[str]) -> str:
        kinds = [' class="text"' if i < text_columns else "" for i in range(len(values))]
        return "".join(f"<{tag}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    mark = {True: ' class="out"', False: ""}
    body = "\n".join(f"<tr{mark[marked]}>{cells('td', values)}</tr>" for marked, values in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>\n{body}\n</tbody></table>"
