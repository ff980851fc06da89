"""`uqkd measure …`: let students answer, and measure what they do not know. Heavy libraries load when the command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from uqkd.cli.app import app, stoppable
from uqkd.errors import OptionError


@app.command()
@stoppable
def measure(
    students: Annotated[str, typer.Option(help="folder of uqkd distill")],
    prompts: Annotated[str, typer.Option(help=".jsonl, .csv or .parquet with 'prompt' (id, answers); or a data set")],
    out: Annotated[str, typer.Option(help="table to write: .csv; the prompts go to NAME.prompts.csv")],
    draws: Annotated[int, typer.Option(help="responses to each prompt by each student")] = 8,
    teacher_bank: Annotated[
        str | None, typer.Option(help="a teacher's responses that no student was trained on")
    ] = None,
    backend: Annotated[str, typer.Option(help="transformers or vllm")] = "transformers",
    temperature: Annotated[float, typer.Option(help="of the students' answers")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="greatest length of a response")] = 256,
    clusters: Annotated[str, typer.Option(help="exact, normalised or nli")] = "normalised",
    nli: Annotated[str | None, typer.Option(help="model of clusters nli")] = None,
    embedding: Annotated[str, typer.Option(help="builtin, or a sentence-transformers model")] = "builtin",
    max_flagged: Annotated[float, typer.Option(help="greatest share of flagged responses")] = 1.0,
) -> None:
    """Draw answers of every student, kept beside the table, and measure what they still do not know."""
    from uqkd.llm import Sampling, open_teacher, read_prompts, respond
    from uqkd.llm import measure as estimate
    from uqkd.llm.bank import Bank
    from uqkd.llm.responses import Responses

    folders = sorted(Path(students).glob("student-*"), key=lambda folder: int(folder.name.split("-")[1]))
    if len(folders) < 2:
        raise OptionError(f"measure needs two students at least; {students!r} has {len(folders)}. Distil more.")
    if not out.endswith(".csv"):
        raise OptionError(f"--out got {out!r}; give a file that ends in .csv.")
    wanted, sampling = read_prompts(prompts), Sampling(temperature=temperature, max_tokens=max_tokens)
    answers = []
    for folder in folders:
        bank = Bank(f"{out.removesuffix('.csv')}.draws/{folder.name}")
        if bank.inventory(wanted, draws).missing.size:
            opened = open_teacher(folder, backend=backend)
            try:
                print(f"{folder.name}: drawing {draws} answers to each of {len(wanted)} prompts", flush=True)
                respond(
                    opened, wanted, draws, bank=bank, sampling=sampling, key=("llm", "measure", folder.name),
                    max_flagged=max_flagged,
                )  # fmt: skip
            finally:
                opened.close()
        own = bank.responses(wanted, students=1, k=draws, per_student=draws)
        answers += [own.distinct[int(i)] for i in own.index.ravel()]
    ours = Responses.gather(wanted, answers, (len(folders), len(wanted), draws))
    teacher = None
    if teacher_bank is not None:
        drawn = Bank(teacher_bank, create=False)
        every = drawn.prompts()[1]
        teacher = drawn.responses(wanted, students=1, k=every, per_student=every)
    found = estimate(ours, teacher, embedding=embedding, clusters=clusters, model=nli)
    _write(out, found)
    for name, value, error in zip(
        *(found.quantities[c] for c in ("quantity", "estimate", "standard_error")), strict=True
    ):
        print(f"{name:30} {value:10.4f} ± {error:.4f}")
    print(f"{out}: {len(folders)} students, {len(wanted)} prompts, {draws} answers each")


def _write(out: str, found: Any) -> None:
    """Two CSV files; a text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    import pandas as pd

    from uqkd.store import Store

    path = Path(out).absolute()
    store = Store(path.parent)
    for name, columns in ((path.name, found.quantities), (f"{path.stem}.prompts.csv", found.prompts)):
        table = pd.DataFrame(columns)
        for column in table.columns:
            table[column] = [
                f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@", "\t", "\r") else v
                for v in table[column]
            ]
        store.write_bytes(name, table.to_csv(index=False).encode("utf-8", "surrogatepass"))
