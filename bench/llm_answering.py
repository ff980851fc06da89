"""Students that answer: transformers against its own `generate`, adapters through one engine, and a million answers measured."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.bank_reading import K, fill
from bench.measuring import Row, paired
from uqkd import seeds
from uqkd.llm.bank import Bank
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import Request, complete, open_teacher

REAL = Path(__file__).parents[1] / ".real"
TOKENS = 200
BATCHES = {
    "smollm2-6layers": 32,
    "smollm2-135m-instruct": 8,
}  # model: requests of a batch; a minute a call on two cores
SLOWER = 1.2
STUDENTS, ANSWERS, LENGTH = 4, 96, 32  # adapters; answers of each; tokens of an answer
SLOWER_TOGETHER = 1.3
MEASURED_STUDENTS, RESPONSES, GOAL_MB, GOAL_S = 8, 10**6, 4096.0, 300.0
ROUNDS = 3

_MEASURE = """
import resource, sys, time
from uqkd.llm import estimate
from uqkd.llm.bank import Bank
from uqkd.llm.measuring.answers.kept import answers_of
place, students, draws, clusters = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
started = time.perf_counter()
banks = [Bank(f"{place}/{s}", create=False) for s in range(students)]
answers = answers_of(banks, banks[0].prompts()[0], draws)
estimate(answers, undistilled=answers.of_students(0), clusters=clusters)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class Endless:
    """An encoder after which no answer ends by itself: the last row of the embedding, which nothing makes probable, ends it."""

    def __init__(self, encoder: Any) -> None:
        self._encoder, self.chat, self.stop_ids = encoder, encoder.chat, (encoder.vocabulary - 1,)

    def decode(self, ids: Sequence[int]) -> str:
        """See `Encoder.decode`."""
        return str(self._encoder.decode(ids))


def generating(name: str, batch: int) -> Row:
    """One model: a batch of different prompts of one length, 200 tokens each, ours and `generate(do_sample=True)`."""
    import torch

    teacher: Any = open_teacher(REAL / name, backend="transformers", dtype="float32", device="cpu")
    ids = [list(teacher.encoder.encode(f"Tell a long story about a river and {100 + n} stones.")) for n in range(batch)]
    teacher.encoder = Endless(teacher.encoder)
    inputs, rounds = torch.tensor(ids), iter(range(10**6))

    def ours() -> None:
        turn = next(rounds)
        asked = [Request(tuple(own), seeds.seed63("bench", turn, n)) for n, own in enumerate(ids)]
        assert (
            sum(len(one.token_ids or ()) for one in complete(teacher, asked, Sampling(max_tokens=TOKENS)))
            == batch * TOKENS
        )

    def theirs() -> None:
        mask, length = torch.ones_like(inputs), {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
        with seeds.torch_stream("bench", next(rounds)):
            teacher._model.generate(inputs, attention_mask=mask, do_sample=True, **length)

    ours_s, theirs_s, _ = paired(ours, theirs, rounds=ROUNDS)
    return Row(
        f"answers of {TOKENS} tokens by transformers, {batch} at once, {name}",
        f"{batch * TOKENS / ours_s:,.0f} tokens/s",
        f"generate(do_sample=True), {batch * TOKENS / theirs_s:,.0f} tokens/s",
        ours_s / theirs_s,
        f"<= {SLOWER}",
        ours_s / theirs_s <= SLOWER,
    )


def save_adapters(base: Path, root: Path, count: int) -> list[Path]:
    """Adapters of rank 8 on all linear layers, with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folders = []
    for number in range(count):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        with seeds.torch_stream("bench", "adapter", number):
            adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
            for name, value in adapted.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(value, std=0.02)
        folders.append(root / f"student-{number}")
        adapted.save_pretrained(folders[-1])
        AutoTokenizer.from_pretrained(base).save_pretrained(folders[-1])
    return folders


@contextmanager
def held(folders: Sequence[Path]) -> Iterator[list[Any]]:
    """Teachers of one engine, all open at the same time."""
    from uqkd.llm.teachers.backends.vllm import open_together

    teachers = [teacher for _, teacher in open_together(folders, dtype="float32")]
    try:
        yield teachers
    finally:
        for teacher in teachers:
            teacher.close()


def adapters() -> Row:
    """Four adapters, one after another through one engine, against as many answers of one whole model in an engine of its own."""
    base = REAL / "smollm2-6layers"
    with tempfile.TemporaryDirectory() as place:
        folders = save_adapters(base, Path(place), STUDENTS)
        with held(folders) as students, held([base]) as (whole,):
            prompts = [
                students[0].encoder.encode(f"What is the capital of land number {n}?") for n in range(ANSWERS // 4)
            ]
            rounds = iter(range(10**6))

            def asked(count: int) -> list[Request]:
                turn = next(rounds)
                return [
                    Request(prompts[n % len(prompts)], seeds.seed63("bench", "adapters", turn, n)) for n in range(count)
                ]

            def ours() -> None:
                for student in students:
                    complete(student, asked(ANSWERS), Sampling(max_tokens=LENGTH))

            def theirs() -> None:
                complete(whole, asked(STUDENTS * ANSWERS), Sampling(max_tokens=LENGTH))

            ours_s, theirs_s, _ = paired(ours, theirs, rounds=ROUNDS)
    tokens = STUDENTS * ANSWERS * LENGTH
    return Row(
        f"answers of S={STUDENTS} adapters through one engine of vLLM, {ANSWERS} x {LENGTH} tokens each, smollm2-6layers",
        f"{tokens / ours_s:,.0f} tokens/s",
        f"as many of one whole model, {tokens / theirs_s:,.0f} tokens/s",
        ours_s / theirs_s,
        f"<= {SLOWER_TOGETHER}",
        ours_s / theirs_s <= SLOWER_TOGETHER,
    )


def measuring(responses: int = RESPONSES) -> list[Row]:
    """A million answers of eight students, all different: the worst case for whatever keeps texts."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        for s in range(MEASURED_STUDENTS):
            fill(Bank(Path(place) / str(s)), responses // (MEASURED_STUDENTS * K) * K, key=(s,))
        for clusters in ("exact", "normalised"):
            line = [sys.executable, "-c", _MEASURE, place, str(MEASURED_STUDENTS), str(K), clusters]
            done = subprocess.run(line, check=True, capture_output=True, text=True)
            seconds, megabytes = map(float, done.stdout.split())
            met = seconds <= GOAL_S and megabytes <= GOAL_MB
            found.append(
                Row(
                    f"measure {responses:,} answers of S={MEASURED_STUDENTS}, clusters {clusters}",
                    f"{responses / seconds:,.0f} answers/s",
                    f"{seconds:.0f} s, {megabytes:,.0f} MB at most",
                    megabytes,
                    f"<= {GOAL_MB:.0f} MB, <= {GOAL_S:.0f} s",
                    met,
                )
            )
    return found


def rows() -> list[Row]:
    """The table's rows."""
    return [*(generating(name, batch) for name, batch in BATCHES.items()), adapters(), *measuring()]
