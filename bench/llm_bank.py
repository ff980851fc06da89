"""The sample bank against vLLM's own generate, and the seconds until the first token; beside them the rows of `bank_reading`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import bank_reading
from bench.measuring import Row, paired
from uqkd import seeds
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.responses import Prompts
from uqkd.llm.sampling import Sampling

PROMPTS, K, TOKENS, VOCABULARY = 1024, 4, 16, 512  # 4,096 requests: some ten seconds on two cores


def model(path: Path) -> Path:
    """The teacher of the prototype's shape, 4 layers of 128, untrained: its speed does not depend on its weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<unk>", "<s>", "</s>", "<pad>", *(f"w{i}" for i in range(VOCABULARY - 4))]
    core = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(path)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )
    with seeds.torch_stream("bench", "llm bank", shared=True):
        LlamaForCausalLM(config).save_pretrained(path)
    return path


def some_prompts(count: int) -> Prompts:
    """Prompts of two or three words."""
    texts = tuple(f"w{i % 500} w{i // 500}" + " w7" * (i % 2) for i in range(count))
    return Prompts(tuple(f"q{i}" for i in range(count)), texts)


def throughput(path: Path, place: Path) -> list[Row]:
    """Bank against raw generate on one engine, and the seconds until that engine answers."""
    from uqkd.llm.teachers import Request, complete, open_teacher

    started = time.perf_counter()
    teacher: Any = open_teacher(path, backend="vllm", dtype="float32")
    opened_s = time.perf_counter() - started
    started = time.perf_counter()
    complete(teacher, [Request((5, 6), 1)], Sampling(max_tokens=1))
    first_s = time.perf_counter() - started
    prompts = some_prompts(PROMPTS)
    done = 0

    def ours() -> None:
        nonlocal done
        done += 1
        bank = Bank(place / f"bank-{done}")
        fill_bank(teacher, prompts, K, bank=bank, sampling=Sampling(max_tokens=TOKENS), max_flagged=1.0)

    ours_s, raw_s, ratio = paired(ours, raw(teacher, prompts), rounds=3)
    teacher.close()
    return [*speed(ours_s, raw_s, ratio), *starting(opened_s, first_s)]


def speed(ours_s: float, raw_s: float, ratio: float) -> list[Row]:
    """Tokens per second of both."""
    tokens = PROMPTS * K * TOKENS
    return [
        Row(
            f"teacher sampling, {PROMPTS} prompts x {K} x {TOKENS} tokens, seed by seed",
            f"{tokens / ours_s:,.0f} tokens/s",
            f"vLLM generate(n={K}), {tokens / raw_s:,.0f} tokens/s",
            ratio,
            ">= 0.9",
            ratio >= 0.9,
        ),
    ]


def starting(opened_s: float, first_s: float) -> list[Row]:
    """Seconds until the first token; vLLM's own were measured once, each engine start costs a minute."""
    return [
        Row(
            "engine start, with the import of vLLM",
            f"{opened_s:.1f} s",
            "vLLM's defaults, about 54 s",
            opened_s,
            "<= 30",
            opened_s <= 30,
        ),
        Row(
            "first step of the engine", f"{first_s:.2f} s", "vLLM's defaults, about 20 s", first_s, "<= 2", first_s <= 2
        ),
    ]


def raw(teacher: Any, prompts: Prompts) -> Callable[[], None]:
    """The same requests as a user of vLLM would write them: one seed for all, n=k."""
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    from uqkd.llm.teachers.backends.vllm.quiet import quiet

    def generate() -> None:
        asked = [TokensPrompt(prompt_token_ids=list(teacher.encoder.encode(text))) for text in prompts.texts]
        with quiet():  # without it the first call compiles
            teacher.engine.llm.generate(asked, SamplingParams(n=K, max_tokens=TOKENS, logprobs=0), use_tqdm=False)

    return generate


def rows() -> list[Row]:
    """The table's rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return [*bank_reading.rows(), *throughput(model(place / "model"), place)]
