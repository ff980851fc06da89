"""The facts behind cards, kept in one file beside the students: how they came to be, and every set of prompts measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uqkd.errors import DataError
from uqkd.store import Store

FACTS = "card.json"
_ABOUT = "distilled.json"  # in each student's folder


@dataclass(frozen=True)
class Facts:
    """What is known of the students of one folder; made by `read_facts`.

    Attributes
    ----------
    folders : tuple of str
        Names of the students' folders, in the order of their numbers.
    trained : mapping
        What decided them; of older students what stands in their folders.
    losses : mapping of str to float
        By folder, in nats a token at the last step.
    measured : tuple of mappings
        One for each set of prompts, in the order in which they were first measured.
    """

    folders: tuple[str, ...]
    trained: Mapping[str, Any]
    losses: Mapping[str, float]
    measured: tuple[Mapping[str, Any], ...] = field(default=())

    @property
    def bank(self) -> Mapping[str, Any]:
        """Of the responses that they were trained on; of older students the fingerprint alone."""
        known = self.trained.get("bank")
        return known if isinstance(known, Mapping) else {"fingerprint": known}

    @property
    def lost(self) -> int:
        """How many students were asked for and are not there."""
        return max(int(self.trained.get("students") or 0) - len(self.folders), 0)


def read_facts(root: str | Path) -> Facts:
    """What stands in a folder of students.

    Raises
    ------
    DataError
        No students, or a file that cannot be read.

    Examples
    --------
    >>> read_facts("no/such/place")
    Traceback (most recent call last):
    uqkd.errors.DataError: 'no/such/place' holds no students (student-0, ...); give the --out of uqkd distill.
    """
    place = Path(root)
    numbered = {int(path.name[8:]): path for path in place.glob("student-*") if path.name[8:].isdigit()}
    if not numbered:
        raise DataError(f"{str(root)!r} holds no students (student-0, ...); give the --out of uqkd distill.")
    folders = [numbered[number] for number in sorted(numbered)]
    about = {folder.name: _json(folder / _ABOUT) for folder in folders}
    losses = {name: float(own["loss"]) for name, own in about.items() if isinstance(own.get("loss"), int | float)}
    known = _json(place / FACTS)
    trained = known.get("trained") or next(iter(about.values()))
    return Facts(tuple(about), trained, losses, tuple(known.get("measured") or ()))


def keep_facts(
    root: str | Path, *, trained: Mapping[str, Any] | None = None, measured: Mapping[str, Any] | None = None
) -> None:
    """Write what is new; what was measured on the same prompts before is replaced, on others kept.

    Raises
    ------
    StoreError
        The folder cannot be written.
    """
    known = _json(Path(root) / FACTS)
    if trained is not None:
        known["trained"] = dict(trained)
    if measured is not None:
        same = measured["prompts"]["fingerprint"]
        others = [one for one in known.get("measured") or () if one["prompts"]["fingerprint"] != same]
        known["measured"] = [*others, dict(measured)]
    text = json.dumps(known, ensure_ascii=False, indent=1, allow_nan=False)
    Store(root, create=False).write_bytes(FACTS, text.encode())


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as problem:
        raise DataError(f"{path.name} of {path.parent.name!r} cannot be read: {problem}.") from None
    if not isinstance(found, dict):
        raise DataError(f"{path.name} of {path.parent.name!r} must hold an object; got {type(found).__name__}.")
    return found
