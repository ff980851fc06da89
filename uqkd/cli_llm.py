"""The commands of the language-model layer: `uqkd sample …`. Heavy libraries are imported when a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from uqkd.cli import _stoppable, app


@app.command()
@_stoppable
def sample(
    teacher: Annotated[str, typer.Option(help="folder of a model, or its name on the hub")],
    prompts: Annotated[str, typer.Option(help=".jsonl, .csv or .parquet with 'prompt' (id, answers); or a data set")],
    bank: Annotated[str, typer.Option(help="folder or fsspec URL of the responses")],
    k: Annotated[int, typer.Option("--k", help="responses to each prompt (for each student)")] = 4,
    students: Annotated[int, typer.Option(help="students that get k responses of their own each")] = 1,
    backend: Annotated[str, typer.Option(help="vllm, server or transformers")] = "vllm",
    temperature: Annotated[float, typer.Option(help="0 takes the most probable token")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="greatest length of a response")] = 16,
    top_p: Annotated[float, typer.Option(help="keep tokens of this total probability")] = 1.0,
    top_k: Annotated[int, typer.Option(help="keep so many tokens; 0 keeps all")] = 0,
    min_p: Annotated[float, typer.Option(help="drop tokens below this share of the most probable")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none")] = 1.0,
    seed_key: Annotated[str, typer.Option(help="another text gives independent draws")] = "bank",
    dtype: Annotated[str, typer.Option(help="auto (as saved), float32, bfloat16 or float16")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="chat template; default: if there is one")
    ] = None,
    url: Annotated[str | None, typer.Option(help="of a server, with its /v1")] = None,
    split: Annotated[str, typer.Option(help="of a data set")] = "train",
    max_flagged: Annotated[float, typer.Option(help="greatest share of flagged responses (empty, cut, ...)")] = 0.01,
    chunk: Annotated[int, typer.Option(help="responses committed at once")] = 2048,
) -> None:
    """Draw a teacher's responses into a bank; only those that it lacks."""
    from uqkd.llm.auditing import audit
    from uqkd.llm.bank import Bank
    from uqkd.llm.prompts import read_prompts
    from uqkd.llm.responding import respond
    from uqkd.llm.sampling import Sampling
    from uqkd.llm.teachers import open_teacher
    from uqkd.run.progress import Progress

    sampling = Sampling(temperature, top_p, top_k, min_p, repetition_penalty, max_tokens)
    wanted = read_prompts(prompts, split=split)
    place = Bank(bank)
    opened = open_teacher(teacher, backend=backend, dtype=dtype, device=device, chat=chat, url=url)
    try:
        print(opened.encoder.preflight(wanted, max_tokens=max_tokens), flush=True)
        held = place.held(wanted, students * k)
        reused = held.codes.size - len(held.missing)
        with Progress("sample", total=held.codes.size, done=reused) as progress:

            def advance(done: int, _total: int) -> None:
                progress.done = done - 1
                progress.advance()

            respond(
                opened, wanted, students * k, bank=place, sampling=sampling, key=("llm", seed_key),
                max_flagged=max_flagged, chunk=chunk, progress=advance,
            )  # fmt: skip
    finally:
        opened.close()
    print(audit(place, wanted, students=students, k=k, per_student=k), flush=True)
    held_now = place.held(wanted, students * k)
    print(
        f"{place.root}: {held.codes.size - reused} responses drawn, {reused} reused, {held_now.flagged} flagged"
        + "".join(f", {count} {name}" for name, count in sorted(held_now.flags.items()))
    )
