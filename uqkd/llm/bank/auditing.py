"""Are the draws of a bank independent? Stops a run where they are not: shared or broadcast seeds falsify every variance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import IndependenceError, OptionError
from uqkd.estimators.answers.collisions import Repeats, repeated_responses, same_noise, shuffled_noise
from uqkd.estimators.answers.repeated_places import same_places
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.columns.draws import Draws, collect
from uqkd.llm.prompts.prompts import Prompts
from uqkd.llm.sampling import Sampling

__all__ = ["FALSE_ALARMS", "Audit", "Draws", "audit", "audit_draws", "audit_rerun", "collect"]

UNKNOWN = "seeds are unknown: that these responses are independent cannot be shown"
FALSE_ALARMS = 1e-6  # of a whole audit, shared equally over its tests
_MOST = 2**30  # comparisons of one audit: some seconds; with more, prompts at equal distances are taken


@dataclass(frozen=True)
class Audit:
    """An audit that found nothing wrong.

    Attributes
    ----------
    tests : int
        How many tests share the chance of a false alarm.
    p_value : float
        Smallest of them, times their number.
    notes : tuple of str
        What could not be judged, and why.
    """

    tests: int
    p_value: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line."""
        if self.tests:
            judged = f"audit: {self.tests} tests of independence passed"
        else:
            judged = "audit: no test of independence" if UNKNOWN in self.notes else "audit: seeds are all different"
        return "; ".join([judged, *self.notes])


def audit(bank: Bank, prompts: Prompts, *, students: int, k: int, per_student: int) -> Audit:
    """Audit the draws that students will be trained on.

    Parameters
    ----------
    bank : Bank
    prompts : Prompts
    students, k, per_student
        As in `Bank.responses`.

    Returns
    -------
    Audit

    Raises
    ------
    IndependenceError
        Naming the pair and the share.
    DataError
        Responses are missing.
    """
    draws = collect(bank, prompts, students * per_student)
    return audit_draws(draws, students=students, k=k, per_student=per_student, identity=bank.identity or {})


def audit_draws(
    draws: Draws, *, students: int, k: int, per_student: int, identity: dict[str, Any] | None = None
) -> Audit:
    """Audit draws, wherever they come from.

    Judged are (a) the seeds, which must all differ; (b) for each pair of students, and for the two halves of each student's
    responses, how often they are the same, given the probability of each (`repeated_responses`) or, where that is not known,
    whether they are more often the same at equal and neighbouring places than elsewhere (`same_places`); (c) whether prompts
    share their noise (`same_noise`, `shuffled_noise`). What cannot be judged is said in the notes.

    Parameters
    ----------
    draws : Draws
    students, k, per_student
        As in `Bank.responses`.
    identity : dict, optional
        Of the bank: sampling parameters and what its probabilities are of. If not given, draws are random and their
        probabilities those of the distribution that was sampled.

    Returns
    -------
    Audit

    Raises
    ------
    IndependenceError
        False alarms happen with a probability below `FALSE_ALARMS`, whatever the teacher's distribution.
    """
    random, known, notes = _judged(identity or {}, draws)
    if draws.seeds is not None:
        _refuse_same_seeds(draws.seeds)
    if not random:
        return Audit(0, 1.0, notes)
    used = np.concatenate([np.arange(s * per_student, s * per_student + k) for s in range(students)])
    if not known:
        notes += _silent(draws.codes[:, used], students)
    draws = draws.of_prompts(_spaced(len(draws.codes), students, k))
    tests = list(_between_prompts(draws, known))
    tests += (
        _between_students(draws, students, k, per_student) if known else _by_places(draws.codes[:, used], students, k)
    )
    return _concluded(tests, notes)


def audit_rerun(first: Bank, second: Bank, prompts: Prompts, *, k: int) -> Audit:
    """Audit two banks of one teacher with different keys: the second must not repeat the first.

    Raises
    ------
    IndependenceError
        They do, or they have seeds in common.
    OptionError
        Banks of different teachers or sampling parameters.
    """
    one, two = first.identity or {}, second.identity or {}
    same = ("revision", "dtype", "logprobs", *Sampling().columns())
    if other := [name for name in same if one.get(name) != two.get(name)]:
        raise OptionError(
            f"audit_rerun compares banks of one teacher and sampling; these differ in {', '.join(other)}."
        )
    a, b = collect(first, prompts, k), collect(second, prompts, k)
    random, known, notes = _judged(one, a, b)
    if a.seeds is not None and b.seeds is not None and (common := np.intersect1d(a.seeds, b.seeds).size):
        raise IndependenceError(
            f"{common} of {a.seeds.size} seeds are the same in both banks, {first.root!r} and {second.root!r}: they were drawn "
            "with one key, and the second repeats the first. Give the rerun another seed key."
        )
    if not random:
        return Audit(0, 1.0, notes)
    both = f"the banks {first.root!r} and {second.root!r}"
    if known and a.log_q is not None:
        found = [repeated_responses(a.codes, b.codes, a.log_q, anywhere=anywhere) for anywhere in (False, True)]
    else:
        codes = np.concatenate([a.codes, b.codes], axis=1)
        notes += _silent(codes, 2)
        found = same_places(codes, [(range(k), range(k, 2 * k))]) if k > 1 else []
    return _concluded([(both, one) for one in found], notes)


