"""Classification as a testbed: networks that fit a task, teachers trained once in a process, measures on its test rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.classify.classifiers import Classifiers
from uqkd.classify.measure import student_probabilities
from uqkd.classify.networks.naming import by_name
from uqkd.classify.networks.plain import Factory
from uqkd.classify.targets.factory import TargetFactory
from uqkd.classify.teacher import Teacher
from uqkd.data.tasks import Task
from uqkd.errors import UqkdError
from uqkd.estimators import summarise_classifier
from uqkd.stacked import Recipe
from uqkd.testbeds.cells import task_cell, task_of
from uqkd.testbeds.options import ImageOptions, TaskOptions

Array = NDArray[np.float64]
Made = TypeVar("Made")

CACHE_TEACHERS = 8  # teachers, and as many target factories, that a process remembers, or why there are none
_MADE: dict[tuple[Any, ...], Any] = {}


def network(name: str, task: Task) -> Factory:
    """Factory of an architecture that fits a task's rows and classes; see `by_name`."""
    return by_name(
        name, row=task.X.shape[1:], classes=len(task.classes), pad=task.pad, vocabulary=task.vocabulary
    )  # fmt: skip


def check_networks(task: Task, names: Iterable[str]) -> None:
    """Raise what `network` has against any of the names: before any work, where studies plan it.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> images = SimpleNamespace(X=np.zeros((2, 1, 8, 8)), classes=("a", "b"), pad=None, vocabulary=None)
    >>> check_networks(images, ["convolutional:4", "residual:x"])
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: network 'residual:x': the size 'x' is no whole number above 0. Write such as ...
    """
    for name in names:
        network(name, task)


def image_cell(options: ImageOptions, networks: Iterable[str]) -> dict[str, Any]:
    """The task of a study of images for its cells; what its networks have against it is raised here, before any work.

    Examples
    --------
    >>> image_cell(ImageOptions(), ["perceptron:8"])["kind"]
    'images'
    """
    cell = task_cell(options.task, only="images", size=options.size)
    check_networks(task_of(cell), (*networks, options.student))
    return cell


def task_cells(options: TaskOptions) -> list[dict[str, Any]]:
    """Each task with its networks and learning rate, for cells; as `image_cell`.

    Examples
    --------
    >>> [(cell["kind"], cell["networks"]) for cell in task_cells(TaskOptions(tasks=("digits",)))]
    [('images', ('convolutional:16', 'perceptron:64'))]
    """
    tasks = [task_cell(name, **options.reading) for name in options.tasks]
    cells = [{**task, **options.trained(task["kind"])} for task in tasks]
    for cell in cells:
        check_networks(task_of(cell), cell["networks"])
    return cells


def cell_recipe(cell: Mapping[str, Any]) -> Recipe:
    """How the studies of classifiers train: AdamW with a cosine schedule, for a cell's steps, batch and learning rate.

    Examples
    --------
    >>> cell_recipe({"steps": 400, "batch": 32, "lr": 0.003}).schedule
    'cosine'
    """
    how = {name: cell[name] for name in ("steps", "batch", "lr")}
    return Recipe(**how, optimiser="adamw", schedule="cosine", weight_decay=0.01)


def published_recipe(*, steps: int, batch: int, lr: float) -> Recipe:
    """How classifiers of texts are fine-tuned in the published study: AdamW, clipped, with a warm-up of a tenth of the steps.

    Examples
    --------
    >>> published_recipe(steps=400, batch=32, lr=0.003).warmup
    40
    """
    how: dict[str, Any] = {"optimiser": "adamw", "weight_decay": 0.01, "clip_norm": 1.0, "schedule": "cosine"}
    return Recipe(steps=steps, batch=batch, lr=lr, warmup=steps // 10, **how)


def cached_teacher(task: Task, *, network: str, recipe: Recipe, replicate: int | None = None) -> Teacher:
    """The teacher of a task, architecture and recipe: the same wherever it is trained, and trained once in a process.

    With a `replicate` it is one of as many independent teachers as are asked for by number.
    """

    def fit(factory: Factory, key: tuple[Any, ...]) -> Teacher:
        return Teacher.fit(
            task.X, task.labels, classes=len(task.classes), factory=factory, recipe=recipe, key=key
        )  # fmt: skip

    return _once("teacher", fit, task, network, recipe, replicate)


def cached_target_factory(task: Task, *, network: str, recipe: Recipe, replicate: int | None = None) -> TargetFactory:
    """The target factory of a teacher of a task, architecture and recipe: as `cached_teacher`."""

    def fit(factory: Factory, key: tuple[Any, ...]) -> TargetFactory:
        return TargetFactory.fit(
            task.X, task.labels, classes=len(task.classes), factory=factory, recipe=recipe, key=key
        )  # fmt: skip

    return _once("views", fit, task, network, recipe, replicate)


def performance(
    asked: Classifiers | Teacher, X: ArrayLike, labels: ArrayLike, *, held: tuple[ArrayLike, ArrayLike] | None = None
) -> dict[str, Array]:
    """Accuracy, calibration and scores of S classifiers (one for a teacher) on test rows, each (S,); see `summarise_classifier`.

    Parameters
    ----------
    asked : Classifiers or Teacher
    X, labels : (P, ...), (P,)
        Test rows.
    held : (X, labels), optional
        Calibration rows, on which a temperature is fitted for the scaled measures.
    """
    calibration = {} if held is None else {
        "calibration_probs": student_probabilities(asked, np.asarray(held[0])), "calibration_labels": np.asarray(held[1])
    }  # fmt: skip
    return summarise_classifier(student_probabilities(asked, np.asarray(X)), labels, **calibration).per_student()


def evaluate(asked: Classifiers | Teacher, task: Task) -> dict[str, Array]:
    """`performance` on a task's test rows, calibrated on its held-out rows."""
    return performance(asked, task.X_test, task.labels_test, held=(task.X_held, task.labels_held))


def _once(
    kind: str,
    fit: Callable[[Factory, tuple[Any, ...]], Made],
    task: Task,
    name: str,
    recipe: Recipe,
    replicate: int | None = None,
) -> Made:
    number = () if replicate is None else ("replicate", replicate)
    what = (kind, task.fingerprint, name, recipe, *number)
    if what not in _MADE:
        while len(_MADE) >= 2 * CACHE_TEACHERS:
            _MADE.pop(next(iter(_MADE)))
        try:
            key = ("classify", kind, task.fingerprint, name, repr(recipe), *number)
            _MADE[what] = fit(network(name, task), key)
        except UqkdError as error:  # the same wherever it is tried; an exhausted memory may not be
            _MADE[what] = _Refused(type(error), error.args)
            raise
    made = _MADE[what]
    if isinstance(made, _Refused):
        raise made.kind(*made.said)
    return made  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Refused:
    """An error without its traceback, which would keep alive all that failed."""

    kind: type[UqkdError]
    said: tuple[Any, ...]
