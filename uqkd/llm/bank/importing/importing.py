"""A bank of responses that people already have: text without ids, from draws of which nobody knows the seeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from uqkd.errors import ProvenanceError
from uqkd.llm.bank.bank import STUDY, Bank, refuse_other
from uqkd.llm.bank.columns.fingerprint import distinct_rows
from uqkd.llm.bank.columns.rows import Wanted, table_of, unknown_sampling
from uqkd.llm.bank.columns.scan import kinds
from uqkd.llm.bank.importing.given import COLUMNS, Prompt
from uqkd.llm.bank.importing.survey import Survey
from uqkd.llm.prompts.cells import counted
from uqkd.llm.prompts.records import Records
from uqkd.llm.requests import Completion, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.store import Inputs
from uqkd.store.units import canonical_json, content_hash

PART = 2**13  # responses committed at once, at most
PART_CHARACTERS = 2**22  # of responses committed at once, about
PROMPTS = "prompts.jsonl"  # the imported prompts, with their answers, as `read_prompts` takes them


@dataclass
class Imported:
    """What an import did; as text, lines for people.

    Attributes
    ----------
    source, root, teacher : str
    added, there : int
        Responses of the file that are new in the bank, and that it had.
    missing : int
        Responses that are null in the file; left out.
    prompts : int
        In the bank now.
    fewest, most : int
        Responses to each prompt of the bank.
    flags : Counter
        Of those added.
    notes : list of str
    """

    source: str
    root: str
    teacher: str
    added: int = 0
    there: int = 0
    missing: int = 0
    prompts: int = 0
    fewest: int = 0
    most: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Lines for people."""
        if self.added:
            before = f", {self.there:,} were there already" if self.there else ""
            done = f"{counted(self.added, 'response')} imported (teacher {self.teacher!r}){before}"
        else:
            done = f"nothing new: {counted(self.there, 'response')} already there"
        lines = [f"{self.source} -> {self.root}: {done}"]
        if self.missing:
            lines.append(f"left out: {self.missing:,} missing (null)")
        each = f"{self.fewest:,}" if self.fewest == self.most else f"{self.fewest:,} to {self.most:,}"
        unequal = "" if self.fewest == self.most else f" (unequal: students can be given {self.fewest:,} of each)"
        lines.append(f"the bank has {each} responses to each of {counted(self.prompts, 'prompt')}{unequal}")
        if self.flags:
            lines.append("flagged: " + ", ".join(f"{count:,} {name}" for name, count in sorted(self.flags.items())))
        return "\n".join([*lines, *self.notes, "seeds are unknown: independence of these responses cannot be shown"])


