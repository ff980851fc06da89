"""A real chat model on real questions: a bank, seed by seed, against raw `LLM.chat(n=8)`, both at their best settings."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench.measuring import Row, paired
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts import Prompts, messages
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher

MODEL = Path(__file__).parents[1] / ".real" / "smollm2-135m-instruct"
K, TOKENS = 8, 32
SIZES = {40: 40, 400: 16}  # tokens of a prompt: prompts; some 25 s a call on two cores
ROUNDS = 3


def some_prompts(length: int, count: int, encoder: Any) -> Prompts:
    """Questions that come out at about this many tokens with the template."""
    lands = ("France", "Japan", "Kenya", "Peru", "Norway", "India", "Chile", "Egypt", "Ghana", "Nepal")
    things = ("capital", "largest city", "longest river", "highest mountain")
    asked = [f"What is the {thing} of {land}?" for thing in things for land in lands][:count]
    texts = []
    for number, question in enumerate(asked):
        text = question
        while len(encoder.encode(text)) < length - 5:
            text = f"Remark {number}: the traveller asked for the way, paid in coins and went on. {text}"
        texts.append(text)
    return Prompts(tuple(f"q{i}" for i in range(count)), tuple(texts))


def raw_engine() -> Any:
    """vLLM as one would start it for these prompts at its fastest: small blocks, no more context than it takes."""
    from vllm import LLM

    return LLM(
        model=str(MODEL), dtype="float32", generation_config="vllm", enforce_eager=True, block_size=32, max_model_len=512,
        distributed_executor_backend="uni", kv_cache_memory_bytes=2 * 2**30, disable_log_stats=True, seed=0,
    )  # fmt: skip


def rows() -> list[Row]:
    """One row a length of prompt."""
    import torch

    from uqkd.llm.teachers.backends.vllm.quiet import quiet

    teacher = open_teacher(MODEL, backend="vllm", dtype="float32")
    longest = max(SIZES)
    next(teacher.stream(iter(()), Sampling()), None)
    set_threads = torch.set_num_threads
    teacher.engine.fit(longest + 40, TOKENS, limit=0)  # type: ignore[attr-defined]
    with quiet():
        engine = raw_engine()
    torch.set_num_threads = set_threads
    found = [_row(teacher, engine, length, count) for length, count in SIZES.items()]
    teacher.close()
    return found


def _row(teacher: Any, engine: Any, length: int, count: int) -> Row:
    from vllm import SamplingParams

    from uqkd.llm.teachers.backends.vllm.quiet import quiet

    prompts = some_prompts(length, count, teacher.encoder)
    chats = [messages(prompts.turns(p)) for p in range(count)]
    drawn: dict[str, list[int]] = {"ours": [], "raw": []}
    with tempfile.TemporaryDirectory() as folder:

        def ours() -> None:
            bank = Bank(Path(folder) / str(len(drawn["ours"])))
            # Another key each time, so that no draw and no cached block of a response is met again.
            fill_bank(
                teacher,
                prompts,
                K,
                bank=bank,
                sampling=Sampling(max_tokens=TOKENS),
                key=("bench", len(drawn["ours"]), length),
            )
            drawn["ours"].append(int(bank.table(prompts)["tokens"].sum()))

        def raw() -> None:
            with quiet():
                made = engine.chat(chats, SamplingParams(n=K, max_tokens=TOKENS), use_tqdm=False)
            drawn["raw"].append(sum(len(one.token_ids) for request in made for one in request.outputs))

        ours_s, raw_s, _ = paired(ours, raw, rounds=ROUNDS)
    tokens = {name: sum(counts[1:]) / ROUNDS for name, counts in drawn.items()}
    rate, against = tokens["ours"] / ours_s, tokens["raw"] / raw_s
    return Row(
        f"real chat model, {count} prompts of {length} tokens x {K} x {TOKENS}, seed by seed, into a bank",
        f"{rate:,.0f} tokens/s",
        f"vLLM LLM.chat(n={K}), {against:,.0f} tokens/s",
        rate / against,
        ">= 0.9",
        rate / against >= 0.9,
    )
