"""Options that studies share: of classifiers on tasks and on images, of language models in the embedded world."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import Annotated, Any, Self

import pydantic

from uqkd.run.study import AtLeastTwo, Options, PositiveFloat, PositiveInt

Network = tuple[str, str]  # of the teacher and of the students
READING = ("tokenizer", "length", "size", "text", "target")


# What the studies of images ask for at the sizes of the published ones.
PUBLISHED_IMAGES: dict[str, Any] = {"task": "cifar100", "steps": 78_000, "batch": 128, "lr": 1e-3, "replicates": 10}
PUBLISHED_TEACHERS = ("residual:20", "residual:56", "residual:110")


class ImageOptions(Options):
    """Options of a study of students of one architecture on one task of images.

    Examples
    --------
    >>> ImageOptions(steps=100).training
    {'student': 'perceptron:64', 'students': 2, 'steps': 100, 'batch': 32, 'lr': 0.003}
    """

    task: str = "digits"
    size: PositiveInt | None = None  # height and width to which images are brought
    student: str = "perceptron:64"
    replicates: AtLeastTwo = 5  # teachers, each trained anew from another start
    students: PositiveInt = 2  # of each teacher and method, which begin alike
    steps: AtLeastTwo = 600
    batch: AtLeastTwo = 32
    lr: PositiveFloat = 3e-3

    @property
    def training(self) -> dict[str, Any]:
        """Students and how they are trained, for a cell."""
        return self.only("student", "students", "steps", "batch", "lr")


class EmbeddedOptions(Options):
    """Options of a study of language-model students in the embedded world.

    Examples
    --------
    >>> EmbeddedOptions().only("students", "batch")
    {'students': 8, 'batch': 48}
    """

    groups: PositiveInt = 8
    entities: AtLeastTwo = 6
    students: Annotated[int, pydantic.Field(ge=3)] = 8  # the standard error of a variance needs three
    steps: PositiveInt = 120
    batch: PositiveInt = 48
    lr: PositiveFloat = 1.4e-2
    backend: str = "vllm"


class NetworkOptions(Options):
    """Options of a study of small networks on regressions.

    Examples
    --------
    >>> NetworkOptions(hidden=(8, 8)).network
    {'hidden': (8, 8), 'steps': 200, 'replicates': 400}
    """

    data: tuple[str, ...] = ("diabetes",)
    target: str | None = None
    hidden: tuple[int, ...] = (16,)
    steps: int = 200
    replicates: AtLeastTwo = 400

    @property
    def network(self) -> dict[str, Any]:
        """Students and how many, for a cell."""
        return self.only("hidden", "steps", "replicates")


class ModelOptions(Options):
    """Options of a study that samples a saved language model and distils another: how both are sampled and students trained.

    Examples
    --------
    >>> ModelOptions(steps=None, epochs=3).epochs
    3.0
    """

    students: Annotated[int, pydantic.Field(ge=3)] = 5
    temperature: PositiveFloat = 1.0  # of teacher and students
    max_tokens: PositiveInt = 20
    lora: PositiveInt | None = 8  # rank of the adapters; none: all parameters are trained
    layers: PositiveInt | None = 6  # blocks, from the last, that have them; none: all
    steps: PositiveInt | None = 80  # the same for all methods
    epochs: PositiveFloat | None = None  # instead of steps
    batch: PositiveInt = 8
    lr: PositiveFloat = 1e-3
    schedule: str = "cosine"
    engine: str = "auto"
    backend: str = "vllm"

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"give either steps or epochs; got steps={self.steps} and epochs={self.epochs}")
        return self


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
    students: AtLeastTwo = 6
    steps: AtLeastTwo = 400
    batch: AtLeastTwo = 32
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

    @property
    def training(self) -> dict[str, Any]:
        """Students and how they are trained, for a cell."""
        return self.only("students", "steps", "batch")

    def trained(self, kind: str) -> dict[str, Any]:
        """Networks and learning rate of "images" or "texts", for a cell."""
        image = kind == "images"
        return {"networks": self.images if image else self.texts, "lr": self.rates[0 if image else 1]}