def import_responses(
    source: str | Path,
    bank: Bank,
    *,
    teacher: str | None = None,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    sampling: Mapping[str, float] | None = None,
    part: int = PART,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Bring the responses of a file or data set into a bank, those that it lacks.

    The file is read twice: whole, to find what is wrong before anything is written, and part by part. Killed at any instant
    and called again, the bank ends with the rows of an import in one go; the same file again adds nothing, another file adds
    to it. Memory grows with the prompts, not with the responses.

    Parameters
    ----------
    source : path or str
        As for `read_prompts`, with `response` (a text) or `responses` (a list of them) in each row; or chats (`messages`) that
        end with the assistant's turn. Further columns that are read: `id`, `answers`, `finish_reason` ("stop" or "length",
        also as other servers call them), `seed`, `model`. Rows with the same id, or without ids the same prompt, are responses
        to one prompt, in their order.
    bank : Bank
        Empty, or with imported responses of the same teacher and sampling.
    teacher : str, optional
        Who responded; where the file has a column `model`, the rows of that one alone. If not given, the file's only model.
    split : str
        Of a data set.
    columns : mapping of str to str, optional
        Our names to those of the file, {"response": "completion"}; an empty name leaves a column unread.
    sampling : mapping of str to float, optional
        Those parameters of `Sampling` that are known.
    part : int
        Responses committed at once, at most.
    progress : callable, optional
        Called with the counts of responses in the bank and in the file.

    Returns
    -------
    Imported

    Raises
    ------
    DataError
        What is wrong, with its place; nothing is written.
    ProvenanceError
        The bank is of another teacher or sampling, or a prompt id stands for another prompt there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = Path(place, "a.jsonl")
    ...     _ = path.write_text('{"prompt": "heads or tails ?", "responses": ["heads", "tails", null]}')
    ...     print(import_responses(path, Bank("memory://import-doc")))
    responses a.jsonl -> memory://import-doc: 2 responses imported (teacher 'unknown')
    left out: 1 missing (null)
    the bank has 2 responses to each of 1 prompt
    seeds are unknown: independence of these responses cannot be shown
    """
    records = Records(source, COLUMNS, columns=columns, split=split, what="responses")
    survey = Survey(records, teacher)
    known = {name: getattr(Sampling(**sampling), name) for name in sampling} if sampling else {}  # type: ignore[arg-type]
    about = TeacherInfo(survey.teacher, f"unknown:{survey.teacher}", "import", "", "", "none", False, seeds="unknown")
    bank.store.sweep()
    work = _Work(survey, bank, about, {**unknown_sampling(), **known}, records.fingerprint())
    result = Imported(records.name, bank.root, survey.teacher, missing=survey.missing)
    try:
        for new, table, count in work.parts(part):
            result.added += count * new
            result.there += count * (not new)
            if table is not None:
                for flags in table["flags"].to_pylist():
                    result.flags.update(flags.split(",") if flags else ())
            if progress:
                progress(result.added + result.there, survey.responses)
    except KeyboardInterrupt:
        done = result.added + result.there
        raise KeyboardInterrupt(
            f"interrupted: {done} of {survey.responses} responses are committed; run the same again to import the others."
        ) from None
    _write_prompts(bank, survey)
    counts = work.held[work.held > 0]
    result.prompts, result.fewest, result.most = len(counts), int(counts.min()), int(counts.max())
    result.notes += [line for line in (records.note(), *survey.notes()) if line]
    return result


class _Work:
    """The responses of one file, part by part."""

    def __init__(self, survey: Survey, bank: Bank, about: TeacherInfo, sampling: dict[str, Any], source: str) -> None:
        self._survey, self._bank, self._about, self._sampling = survey, bank, about, sampling
        told = {name: value for name, value in asdict(about).items() if name != "name"}
        self._identity = {**told, **sampling, "key": ["import"], "stop_ids": []}
        self._method = content_hash(canonical_json(self._identity).encode())
        self._source = source
        self._gaps: dict[int, list[int]] = {}  # of each prompt the indices below its count that a lost unit left free
        self.held = self._there()

    def _there(self) -> Any:
        """How many responses the bank has to each prompt; its further prompts get the numbers behind the file's."""
        numbers, pairs = self._survey.numbers, [np.zeros((0, 2), dtype=np.int64)]
        for params, table in self._bank.units(("prompt_id", "prompt_hash", "response_index")):
            refuse_other(self._bank.root, params["bank"], self._identity)
            asked, which = kinds(table, ("prompt_id", "prompt_hash"))
            known = np.array([self._number(*one) for one in asked], dtype=np.int64)
            pairs.append(np.stack([known[which], np.asarray(table["response_index"])], axis=1))
        both = distinct_rows(np.concatenate(pairs))
        held = np.zeros(len(numbers), dtype=np.int64)
        np.add.at(held, both[:, 0], 1)
        last = np.zeros(len(numbers), dtype=np.int64)
        np.maximum.at(last, both[:, 0], both[:, 1] + 1)
        for gappy in np.flatnonzero(last > held).tolist():
            own = set(both[both[:, 0] == gappy, 1].tolist())
            self._gaps[gappy] = [i for i in range(int(last[gappy])) if i not in own][::-1]
        return held

    def _number(self, name: str, code: str) -> int:
        number = self._survey.numbers.setdefault(name, len(self._survey.numbers))
        if number == len(self._survey.codes):
            self._survey.codes.append(code)
        if self._survey.codes[number] != code:
            raise ProvenanceError(
                f"prompt id {name!r} stands for another prompt in the bank {self._bank.root!r}; give the changed prompt another id."
            )
        return number

    def parts(self, size: int) -> Iterator[tuple[bool, Any, int]]:
        """Commit part by part those that are not there; yields whether each is new, its table, and its count."""
        committed = set(self._bank.store.committed(STUDY))
        for place, rows in enumerate(self._cut(size)):
            first = f"{rows[0][0].key}, {len(rows)}"
            params = {"bank": self._identity, "file": self._source, "part": place, "count": len(rows), "first": first}
            inputs = Inputs(STUDY, params, method=self._method)
            if inputs.key in committed:
                yield False, None, len(rows)
                continue
            wanted = [
                Wanted(prompt.key, prompt.text, prompt.messages, prompt.code, self._next(prompt.key), seed)
                for prompt, _, _, seed in rows
            ]
            said = [Completion(None, text, None, reason) for _, text, reason, _ in rows]
            table = table_of(wanted, said, about=self._about, sampling=self._sampling)
            self._bank.store.commit(inputs, table, check_twins=False)
            yield True, table, len(rows)

    def _cut(self, size: int) -> Iterator[list[tuple[Prompt, str, str | None, int | None]]]:
        """The responses in parts, which depend on the file alone."""
        rows: list[tuple[Prompt, str, str | None, int | None]] = []
        characters = 0
        for given in self._survey.rows():
            for text, reason, seed in given.responses:
                if text is None:
                    continue
                rows.append((given.prompt, text, reason, seed))
                characters += len(text)
                if len(rows) >= size or characters >= PART_CHARACTERS:
                    yield rows
                    rows, characters = [], 0
        if rows:
            yield rows

    def _next(self, key: str) -> int:
        """The least index that is free."""
        number = self._survey.numbers[key]
        self.held[number] += 1
        if number in self._gaps:
            gaps = self._gaps[number]
            found = gaps.pop()
            if not gaps:
                del self._gaps[number]
            return found
        return int(self.held[number]) - 1


def _write_prompts(bank: Bank, survey: Survey) -> None:
    """Put the prompts and their answers beside the rows, behind those of earlier imports."""
    try:
        before = bank.store.folder.read(PROMPTS).decode().splitlines()
    except FileNotFoundError:
        before = []
    lines = {json.loads(line)["id"]: line for line in before}
    for line in survey.lines:
        lines.setdefault(json.loads(line)["id"], line)
    if len(lines) > len(before):
        bank.store.write_bytes(PROMPTS, "".join(f"{line}\n" for line in lines.values()).encode())
