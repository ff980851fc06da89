"""Which columns a source of rows has, which of them are read, and under which names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, OptionError, nearest
from uqkd.llm.prompts.cells import listed

_OF_PANDAS = ("", "__index_level_0__")  # the columns that pandas makes of an index
_LISTED = 12  # columns that a note names


class Columns:
    """Columns of a source of rows: what `uqkd.llm.prompts.formats` reads and notes; see `Records`, which is the source."""

    path: Path
    name: str
    table: Any

    def __init__(self, known: Sequence[str], columns: Mapping[str, str] | None) -> None:
        self.known, self.columns = tuple(known), dict(columns or {})
        self.seen: dict[str, None] = {}
        for ours in self.columns:
            if ours not in known:
                raise OptionError(f"there is no column {ours!r} to map another to; {nearest(ours, known)}.")
        theirs = [self.columns.get(name, name) for name in known]
        self._ours = {there: ours for there, ours in zip(theirs, known, strict=True) if there}
        given = [name for name in self.columns.values() if name]
        if twice := sorted({name for name in given if given.count(name) > 1}):
            raise OptionError(f"the column {twice[0]!r} is mapped twice; map each column once.")
        self._ours.update({there: ours for ours, there in self.columns.items() if there})

    def saw(self, names: Iterable[str]) -> None:
        """Note that there are these columns."""
        self.seen.update(dict.fromkeys(names))  # a dict keeps their order

    def require_mapped(self) -> None:
        """Refuse a mapped column that is not there."""
        for name, theirs in self.columns.items():
            if theirs and self.seen and theirs not in self.seen:
                raise DataError(f"{self.name}: there is no column {theirs!r} for {name!r}, only {listed(self.seen)}.")

    @property
    def wanted(self) -> list[str]:
        """Names in the file of the columns that are read."""
        return [name for name in self.seen if name in self._ours]

    def note(self) -> str:
        """One line that names the columns that were not read, each with the known one that it may be; empty for none."""
        named = []
        free = [name for name in self.known if name not in {self._ours.get(there) for there in self.seen}]
        for name in self.seen:
            if name in self._ours or name in _OF_PANDAS or self.columns.get(name) == "":
                continue
            close = difflib.get_close_matches(name, free, n=1)
            named.append(f"{name!r}" + (f" (did you mean {close[0]!r}? --column {close[0]}={name})" if close else ""))
        more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
        return f"columns not read: {', '.join(named[:_LISTED])}{more}" if named else ""
