"""`uqkd answers …`: what the studies of a results folder answer, and what becomes of claims; hold a README against it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from uqkd.cli.app import STUDIES, app
from uqkd.errors import OptionError


@app.command(epilog=STUDIES)
def answers(
    results: Annotated[str, typer.Argument(help="results folder or fsspec URL")] = "results",
    check: Annotated[
        Path | None, typer.Option(help="file whose table of answers must be carried by the results")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="file whose table of answers is written from the results")] = None,
) -> None:
    """Print the answers of all studies, made from their tables; or check or write those and the verdicts on claims in a README."""
    from uqkd.report import claims
    from uqkd.report.answers import readme
    from uqkd.store import Store
    from uqkd.store.durable import open_folder

    found = readme.answers(Store(results, create=False))
    if not found:
        raise OptionError(f"{results!r} holds no published study; give the --out of uqkd study.")
    if check is None and write is None:
        for study, answer in found.items():
            print(f"{study}: {answer.text if answer is not None else 'states no answer'}")
    if write is not None:
        text = claims.written(readme.written(_text(write, "--write"), found), found)
        open_folder(write.parent).write(write.name, text.encode())
        print(f"{write} has the answers of {results}")
    if check is not None:
        text = _text(check, "--check")
        if wrong := readme.differences(text, found) + claims.differences(text, found):
            print("\n".join([f"error: {results} does not carry {check}:", *wrong]), file=sys.stderr)
            raise typer.Exit(1)


def _text(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise OptionError(f"{option} {file}: {problem}. Give a text file with a table of answers.") from None
