"""Weighing at scale: a million responses of a bank."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.bank_reading import RESPONSES, TOKENS, K, fill
from bench.measuring import Row
from uqkd.llm.bank import Bank

STUDENTS = 4
METHODS = ("single", "multi", "medoid")
GOAL_MB = 256.0  # beyond the responses: indices and weights of a million are 16 MB, a block of prompts some 100
GOAL_GROWTH = 1.3  # computing for each response, of all by that of a tenth of them
ROUNDS = 5  # of which the least time counts: what weighing takes, not what others on the machine do

_MEASURED = """
import sys, time
from uqkd.llm import weigh
from uqkd.llm.bank import Bank
place, prompts, students, per_student, rounds, *methods = sys.argv[1:]
bank = Bank(place, create=False)
prompts, per_student = bank.prompts()[0].select(range(int(prompts))), int(per_student)
responses = bank.responses(prompts, students=int(students), k=per_student, per_student=per_student)

def held(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))

for method in methods:
    weigh(responses.of_prompts(range(100)), method)  # what is imported
    times, most = [], 0.0
    for _ in range(1 if method == "medoid" else int(rounds)):
        before = held("VmRSS")
        open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
        started, computed = time.perf_counter(), time.process_time()
        targets = weigh(responses, method)
        times.append((time.perf_counter() - started, time.process_time() - computed))
        most = max(most, held("VmHWM") - before)
        del targets
    print(*map(min, zip(*times)), most)
"""


def measured(place: Path, prompts: int) -> dict[str, tuple[float, float, float]]:
    """Seconds, seconds of computing, and megabytes beyond the responses, of each method."""
    options = map(str, (place, prompts, STUDENTS, K // STUDENTS, ROUNDS, *METHODS))
    run = subprocess.run([sys.executable, "-c", _MEASURED, *options], check=True, capture_output=True, text=True)
    values = [tuple(map(float, line.split())) for line in run.stdout.splitlines()]
    return {method: (a, b, c) for method, (a, b, c) in zip(METHODS, values, strict=True)}


def rows(responses: int = RESPONSES) -> list[Row]:
    """The table's rows."""
    with tempfile.TemporaryDirectory() as folder:
        place, prompts = Path(folder) / "bank", responses // K
        fill(Bank(place), responses)
        tenth, whole = measured(place, prompts // 10), measured(place, prompts)
    found = []
    for method, (seconds, computed, megabytes) in whole.items():
        part, growth = tenth[method][1], computed / (10 * tenth[method][1])
        found.append(
            Row(
                f"weigh, {method} of {responses:,} x {TOKENS} tokens, S = {STUDENTS}",
                f"{responses / seconds:,.0f} responses/s",
                f"{megabytes:.0f} MB beyond the responses, {computed:.3f} s of computing; a tenth: {part:.4f} s",
                growth,
                f"<= {GOAL_GROWTH}, <= {GOAL_MB:.0f} MB",
                growth <= GOAL_GROWTH and megabytes <= GOAL_MB,
            )
        )
    return found
