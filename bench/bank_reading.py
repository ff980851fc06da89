"""The bank at scale: reading a million responses with hashes checked, what is counted from it, and what adding costs."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.measuring import Row
from uqkd import seeds
from uqkd.llm.bank import STUDY, Bank
from uqkd.llm.bank.columns.rows import column_types
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.prompts.rendering import Rendered
from uqkd.llm.requests import Completion, Request, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.store import Inputs

RESPONSES, TOKENS, K, UNIT = 10**6, 64, 16, 2048
VOCABULARY = 49_152  # SmolLM2's
LETTERS = 3  # of a token's text
GOAL_TOKENS_PER_S, GOAL_MB = 50e6, 2048.0
IDENTITY = {"revision": "r", "backend": "toy", "dtype": "float32", "logprobs": "processed", **Sampling().columns()}

_MEASURED = """
import resource, sys, time
import numpy, pyarrow.parquet
from uqkd.llm.bank import Bank
bank, what = Bank(sys.argv[1], create=False), sys.argv[2]
from uqkd.llm.bank.auditing import audit
prompts = bank.prompts()[0] if what in ("inventory", "responses", "audit") else None
started, computed = time.perf_counter(), time.process_time()
if what == "read":
    tokens = 0
    for table in bank.scan(["token_ids", "token_logprobs"]):
        tokens += len(table["token_ids"].chunk(0).values)
        assert len(table["token_logprobs"].chunk(0).values) == len(table["token_ids"].chunk(0).values)
    assert tokens == int(sys.argv[3]), tokens
elif what == "inventory":
    assert not len(bank.inventory(prompts, 16).missing)
elif what == "responses":
    assert bank.responses(prompts, students=4, k=4, per_student=4).shape[0] == 4
elif what == "audit":
    audit(bank, prompts, students=4, k=4, per_student=4)
elif what == "fingerprint":
    assert len(bank.fingerprint) == 32
elif what == "verify":
    assert not bank.verify().bad
taken = time.perf_counter() - started
print(taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time() - computed)
"""


def fill(bank: Bank, responses: int, *, tokens: int = TOKENS, key: tuple[Any, ...] = (), cut: bool = True) -> None:
    """Random ids, log-probabilities and texts: they hardly compress."""
    import pyarrow as pa

    types = column_types()
    for start in range(0, responses, UNIT):
        n = min(UNIT, responses - start)
        draw = seeds.generator("bench", "bank reading", *key, start, shared=True)
        row = np.arange(start, start + n)
        ends = pa.array(np.arange(n + 1, dtype=np.int32) * tokens)
        letters = draw.integers(97, 123, size=n * tokens * LETTERS).astype(np.uint8).tobytes().decode()
        width = tokens * LETTERS
        columns = {
            "prompt_id": [f"q{i // K}" for i in row],
            "prompt": [f"What would you call the {i // K}th of them?" for i in row],
            "response_index": row % K,
            "seed": draw.integers(2**63, size=n),
            "token_ids": pa.ListArray.from_arrays(
                ends, pa.array(draw.integers(VOCABULARY, size=n * tokens, dtype=np.int32))
            ),
            "text": [letters[at : at + width] for at in range(0, n * width, width)],
            "token_logprobs": pa.ListArray.from_arrays(
                ends, pa.array(-draw.standard_exponential(n * tokens, dtype=np.float32))
            ),
            "tokens": np.full(n, tokens),
            "finish_reason": ["length" if cut else "stop"] * n,
            "flags": ["length" if cut else ""] * n,
        }
        arrays = {name: columns.get(name, pa.nulls(n, kind)) for name, kind in types.items()}
        table = pa.table(arrays, schema=pa.schema(list(types.items())))
        bank.store.commit(Inputs(STUDY, {"bank": IDENTITY, "first": start}, method="bench"), table, check_twins=False)


def measured(place: Path, what: str, responses: int) -> tuple[float, float, float]:
    """Seconds, peak megabytes and seconds of computing (of all threads) of one kind of reading, in a process of its own."""
    line = [sys.executable, "-c", _MEASURED, str(place), what, str(responses * TOKENS)]
    seconds, megabytes, computed = map(
        float, subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()
    )
    return seconds, megabytes, computed


class Instant:
    """A teacher that answers at once, with answers made before: what is left is what the bank adds."""

    stop_ids = (2,)

    def __init__(self, tokens: int) -> None:
        self.about = TeacherInfo("instant", "r", "toy", "1", "float32", "processed", False)
        self.encoder: Any = self
        self._answers = []
        for number in range(512):
            draw = seeds.generator("bench", "instant", number, shared=True)
            ids = (*draw.integers(3, VOCABULARY, size=tokens - 1).tolist(), 2)
            logs = tuple((-draw.standard_exponential(tokens)).tolist())
            self._answers.append(Completion(ids, " ".join(f"w{one % 997}" for one in ids[:-1]), logs, "stop"))

    def on_day(self, _day: str | None) -> Any:
        """No template, no date."""
        return self

    def render(self, prompts: Prompts, *, max_tokens: int) -> Rendered:
        """Any ids."""
        return Rendered(((5, 6),) * len(prompts), ("0" * 16,) * len(prompts), {})

    def stream(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Completion]]:
        """One answer after the other."""
        for place, request in enumerate(requests):
            yield place, self._answers[request.seed % 512]

    def close(self) -> None:
        """Nothing to close."""


_MEMORY = """
import resource, sys
import pandas, pyarrow.parquet, numpy
from bench.bank_reading import Instant, some_prompts
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.sampling import Sampling
teacher = Instant(16)
fill_bank(teacher, some_prompts(200), 16, bank=Bank(sys.argv[2] + "-warm"), sampling=Sampling())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fill_bank(teacher, some_prompts(int(sys.argv[1])), 16, bank=Bank(sys.argv[2]), sampling=Sampling())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def some_prompts(count: int) -> Prompts:
    """Prompts of some words."""
    return Prompts(tuple(f"q{i}" for i in range(count)), tuple(f"what is number {i} ?" for i in range(count)))


