"""What a file of responses holds, by one look at all of it: nothing is written of a file that cannot be read to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from uqkd.errors import DataError
from uqkd.llm.bank.importing.given import Given, Prompt, given_rows, prompt_line
from uqkd.llm.prompts.cells import answer_texts, counted
from uqkd.llm.prompts.records import Records

UNKNOWN = "unknown"  # teacher of whom nothing is known
_LISTED = 10  # models that a message names


class Survey:
    """The prompts of a file of responses, and counts of what it holds.

    Parameters
    ----------
    records : Records
    teacher : str, optional
        Whose responses are wanted; if not given, those of the file's only model.

    Attributes
    ----------
    teacher : str
    numbers : dict of str to int
        Of the prompts, by id.
    codes : list of str
        Of the prompts, by number.
    responses, missing : int
    lines : list of str
        Of the prompts file; prompts without any response are left out.

    Raises
    ------
    DataError
        What is wrong, with its place; no responses, or several models.
    """

    def __init__(self, records: Records, teacher: str | None) -> None:
        self._records, self._wanted = records, teacher
        self.numbers: dict[str, int] = {}
        self.codes: list[str] = []
        self.responses = self.missing = self._empty = 0
        self._models: Counter[str] = Counter()
        self._prompts: list[Prompt] = []
        self._first: list[str] = []  # place of each prompt
        self._counts: list[int] = []
        self._answers: list[dict[str, None]] = []
        self._raw: list[Any] = []  # answers as they stood in the last row of each prompt
        for given in given_rows(records):
            self._models[given.model] += len(given.responses)
            if self._is_wanted(given):
                self._count(given)
        self.teacher = self._one_teacher()
        if not self.responses:
            raise DataError(f"{records.name} holds no responses ({self.missing} are null); give at least one.")
        every = zip(self._prompts, self._answers, self._counts, strict=True)
        self.lines = [prompt_line(prompt, answers) for prompt, answers, count in every if count]
        self._different = len(set(self.codes))

    def rows(self) -> Iterator[Given]:
        """The rows of the teacher, read anew."""
        return filter(self._is_wanted, given_rows(self._records))

    def notes(self) -> list[str]:
        """What the reader should know."""
        found = []
        if others := sum(count for name, count in self._models.items() if name and name != self.teacher):
            found.append(f"left out: {counted(others, 'response')} of other models")
        if self._empty and not self._records.typed:
            found.append(f"{self._empty:,} are empty: CSV cannot tell an empty response from a missing one")
        if none := [place for place, count in zip(self._first, self._counts, strict=True) if not count]:
            found.append(f"left out: {counted(len(none), 'prompt')} without any response ({none[0]} first)")
        if self._different < len(self._prompts):
            found.append(
                f"{len(self._prompts):,} ids stand for {self._different:,} different prompts: where 'id' numbers the rows, import "
                "into a new bank with --column id=, so that responses to one prompt are brought together"
            )
        return found

    def _is_wanted(self, given: Given) -> bool:
        return not (self._wanted and given.model and given.model != self._wanted)

    def _count(self, given: Given) -> None:
        prompt = given.prompt
        number = self.numbers.setdefault(prompt.key, len(self.numbers))
        if number == len(self._first):
            self._first.append(given.where.removeprefix(f"{self._records.name}, "))
            self.codes.append(prompt.code)
            self._prompts.append(prompt)
            self._answers.append({})
            self._raw.append(None)
            self._counts.append(0)
        elif self.codes[number] != prompt.code:
            raise DataError(
                f"{given.where}: id {prompt.key!r} stands for another prompt in {self._first[number]}; give each prompt its own "
                "id, or leave ids unread: --column id="
            )
        if (
            given.answers is not None and given.answers != self._raw[number]
        ):  # all rows of a prompt say the same, as a rule
            self._raw[number] = given.answers
            own = answer_texts(given.where, given.answers, typed=self._records.typed)
            self._answers[number].update(dict.fromkeys(own))
        said = [text for text, _, _ in given.responses if text is not None]
        self._counts[number] += len(said)
        self.responses += len(said)
        self.missing += len(given.responses) - len(said)
        self._empty += sum(not text.strip() for text in said)

    def _one_teacher(self) -> str:
        named = [name for name in self._models if name]
        if self._wanted is None and len(named) < 2:
            return named[0] if named else UNKNOWN
        if self._wanted is not None and (self.numbers or not named):
            return self._wanted
        held = ", ".join(f"{name!r} ({count:,})" for name, count in self._models.most_common(_LISTED) if name)
        asked = "" if self._wanted is None else f"and none of {self._wanted!r}; "
        raise DataError(
            f"{self._records.name} holds responses of {held}, {asked}but a bank is of one teacher: give --teacher with one, "
            "or leave the column unread: --column model="
        )
