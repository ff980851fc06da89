"""One setting of each layer for figures across layers: what students of k responses answer, all else alike.

The layer of language models needs a testbed on disk (`uqkd.llm.Testbed`), which its studies open themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd import classify, data, linear, mlp
from uqkd.stacked import SeedDesign
from uqkd.testbeds.cells import regression_cell, regression_of, task_cell, task_of
from uqkd.testbeds.classification import cached_teacher, cell_recipe, network

Array = NDArray[np.float64]

LEAST_SQUARES, NETWORKS, CLASSIFIERS = "least squares", "networks", "classifiers"
NOISE = 0.1  # variance of a teacher's response on numbers, in units of Var y
TEACHER, STUDENT = "bag:64", "bag:32"  # of texts


def numbers_cell(*, students: int) -> dict[str, Any]:
    """Setting of students on numbers: least squares or networks on diabetes.

    Examples
    --------
    >>> numbers_cell(students=9)["students"]
    9
    """
    return {**regression_cell("diabetes", None), "students": students}


def texts_cell(*, students: int, steps: int = 400) -> dict[str, Any]:
    """Setting of classifiers: texts of 30 intents, whose teacher is uncertain.

    Examples
    --------
    >>> texts_cell(students=9)["kind"]
    'texts'
    """
    return {**task_cell("intents:30"), "students": students, "steps": steps, "batch": 32, "lr": 1e-2}


def answers_on_numbers(cell: Mapping[str, Any], k: int, *, layer: str, key: tuple[Any, ...]) -> tuple[Array, Array]:
    """Answers (S, P) at test prompts of students of the mean of k responses, and those of their teacher (P,), in units of sd y.

    Parameters
    ----------
    cell : mapping
        Of `numbers_cell`.
    k : int
        Responses per prompt for each student; 0: all learn the teacher's noise-free answers.
    layer : {"least squares", "networks"}
    key : tuple
    """
    part, noise, S = data.split(regression_of(cell)), NOISE if k else 0.0, cell["students"]
    key = (*key, layer, cell["data_fingerprint"], k)
    if layer == LEAST_SQUARES:
        teacher = linear.Teacher.fit(part.X, part.y_standard, noise_var=noise)
        students = linear.distill(part.X, linear.weigh(teacher.respond(part.X, k or 1, students=S, key=key), "average"))
        return students.predict_mean(part.X_test), teacher.predict_mean(part.X_test)
    seed_design, recipe, known = (
        SeedDesign.independent(S),
        mlp.Recipe(steps=200),
        ("mlp", "teacher", cell["data_fingerprint"]),
    )
    of_numbers = mlp.Teacher.fit(part.features, part.y_standard, noise_var=noise, recipe=recipe, key=known)
    targets = mlp.weigh(of_numbers.respond(part.features, k or 1, students=seed_design, key=key), "average")
    networks = mlp.distill(part.features, targets, recipe=recipe, seed_design=seed_design, key=key)
    return networks.predict_mean(part.features_test), of_numbers.predict_mean(part.features_test)


def classifiers_of_texts(
    cell: Mapping[str, Any], k: int, *, key: tuple[Any, ...]
) -> tuple[classify.Classifiers, classify.Teacher]:
    """Classifiers of k sampled labels per text, and their teacher.

    Parameters
    ----------
    cell : mapping
        Of `texts_cell`; "student_steps" where students are trained for other steps than their teacher.
    k : int
        Labels per text for each student; 0: all learn the teacher's distribution itself.
    key : tuple
    """
    task, recipe, S = task_of(cell), cell_recipe(cell), cell["students"]
    teacher, key = cached_teacher(task, network=TEACHER, recipe=recipe), (*key, "texts", task.fingerprint, k)
    own = cell_recipe({**cell, "steps": cell.get("student_steps", cell["steps"])})
    targets: Any = classify.weigh(teacher.predict_proba(task.X), "soft")
    if k:
        targets = classify.weigh(teacher.respond(task.X, k, students=S, key=key), classes=len(task.classes))
    students = classify.distill(
        task.X, targets, factory=network(STUDENT, task), recipe=own, seed_design=SeedDesign.independent(S), key=key,
        objective=classify.Distillation(1.0, weight=1.0), labels=task.labels,
    )  # fmt: skip
    return students, teacher


def answers_on_texts(
    cell: Mapping[str, Any], k: int, *, key: tuple[Any, ...], where: str = "training"
) -> tuple[Array, Array]:
    """Distributions (S, P, C) of `classifiers_of_texts`, and those of their teacher (P, C), on "training" or "test" texts."""
    task, (students, teacher) = task_of(cell), classifiers_of_texts(cell, k, key=key)
    asked = task.X if where == "training" else task.X_test
    return students.predict_proba(asked), teacher.predict_proba(asked)
