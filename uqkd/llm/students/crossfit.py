"""Responses of students that have not seen the prompts they answer: an independent second source (T6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import OptionError
from uqkd.llm.responses import Response, Responses
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.distilling import distill
from uqkd.llm.students.training.resuming import Keep
from uqkd.llm.targets import folds, weigh


def cross_fitted(
    responses: Responses,
    *,
    student: Any,
    answers: int,
    parts: int = 2,
    sampling: Sampling | None = None,
    key: tuple[Any, ...],
    keep: Keep | None = None,
    **training: Any,
) -> tuple[Responses, NDArray[np.int64]]:
    """For each student a second source: answers of students trained on its responses to the other prompts.

    Prompts are split into parts; of every student one is trained without each part and answers it. What it answers is then
    independent of the teacher's responses there, which inverse-variance weights need: a student of the very responses it is
    combined with adds nothing (T6).

    Parameters
    ----------
    responses : Responses
        (S, P, k) of the teacher.
    student, **training
        As for `distill`: encoder, recipe, seed_design, ...
    answers : int
        m, drawn per prompt.
    parts : int
        At least two.
    sampling : Sampling, optional
    key : tuple
    keep : Keep, optional
        Folder of the students that are made of them: the parts are kept below it until those are finished.

    Returns
    -------
    second : Responses
        (S, P, m).
    fold : (P,) int
        The part of every prompt.
    """
    prompts = responses.prompts
    if not 2 <= parts <= len(prompts):
        raise OptionError(f"cross-fitting needs 2 <= parts <= P={len(prompts)}; got {parts}.")
    fold = folds(len(prompts), parts, (*key, "folds"))
    found: dict[tuple[int, int], list[Response]] = {}
    students = responses.shape[0]
    for part in range(parts):
        held, others = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        targets = weigh(responses.of_prompts(others.tolist()), "multi")
        below = None if keep is None else keep.below(f"fold-{part}")
        made = distill(targets, student=student, key=(*key, part), keep=below, **training)
        drawn = made.predict(prompts.select(held.tolist()), answers, sampling=sampling, key=(*key, part, "answers"))
        for s in range(students):
            for place, p in enumerate(held.tolist()):
                found[s, p] = [drawn.distinct[i] for i in drawn.index[s, place]]
    ordered = [r for s in range(students) for p in range(len(prompts)) for r in found[s, p]]
    return Responses.gather(prompts, ordered, (students, len(prompts), answers)), fold
