"""What people look for first in a bank: teacher, sampling, lengths, flags, and the prompts that are answered in most ways."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError, OptionError
from uqkd.estimators.answers.agreement import gini_from_draws
from uqkd.llm.bank.bank import Bank
from uqkd.llm.bank.columns.scan import digests, head_of, kinds, rows_of
from uqkd.llm.bank.left_out import LeftOut
from uqkd.llm.prompts.prompts import turns_of
from uqkd.llm.similarity.clusters import normalise

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_COLUMNS = ("prompt_id", "text", "tokens", "flags", "finish_reason", "teacher")
_CANDIDATES = 64  # prompts whose answers are normalised at once


@dataclass(frozen=True)
class Divided:
    """A prompt, and the answers to it.

    Attributes
    ----------
    prompt_id, prompt : str
    turns : int
        Of a chat; 1 where the prompt is a text.
    gini : float
        1 − P(two responses agree after `normalise`), without bias.
    answers : tuple of (str, int)
        The most frequent ones, each in its most frequent form, with their counts.
    others, of_others : int
        Further different answers, and how many responses they are.
    """

    prompt_id: str
    prompt: str
    turns: int
    gini: float
    answers: tuple[tuple[str, int], ...]
    others: int
    of_others: int


@dataclass(frozen=True)
class Summary:
    """A look into a bank.

    Attributes
    ----------
    root, teacher : str
    identity : dict
        Teacher's revision, backend, sampling, seed key.
    prompts, responses : int
    fewest, most : int
        Responses to a prompt.
    lengths : tuple of int
        Quantiles (`QUANTILES`) of the responses' lengths.
    unit : str
        "tokens", or "characters" where tokens are not known of all.
    flags : Counter
        Responses by flag.
    unsaid : int
        Responses of which nobody said why they ended; they count as finished.
    left_out : tuple of LeftOut
    divided : tuple of Divided
        The most divided prompts first; prompts with one response only are left out.
    """

    root: str
    teacher: str
    identity: dict[str, Any]
    prompts: int
    responses: int
    fewest: int
    most: int
    lengths: tuple[int, ...]
    unit: str
    flags: Counter[str]
    unsaid: int
    left_out: tuple[LeftOut, ...]
    divided: tuple[Divided, ...]


def summarise(bank: Bank, *, prompts: int = 5, answers: int = 5) -> Summary:
    """Look into a bank.

    Read once for counts, in some 20 bytes a response, and once or a few times more for the texts of the prompts that may be
    the most divided: normalising answers can only join some, so that what differs letter by letter bounds what differs.

    Parameters
    ----------
    bank : Bank
    prompts, answers : int
        How many of the most divided prompts, and how many answers to each; 0 for none.

    Raises
    ------
    DataError
        The bank is empty.

    Examples
    --------
    >>> summarise(Bank("memory://summary-doc"))
    Traceback (most recent call last):
    uqkd.errors.DataError: the bank 'memory://summary-doc' is empty; draw responses (uqkd sample) or bring some (uqkd import).
    """
    if prompts < 0 or answers < 0:
        raise OptionError(f"summarise needs prompts >= 0 and answers >= 0; got prompts={prompts}, answers={answers}.")
    seen = _Counts()
    for params, table in bank.units(_COLUMNS):
        seen.add(params["bank"], table)
    if not seen.names:
        raise DataError(f"the bank {bank.root!r} is empty; draw responses (uqkd sample) or bring some (uqkd import).")
    numbers, codes = np.concatenate(seen.numbers), np.concatenate(seen.codes)
    counts = np.bincount(numbers, minlength=len(seen.names))
    in_tokens = not seen.without_tokens
    lengths = np.concatenate(seen.tokens if in_tokens else seen.characters)
    return Summary(
        bank.root, seen.teacher, seen.identity, len(seen.names), len(numbers), int(counts.min()), int(counts.max()),
        tuple(int(one) for one in np.quantile(lengths, QUANTILES, method="inverted_cdf")),
        "tokens" if in_tokens else "characters", seen.flags, seen.unsaid, bank.left_out(),
        _most_divided(bank, list(seen.names), pairs_differ(numbers, codes, counts), prompts, answers),
    )  # fmt: skip


@dataclass
class _Counts:
    """What one pass over the bank counts."""

    identity: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""
    names: dict[str, int] = field(default_factory=dict)
    numbers: list[NDArray[np.int32]] = field(default_factory=list)
    codes: list[NDArray[np.uint64]] = field(default_factory=list)
    tokens: list[NDArray[np.int32]] = field(default_factory=list)
    characters: list[NDArray[np.int32]] = field(default_factory=list)
    flags: Counter[str] = field(default_factory=Counter)
    unsaid: int = 0
    without_tokens: int = 0

    def add(self, identity: dict[str, Any], table: Any) -> None:
        """Take in a unit."""
        import pyarrow.compute as pc

        if not table.num_rows:
            return
        self.identity, self.teacher = dict(identity), str(table["teacher"][0].as_py())
        asked, which = kinds(table, ("prompt_id",))
        known = [self.names.setdefault(name, len(self.names)) for (name,) in asked]
        self.numbers.append(np.array(known, dtype=np.int32)[which])
        texts = rows_of(table["text"])
        keys = np.frombuffer(b"".join(digests(head_of([texts.lengths]), texts)), dtype=np.uint64)
        self.codes.append(keys[::2].copy())
        self.characters.append(np.asarray(pc.utf8_length(table["text"]), dtype=np.int32))
        self.without_tokens += table["tokens"].null_count
        self.tokens.append(np.asarray(table["tokens"].fill_null(0), dtype=np.int32))
        flags, which = kinds(table, ("flags", "finish_reason"))
        for (own, reason), count in zip(flags, np.bincount(which).tolist(), strict=True):
            self.flags.update(dict.fromkeys((own or "").split(",") if own else (), count))
            self.unsaid += count if reason is None else 0


def pairs_differ(numbers: NDArray[Any], codes: NDArray[np.uint64], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Of each prompt the share of pairs of responses that differ; 0 where there is one response only.

    Parameters
    ----------
    numbers, codes : (N,)
        Prompt of each response, and what it says.
    counts : (P,)
        Responses to each prompt.

    Examples
    --------
    >>> pairs_differ(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 5], dtype=np.uint64), np.array([3, 1])).round(3)
    array([0.667, 0.   ])
    """
    order = np.lexsort((codes, numbers))
    numbers, codes = numbers[order], codes[order]
    new = np.ones(len(numbers), dtype=bool)
    new[1:] = (numbers[1:] != numbers[:-1]) | (codes[1:] != codes[:-1])
    starts = np.flatnonzero(new)
    sizes = np.diff([*starts.tolist(), len(numbers)]).astype(np.float64)
    agreeing = np.bincount(numbers[starts], weights=sizes * (sizes - 1), minlength=len(counts))
    pairs = counts * (counts - 1.0)
    return np.where(pairs > 0, 1.0 - agreeing / np.maximum(pairs, 1.0), 0.0)


