"""A bank as a report tells it: how complete it is, how long responses are and why they ended, how unsure the teacher is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators.answers.agreement import gini_from_draws
from uqkd.estimators.answers.counting import counted
from uqkd.estimators.answers.semantic import entropy_from_counts
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.columns.scan import kinds
from uqkd.llm.bank.summary import Divided, Summary, look_at, summarise
from uqkd.llm.measuring.tables.sheet import Values
from uqkd.llm.similarity.clusters import cluster

RULE = "miller-madow"
CAPPED = 0.5  # share of prompts without a repeated answer from which entropies are remarked on
_BARS = 12  # of the histogram of lengths, at most


@dataclass(frozen=True)
class Spread:
    """A quantity of the teacher's answers, averaged over prompts.

    Attributes
    ----------
    name : str
    estimate, low, high : float
        NaN where it cannot be estimated.
    unit, why : str
    """

    name: str
    estimate: float
    low: float
    high: float
    unit: str
    why: str


@dataclass(frozen=True)
class Described:
    """A bank in numbers; made by `describe`.

    Attributes
    ----------
    summary : Summary
    common : int
        Responses that every prompt has without a gap: what students can be given.
    reasons : dict of str to int
        Responses by why they ended, "unknown" where nobody said it.
    lengths : tuple of (low, high, count)
        Histogram; both ends are within.
    spread : tuple of Spread
    unsure : tuple of int
        Prompts by the chance that two answers to them differ, in ten ranges from 0 to 1; empty where that is not known.
    divided, others : tuple of Divided
        Prompts with the greatest Gini variance, and some spread evenly over the rest.
    fingerprint : str
    """

    summary: Summary
    common: int
    reasons: dict[str, int]
    lengths: tuple[tuple[int, int, int], ...]
    spread: tuple[Spread, ...]
    unsure: tuple[int, ...]
    divided: tuple[Divided, ...]
    others: tuple[Divided, ...]
    fingerprint: str


def describe(bank: Bank, *, prompts: int = 4, answers: int = 6) -> Described:
    """Read a bank for a report.

    Parameters
    ----------
    bank : Bank
    prompts, answers : int
        How many of the most divided prompts and as many others, and how many answers to each.

    Raises
    ------
    DataError
        The bank is empty.

    Examples
    --------
    >>> describe(Bank("memory://describe-doc"))
    Traceback (most recent call last):
    uqkd.errors.DataError: the bank 'memory://describe-doc' is empty; draw responses (uqkd sample) or bring some (uqkd import).
    """
    summary = summarise(bank, prompts=prompts, answers=answers)
    asked, common = bank.prompts()
    reasons: Counter[str] = Counter()
    lengths = [np.zeros(0, dtype=np.int64)]
    for table in bank.scan(("finish_reason", "tokens", "text")):
        said, which = kinds(table, ("finish_reason",))
        reasons.update({str(one or "unknown"): n for (one,), n in zip(said, np.bincount(which).tolist(), strict=True)})
        lengths.append(_lengths(table, summary.unit))
    divided = tuple(look_at(bank, [one.prompt_id for one in summary.divided], answers)) if summary.divided else ()
    known = {one.prompt_id for one in divided}
    rest = [name for name in asked.ids if name not in known]
    places = np.linspace(0, max(len(rest) - 1, 0), min(prompts, len(rest))).round().astype(int).tolist()
    others = look_at(bank, [rest[place] for place in places], answers) if rest else []
    order = {name: place for place, name in enumerate([one.prompt_id for one in summary.divided] + rest)}
    divided, shown = (tuple(sorted(own, key=lambda one: order[one.prompt_id])) for own in (divided, others))
    spread, unsure = _spread(bank, asked, common)
    return Described(
        summary, common, dict(reasons.most_common()), histogram(np.concatenate(lengths)), spread, unsure, divided, shown,
        bank.fingerprint,
    )  # fmt: skip


def _lengths(table: Any, unit: str) -> NDArray[np.int64]:
    import pyarrow.compute as pc

    own = table["tokens"] if unit == "tokens" else pc.utf8_length(table["text"])
    return np.asarray(own.fill_null(0), dtype=np.int64)


def histogram(lengths: NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """Counts of whole numbers in ranges of one width, both ends of each within.

    Examples
    --------
    >>> histogram(np.array([1, 1, 3]))
    ((1, 1, 2), (2, 2, 0), (3, 3, 1))
    >>> histogram(np.array([0, 100]))[0], histogram(np.array([0, 100]))[-1]
    ((0, 8, 1), (99, 107, 1))
    """
    if not len(lengths):
        return ()
    first, last = int(lengths.min()), int(lengths.max())
    width = -(-(last - first + 1) // _BARS)
    counts = np.bincount((lengths - first) // width).tolist()
    return tuple((first + n * width, first + (n + 1) * width - 1, count) for n, count in enumerate(counts))


def _spread(bank: Bank, asked: Any, common: int) -> tuple[tuple[Spread, ...], tuple[int, ...]]:
    """Gini variance, agreement and entropy of the responses that every prompt has, answers alike but for form being one."""
    names: Sequence[tuple[str, str]] = (
        ("Gini variance: chance that two answers differ", "probability"),
        ("agreement: chance that two answers are the same", "probability"),
        (f"entropy ({RULE})", "nats"),
    )
    if common < 2:
        why = f"every prompt must have two responses at least without a gap; the least has {common}"
        return tuple(Spread(name, np.nan, np.nan, np.nan, unit, why) for name, unit in names), ()
    ids = cluster(bank.responses(asked, students=1, k=common, per_student=common), "normalised").ids
    gini = gini_from_draws(ids[0])
    entropy = np.concatenate([entropy_from_counts(counts, RULE) for counts in counted(ids)], axis=-1)
    of_gini, of_agreement = (Values.of(own[None], chance=True, positive=True) for own in (gini, 1.0 - gini))
    of_entropy, limits = Values.of(entropy, positive=True), of_gini.columns()
    mirrored = {"estimate": 1 - limits["estimate"], "low": 1 - limits["high"], "high": 1 - limits["low"]}
    rows = (limits, mirrored, of_entropy.columns())
    whys = (of_gini.why, of_agreement.why, "; ".join(filter(None, (of_entropy.why, _capped(gini, common)))))
    found = tuple(
        Spread(name, float(row["estimate"]), float(row["low"]), float(row["high"]), unit, why)
        for (name, unit), row, why in zip(names, rows, whys, strict=True)
    )
    return found, tuple(np.histogram(gini, bins=10, range=(0.0, 1.0))[0].tolist())


def _capped(gini: NDArray[np.float64], common: int) -> str:
    """A remark where most entropies are as large as so few draws let them be."""
    share = float((gini >= 1.0).mean())
    if share <= CAPPED:
        return ""
    return f"of {share:.0%} of the prompts no two of the {common} answers are alike: such an entropy tells how many were drawn"
