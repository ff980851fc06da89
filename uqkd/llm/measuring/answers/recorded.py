"""What stands in the folders of distilled students: how their teacher was sampled, and what they were before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from uqkd.errors import DataError, OptionError, one_of
from uqkd.llm.sampling import Sampling

ABOUT = "distilled.json"
MAX_TOKENS = 256  # of an answer where nothing is known
_SAID = ("temperature", "max_tokens")  # even where they are plain


@dataclass(frozen=True)
class Recorded:
    """Students of one folder; made by `recorded`.

    Attributes
    ----------
    folders : tuple of Path
        In the order of their numbers.
    sampling : dict or None
        Of the bank that they were distilled from; None where an older folder does not say.
    base : str or None
        Folder or name of the undistilled student; None where an older folder does not say, or students began fresh.
    fresh : bool
        They began with new parameters: what they were before answers nothing.
    bank : str or None
        Fingerprint of the bank.
    """

    folders: tuple[Path, ...]
    sampling: dict[str, Any] | None
    base: str | None
    fresh: bool
    bank: str | None

    def sampled(self, **given: Any) -> tuple[Sampling, str]:
        """How the students are to be sampled, and a line that says whence: what is given, the bank's, or a default.

        Parameters
        ----------
        **given
            Fields of `Sampling`; None for what is not given.

        Examples
        --------
        >>> found = Recorded((), {"temperature": 0.7, "max_tokens": 32}, None, False, None)
        >>> found.sampled(max_tokens=8, temperature=None)[1]
        'students are sampled as the teacher was: temperature=0.7; but max_tokens=8, as given'
        >>> Recorded((), None, None, False, None).sampled()[1]
        'note: how the teacher was sampled is not in distilled.json (older students); plain sampling with max_tokens=256'
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        for name in chosen:
            one_of("sampling parameter", name, [field.name for field in fields(Sampling)])
        if self.sampling is None:
            whole = {"max_tokens": MAX_TOKENS, **chosen}
            how = ", ".join(f"{name}={value}" for name, value in whole.items())
            return Sampling(**whole), (
                f"note: how the teacher was sampled is not in {ABOUT} (older students); plain sampling with {how}"
            )
        sampling, plain = Sampling(**{**self.sampling, **chosen}), Sampling()
        kept = [
            f"{name}={value}"
            for name, value in sampling.columns().items()
            if name not in chosen and (name in _SAID or value != getattr(plain, name))
        ]
        line = f"students are sampled as the teacher was: {', '.join(kept)}"
        if chosen:
            line += "; but " + ", ".join(f"{name}={value}" for name, value in chosen.items()) + ", as given"
        return sampling, line


def recorded(root: str | Path) -> Recorded:
    """Read the folders `student-0`, `student-1`, ... below a folder.

    Raises
    ------
    OptionError
        Fewer than two students.
    DataError
        They were distilled from different banks or bases, or a file cannot be read.

    Examples
    --------
    >>> recorded("no/such/place")
    Traceback (most recent call last):
    uqkd.errors.OptionError: measure needs two students at least; 'no/such/place' has 0. Distil more.
    """
    numbered = {int(number): path for path in Path(root).glob("student-*") if (number := path.name[8:]).isdigit()}
    folders = tuple(numbered[number] for number in sorted(numbered))
    if len(folders) < 2:
        raise OptionError(f"measure needs two students at least; {str(root)!r} has {len(folders)}. Distil more.")
    about = [_about(folder) for folder in folders]
    return Recorded(
        folders,
        _same(folders, about, "sampling"),
        None if about[0].get("fresh") else _same(folders, about, "base"),
        bool(about[0].get("fresh")),
        _same(folders, about, "bank"),
    )


def _about(folder: Path) -> dict[str, Any]:
    file = folder / ABOUT
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as problem:
        raise DataError(f"{ABOUT} of {folder.name!r} cannot be read: {problem}.") from None
    return found if isinstance(found, dict) else {}


def _same(folders: Sequence[Path], about: Sequence[dict[str, Any]], name: str) -> Any:
    """What all students say alike."""
    for folder, own in zip(folders, about, strict=True):
        if own.get(name) != about[0].get(name):
            raise DataError(
                f"students of one folder must be of one {name}; {folders[0].name!r} has {about[0].get(name)!r}, "
                f"{folder.name!r} {own.get(name)!r}. Measure them apart."
            )
    return about[0].get(name)
