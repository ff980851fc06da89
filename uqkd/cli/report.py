"""`uqkd report …`: a results folder, a bank or a folder of students as one file. Heavy libraries load when the command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.errors import OptionError


@app.command(epilog=STUDIES)
@stoppable
def report(
    path: Annotated[
        str, typer.Argument(help="--out of uqkd study or uqkd distill, or --bank of uqkd sample or import")
    ],
    out: Annotated[str | None, typer.Option(help="file to write: .html; default: report.html in the folder")] = None,
) -> None:
    """One HTML file to hand on: what a results folder, a bank or a folder of students says. It fetches and runs nothing."""
    from uqkd.store import Store, apart

    if out is not None and not out.endswith((".html", ".htm")):
        raise OptionError(f"--out got {out!r}; give a file that ends in .html.")
    store = Store(path, create=False)
    kind, made = _made(path, store)
    if out is None:
        store.write_bytes("report.html", made)
        place = f"{path.rstrip('/')}/report.html"
    else:
        folder, file = apart(out)
        Store(folder).write_bytes(file, made, recorded=False)
        place = out
    print(f"{place}: {kind}, {len(made) / 1000:,.0f} kB in one file")


def _made(path: str, store: object) -> tuple[str, bytes]:
    """What lies there, and its report."""
    from uqkd.report.standalone import bank_report, results_report, students_report
    from uqkd.store import Store, twin

    assert isinstance(store, Store)
    if any(name.startswith("student-") for name in store.folder.names("")):
        return "a folder of students", students_report(twin(path))
    if any(name.endswith(".json") for name in store.folder.names("figures")):
        return "a results folder", results_report(store)
    if "bank" in store.studies():
        from uqkd.llm.bank import Bank
        from uqkd.llm.bank.describing import describe

        return "a bank", bank_report(describe(Bank(path, create=False)))
    raise OptionError(
        f"{path!r} is none of what a report is of: a results folder (figures/), a bank (units/bank/) or students (student-0/)."
    )
