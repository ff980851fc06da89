"""What was measured of a set of students, as plain facts that cards and reports are written from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from uqkd.estimators.intervals.level import LEVEL
from uqkd.llm.measuring.tables.sheet import Measured
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.clusters import cluster
from uqkd.llm.students.facts import prompt_keys

EXAMPLES = 8  # prompts that are shown
SOURCES = ("teacher", "undistilled")  # beside the students
_FIRST = 4  # of them those on which students differ most; the others lie evenly in the order of the rest
_ANSWERS = 6  # to each prompt
_CHARACTERS = 300  # of a prompt or an answer


def measuring_facts(
    found: Measured,
    prompts: Prompts,
    *,
    learnt: Collection[str] | None,
    answers: Mapping[str, Responses],
    teacher: Mapping[str, Any] | None,
    **about: Any,
) -> dict[str, Any]:
    """All that a card says of what was measured.

    Parameters
    ----------
    found : Measured
    prompts : Prompts
        That were asked.
    learnt : collection of str, optional
        Of `prompt_keys`: the prompts that the students were trained on; None where nobody knows.
    answers : mapping of name to Responses
        (1, P, R) of the teacher, the undistilled student and each student, for examples.
    teacher : mapping, optional
        fingerprint, place and responses of the teacher's bank beside them, and whether students were trained on it.
    **about
        Further facts: draws, sampling, clusters, ...
    """
    seen = None if learnt is None else sum(key in set(learnt) for key in prompt_keys(prompts))
    return {
        "prompts": {
            "fingerprint": prompts.fingerprint,
            "count": len(prompts),
            "learnt": seen,
            "answered": sum(map(bool, prompts.answers)),
        },
        "level": LEVEL,
        "teacher": None if teacher is None else dict(teacher),
        "quantities": _records(found.quantities),
        "students": _records(found.students),
        "examples": examples(found.prompts["prompt_id"], prompts, answers),
        **about,
    }


def examples(order: Sequence[object], prompts: Prompts, answers: Mapping[str, Responses]) -> list[dict[str, Any]]:
    """Some prompts with the answers of several sources, counted: equal ones but for form are one.

    Parameters
    ----------
    order : sequence of P str
        Ids of the prompts, those on which students differ most first.
    prompts : Prompts
    answers : mapping of name to (1, P, R) Responses

    Examples
    --------
    >>> from uqkd.llm.responses import Response
    >>> asked, words = Prompts(("a",), ("?",), (("Rome",),)), (Response((1,), "Rome"), Response((2,), "Milan"))
    >>> said = {"teacher": Responses(asked, words, [[[0, 1, 1]]]), "student-0": Responses(asked, words, [[[0, 0]]])}
    >>> one, = examples(["a"], asked, said)
    >>> one["answers"], one["counts"]["teacher"], one["counts"]["student-0"]
    (['Rome', 'Milan'], [1, 2], [2, 0])
    """
    shown = list(order[:_FIRST])
    rest = list(order[_FIRST:])
    count = min(EXAMPLES - len(shown), len(rest))
    shown += [rest[int(place)] for place in np.linspace(0, len(rest) - 1, count).round()] if count else []
    places = [prompts.ids.index(str(name)) for name in shown]
    if not places or not answers:
        return []
    first, *others = (one.of_prompts(places) for one in answers.values())
    grouped = cluster(first, "normalised", beside=others)
    ids = [grouped.ids, *grouped.beside]
    return [
        _example(prompts, place, grouped.representatives[at], {name: own[0, at] for name, own in zip(answers, ids, strict=True)})
        for at, place in enumerate(places)
    ]  # fmt: skip


def _example(prompts: Prompts, place: int, texts: Sequence[str], said: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: Counter(own.tolist()) for name, own in said.items()}
    kept = _chosen(counts, texts)
    return {
        "prompt": _short(prompts.texts[place]),
        "turns": len(prompts.turns(place)),
        "references": [_short(text) for text in prompts.answers[place][:_ANSWERS]],
        "answers": [_short(texts[number]) for number in kept],
        "counts": {name: [own[number] for number in kept] for name, own in counts.items()},
        "others": {name: own.total() - sum(own[number] for number in kept) for name, own in counts.items()},
    }


def _chosen(counts: Mapping[str, Counter[int]], texts: Sequence[str]) -> list[int]:
    """The answers to show: those most frequent with the teacher, the undistilled student and all students, taken in turn."""
    pooled: dict[str, Counter[int]] = {}
    for name, own in counts.items():
        pooled.setdefault(name if name in SOURCES else "students", Counter()).update(own)
    rank = [sorted(own, key=lambda number, own=own: (-own[number], texts[number])) for own in pooled.values()]  # type: ignore[misc]
    turns = [ranked[n] for n in range(len(texts)) for ranked in rank if n < len(ranked)]
    kept = list(dict.fromkeys(turns))[:_ANSWERS]
    share = {number: sum(own[number] / own.total() for own in pooled.values()) for number in kept}
    return sorted(kept, key=lambda number: (-share[number], texts[number]))


def _short(text: str) -> str:
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return plain if len(plain) <= _CHARACTERS else f"{plain[: _CHARACTERS - 1]}…"


def _records(columns: Mapping[str, Sequence[object]]) -> list[dict[str, Any]]:
    """Rows; what is not a number is None, which JSON and YAML have."""
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]
