"""How the questions were chosen: by a keyed shuffle within each kind, before any model was asked.

    python studies/questions/choose.py country-capitals.jsonl bsdgames-quiz.jsonl

Two of three questions of a kind are to train on, the third is held out. Questions that hold a word of their own answer (What is
the capital of Djibouti?) are left out: every answer that repeats the question would count as right.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uqkd import seeds

KINDS = {"capital": 48, "us-state-capital": 24}
SMALL = {"of", "the"}
KEY = ("studies", "questions")


def main(sources: Iterable[Path], out: Path) -> None:
    """Write `train.jsonl` and `held_out.jsonl`."""
    rows = [json.loads(line) for source in sources for line in source.read_text(encoding="utf-8").splitlines()]
    chosen: dict[str, list[str]] = {"train": [], "held_out": []}
    for kind, count in KINDS.items():
        own = [row for row in rows if row["category"] == kind and not tells_its_answer(row)]
        order = seeds.generator(*KEY, kind).permutation(len(own))[:count]
        for place, n in enumerate(order.tolist()):
            chosen["held_out" if place % 3 == 2 else "train"].append(line_of(own[n], f"{kind}-{n}"))
    for name, lines in chosen.items():
        (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tells_its_answer(row: dict[str, Any]) -> bool:
    """Whether question and answers share a word."""
    asked, *answers = (set(re.findall(r"\w+", text.lower())) - SMALL for text in (row["prompt"], *row["answers"]))
    return any(asked & answer for answer in answers)


def line_of(row: dict[str, Any], name: str) -> str:
    """A row as the project's prompts have it."""
    return json.dumps({"id": name, "prompt": row["prompt"], "answers": row["answers"]}, ensure_ascii=False)


if __name__ == "__main__":
    main(map(Path, sys.argv[1:]), Path(__file__).parent)
