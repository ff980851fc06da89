"""The report of a bank: what was asked and how, what came back, and how unsure the teacher is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from uqkd.report.card.card import sampling_of
from uqkd.report.standalone.frame import page, share

_REASONS = {
    "stop": "ended by the model",
    "length": "cut at the greatest length",
    "unknown": "nobody said why",
    "content_filter": "held back by the server",
}
_LEFT_OUT = 20  # lines


def bank_report(described: Any) -> bytes:
    """A bank as one HTML file.

    Parameters
    ----------
    described : Described
        Of `uqkd.llm.bank.describing.describe`.
    """
    found = described.summary
    return page(
        "bank",
        title=f"Bank of {found.teacher}",
        found=found,
        about=_about(described),
        reasons=_bars([(_REASONS.get(name, name), count) for name, count in described.reasons.items()]),
        lengths=_bars([(_range(low, high), count) for low, high, count in described.lengths]),
        spread=[(one.name, _number(one), one.unit, one.why) for one in described.spread],
        unsure=_bars([(f"{n / 10:.1f} to {(n + 1) / 10:.1f}", count) for n, count in enumerate(described.unsure)]),
        examples=[("The prompts that it is most divided on", _prompts(described.divided)),
                  ("Others, spread evenly over the rest", _prompts(described.others))],
        left_out=found.left_out[:_LEFT_OUT],
        more=max(len(found.left_out) - _LEFT_OUT, 0),
        common=described.common,
    )  # fmt: skip


def _about(described: Any) -> list[tuple[str, str]]:
    found = described.summary
    identity: Mapping[str, Any] = found.identity
    imported = identity.get("backend") == "import"
    origin = "imported" if imported else f"{identity.get('backend')} {identity.get('engine_version') or ''}".strip()
    each = f"{found.fewest:,}" if found.fewest == found.most else f"{found.fewest:,} to {found.most:,}"
    return [
        ("teacher", found.teacher + ("" if imported else f", revision {identity.get('revision')}")),
        ("drawn by", origin),
        ("how it was asked", sampling_of(identity)),
        ("prompts", f"{found.prompts:,}"),
        ("responses", f"{found.responses:,}, {each} to each prompt"),
        ("fingerprint", described.fingerprint),
    ]


def _prompts(every: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": one.prompt,
            "turns": one.turns,
            "gini": one.gini,
            "answers": one.answers,
            "others": one.others,
            "of_others": one.of_others,
            "total": sum(count for _, count in one.answers) + one.of_others,
        }
        for one in every
    ]


def _bars(rows: Sequence[tuple[str, int]]) -> list[tuple[str, int, str]]:
    """With the length of each bar, the longest whole."""
    longest = max((count for _, count in rows), default=0)
    return [(name, count, share(count, longest)) for name, count in rows]


def _number(one: Any) -> str:
    if math.isnan(one.estimate):
        return "–"
    limits = "" if math.isnan(one.low) or math.isnan(one.high) else f" [{one.low:.3f}, {one.high:.3f}]"
    return f"{one.estimate:.3f}{limits}"


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
