"""`uqkd sample …`: draw a teacher's responses into a bank. Heavy libraries are imported when the command runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from uqkd.cli.app import MODELS, app, stoppable
from uqkd.cli.executing import (
    AddressOption,
    DryRunOption,
    Executor,
    ExecutorOption,
    PriceOption,
    WorkersOption,
    compare,
    show,
)
from uqkd.cli.models.predicting import predict_drawing
from uqkd.errors import OptionError

MAX_TOKENS = 256  # of an answer of a chat model; what is longer is cut, flagged and counted


@app.command(epilog=MODELS)
@stoppable
def sample(
    teacher: Annotated[str, typer.Option(help="folder of a model, its name on the hub, or its name at an API")],
    prompts: Annotated[str, typer.Option(help=".jsonl, .csv or .parquet with 'prompt' or 'messages'; or a data set")],
    bank: Annotated[str, typer.Option(help="folder or fsspec URL of the responses")],
    k: Annotated[int, typer.Option("--k", help="responses to each prompt (for each student)")] = 4,
    students: Annotated[int, typer.Option(help="students that get k responses of their own each")] = 1,
    backend: Annotated[
        str, typer.Option(help="vllm, transformers, server (token ids), openai (text), or a backend's file")
    ] = "vllm",
    temperature: Annotated[float, typer.Option(help="0 takes the most probable token")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="greatest length of a response")] = MAX_TOKENS,
    top_p: Annotated[float, typer.Option(help="keep tokens of this total probability")] = 1.0,
    top_k: Annotated[int, typer.Option(help="keep so many tokens; 0 keeps all")] = 0,
    min_p: Annotated[float, typer.Option(help="drop tokens below this share of the most probable")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none")] = 1.0,
    system: Annotated[str | None, typer.Option(help="a system turn before every prompt")] = None,
    template_arg: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="of the chat template: enable_thinking=false")
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="chat template; default: if there is one")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="a column's name in the file: prompt=question")
    ] = None,
    split: Annotated[str, typer.Option(help="of a data set")] = "train",
    too_long: Annotated[str, typer.Option(help="prompts beyond the context: error, or skip them")] = "error",
    max_flagged: Annotated[float, typer.Option(help="stop above this share of flagged responses (cut, empty)")] = 1.0,
    seed_key: Annotated[str, typer.Option(help="another text gives independent draws")] = "bank",
    dtype: Annotated[str, typer.Option(help="auto (as saved), float32, bfloat16 or float16")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    chunk: Annotated[int, typer.Option(help="responses committed at once, at most")] = 2048,
    url: Annotated[str | None, typer.Option(help="of a server, with its /v1")] = None,
    model: Annotated[str | None, typer.Option(help="the model's name at the server, if it is another")] = None,
    api_key_env: Annotated[str | None, typer.Option(help="environment variable that holds the key")] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="sent with each request; $VAR is read there")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="requests under way at a server")] = None,
    retries: Annotated[int | None, typer.Option(help="of one request, with growing pauses")] = None,
    requests_per_minute: Annotated[float | None, typer.Option(help="limit at a server")] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(help="limit at a server, prompts and responses")] = None,
    timeout_s: Annotated[float | None, typer.Option(help="for one answer of a server")] = None,
    seeds: Annotated[str | None, typer.Option(help="sent, or none for an API that refuses seeds")] = None,
    logprobs: Annotated[str | None, typer.Option(help="of backend server: raw or processed")] = None,
    max_tokens_field: Annotated[str | None, typer.Option(help="max_tokens or max_completion_tokens")] = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    dry_run: DryRunOption = False,
    price_hour: PriceOption = None,
) -> None:
    """Draw a teacher's responses into a bank; only those that it lacks."""
    from uqkd.llm.bank import Bank
    from uqkd.llm.prompts import read_prompts
    from uqkd.llm.sampling import Sampling
    from uqkd.run.predictions import clock, key_of

    began, where = clock(), Executor(executor, address, workers)
    sampling = Sampling(temperature, top_p, top_k, min_p, repetition_penalty, max_tokens)
    wanted = read_prompts(prompts, split=split, system=system, columns=pairs("--column", column), note=note)
    opened = _opened(
        teacher, where, chunk,
        backend=backend, dtype=dtype, device=device, chat=chat, url=url, model=model, api_key_env=api_key_env,
        template_args=typed(pairs("--template-arg", template_arg)), headers=pairs("--header", header) or None,
        concurrency=concurrency, retries=retries, requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute, timeout_s=timeout_s, seeds=seeds, logprobs=logprobs, max_tokens_field=max_tokens_field,
    )  # fmt: skip
    try:
        there, key = Bank(bank), key_of(
            prompts=wanted.fingerprint, k=students * k, sampling=sampling.columns(), teacher=opened.about.revision,
            executor=executor, workers=workers,
        )  # fmt: skip
        if dry_run:
            missing = len(there.inventory(wanted, students * k).missing)
            found = predict_drawing(opened, wanted, missing, sampling=sampling, where=where, before_s=clock() - began)
            show(found, there.store, key, price_hour)
            return
        drawn = _draw(opened, wanted, there, sampling, students, k, ("llm", seed_key), max_flagged=max_flagged,
                      too_long=too_long, chunk=chunk)  # fmt: skip
        compare(there.store, key, count=drawn, seconds=clock() - began)
    finally:
        opened.close()
        if spent := getattr(opened, "spent", None):
            print(f"spent: {spent}", flush=True)


