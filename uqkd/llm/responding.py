"""Fill a bank: draw what is missing, chunk by chunk, each response with a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.errors import DataError, OptionError, WorkerError
from uqkd.llm.bank import STUDY, Bank, Held, refuse_other, token_code
from uqkd.llm.responses import Prompts
from uqkd.llm.rows import frame
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers.teacher import Request, Teacher
from uqkd.store import Inputs
from uqkd.store.units import canonical_json, content_hash

CHUNK = 2048  # requests committed at once: 4 s of a small model on two cores, so that a kill costs little
CHUNK_TOKENS = 2**18  # tokens that a chunk may hold
KEY = ("llm", "bank")
MAX_FLAGGED = 0.01


def respond(
    teacher: Teacher,
    prompts: Prompts,
    k: int,
    *,
    bank: Bank,
    sampling: Sampling,
    key: tuple[Any, ...] = KEY,
    max_flagged: float = MAX_FLAGGED,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Draw those of the responses 0 ... k-1 to each prompt that the bank lacks.

    Each chunk of requests is committed when it is finished. Killed at any instant and called again, or topped up from a
    smaller k, the bank ends with the rows of one made in one go: a response depends on its seed, which is named by the key,
    the teacher's revision, the prompt's id and the response's index, and on nothing else but rounding.

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
        Greatest share of responses that may be flagged (empty, cut at the greatest length, control characters, halves of
        characters). They are kept.
    chunk : int
        Requests committed at once; fewer where responses are long.
    progress : callable, optional
        Called with the counts of responses committed and wanted.

    Returns
    -------
    Bank

    Raises
    ------
    PreflightError
        Tokenizer, model and prompts do not fit; nothing is drawn.
    ProvenanceError
        The bank is of another teacher, sampling or key, or a prompt id stands for another text there.
    DataError
        More responses are flagged than `max_flagged` allows; what was drawn remains.
    WorkerError
        The engine died; says how many responses remain. What was committed stays.
    """
    if k < 1 or chunk < 1 or not 0.0 <= max_flagged <= 1.0:
        raise OptionError(
            f"respond needs k >= 1, chunk >= 1 and max_flagged in [0, 1]; got k={k}, chunk={chunk}, max_flagged={max_flagged}."
        )
    teacher.encoder.preflight(prompts, max_tokens=sampling.max_tokens)
    bank.store.sweep()
    identity = identity_of(teacher, sampling, key)
    held = bank.held(prompts, k)
    if (there := bank.identity) is not None:
        refuse_other(bank.root, there, identity)
    missing = held.missing
    total, before = held.codes.size, held.codes.size - len(missing)
    work = _Work(teacher, prompts, sampling, identity, bank)
    try:
        _refuse_flagged(held, total, max_flagged)
        for places in _chunks(missing, min(chunk, max(1, CHUNK_TOKENS // sampling.max_tokens))):
            work.draw(places, held)
            if progress is not None:
                progress(before + sum(work.units.values()), total)
            _refuse_flagged(held, total, max_flagged)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_state("interrupted", before + work.committed(), total)) from None
    except WorkerError as problem:
        raise WorkerError(_state(str(problem).rstrip("."), before + work.committed(), total)) from problem
    return bank


def identity_of(teacher: Teacher, sampling: Sampling, key: tuple[Any, ...]) -> dict[str, Any]:
    """What a bank holds draws of: teacher, sampling parameters and seed key. A folder's name is not a part of it."""
    about = {name: value for name, value in asdict(teacher.about).items() if name != "name"}
    return {**about, **sampling.columns(), "key": list(key), "stop_ids": list(teacher.encoder.stop_ids)}


class _Work:
    """What the chunks have in common, and the count of responses of each unit that was begun."""

    def __init__(
        self, teacher: Teacher, prompts: Prompts, sampling: Sampling, identity: dict[str, Any], bank: Bank
    ) -> None:
        self._teacher, self._prompts, self._sampling, self._identity, self._bank = (
            teacher,
            prompts,
            sampling,
            identity,
            bank,
        )
        self._method = content_hash(canonical_json(identity).encode())
        self.units: dict[str, int] = {}

    def draw(self, places: NDArray[np.int64], held: Held) -> None:
        """Draw one chunk and commit it."""
        about, prompts, key = self._teacher.about, self._prompts, self._identity["key"]
        pairs = [(int(place), int(turn)) for place, turn in places]
        wanted = [
            (prompts.ids[p], prompts.texts[p], turn, seeds.seed63(*key, about.revision, prompts.ids[p], turn))
            for p, turn in pairs
        ]
        encoded = {p: self._teacher.encoder.encode(prompts.texts[p]) for p in {p for p, _ in pairs}}
        requests = [Request(encoded[p], row[3]) for (p, _), row in zip(pairs, wanted, strict=True)]
        completions = self._teacher.complete(requests, self._sampling)
        table = frame(wanted, completions, about=about, sampling=self._sampling)
        named = content_hash(repr([(row[0], row[2]) for row in wanted]).encode())
        params = {"bank": self._identity, "requests": named, "count": len(wanted), "first": wanted[0][0]}
        inputs = Inputs(STUDY, params, method=self._method)
        self.units[inputs.key] = len(wanted)
        self._bank.store.commit(inputs, table, check_twins=False)
        for (p, turn), completion, flags in zip(pairs, completions, table["flags"], strict=True):
            held.codes[p, turn] = token_code(list(completion.token_ids))
            held.note(flags)

    def committed(self) -> int:
        """Responses of the units that are in the bank: a signal may come between the last commit and its count."""
        there = self._bank.store.committed(STUDY)
        return sum(count for key, count in self.units.items() if key in there)


def _chunks(missing: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(missing), size):
        yield missing[start : start + size]


def _refuse_flagged(held: Held, total: int, max_flagged: float) -> None:
    """Stop as soon as the share is certain to be exceeded, so that a long run does not end in an error only."""
    if held.flagged > max_flagged * total:
        seen = int(np.count_nonzero(held.codes))
        counts = ", ".join(f"{count} {name}" for name, count in sorted(held.flags.items()))
        raise DataError(
            f"{held.flagged} of {seen} responses are flagged ({counts}); of {total} wanted at most {max_flagged:.2%} may be. They "
            "are kept: look at them, then raise max_tokens where they were cut, or allow more with max_flagged."
        )


def _state(what: str, done: int, total: int) -> str:
    return (
        f"{what}: {done} of {total} responses are committed, {total - done} remain; run the same again to draw those."
    )
