"""The report of a results folder: every question with its answer and its figure, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from uqkd.errors import DataError
from uqkd.report.standalone.frame import LARGEST, page
from uqkd.report.standalone.pictures import pictures
from uqkd.store import Store

GROUPS = {
    "across": "Across the layers",
    "linear": "Linear students",
    "mlp": "Networks",
    "llm": "Language models",
    "classify": "Classifiers",
    "": "Others",
}
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
    items = sorted(_published(store), key=lambda one: (one["place"], one["study"]))
    if not items:
        raise DataError(f"{store.root!r} holds no figures (figures/STUDY.json); give the --out of uqkd study.")
    files = {one["study"]: data for one in items if (data := _read(store, f"figures/{one['study']}.png"))}
    groups = [(head, [one for one in items if one["group"] == name]) for name, head in GROUPS.items()]
    content: dict[str, Any] = {
        "title": "What the studies found",
        "groups": [(head, own) for head, own in groups if own],
    }
    bare = page("results", pictures={}, **content)
    return page("results", pictures=pictures(files, room=LARGEST - _MARGIN - len(bare)), **content)


def _published(store: Store) -> list[dict[str, Any]]:
    found = []
    for name in store.folder.names("figures"):
        if not name.endswith(".json"):
            continue
        study = name.removesuffix(".json")
        try:
            about = json.loads(store.folder.read(f"figures/{name}"))
            found.append(_item(study, about, store))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise DataError(
                f"figures/{name} of {store.root!r} cannot be read: {problem!r}. Run the study again."
            ) from None
    return found


def _item(study: str, about: Mapping[str, Any], store: Store) -> dict[str, Any]:
    answer = about.get("answer") or {}
    settings = about.get("settings") or {}
    rows = len((_read(store, f"tables/{study}.csv") or b"\n").splitlines()) - 1
    group = about.get("group") or _guessed(study)
    return {
        "study": study,
        "title": about["title"],
        "caption": about["caption"],
        "answer": answer.get("text", ""),
        "group": group if group in GROUPS else "",
        "place": about.get("place", 100),
        "preset": settings.get("preset", ""),
        "version": settings.get("version", ""),
        "rows": rows,
    }


def _guessed(study: str) -> str:
    """The group of a study that does not say it."""
    first = study.split("_")[0]
    return first if first in GROUPS else ""


def _read(store: Store, path: str) -> bytes | None:
    try:
        return store.folder.read(path)
    except OSError:
        return None
