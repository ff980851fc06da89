"""Are the draws of a bank independent? Stops a run where they are not: shared or broadcast seeds falsify every variance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, IndependenceError, OptionError
from uqkd.estimators.collisions import Repeats, repeated_responses, same_noise, shuffled_noise
from uqkd.llm.bank import Bank, token_code
from uqkd.llm.responses import Prompts
from uqkd.llm.sampling import Sampling

FALSE_ALARMS = 1e-6  # of a whole audit, shared equally over its tests
_MOST = 2**30  # comparisons of one audit: some seconds; with more, prompts at equal distances are taken


@dataclass(frozen=True)
class Draws:
    """What the audit looks at; R is the number of responses to each prompt.

    Attributes
    ----------
    codes : (P, R) int64
        One code for each distinct response.
    log_q : (P, R) float64
        Natural logarithm of its probability.
    first, first_log_q : (P, R)
        Its first token, and that token's.
    seeds : (P, R) int64
    """

    codes: NDArray[np.int64]
    log_q: NDArray[np.float64]
    first: NDArray[np.int64]
    first_log_q: NDArray[np.float64]
    seeds: NDArray[np.int64]

    def of_prompts(self, places: NDArray[np.int64]) -> Draws:
        """Those of some prompts."""
        return Draws(*(getattr(self, name)[places] for name in self.__dataclass_fields__))


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
        judged = f"audit: {self.tests} tests of independence passed" if self.tests else "audit: seeds are all different"
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
    responses, how often they are the same, given the probability of each (`repeated_responses`); (c) whether prompts share
    their noise (`same_noise`, `shuffled_noise`).

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
    random, known, notes = _judged(identity or {})
    _refuse_same_seeds(draws.seeds)
    if not random:
        return Audit(0, 1.0, notes)
    draws = draws.of_prompts(_spaced(len(draws.codes), students, k))
    tests = list(_between_prompts(draws, known))
    if known:
        tests += _between_students(draws, students, k, per_student)
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
    random, known, notes = _judged(one)
    a, b = collect(first, prompts, k), collect(second, prompts, k)
    if common := np.intersect1d(a.seeds, b.seeds).size:
        raise IndependenceError(
            f"{common} of {a.seeds.size} seeds are the same in both banks, {first.root!r} and {second.root!r}: they were drawn "
            "with one key, and the second repeats the first. Give the rerun another seed key."
        )
    if not random or not known:
        return Audit(0, 1.0, notes)
    both = f"the banks {first.root!r} and {second.root!r}"
    tests = [(both, repeated_responses(a.codes, b.codes, a.log_q, anywhere=anywhere)) for anywhere in (False, True)]
    return _concluded(tests, notes)


def collect(bank: Bank, prompts: Prompts, count: int) -> Draws:
    """What the audit looks at, from the responses 0 ... count-1 of a bank; 40 bytes each.

    Raises
    ------
    DataError
        Responses are missing.
    """
    shape = (len(prompts), count)
    codes, first, seeds = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    log_q, first_log = np.zeros(shape), np.zeros(shape)
    there = np.zeros(shape, dtype=bool)
    for place, row in bank.rows_of(prompts, ("token_ids", "token_logprobs", "seed"), count):
        at = place, row["response_index"]
        codes[at] = np.uint64(token_code(row["token_ids"])).astype(np.int64)
        seeds[at], log_q[at], there[at] = row["seed"], sum(row["token_logprobs"]), True
        first[at] = row["token_ids"][0] if row["token_ids"] else -1
        first_log[at] = row["token_logprobs"][0] if row["token_logprobs"] else 0.0
    if not there.all():
        raise DataError(
            f"the audit needs responses 0 ... {count - 1} to all {len(prompts)} prompts, and the bank {bank.root!r} lacks "
            f"{int((~there).sum())} of {there.size}; draw them first."
        )
    return Draws(codes, log_q, first, first_log, seeds)


def _judged(identity: dict[str, Any]) -> tuple[bool, bool, tuple[str, ...]]:
    """Whether draws are random, whether their probabilities are known, and what to say where not."""
    columns = {name: identity[name] for name in Sampling().columns() if name in identity}
    sampling = Sampling(**columns)
    if not sampling.is_random:
        return (
            False,
            False,
            ("temperature 0 or top_k 1: every response to a prompt is the same, there is no randomness",),
        )
    if identity.get("logprobs", "processed") == "processed" or sampling.is_plain:
        return True, True, ()
    return True, False, ("logprobs are raw, before temperature and cuts: repeats between students could not be judged",)


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
    if known:
        yield "neighbouring prompts (first tokens)", same_noise(draws.first, draws.first_log_q)
    if draws.first.shape[1] > 1:
        yield "neighbouring prompts (first tokens)", shuffled_noise(draws.first)


def _between_students(draws: Draws, students: int, k: int, per_student: int) -> list[tuple[str, Repeats]]:
    codes = [draws.codes[:, s * per_student : s * per_student + k] for s in range(students)]
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
