"""Fill a bank: draw what is missing, each response with a seed of its own, and commit what has come every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import DataError, OptionError, PreflightError, WorkerError, one_of
from uqkd.llm.bank.bank import STUDY, Bank, Inventory, refuse_other
from uqkd.llm.bank.columns.rows import Wanted, table_of
from uqkd.llm.bank.left_out import LeftOut, write_left_out
from uqkd.llm.prompts.prompts import Prompts, chat_json
from uqkd.llm.prompts.rendering import Rendered, listed
from uqkd.llm.requests import Completion, Refusal, Request
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Teacher
from uqkd.store import Inputs
from uqkd.store.units import canonical_json, content_hash

CHUNK = 2048  # responses committed at once, at most
CHUNK_TOKENS = 2**18  # tokens committed at once, at most: a unit of some MB
COMMIT_S = 10.0  # seconds of work that a kill may cost
KEY = ("llm", "bank")
TOO_LONG = ("error", "skip")


def fill_bank(
    teacher: Teacher,
    prompts: Prompts,
    k: int,
    *,
    bank: Bank,
    sampling: Sampling,
    key: tuple[Any, ...] = KEY,
    max_flagged: float = 1.0,
    too_long: str = "error",
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
    show: Callable[[str], None] | None = None,
) -> Bank:
    """Draw those of the responses 0 ... k-1 to each prompt that the bank lacks.

    What has come is committed every few seconds. Killed at any instant and called again, or topped up from a smaller k, the
    bank ends with the rows of one made in one go: a response depends on its seed, which is named by the key, the teacher's
    revision, the prompt's id and the response's index, and on nothing else but rounding.

    A prompt whose rendered form (template, system text, the template's arguments) is not the one in the bank is refused; a
    template that prints the date is told the day on which the bank was begun.

    Parameters
    ----------
    teacher : Teacher
    prompts : Prompts
    k : int
        Responses to each prompt.
    bank : Bank
        Of this teacher, sampling and key, or empty.
    sampling : Sampling
    key : tuple
        Names the draws. Another key gives independent draws.
    max_flagged : float
        Greatest share of responses that may be flagged (empty, cut at max_tokens, control characters, halves of
        characters). They are kept in any case; below 1 a run stops as soon as the share is certain to be exceeded.
    too_long : str
        "error", or "skip": draw the other prompts. Those left out stand in the bank's left_out.jsonl; the next call tries them
        again.
    chunk : int
        Responses committed at once, at most.
    progress : callable, optional
        Called with the counts of responses committed and wanted.
    show : callable, optional
        Called with lines for people: the preflight, and what was left out.

    Returns
    -------
    Bank

    Raises
    ------
    PreflightError
        Tokenizer, model and prompts do not fit; nothing is drawn.
    ProvenanceError
        The bank is of another teacher, sampling or key, or a prompt id stands for another prompt there.
    DataError
        More responses are flagged than `max_flagged` allows; what was drawn remains.
    WorkerError
        The engine died; says how many responses remain. What was committed stays.
    """
    if k < 1 or chunk < 1 or not 0.0 <= max_flagged <= 1.0:
        raise OptionError(
            f"fill_bank needs k >= 1, chunk >= 1 and max_flagged in [0, 1]; got k={k}, chunk={chunk}, max_flagged={max_flagged}."
        )
    one_of("too_long", too_long, TOO_LONG)
    say = show or (lambda _line: None)
    there = bank.identity
    encoder = teacher.encoder.on_day((there or {}).get("template_day"))
    rendered: Rendered = encoder.render(prompts, max_tokens=sampling.max_tokens)
    if rendered.view:
        say(str(rendered.view))
    skipped = _too_long(rendered, prompts, too_long, say)
    bank.store.sweep()
    identity = {**identity_of(teacher, sampling, key), **rendered.identity}
    if there is not None:
        refuse_other(bank.root, there, identity)
    held = bank.inventory(prompts, k, hashes=rendered.hashes)
    work = _Work(teacher, prompts, rendered, sampling, identity, bank, held, max_flagged=max_flagged, chunk=chunk)
    before = int(np.count_nonzero(held.codes))
    total = held.codes.size - k * len(skipped)
    missing = held.missing
    missing = missing[~np.isin(missing[:, 0], list(skipped))]
    try:
        work.draw(missing, lambda: progress and progress(before + work.committed(), total))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_state("interrupted", before + work.committed(), total)) from None
    except WorkerError as problem:
        raise WorkerError(_state(str(problem).rstrip("."), before + work.committed(), total)) from problem
    finally:
        write_left_out(bank.store, [*skipped.values(), *work.refused])
    if work.refused:
        say(_refused(work.refused, total))
    return bank


def identity_of(teacher: Teacher, sampling: Sampling, key: tuple[Any, ...]) -> dict[str, Any]:
    """What a bank holds draws of: teacher, sampling parameters and seed key. A folder's name is not a part of it."""
    about = asdict(teacher.about)
    about.pop("name")
    if about["seeds"] == "keyed":
        about.pop("seeds")
    return {**about, **sampling.columns(), "key": list(key), "stop_ids": list(teacher.encoder.stop_ids)}


class _Work:
    """The responses of one call: asked for, gathered as they come, committed unit by unit."""

    def __init__(
        self,
        teacher: Teacher,
        prompts: Prompts,
        rendered: Rendered,
        sampling: Sampling,
        identity: dict[str, Any],
        bank: Bank,
        held: Inventory,
        *,
        max_flagged: float,
        chunk: int,
    ) -> None:
        self._teacher, self._prompts, self._rendered, self._sampling = teacher, prompts, rendered, sampling
        self._identity, self._bank, self._held = identity, bank, held
        self._method = content_hash(canonical_json(identity).encode())
        self._max_flagged, self._chunk = max_flagged, chunk
        self._units: dict[str, int] = {}
        self._chats = [chat_json(turns) or None for turns in prompts.chats]
        self.refused: list[LeftOut] = []

    def draw(self, missing: NDArray[np.int64], committed: Callable[[], Any]) -> None:
        """Ask for these (prompt, response) pairs; what has come is committed even if the engine fails or a signal comes."""
        self._refuse_flagged()
        if not len(missing):
            return
        pending: dict[int, Wanted] = {}  # asked for and not answered

        def asked() -> Iterator[Request]:
            for place, (p, turn) in enumerate(missing.tolist()):
                pending[place] = row = self._wanted(p, turn)
                ids = self._rendered.ids[p]
                yield Request(ids, row.seed or 0, () if ids else self._prompts.turns(p))

        come: list[tuple[int, Wanted, Completion]] = []
        tokens, since = 0, time.monotonic()
        try:
            with closing(self._teacher.stream(asked(), self._sampling)) as answers:
                for place, answer in answers:
                    row = pending.pop(place)
                    if isinstance(answer, Refusal):
                        self.refused.append(LeftOut(row.prompt_id, row.response_index, answer.reason))
                        continue
                    come.append((place, row, answer))
                    tokens += len(answer.token_ids or ())
                    late = time.monotonic() - since > COMMIT_S
                    if len(come) >= self._chunk or tokens >= CHUNK_TOKENS or late:
                        ready, come, tokens = come, [], 0
                        self._commit(ready, missing)
                        since = time.monotonic()
                        committed()
                        self._refuse_flagged()
        finally:
            if come:
                self._commit(come, missing)
                committed()
        self._refuse_flagged()

    def _wanted(self, p: int, turn: int) -> Wanted:
        about, name = self._teacher.about, self._prompts.ids[p]
        seed = seeds.seed63(*self._identity["key"], about.revision, name, turn)
        return Wanted(name, self._prompts.texts[p], self._chats[p], self._rendered.hashes[p], turn, seed)

    def _commit(self, come: list[tuple[int, Wanted, Completion]], missing: NDArray[np.int64]) -> None:
        come.sort(key=lambda one: one[0])  # a unit's rows in the order of the prompts, whichever came first
        rows = [row for _, row, _ in come]
        if self._teacher.about.seeds != "keyed":
            rows = [row._replace(seed=None) for row in rows]
        answers = [answer for _, _, answer in come]
        table = table_of(rows, answers, about=self._teacher.about, sampling=self._sampling.columns())
        named = content_hash(repr([(row.prompt_id, row.response_index) for row in rows]).encode())
        params = {"bank": self._identity, "requests": named, "count": len(rows), "first": rows[0].prompt_id}
        inputs = Inputs(STUDY, params, method=self._method)
        self._units[inputs.key] = len(rows)
        self._bank.store.commit(inputs, table, check_twins=False)
        self._held.note(missing[[place for place, _, _ in come]], table)

    def committed(self) -> int:
        """Responses of the units that are in the bank: a signal may come between the last commit and its count."""
        if not self._units:
            return 0
        there = self._bank.store.committed(STUDY)
        return sum(count for key, count in self._units.items() if key in there)

    def _refuse_flagged(self) -> None:
        """Stop as soon as the share is certain to be exceeded, so that a long run does not end in an error only."""
        held, total = self._held, self._held.codes.size
        if held.flagged > self._max_flagged * total:
            seen = int(np.count_nonzero(held.codes))
            raise DataError(
                f"{held.flagged} of {seen} responses are flagged ({flags_line(held)}); of {total} wanted at most "
                f"{self._max_flagged:.2%} may be. They are kept: look at them, then raise max_tokens where they were cut, or allow "
                "more with max_flagged."
            )


def flags_line(held: Inventory) -> str:
    """The flags with their counts, "2 empty, 31 length"."""
    return ", ".join(f"{count} {name}" for name, count in sorted(held.flags.items()))


def _too_long(rendered: Rendered, prompts: Prompts, what: str, say: Callable[[str], None]) -> dict[int, LeftOut]:
    """The prompts that are left out, by place."""
    if not rendered.too_long:
        return {}
    line = listed("are too long", rendered.too_long, prompts)
    if what == "error" or len(rendered.too_long) == len(prompts):
        raise PreflightError(
            f"{line}. Shorten them, lower max_tokens, or draw the others with too_long='skip' (--too-long skip)."
        )
    say(f"left out: {line}")
    return {place: LeftOut(prompts.ids[place], -1, reason) for place, reason in rendered.too_long.items()}


def _refused(refused: Iterable[LeftOut], total: int) -> str:
    reasons: dict[str, list[LeftOut]] = {}
    for one in refused:
        reasons.setdefault(one.reason, []).append(one)
    parts = [
        f"{len(of)} ({reason}; prompt {of[0].prompt_id!r}, response {of[0].response_index}"
        + (" among others)" if len(of) > 1 else ")")
        for reason, of in reasons.items()
    ]
    count = sum(map(len, reasons.values()))
    return f"left out: {count} of {total} responses were refused: {', '.join(parts)}; a rerun asks again"


def _state(what: str, done: int, total: int) -> str:
    return (
        f"{what}: {done} of {total} responses are committed, {total - done} remain; run the same again to draw those."
    )
