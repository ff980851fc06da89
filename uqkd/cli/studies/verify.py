"""`uqkd verify …`: check every unit of a results folder or bank."""

from __future__ import annotations

from typing import Annotated

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.errors import OptionError


@app.command(epilog=STUDIES)
@stoppable
def verify(
    results: Annotated[str, typer.Argument(help="results folder or fsspec URL")] = "results",
    quarantine: Annotated[bool, typer.Option("--quarantine", help="move the bad files to quarantine/")] = False,
) -> None:
    """Check every unit against its hash; list corrupt and foreign files. Figures and tables are made anew by a run."""
    from uqkd.store import Store

    store = Store(results, create=False)
    if not store.studies():
        raise OptionError(f"{results!r} holds no units; give the --out of an earlier run.")
    report = store.verify(move=quarantine)
    for path, reason in report.bad:
        print(f"bad: {path}: {reason}")
    moved = ", moved to quarantine" if quarantine and report.bad else ""
    print(f"{report.ok} units verified, {len(report.bad)} bad{moved}")
    if report.bad:
        raise typer.Exit(1)
