"""Responses of the teacher, α/k each, and of an independent student, (1 − α)/m each, with α from squared errors (T6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import VarianceError, one_of
from uqkd.estimators.weighting.linear_shrinkage import shrink_towards_mean
from uqkd.llm.responses import Responses, TextTargets, side_by_side
from uqkd.llm.similarity.similarity import similarities

Array = NDArray[np.float64]

SECOND = "cross-fitted"
CHOOSES = False
SPLITS = 8  # ways to halve the draws; more change the shrinkage little, since they share their draws
HALVABLE = 4  # draws that make two halves of two, the fewest that an unbiased variance takes


def weighed(responses: Responses, *, second: Responses, embedding: str, estimates: str = "own") -> TextTargets:
    """Both sources' responses side by side, weighted by `precision_weight`.

    Parameters
    ----------
    responses, second, embedding
        As in `weigh`.
    estimates : {"own", "pooled"}
        Errors estimated from each student's own draws, so that students stay independent, or from those of all students
        together, which needs k = 1 and two students at least.

    Returns
    -------
    TextTargets
        The notes hold `alpha`, `teacher_var` and `second_mse`, (S, P) each.
    """
    found = precision_weight(responses, second, embedding=embedding, estimates=estimates)
    both = side_by_side(responses, second)
    k, m = responses.shape[2], second.shape[2]
    ours, theirs = (found.alpha / k)[..., None], ((1 - found.alpha) / m)[..., None]
    weights = np.concatenate([np.repeat(ours, k, 2), np.repeat(theirs, m, 2)], 2)
    notes: dict[str, ArrayLike] = {
        "alpha": found.alpha,
        "teacher_var": found.teacher_var,
        "second_mse": found.second_mse,
    }
    return TextTargets(both, weights, "precision", notes)


@dataclass(frozen=True)
class PrecisionWeight:
    """Weight on the teacher's responses and what it rests on; made by `precision_weight`.

    Attributes
    ----------
    alpha : (S, P) float
        In [0, 1]; 1 − alpha is the weight of the second source.
    teacher_var : (S, P) float
        Of the shares among k responses about the teacher's distribution, G_p/k; shrunk over prompts.
    second_mse : (S, P) float
        Of the shares among m responses of the second source about the same: bias² + spread; shrunk, then held to >= 0.
    """

    alpha: Array
    teacher_var: Array
    second_mse: Array


def precision_weight(
    responses: Responses, second: Responses, *, embedding: str = "exact", estimates: str = "own"
) -> PrecisionWeight:
    """Weight α that makes α·(shares of the teacher) + (1 − α)·(shares of the second) least wrong in mean square.

    Parameters
    ----------
    responses : Responses
        (S, P, k) of the teacher. k >= 2; with `estimates="pooled"` S·k >= 2.
    second : Responses
        (S or 1, P, m) of a student that is independent of them; m >= 1.
    embedding : str
        What error is measured in: "exact", the shares of the texts themselves, so that the teacher's variance is
        Gini's; otherwise mean embeddings (`embed`).
    estimates : {"own", "pooled"}
        As in `weighed`.

    Returns
    -------
    PrecisionWeight

    Raises
    ------
    VarianceError
        One response and nothing to estimate its variance from.

    Notes
    -----
    T6 with a biased source: α = e/(v + e), v = G_p/k, e = ‖q − p‖² + G_q/m (what enters the target are the m responses,
    not the student's distribution q itself). Unbiased from agreements between responses: G_p = 1 − tt,
    e = 1/m + (1 − 1/m)·ss − 2·st + tt, where tt and ss are means over pairs of different responses. Each is shrunk
    over prompts (`shrink_towards_mean`); with fewer than four draws it is pooled over them. k = 1 does not identify
    G_p: st and ss bound it but any value between fits both. Where neither source errs, α = 1.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> prompts, words = Prompts(("a",), ("?",)), (Response((1,), "x"), Response((2,), "y"))
    >>> found = precision_weight(Responses(prompts, words, [[[0, 1]]]), Responses(prompts, words, [[[0, 0, 1, 1]]]))
    >>> found.alpha.tolist(), found.teacher_var.tolist(), found.second_mse.tolist()
    ([[0.0]], [[0.5]], [[0.0]])
    """
    one_of("estimates", estimates, ("own", "pooled"))
    students, prompts, k = responses.shape
    pooled = estimates == "pooled"
    draws = students * k if pooled else k
    if draws < 2:
        raise VarianceError(
            "weigh by 'precision' needs k >= 2 responses per prompt to estimate the teacher's variance; got k=1. Draw "
            "more, or pass estimates='pooled' where two students or more have draws of their own."
        )
    if pooled:
        responses = Responses(responses.prompts, responses.distinct, _together(responses))
    spread, error = _estimates(responses, second, embedding)
    if pooled:
        error = error.mean(axis=0, keepdims=True)
    usable = draws >= HALVABLE
    teacher_var = _shrunk(spread, usable=usable) / k
    second_mse = np.maximum(_shrunk(error, usable=usable and second.shape[2] >= HALVABLE), 0.0)
    both = teacher_var + second_mse
    alpha = np.divide(second_mse, both, out=np.ones_like(both), where=both > 0)
    return PrecisionWeight(*(np.broadcast_to(a, (students, prompts)) for a in (alpha, teacher_var, second_mse)))


def _together(responses: Responses) -> NDArray[np.int64]:
    students, prompts, k = responses.shape
    return responses.index.transpose(1, 0, 2).reshape(1, prompts, students * k)


def _estimates(responses: Responses, second: Responses, embedding: str) -> tuple[Array, Array]:
    """Unbiased spread of the teacher (S, 1 + 2n, P) and squared error of the second (S, 1 + 2n, P): all draws, then
    the two halves of n splits; n = 0 where there is nothing to halve."""
    k, m = responses.shape[2], second.shape[2]
    splits = SPLITS if k >= HALVABLE else 0
    ours, theirs = _masks(k, splits), _masks(m, splits)
    spreads, errors = [], []
    for block in similarities([responses, second], embedding):
        tt, ss = _agreement(block.between(0, 0), ours), _agreement(block.between(1, 1), theirs)
        st = ((ours @ block.between(0, 1)) * theirs).sum(axis=-1) / (ours.sum(axis=1) * theirs.sum(axis=1))
        spreads.append(1.0 - tt)
        errors.append((1.0 / m + (1.0 - 1.0 / m) * ss) - 2.0 * st + tt)
    return tuple(np.concatenate(part, axis=1).transpose(0, 2, 1) for part in (spreads, errors))  # type: ignore[return-value]


def _masks(draws: int, splits: int) -> Array:
    """(1 + 2n, draws) of zeros and ones: all of them, then a half and the rest, starting at n different places."""
    rows = [np.ones(draws)]
    if draws < HALVABLE:  # the other source is halved, this one is not
        return np.stack(rows * (1 + 2 * splits))
    half = np.arange(draws) < draws // 2
    for start in range(splits):
        one = np.roll(half, start)
        rows += [one.astype(float), (~one).astype(float)]
    return np.stack(rows)


def _agreement(similarity: Array, masks: Array) -> Array:
    """Mean over pairs of different draws (S, P, 1 + 2n) of (S, P, k, k) tables whose diagonal is one; 0 for one draw."""
    counts = masks.sum(axis=1)
    pairs = ((masks @ similarity) * masks).sum(axis=-1) - counts
    return np.asarray(pairs / np.maximum(counts * (counts - 1.0), 1.0))


def _shrunk(table: Array, *, usable: bool) -> Array:
    """(S, P) from (S, 1 + 2n, P)."""
    if not usable:
        return np.stack([shrink_towards_mean(row[0]) for row in table])
    return np.stack([shrink_towards_mean(row[0], row[1::2], row[2::2]) for row in table])