def memory(place: Path) -> Row:
    """Peak memory above a warm start for 10,000 prompts by that for 1,000, 16 responses each."""

    def megabytes(prompts: int) -> float:
        line = [sys.executable, "-c", _MEMORY, str(prompts), str(place / f"memory-{prompts}")]
        return float(subprocess.run(line, check=True, capture_output=True, text=True).stdout)

    small, large = megabytes(1_000), megabytes(10_000)
    return Row(
        "bank's memory, 10,000 prompts x 16",
        f"{large:.0f} MB",
        f"1,000 prompts, {small:.0f} MB",
        large,
        "<= 40 MB for 160,000 responses",
        large <= 40,
    )


def added(place: Path, *, prompts: int = 1024, tokens: int = 256) -> Row:
    """Milliseconds that `fill_bank` adds to a response: request, seed, row, flags, compressed and synced unit, inventory."""
    teacher: Any = Instant(tokens)
    asked, best = some_prompts(prompts), float("inf")
    for turn in range(5):  # the least of five: what is added, not what others on the machine take
        started = time.perf_counter()
        fill_bank(teacher, asked, K, bank=Bank(place / f"added-{turn}"), sampling=Sampling(max_tokens=tokens))
        best = min(best, 1e3 * (time.perf_counter() - started) / (prompts * K))
    what = f"added to a response of {tokens} tokens beside the engine"
    return Row(
        what, f"{best:.3f} ms", "before reading and writing in columns, some 0.4 ms", best, "<= 0.1", best <= 0.1
    )


def rows(responses: int = RESPONSES) -> list[Row]:
    """The table's rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return [memory(place), added(place), *reading(place / "bank", responses)]


def reading(place: Path, responses: int) -> list[Row]:
    """Rows of reading; the files lie mostly in the system's memory, as the writing left them."""
    fill(Bank(place), responses)
    size = sum(file.stat().st_size for file in place.rglob("*.parquet"))
    read_s, read_mb, computed = min(measured(place, "read", responses) for _ in range(5))
    rate = responses * TOKENS / read_s
    found = [
        Row(
            f"bank, reading {responses:,} x {TOKENS} tokens, ids and log-probabilities, hashes checked",
            f"{rate / 1e6:.0f} M tokens/s",
            f"{size / responses / TOKENS:.2f} bytes a token on disk, peak {read_mb:.0f} MB, {computed:.2f} s of computing",
            rate / 1e6,
            ">= 50, <= 2,048 MB",
            rate >= GOAL_TOKENS_PER_S and read_mb <= GOAL_MB,
        )
    ]
    for what in ("inventory", "responses", "audit", "fingerprint", "verify"):
        seconds, megabytes, computed = measured(place, what, responses)
        name = f"bank, {what} of {responses:,} x {TOKENS} tokens"
        peak, good = f"peak {megabytes:.0f} MB, {computed:.2f} s of computing", megabytes <= GOAL_MB
        found.append(Row(name, f"{responses / seconds:,.0f} responses/s", peak, megabytes, "<= 2,048 MB", good))
    return found
