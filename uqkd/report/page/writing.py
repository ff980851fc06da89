"""Writing the page: one file with everything in it but the pictures beside it."""

from __future__ import annotations

from functools import cache
from itertools import groupby

import jinja2

from uqkd.estimators import percent
from uqkd.report.captions import BARS, NORMAL
from uqkd.report.figures import GROUPS
from uqkd.report.page.audit import FAMILY_ALPHA, threshold
from uqkd.report.page.claims import claims
from uqkd.report.page.glossary import Glossed
from uqkd.report.page.published import Published, beside, leading, published
from uqkd.report.page.terms import STATEMENTS, WORDS
from uqkd.store import Store


@cache
def environment() -> jinja2.Environment:
    """Templates of pages that people read: every value is escaped, a name that is not given is an error.

    `layout.html.jinja` is a page without contents: its blocks are `title`, `intro`, `contents` and `main`.
    """
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("uqkd.report.page"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    pages.globals.update(Glossed=Glossed, statements=STATEMENTS, words=WORDS, leading=leading)
    return pages


def write(store: Store) -> str:
    """Write `index.html` from what is published in the store; returns its path there."""
    items = published(store)
    total = sum(len(item.checks) for item in items)
    page = (
        environment()
        .get_template("page.html.jinja")
        .render(
            groups=[(name, GROUPS[name], list(some)) for name, some in groupby(items, lambda item: item.group)],
            studies=items,
            names={item.name for item in items},
            claims=claims(store),
            theory=beside(store, "docs/theory.md"),
            runs=_runs(items),
            total=total,
            limit=threshold(total),
            once=f"{1 / FAMILY_ALPHA:,.0f}",
            bars=BARS,
            normal=NORMAL,
            percent=percent(),
        )
    )
    store.write_bytes("index.html", page.encode())
    return "index.html"


def _runs(items: list[Published]) -> list[str]:
    """Which presets and versions are on the page, in words."""
    runs = [[f"preset {item.preset}"] + [f"uqkd {item.version}"] * bool(item.version) for item in items if item.preset]
    return list(dict.fromkeys(", ".join(run) for run in runs))
