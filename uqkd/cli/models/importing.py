"""`uqkd import …`: a bank of responses that people already have. Heavy libraries load when the command runs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.cli.models.sample import pairs


@app.command("import", epilog=STUDIES)
@stoppable
def import_file(
    file: Annotated[str, typer.Argument(help=".jsonl, .csv or .parquet with 'prompt' and 'response'; or a data set")],
    bank: Annotated[str, typer.Option(help="folder or fsspec URL of the responses")],
    teacher: Annotated[str | None, typer.Option(help="who responded; of a column 'model' the rows of that one")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="a column's name in the file: response=completion")
    ] = None,
    split: Annotated[str, typer.Option(help="of a data set")] = "train",
    temperature: Annotated[float | None, typer.Option(help="that they were drawn with, if you know it")] = None,
    top_p: Annotated[float | None, typer.Option(help="the same")] = None,
    top_k: Annotated[int | None, typer.Option(help="the same")] = None,
    min_p: Annotated[float | None, typer.Option(help="the same")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="the same")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="the same")] = None,
) -> None:
    """Bring responses that you already have into a bank; only those that it lacks."""
    from uqkd.llm.bank import Bank
    from uqkd.llm.bank.importing.importing import import_responses
    from uqkd.run.progress import Progress

    told = {
        "temperature": temperature, "top_p": top_p, "top_k": top_k, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "max_tokens": max_tokens,
    }  # fmt: skip
    started = time.monotonic()
    with Progress("import", total=1) as bar:

        def advance(done: int, total: int) -> None:
            bar.total, bar.done = total, done - 1
            bar.advance()

        found = import_responses(
            file, Bank(bank), teacher=teacher, split=split, columns=pairs("--column", column), progress=advance,
            sampling={name: value for name, value in told.items() if value is not None},
        )  # fmt: skip
    print(f"{found}\n{time.monotonic() - started:.1f} s; look into it with: uqkd show {bank}")
