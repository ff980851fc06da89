"""Options that studies of classifiers share: which tasks, how they are read, and which networks learn them."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import Any

import pydantic

from uqkd.run.study import Options, PositiveFloat, PositiveInt

Network = tuple[str, str]  # of the teacher and of the students
READING = ("tokenizer", "length", "size", "text", "target")


class TaskOptions(Options):
    """Options of a study of several tasks, of images and of texts.

    Examples
    --------
    >>> options = TaskOptions(tasks=("mine.npz",), texts=("bag:8", "bag:4"), size=32)
    >>> options.trained("texts")
    {'networks': ('bag:8', 'bag:4'), 'lr': 0.01}
    >>> options.reading
    {'tokenizer': None, 'length': 128, 'size': 32, 'text': None, 'target': None}
    """

    tasks: tuple[str, ...] = ("digits", "intents:30")
    images: Network = ("convolutional:16", "perceptron:64")
    texts: Network = ("bag:64", "bag:32")
    rates: tuple[PositiveFloat, PositiveFloat] = (3e-3, 1e-2)  # learning rate of images and of texts
    tokenizer: str | None = None  # folder or name of a model whose tokenizer reads the texts
    length: PositiveInt = 128  # tokens of a row of text
    size: PositiveInt | None = None  # height and width to which images are brought
    text: str | None = None  # column of the texts
    target: str | None = None  # column of the classes

    @pydantic.field_validator("tasks")
    @classmethod
    def _told_apart(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name, count in Counter(PurePath(task).name for task in tasks).items() if count > 1]
        if twice:
            raise ValueError(f"figures and tables tell tasks apart by name, and {twice[0]!r} comes twice")
        return tasks

    @property
    def reading(self) -> dict[str, Any]:
        """How data are read, for `uqkd.testbeds.cells.task_cell`, which leaves out what does not concern the kind of rows."""
        return {name: getattr(self, name) for name in READING}

    def trained(self, kind: str) -> dict[str, Any]:
        """Networks and learning rate of "images" or "texts", for a cell."""
        image = kind == "images"
        return {"networks": self.images if image else self.texts, "lr": self.rates[0 if image else 1]}