def _judged(identity: dict[str, Any], *draws: Draws) -> tuple[bool, bool, tuple[str, ...]]:
    """Whether draws are random, whether their probabilities are known, and what to say where not."""
    columns = {name: identity[name] for name in Sampling().columns() if identity.get(name) is not None}
    sampling = Sampling(**columns)
    unknown = identity.get("seeds") == "unknown" or any(own.seeds is None for own in draws)
    notes = (UNKNOWN,) if unknown else ()
    if not sampling.is_random:
        same = "temperature 0 or top_k 1: every response to a prompt is the same, there is no randomness"
        return False, False, (*notes, same)
    by_places = "repeats between students were judged by their places alone"
    if any(own.log_q is None or own.first_log_q is None for own in draws):
        return True, False, (*notes, f"probabilities are unknown: {by_places}")
    if identity.get("logprobs", "processed") == "processed" or sampling.is_plain:
        return True, True, notes
    return True, False, (*notes, f"logprobs are raw, before temperature and cuts: {by_places}")


def _silent(codes: NDArray[np.int64], students: int) -> tuple[str, ...]:
    """What the places of responses cannot tell."""
    if students > 1 and codes.shape[1] < 3:
        return ("there are two responses to each prompt: whether students repeat each other could not be judged",)
    if codes.shape[1] > 1 and (codes == codes[:, :1]).all():
        return ("all responses to each prompt are the same: a sure teacher and draws that share one seed look alike",)
    return ()


def _refuse_same_seeds(drawn_with: NDArray[np.int64]) -> None:
    values, counts = np.unique(drawn_with, return_counts=True)
    if len(values) == drawn_with.size:
        return
    (p, j), (q, i) = np.argwhere(drawn_with == values[counts > 1][0])[:2]
    raise IndependenceError(
        f"{drawn_with.size - len(values)} of {drawn_with.size} responses have a seed that another has too: response {j} to "
        f"prompt number {p} and response {i} to prompt number {q}, among others. Every response needs a seed of its own."
    )


def _spaced(prompts: int, students: int, k: int) -> NDArray[np.int64]:
    """All prompts, or so many at equal distances that the audit takes seconds; a rule of sizes alone, not of the draws."""
    cost = max(1, students * students // 2) * (k + k * k)
    return np.unique(np.linspace(0, prompts - 1, num=min(prompts, max(64, _MOST // cost)), dtype=np.int64))


def _between_prompts(draws: Draws, known: bool) -> Iterator[tuple[str, Repeats]]:
    if known and draws.first_log_q is not None:
        yield "neighbouring prompts (first tokens)", same_noise(draws.first, draws.first_log_q)
    if draws.first.shape[1] > 1:
        yield "neighbouring prompts (first tokens)", shuffled_noise(draws.first)


def _between_students(draws: Draws, students: int, k: int, per_student: int) -> list[tuple[str, Repeats]]:
    codes = [draws.codes[:, s * per_student : s * per_student + k] for s in range(students)]
    assert draws.log_q is not None
    logs = [draws.log_q[:, s * per_student : s * per_student + k] for s in range(students)]
    tests = []
    for s, t in combinations(range(students), 2):
        for anywhere in (False, True) if k > 1 else (False,):
            repeats = repeated_responses(codes[s], codes[t], logs[s], anywhere=anywhere)
            tests.append((f"students {s} and {t}", repeats))
    if k > 1:
        half = k // 2
        for s in range(students):
            repeats = repeated_responses(codes[s][:, :half], codes[s][:, half:], logs[s][:, :half], anywhere=True)
            tests.append((f"the two halves of the responses of student {s}", repeats))
    return tests


def _by_places(codes: NDArray[np.int64], students: int, k: int) -> list[tuple[str, Repeats]]:
    """The same without probabilities: at equal places, at neighbouring ones as with consecutive seeds, and the two halves."""
    if students < 2 or codes.shape[1] < 3:
        return []
    named: list[tuple[str, tuple[range, range]]] = []
    for s, t in combinations(range(students), 2):
        one, two = range(s * k, s * k + k), range(t * k, t * k + k)
        shifts = [(one, two)] if k == 1 else [(one, two), (one[1:], two[:-1]), (one[:-1], two[1:])]
        named += [(f"students {s} and {t}", shift) for shift in shifts]
    for s in range(students) if k > 1 else ():
        own, half = range(s * k, s * k + k), k // 2
        named.append((f"the two halves of the responses of student {s}", (own[:half], own[half : 2 * half])))
    found = same_places(codes, [places for _, places in named])
    return [(name, one) for (name, _), one in zip(named, found, strict=True)]


def _concluded(tests: list[tuple[str, Repeats]], notes: tuple[str, ...]) -> Audit:
    if not tests:
        return Audit(0, 1.0, notes)
    who, worst = min(tests, key=lambda test: test[1].p_value)
    smallest = min(1.0, worst.p_value * len(tests))
    if smallest < FALSE_ALARMS:
        raise IndependenceError(
            f"{who} are the same in {worst.count} of {worst.of} draws ({worst.share:.1%}), where independent ones are in "
            f"{worst.expected:.3g} (p < {max(smallest, 1e-300):.1g} over {len(tests)} tests). The draws share their noise: give "
            "every response a seed of its own (uqkd sample does), none of them seed + i or one for all prompts."
        )
    return Audit(len(tests), smallest, notes)