def _opened(teacher: str, where: Executor, chunk: int, **options: Any) -> Any:
    """The teacher in this process, or in engines on Ray."""
    from uqkd.llm.teachers import open_teacher
    from uqkd.llm.teachers.distributed import DistributedTeacher, Drawing

    if where.is_local:
        return open_teacher(teacher, **options)
    pool = where.actors(Drawing(teacher, options), device=options["device"], what="responses")
    try:
        return DistributedTeacher(pool, at_once=chunk)
    except BaseException:
        pool.close()
        raise


def _draw(
    teacher: Any, wanted: Any, bank: Any, sampling: Any, students: int, k: int, key: tuple[str, ...], **options: Any
) -> int:
    """Draw with a progress bar, audit what students would get, and say what there is; how many were drawn."""
    from uqkd.llm.bank.auditing import audit
    from uqkd.llm.bank.filling import fill_bank, flags_line
    from uqkd.run.progress import Progress

    held = bank.inventory(wanted, students * k)
    reused, started = held.codes.size - len(held.missing), time.monotonic()
    if len(held.missing):
        first = "; vLLM starts first, which takes some 20 s on a CPU" if teacher.about.backend == "vllm" else ""
        print(
            f"drawing {len(held.missing)} responses to {len(wanted)} prompts by {teacher.about.name}{first}", flush=True
        )
    with Progress("sample", total=held.codes.size, done=reused, what="responses") as progress:

        def advance(done: int, total: int) -> None:
            progress.total, progress.done = total, done - 1
            progress.advance()

        fill_bank(
            teacher, wanted, students * k, bank=bank, sampling=sampling, key=key, progress=advance,
            show=lambda line: print(line, flush=True), **options,
        )  # fmt: skip
    seconds = time.monotonic() - started
    now = bank.inventory(wanted, students * k)
    whole = [place for place, row in enumerate(now.codes) if row.all()]
    if whole:
        print(audit(bank, wanted.select(whole), students=students, k=k, per_student=k), flush=True)
    drawn = now.codes.size - len(now.missing) - reused
    pace = f"; {seconds:.0f} s" if drawn else ""
    lacks = f", {len(now.missing)} responses left out (see left_out.jsonl)" if len(now.missing) else ""
    flagged = f" ({flags_line(now)})" if now.flagged else ""
    print(f"{bank.root}: {drawn} responses drawn, {reused} reused, {now.flagged} flagged{flagged}{lacks}{pace}")
    if cut := now.flags.get("length", 0):
        share = cut / (now.codes.size - len(now.missing))
        print(
            f"note: {share:.1%} of the responses were cut at {sampling.max_tokens} tokens; raise --max-tokens in another bank"
        )
    print(f"look into it with: uqkd show {bank.root}")
    return drawn


def note(line: str) -> None:
    """Print a note at once."""
    print(f"note: {line}", flush=True)


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """NAME=VALUE options as a mapping.

    Examples
    --------
    >>> pairs("--column", ["prompt=question"])
    {'prompt': 'question'}
    >>> pairs("--column", ["prompt"])
    Traceback (most recent call last):
    uqkd.errors.OptionError: --column got 'prompt'; write it as --column name=value.
    """
    found: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise OptionError(f"{option} got {text!r}; write it as {option} name=value.")
        if name.strip() in found:
            raise OptionError(
                f"{option} names {name.strip()!r} twice, {found[name.strip()]!r} and {value!r}; give one."
            )
        found[name.strip()] = value
    return found


def typed(given: dict[str, str]) -> dict[str, Any] | None:
    """Values as YAML reads them; None for no options.

    Examples
    --------
    >>> typed({"enable_thinking": "false", "style": "brief"})
    {'enable_thinking': False, 'style': 'brief'}
    """
    import yaml

    return {name: yaml.safe_load(value) for name, value in given.items()} or None