def _most_divided(
    bank: Bank, names: list[str], bounds: NDArray[np.float64], prompts: int, answers: int
) -> tuple[Divided, ...]:
    """The prompts with the greatest Gini variance of normalised answers, found from the greatest bounds on."""
    order = sorted(np.flatnonzero(bounds > 0).tolist(), key=lambda place: (-bounds[place], names[place]))
    found: list[Divided] = []
    start, size = 0, max(_CANDIDATES, prompts)
    while prompts and start < len(order):
        if len(found) == prompts and found[-1].gini >= bounds[order[start]]:
            break
        these = [names[place] for place in order[start : start + size]]
        found = sorted(found + look_at(bank, these, answers), key=lambda one: (-one.gini, one.prompt_id))[:prompts]
        start, size = start + size, 4 * size
    return tuple(one for one in found if one.gini > 0)


def look_at(bank: Bank, names: list[str], answers: int) -> list[Divided]:
    """Some prompts with their answers, in no particular order.

    Parameters
    ----------
    bank : Bank
    names : list of str
        Their ids.
    answers : int
        How many of the answers to each, the most frequent ones.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    said: dict[tuple[str, str, str | None], Counter[str]] = {}
    for table in bank.scan(("prompt_id", "prompt", "messages", "text")):
        own = table.filter(pc.is_in(table["prompt_id"], value_set=pa.array(names)))
        asked, which = kinds(own, ("prompt_id", "prompt", "messages"))
        for place, text in zip(which.tolist(), own["text"].to_pylist(), strict=True):
            said.setdefault(asked[place], Counter())[text] += 1  # type: ignore[arg-type]
    return [_divided(*asked, counts, answers) for asked, counts in said.items()]


def _divided(name: str, prompt: str, chat: str | None, counts: Counter[str], answers: int) -> Divided:
    forms: dict[str, Counter[str]] = {}
    for text, count in counts.items():
        forms.setdefault(normalise(text), Counter())[text] += count
    groups = sorted(forms.values(), key=lambda own: (-own.total(), min(own)))
    draws = np.repeat(np.arange(len(groups)), [own.total() for own in groups])
    gini = float(gini_from_draws(draws)) if len(draws) > 1 else 0.0
    many = answers + 1 if 0 < answers == len(groups) - 1 else answers  # one line more says what a single other one is
    shown = tuple((min(own, key=lambda text: (-own[text], text)), own.total()) for own in groups[:many])
    rest = groups[many:]
    return Divided(
        name, prompt, len(turns_of(chat or "")) or 1, gini, shown, len(rest), sum(own.total() for own in rest)
    )
