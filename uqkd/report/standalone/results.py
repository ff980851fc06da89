"""The report of a results folder: every question with its answer and its figure, in one file."""

from __future__ import annotations

from typing import Any

from uqkd.errors import DataError
from uqkd.report.figures import GROUPS
from uqkd.report.page import published
from uqkd.report.standalone.frame import LARGEST, page
from uqkd.report.standalone.pictures import pictures
from uqkd.store import Store

_MARGIN = 20_000  # bytes left free


def results_report(store: Store) -> bytes:
    """A results folder as one HTML file.

    Parameters
    ----------
    store : Store

    Raises
    ------
    DataError
        No study has published a figure there, or what it wrote cannot be read.
    """
    items = published(store)
    if not items:
        raise DataError(f"{store.root!r} holds no figures (figures/STUDY.json); give the --out of uqkd study.")
    files = {one.name: store.folder.read(one.picture) for one in items if one.picture}
    groups = [(head, [one for one in items if one.group == name]) for name, head in GROUPS.items()]
    content: dict[str, Any] = {
        "title": "What the studies found",
        "groups": [(head, own) for head, own in groups if own],
    }
    bare = page("results", pictures={}, **content)
    return page("results", pictures=pictures(files, room=LARGEST - _MARGIN - len(bare)), **content)
