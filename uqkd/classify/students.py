"""Students of a classifier: distil S of them at once from weighted responses, with or without mixup."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.classify.arguments import check_type, checked_factory, checked_key
from uqkd.classify.classifiers import Classifiers, fit_classifiers, one_hot
from uqkd.classify.mixup import MixedBatches, Mixing
from uqkd.classify.networks.plain import Factory
from uqkd.classify.targets.objectives import Distillation
from uqkd.classify.targets.weighted import soften
from uqkd.classify.teacher import Teacher
from uqkd.errors import OptionError, ShapeError
from uqkd.stacked import Recipe, SeedDesign
from uqkd.targets import ClassTargets

Array = NDArray[np.float64]


def distill(
    X: ArrayLike,
    targets: ClassTargets | Teacher,
    *,
    labels: ArrayLike | None = None,
    factory: Factory,
    objective: Distillation,
    recipe: Recipe,
    seed_design: SeedDesign,
    key: tuple[Any, ...],
    mixing: Mixing | None = None,
    floor: float = 0.0,
    engine: str = "auto",
    device: str = "cpu",
    dtype: str = "float32",
    chunk: int | None = None,
    exclude_failed: bool = False,
) -> Classifiers:
    """Train S students in one pass, on weighted responses or on a teacher's answers to mixed rows.

    Parameters
    ----------
    X : (P, ...) float or int
        Features, images or token ids.
    targets : ClassTargets or Teacher
        Of S students or of one for all alike; with mixing the teacher itself, which is asked about every mixed row. Its
        temperature counts.
    labels : (P,) int, optional
        For the share of the objective that is cross-entropy with labels, and for the floor of mixed pairs.
    factory : callable
        Builds one student; see `uqkd.classify.networks.plain`.
    objective : Distillation
    recipe : Recipe
    seed_design : SeedDesign
        Levels of initialisation, order (which mixing and dropout follow) and bootstrap.
    key : tuple
        Names the streams.
    mixing : Mixing, optional
    floor : float
        c of mixed pairs, see `MixedBatches`.
    engine : str
        See `uqkd.stacked.train`.
    device : str
        "cpu", "cuda" or "cuda:1".
    dtype : {"float32", "float64"}
        Precision of training. Predictions are float64 always.
    chunk : int, optional
        Students trained at a time; as many as memory and caches hold if not given.
    exclude_failed : bool
        Leave diverged students out, with a warning that says how many remain. Otherwise they are an error.

    Returns
    -------
    Classifiers

    Raises
    ------
    DivergedError
        Names the students that diverged, and when.
    OptionError, ShapeError
        Arguments that contradict each other.

    Notes
    -----
    Targets are softened by the objective's temperature, as the students' logits are; with "std" both are rescaled.

    Examples
    --------
    >>> from uqkd.classify import perceptron, weigh
    >>> X = np.linspace(-1, 1, 40)[:, None]
    >>> target = weigh(np.stack([X[:, 0] < 0, X[:, 0] >= 0], axis=1) * 0.8 + 0.1, "soft")
    >>> students = distill(
    ...     X, target, factory=lambda: perceptron(1, 2), objective=Distillation(1.0, weight=1.0),
    ...     recipe=Recipe(steps=300), seed_design=SeedDesign.independent(2), key=("doc",)
    ... )
    >>> students.predict_proba([[-1.0], [1.0]]).round(1)[:, :, 1]
    array([[0.1, 0.9],
           [0.1, 0.9]])
    """
    key = checked_key(key)
    check_type("objective", objective, Distillation, "Pass Distillation(temperature, weight).")
    check_type("seed_design", seed_design, SeedDesign, "Pass SeedDesign.independent(students).")
    checked_factory(factory)
    _refuse_contradictions(targets, labels, objective, mixing=mixing, floor=floor)
    rows = np.asarray(X)
    how: dict[str, Any] = {
        "factory": factory, "loss": objective, "recipe": recipe, "seed_design": seed_design, "key": key, "engine": engine,
        "device": device, "dtype": dtype, "chunk": chunk, "exclude_failed": exclude_failed,
    }  # fmt: skip
    if isinstance(targets, Teacher):
        if dtype != targets.model.dtype:
            raise OptionError(
                f"mixed rows go through teacher and students alike; got a teacher of {targets.model.dtype}, dtype={dtype!r}."
            )
        classes = targets.classes(rows)
        transform = MixedBatches(
            mixing or Mixing(), seed_design.order, key, teacher=targets.model.to(device), floor=floor,
            temperature=objective.temperature, teacher_temperature=targets.temperature,
        )  # fmt: skip
        return fit_classifiers(rows, _one_hot(labels, len(rows), classes), transform=transform, classes=classes, **how)
    given = targets.probabilities
    if given.ndim != 3 or len(given) not in (1, seed_design.students) or given.shape[1] != len(rows):
        raise ShapeError(
            f"distill needs targets (S={seed_design.students} or 1, P={len(rows)}, C) for these sources and X; got {given.shape}."
        )
    if not given.strides[0]:  # one distribution seen S times: softened and held once
        given = given[:1]
    soft = soften(given, objective.temperature)
    hard = np.broadcast_to(_one_hot(labels, len(rows), soft.shape[2]), soft.shape)
    return fit_classifiers(rows, np.concatenate([soft, hard], axis=-1), classes=soft.shape[2], **how)


def _one_hot(labels: ArrayLike | None, rows: int, classes: int) -> Array:
    """(1, P, C); zeros where there are no labels, which then weigh nothing."""
    if labels is None:
        return np.zeros((1, rows, classes))
    return one_hot(labels, rows, classes)


def _refuse_contradictions(
    targets: Any, labels: ArrayLike | None, objective: Distillation, *, mixing: Mixing | None, floor: float
) -> None:
    """`OptionError` for arguments of `distill` that do not go together."""
    if (objective.weight < 1 or floor > 0) and labels is None:
        raise OptionError(
            f"an objective with weight={objective.weight} and floor={floor} needs labels; pass them, or weight=1 and no floor."
        )
    if (mixing is not None) != isinstance(targets, Teacher):
        raise OptionError(
            "mixing asks a teacher about rows it never saw: pass the Teacher with mixing, and ClassTargets without, such as "
            "weigh(teacher.predict_proba(X), 'soft')."
        )
    if not isinstance(targets, Teacher | ClassTargets):
        raise OptionError(
            f"distill takes ClassTargets or a Teacher; got {type(targets).__name__}. Pass weigh(probabilities, 'soft')."
        )
    if floor > 0 and mixing is None:
        raise OptionError(f"floor={floor} is that of mixed pairs; it needs mixing.")
