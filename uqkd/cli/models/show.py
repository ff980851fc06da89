"""`uqkd show …`: look into a bank. Heavy libraries load when the command runs."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uqkd.cli.app import STUDIES, app, stoppable
from uqkd.llm.prompts.cells import counted

if TYPE_CHECKING:
    from uqkd.llm.bank.summary import Divided, Summary

_WIDTH = 100  # characters of a line
_REASONS = 5  # kinds of reasons why something was left out
_FLAGS = {  # what the flags of a response say
    "length": "cut at max_tokens", "empty": "empty", "control": "with control characters",
    "surrogate": "with half of a character", "replacement": "with bytes that are no text", "content_filter": "held back",
}  # fmt: skip


@app.command(epilog=STUDIES)
@stoppable
def show(
    bank: Annotated[str, typer.Argument(help="folder or fsspec URL of uqkd sample or uqkd import")],
    prompts: Annotated[int, typer.Option(help="how many of the most divided prompts")] = 5,
    answers: Annotated[int, typer.Option(help="how many answers to each")] = 5,
) -> None:
    """Look into a bank: teacher, sampling, lengths, what was cut or left out, the most divided prompts."""
    from uqkd.llm.bank import Bank
    from uqkd.llm.bank.summary import summarise

    started = time.monotonic()
    found = summarise(Bank(bank, create=False), prompts=prompts, answers=answers)
    for line in lines_of(found):
        print(line)
    print(f"\nread in {time.monotonic() - started:.1f} s")


def lines_of(found: Summary) -> Iterator[str]:
    """The summary as lines for a terminal."""
    yield f"bank {printable(found.root)}"
    each = f"{found.fewest:,}" if found.fewest == found.most else f"{found.fewest:,} to {found.most:,}"
    rows = [*_origin(found.teacher, found.identity), ("prompts", f"{found.prompts:,}")]
    rows += [("responses", f"{found.responses:,}, {each} to each prompt"), ("length", _lengths(found))]
    rows += [("flagged", _flagged(found)), ("left out", _left_out(found))]
    for name, text in rows:
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=f"  {name:<10} ", subsequent_indent=" " * 13, drop_whitespace=False
        ) or [f"  {name:<10}"]
    if found.divided:
        yield "\nmost divided prompts (chance that two answers differ beyond case, punctuation and articles)"
    for one in found.divided:
        yield from _prompt(one)


def _lengths(found: Summary) -> str:
    p5, p25, median, p75, p95, longest = (f"{length:,}" for length in found.lengths)
    return f"median {median}, half are {p25} to {p75}, 90 % are {p5} to {p95}, the longest {longest} {found.unit}"


def _flagged(found: Summary) -> str:
    """Cut and empty responses in any case, other flags where there are any."""
    names = sorted({*found.flags, "length", "empty"}, key=[*_FLAGS, *found.flags].index)
    counts = [(found.flags[name], _FLAGS.get(name, name)) for name in names]
    counts += [(found.unsaid, "end for an unknown reason and count as finished")] if found.unsaid else []
    return ", ".join(
        f"{count:,} {what}" + (f" ({share(count, found.responses)})" if count else "") for count, what in counts
    )


def _origin(teacher: str, identity: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where the responses come from."""
    imported = identity.get("backend") == "import"
    yield (
        "teacher",
        printable(teacher) + (", imported" if imported else f", revision {printable(str(identity.get('revision')))}"),
    )
    if not imported:
        chat = "chat template" if identity.get("chat") else "plain text"
        told = (str(identity.get(name) or "") for name in ("backend", "engine_version", "dtype"))
        backend = " ".join(one for one in told if one not in ("", "unknown"))
        yield "backend", printable(f"{backend.strip()}, {chat}, logprobs {identity.get('logprobs')}")
    if identity.get("template_day"):
        yield "template", printable(f"prints the date: {identity['template_day']} for the whole bank")
    if identity.get("template_args"):
        yield "template", printable(f"arguments {', '.join(map(str, identity['template_args']))}")
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens")
    known = [f"{name} {identity[name]:g}" for name in names if isinstance(identity.get(name), (int, float))]
    yield "sampling", ", ".join(known) or "unknown"
    if identity.get("seeds", "keyed") == "keyed":
        yield "seeds", printable(f"one for each response, key {'/'.join(map(str, identity.get('key') or ()))}")
    else:
        yield "seeds", "unknown: independence of these responses cannot be shown"


def _left_out(found: Summary) -> str:
    if not found.left_out:
        return "nothing"
    reasons: dict[str, list[Any]] = {}
    for one in found.left_out:
        reasons.setdefault("".join(" " if c.isdigit() else c for c in one.reason), []).append(one)
    parts = [
        f"{counted(len(of), 'prompt' if of[0].response_index < 0 else 'response')} ({printable(of[0].reason, 80)}; prompt "
        f"{printable(of[0].prompt_id, 30)!r} first)"
        for of in list(reasons.values())[:_REASONS]
    ]
    more = f"; {len(reasons) - _REASONS} further reasons" if len(reasons) > _REASONS else ""
    return "; ".join(parts) + more


def _prompt(one: Divided) -> Iterator[str]:
    turns = f" (chat of {one.turns} turns)" if one.turns > 1 else ""
    yield f"\n  {one.gini:.2f}  {printable(one.prompt, _WIDTH - 8 - len(turns))}{turns}"
    for text, count in one.answers:
        yield f"  {count:>8,} x  {printable(text, _WIDTH - 13) if text.strip() else '(empty)'}"
    if one.others:
        yield f"  {one.of_others:>8,} x  {counted(one.others, 'other answer')}"


def share(count: int, total: int) -> str:
    """A count as a percentage that is 0 only where the count is.

    Examples
    --------
    >>> share(0, 10), share(1, 3), share(1, 100_000), share(99_999, 100_000)
    ('0 %', '33.3 %', '<0.1 %', '99.9 %')
    """
    if count in (0, total):
        return "0 %" if not count else "100 %"
    percent = 100.0 * count / total
    return "<0.1 %" if percent < 0.1 else f"{min(percent, 99.9):.1f} %"


def printable(text: str, most: int = _WIDTH) -> str:
    r"""The text on one line of a terminal: control characters and marks of direction written out, long ones cut.

    Examples
    --------
    >>> print(printable("a\nb\x1b[31m"), printable("x" * 200, 5))
    a\nb\x1b[31m xxxx…
    """
    head = text[:most]
    safe = (
        head
        if head.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    )
    return safe if len(text) <= most and len(safe) <= most else f"{safe[: most - 1]}…"
