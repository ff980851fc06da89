"""What classifiers made of their teacher's uncertainty, as rows of a table: at all prompts, and where it is right or wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators import comparison, decompose_categorical, entropy, gini, share_of, two_way_mean
from uqkd.theory.statements.memorising import CERTAIN_GINI, memorised_parts, shrinkage

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def of_teacher(p: Array) -> dict[str, Any]:
    """How uncertain a teacher (P, C) is.

    Examples
    --------
    >>> of_teacher(np.array([[0.5, 0.5], [1.0, 0.0]]))["teacher_gini"]
    0.25
    """
    return {"rows": len(p), "teacher_gini": float(gini(p).mean()), "teacher_entropy": float(entropy(p).mean())}


def share(values: Array, of: Array) -> tuple[float, float]:
    """A share of the teacher's variance and its standard error; of a certain teacher there is none.

    Examples
    --------
    >>> share(np.zeros((3, 2)), np.zeros(2))
    (nan, nan)
    """
    return share_of(values, of) if of.mean() > CERTAIN_GINI else (np.nan, np.nan)


def of_students(q: Array, p: Array, labels: Labels, k: int | None) -> dict[str, tuple[float, float]]:
    """What students made of a teacher's distributions, each number with its standard error.

    Parameters
    ----------
    q : (S, P, C) float
    p : (P, C) float
    labels : (P,) int
        True classes.
    k : int, optional
        Labels that each student learnt from at each prompt; None of the teacher's distribution itself, then without λ (T4).

    Examples
    --------
    >>> found = of_students(np.full((3, 2, 2), 0.5), np.full((2, 2), 0.5), np.array([0, 1]), 4)
    >>> found["intra"][0], found["accuracy"][0]
    (1.0, 0.5)
    """
    parts, spread, own = decompose_categorical(q), gini(p), entropy(q)
    between = parts.per_student_information
    intra, inter = share(parts.per_student_intra, spread), share(parts.per_student_inter, spread)
    found = {
        "intra": intra,
        "inter": inter,
        "total": share(parts.per_student_intra + parts.per_student_inter, spread),
        "expected entropy": two_way_mean(own),
        "mutual information": two_way_mean(between),
        "total entropy": two_way_mean(own + between),
        "accuracy": two_way_mean((q.argmax(axis=-1) == labels).astype(np.float64)),
    }
    if k is not None:
        found |= {"λ from inter": shrinkage(*inter, k), "λ from intra": shrinkage(1.0 - intra[0], intra[1], k)}
    return found


def by_answer(q: Array, p: Array, labels: Labels, k: int | None, *, finished: bool) -> list[dict[str, Any]]:
    """Rows of `of_students` at all prompts, at those that the teacher gets right, and at those that it gets wrong.

    Parameters
    ----------
    q, p, labels, k
        As for `of_students`.
    finished : bool
        Students were trained to the end: what memorising leaves (T4) stands beside them.

    Examples
    --------
    >>> rows = by_answer(np.full((3, 2, 2), 0.5), np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), 1, finished=True)
    >>> sorted({row["answered"] for row in rows})
    ['all', 'right', 'wrong']
    """
    right, rows = p.argmax(axis=1) == labels, []
    for answered, chosen in (("all", right | ~right), ("right", right), ("wrong", ~right)):
        if chosen.any():
            about = {"student": "network", "answered": answered, **of_teacher(p[chosen])}
            about["teacher_accuracy"] = float(right[chosen].mean())
            expected = memorised_parts(p, k) if answered == "all" and finished else {}
            found = of_students(q[:, chosen], p[chosen], labels[chosen], k)
            compared = [comparison("", name, expected.get(name, np.nan), *pair) for name, pair in found.items()]
            rows += [{**about, **row} for row in compared]
    return rows
