"""Targets of any method of weighting, with the students that it needs as a second source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from uqkd.llm.responses import Responses, TextTargets
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.crossfit import cross_fitted
from uqkd.llm.students.distilling import Students
from uqkd.llm.students.training.resuming import Keep
from uqkd.llm.targets import second_source, weigh


def targets_of(
    responses: Responses,
    method: str,
    *,
    student: Any,
    sampling: Sampling,
    key: tuple[Any, ...],
    keep: Keep | None = None,
    **training: Any,
) -> TextTargets:
    """Weigh responses; where a method wants a second source, let students answer as often as the teacher did.

    That is the undistilled student, or students cross-fitted on half of the prompts with half of the steps, so that each prompt
    is seen as often as later; see `uqkd.llm.targets.second_source`.

    Parameters
    ----------
    responses : Responses
        (S, P, k) of the teacher.
    method : str
        Of `weigh`.
    student, **training
        As for `distill`: encoder, recipe, sources, ...
    sampling : Sampling
        Of the students' answers.
    key : tuple
        Names their draws and their training.
    keep : Keep, optional
        Folder of the students that the targets are for.

    Returns
    -------
    TextTargets
    """
    wanted = second_source(method)
    if wanted == "undistilled":
        fresh = bool(training.get("fresh"))
        undistilled = Students.untrained(student, encoder=training["encoder"], fresh=fresh)
        answers = undistilled.predict(
            responses.prompts, responses.shape[2], sampling=sampling, key=(*key, "undistilled")
        )
        return weigh(responses, method, second=answers)
    if wanted == "cross-fitted":
        recipe = training["recipe"]
        half = replace(recipe, steps=max(1, recipe.steps // 2), warmup=min(recipe.warmup, recipe.steps // 2 // 2))
        second, fold = cross_fitted(
            responses, student=student, answers=responses.shape[2], sampling=sampling, key=(*key, "cross"), keep=keep,
            **{**training, "recipe": half},
        )  # fmt: skip
        return weigh(responses, method, second=second, fold=fold, embedding="exact")
    return weigh(responses, method)
