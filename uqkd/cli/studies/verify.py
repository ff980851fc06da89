"""`uqkd verify …`: check all that a results folder, a bank or a folder of students holds; make damaged studies anew."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.errors import OptionError, UqkdError

_AGAIN = {"units/bank/": "the uqkd sample or uqkd import that filled the bank", "student-": "the same uqkd distill"}


@app.command(epilog=STUDIES)
@stoppable
def verify(
    results: Annotated[str, typer.Argument(help="results folder, bank, folder of students, or fsspec URL")] = "results",
    quarantine: Annotated[bool, typer.Option("--quarantine", help="move the bad files to quarantine/")] = False,
    run_again: Annotated[
        bool, typer.Option("--repair", help="move them there, and run again the studies that they were of")
    ] = False,
) -> None:
    """Check units, banks, figures, tables and trained students against their hashes; list what is damaged, missing or foreign."""
    from uqkd.llm.prompts.cells import counted
    from uqkd.store.verifying import verify_all

    verdict = verify_all(results, quarantine=quarantine or run_again)
    if verdict.nothing:
        raise OptionError(f"{results!r} holds no units, figures or students; give the --out of an earlier run.")
    for path, reason in verdict.bad:
        print(f"bad: {path}: {reason}")
    counts = [(verdict.folders, "trained model"), (verdict.files, "file")]
    said = ", ".join([*(counted(n, what) for n, what in counts if n), f"{verdict.units} units"])
    moved = ", moved to quarantine" if (quarantine or run_again) and verdict.bad else ""
    print(f"{said} verified, {len(verdict.bad)} bad{moved}")
    if verdict.bad and not (run_again and _repaired(results, [path for path, _ in verdict.bad])):
        raise typer.Exit(1)


def _repaired(results: str, paths: list[str]) -> bool:
    """Run again what the paths were of; whether nothing is left to be run by hand."""
    from uqkd.report import claims
    from uqkd.report import page as gallery
    from uqkd.store import Store

    left = {what for path in paths for part, what in _AGAIN.items() if part in path}
    store = Store(results, create=False)
    settings = _settings(store)
    for study in sorted(_studies(paths, settings)):
        if (said := _run_again(store, study, settings.get(study))) is not None:
            left.add(f"uqkd study {study} ({said})")
    if settings:
        claims.write(store)
        gallery.write(store)
    for what in sorted(left):
        print(f"run again: {what}")
    return not left


def _studies(paths: Iterable[str], settings: dict[str, Any]) -> set[str]:
    """Names of the studies whose units, figures or tables these were."""
    found = set[str]()
    for path in paths:
        room, _, rest = path.partition("/")
        if room == "units" and not rest.startswith("bank/") and "/" in rest:
            found.add(rest.partition("/")[0])
        elif room in ("figures", "tables") and rest != "claims.csv":
            whose = [name for name in settings if rest.startswith(f"{name}.")]
            found.add(max(whose, key=len, default=rest.partition(".")[0]))
    return found


def _settings(store: Any) -> dict[str, Any]:
    """Preset and options of each study that has a figure, as the figure says."""
    found = {}
    for name in store.folder.names("figures"):
        if name.endswith(".json"):
            try:
                found[name.removesuffix(".json")] = json.loads(store.folder.read(f"figures/{name}"))["settings"]
            except (ValueError, KeyError, TypeError, FileNotFoundError):
                continue
    return found


def _run_again(store: Any, study: str, settings: dict[str, Any] | None) -> str | None:
    """Measure what a study lacks and draw it again with the options that it had; why not, if that cannot be done."""
    from uqkd import __version__
    from uqkd.run import Run, Workers, load_study

    if not settings or "options" not in settings:
        return "which options it had is not known any more"
    try:
        loaded = load_study(study)
        options = loaded.options(settings["preset"], settings["options"])
        run = Run(loaded, store, workers=Workers(1), settings={**settings, "version": __version__})
        loaded.main(options, run)
    except UqkdError as problem:
        return " ".join(str(problem).split())
    print(f"{study}: {run.computed} units computed, {run.reused} read, figure and tables written")
    return None
