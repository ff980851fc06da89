"""What a stop must not cost: where students are kept when they are trained, and their training while it lasts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from uqkd.errors import ProvenanceError
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.students.training.checkpoints import EVERY_S, FolderCheckpoint
from uqkd.store import Mirror, commit_folder, verified_folder

ABOUT = "distilled.json"


@dataclass(frozen=True)
class Keep:
    """A folder of students, and of the checkpoints of those under way.

    Attributes
    ----------
    root : Path
    about : dict
        What decided these students, among it "inputs", the fingerprint of it all; stands in every student's folder.
    every_s : float
        Seconds between checkpoints.
    mirror : Mirror, optional
        Of the URL where students and checkpoints are kept; `root` is its twin here.
    group : range, optional
        The students that are trained here, of those that the folder is for; others train the others.

    Examples
    --------
    >>> Keep(Path("students"), {"inputs": "a"}).below("fold-0").root.name
    'fold-0'
    """

    root: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    every_s: float = EVERY_S
    mirror: Mirror | None = None
    group: range | None = None

    def number(self, s: int) -> int:
        """The number among all students of student s of those trained here."""
        return s if self.group is None else self.group[s]

    def below(self, part: str) -> Keep:
        """The place of a training that this one needs first."""
        below = None if self.mirror is None else self.mirror.below(f".training/{part}")
        return replace(self, root=self.root / ".training" / part, mirror=below)

    def checkpoint(self, name: str, *, write: bool = True) -> FolderCheckpoint:
        """Where the state of one training is kept; `write=False` only begins from it."""
        inputs = str(self.about.get("inputs", ""))
        made = FolderCheckpoint(self.root, name, inputs=inputs, every_s=self.every_s, mirror=self.mirror)
        return made if write else ReadOnly(made)  # type: ignore[return-value]

    def clear(self) -> None:
        """Forget the checkpoints: all is finished and saved. Those of others' students stay."""
        if self.group is not None:
            return
        shutil.rmtree(self.root / ".training", ignore_errors=True)
        if self.mirror is not None:
            self.mirror.drop(".training/")

    def save(self, s: int, model: Any, encoder: Encoder, *, loss: float, **more: Any) -> Path:
        """Save one student of those trained here, here and at the URL; `more` stands with what decided it."""
        made = save_student(self.root, self.number(s), model, encoder, loss, {**self.about, **more})
        if self.mirror is not None:
            self.mirror.push(made.name)
        return made

    def finished(self) -> dict[int, dict[str, Any]]:
        """What is written of every student that is there, by its number among those trained here.

        Raises
        ------
        ProvenanceError
            Students of other inputs: they must not be mixed with these.
        """
        found = {}
        if self.mirror is not None:
            self.mirror.pull("student-")
        for folder in sorted(self.root.glob("student-*")):
            number = int(folder.name.split("-")[1])
            if self.group is not None and number not in self.group:
                continue
            if verified_folder(self.root, folder.name) is None:
                continue
            known = json.loads((folder / ABOUT).read_text())
            if known.get("inputs") != self.about.get("inputs"):
                what = "; ".join(
                    f"{name}: {known.get(name)!r} there, {value!r} now"
                    for name, value in self.about.items()
                    if name != "inputs" and known.get(name) != value
                )
                raise ProvenanceError(f"{self.root} holds students of other inputs ({what}); use another folder.")
            found[number if self.group is None else self.group.index(number)] = known
        return found


class ReadOnly:
    """A checkpoint that another process writes."""

    def __init__(self, written: FolderCheckpoint) -> None:
        self._written = written

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Nothing: another process writes."""

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What the other process wrote."""
        return self._written.load()


def save_student(root: str | Path, s: int, model: Any, encoder: Encoder, loss: float, about: Mapping[str, Any]) -> Path:
    """One student as a folder that transformers and vLLM load."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    notes = {"student": s, "loss": loss, "loss_unit": "nats a token", **about}

    def write(folder: Path) -> None:
        model.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
        (folder / ABOUT).write_text(json.dumps(notes, indent=1, sort_keys=True))

    return commit_folder(root, f"student-{s}", write)
