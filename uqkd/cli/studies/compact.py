"""`uqkd compact …`: gather the many small files of a results folder or bank in few."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.errors import OptionError


@app.command(epilog=STUDIES)
@stoppable
def compact(
    results: Annotated[str, typer.Argument(help="results folder, bank or fsspec URL")] = "results",
) -> None:
    """Gather the units of results or of a bank in few files. They are read again before their parts are deleted."""
    from uqkd.store import Store

    store = Store(results, create=False)
    if not (studies := store.studies()):
        raise OptionError(f"{results!r} holds no units; give the --out of an earlier run or the --bank of a sample.")
    if swept := store.sweep():
        print(f"{swept} unfinished files of stopped runs deleted")
    lost = 0
    for study in studies:
        before = store.stock(study)
        store.compact(study)
        after = store.stock(study)
        print(f"{study}: {before} -> {after}" if after != before else f"{study}: {before}, compact already", flush=True)
        lost += max(before.units - after.units, 0)
    if lost:
        what = "unit was" if lost == 1 else "units were"
        print(f"error: {lost} damaged {what} moved to quarantine; run again what made it.", file=sys.stderr)
        raise typer.Exit(1)
