"""Distilling at scale: what a million responses of a bank cost before and while the students are trained."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.bank_reading import RESPONSES, TOKENS, K, fill
from bench.measuring import Row
from uqkd.llm.bank import Bank

STUDENTS, STEPS = 4, 4
ENCODER = Path(__file__).parents[1] / ".real" / "smollm2-6layers"
GOAL_MB, GOAL_S = 4096.0, 300.0

# The student and its batch are so small that steps cost nothing (the logits of eight rows of four students were 3 GB): what is
# left is reading, weighing, encoding and the rows.
_DISTILLED = """
import resource, sys, time
from transformers import LlamaConfig
from uqkd.llm import Bank, Encoder, Recipe, SeedDesign, distill, weigh
place, coder, students, per_student, steps, trainer = sys.argv[1:]
encoder = Encoder.of(coder)
config = LlamaConfig(vocab_size=encoder.vocabulary, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                     num_attention_heads=1, max_position_embeddings=512)
started = time.perf_counter()
bank = Bank(place, create=False)
students, per_student = int(students), int(per_student)
responses = bank.responses(bank.prompts()[0], students=students, k=per_student, per_student=per_student)
recipe = Recipe(steps=int(steps), batch=1, optimiser="adamw", lr=1e-3)
distill(weigh(responses, "multi"), student=config, encoder=encoder, recipe=recipe, seed_design=SeedDesign.independent(students),
        key=("bench", trainer), engine=trainer)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def rows(responses: int = RESPONSES) -> list[Row]:
    """One row for each trainer; no text is what its ids decode to, so that all are encoded anew: the worst case."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        fill(Bank(Path(folder)), responses, cut=False)
        for trainer in ("sequential", "stacked"):
            options = map(str, (folder, ENCODER, STUDENTS, K // STUDENTS, STEPS, trainer))
            done = subprocess.run(
                [sys.executable, "-c", _DISTILLED, *options], check=True, stdout=subprocess.PIPE, text=True
            )
            seconds, megabytes = map(float, done.stdout.split())
            found.append(
                Row(
                    f"distil from {responses:,} x {TOKENS} tokens, encoded anew, S = {STUDENTS}, {trainer}, {STEPS} steps",
                    f"{responses / seconds:,.0f} responses/s",
                    f"{seconds:.0f} s, peak {megabytes:,.0f} MB",
                    megabytes,
                    f"<= {GOAL_MB:,.0f} MB, <= {GOAL_S:.0f} s",
                    megabytes <= GOAL_MB and seconds <= GOAL_S,
                )
            )
    return found
