"""Responses with weights: what a student of text is trained on. Text is chosen and weighted, never averaged."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.llm.alikeness import alikenesses
from uqkd.llm.precision import precision_weight
from uqkd.llm.responses import Response, Responses, TextTargets

Array = NDArray[np.float64]
Index = NDArray[np.int64]

METHODS = ("single", "multi", "medoid", "reranked", "precision")
TIE = 1e-9  # closeness differences below this are rounding: sums of a few hundred products of unit vectors are off by 1e-14


def weigh(
    responses: Responses,
    method: str,
    *,
    embedding: str = "builtin",
    second: Responses | None = None,
    fold: ArrayLike | None = None,
    independent: bool = False,
    estimates: str = "own",
) -> TextTargets:
    """Turn k teacher responses per prompt into weighted responses.

    Parameters
    ----------
    responses : Responses
        (S, P, k), drawn by the teacher for each student.
    method : {"single", "multi", "medoid", "reranked", "precision"}
        "single": the first response. "multi": all, 1/k each; alone in keeping the teacher's distribution. "medoid" (the
        published "averaging"): the response whose embedding is nearest the mean embedding; of equally near ones the
        first drawn, which favours none, since the order of draws is random. "reranked" (the published
        "variance-weighting"): the response nearest the mean of both sources' mean embeddings, each weighted by the
        inverse variance of *one* of its responses (ddof 0). "precision": teacher responses α/k each, those of an
        independent student (1 − α)/m each, with α from estimated and shrunk mean squared errors (`precision_weight`).
    embedding : str
        Of `embed`, or "exact": texts are equal or have nothing in common.
    second : Responses
        (S or 1, P, m). "reranked": of an undistilled student. "precision": of a student that has not seen the responses
        it is combined with.
    fold : (P,) int
        "precision": `second` answers prompt p by a student trained on the other folds (cross-fitting, see `folds`).
    independent : bool
        "precision": `second` comes of other draws altogether; said where there are no folds.
    estimates : {"own", "pooled"}
        "precision": errors estimated from each student's own draws, so that students stay independent, or from those of
        all students together, which needs k = 1 and two students at least.

    Returns
    -------
    TextTargets
        With "precision" the notes hold `alpha`, `teacher_var` and `second_mse`, (S, P) each.

    Raises
    ------
    OptionError
        Unknown method or embedding; a second source missing or not wanted; independence not said (T6).

    Notes
    -----
    T4 ("single", "multi"), T5 ("medoid"), T6 ("reranked", "precision").

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts
    >>> prompts = Prompts(("a",), ("capital of Italy ?",))
    >>> answers = Responses(prompts, (Response((5,), "Milan"), Response((6,), "Rome")), [[[0, 1, 1]]])
    >>> weigh(answers, "medoid").responses.texts(0, 0), weigh(answers, "multi").weights.round(2).tolist()
    (['Rome'], [[[0.33, 0.33, 0.33]]])
    """
    one_of("method", method, METHODS)
    _sources(responses, second, method)
    if method == "single":
        return TextTargets(responses.first(1), np.ones((*responses.shape[:2], 1)), method)
    if method == "multi":
        return TextTargets(responses, np.full(responses.shape, 1.0 / responses.shape[2]), method)
    if method == "precision":
        assert second is not None
        _said_independent(fold, independent, len(responses.prompts))
        found = precision_weight(responses, second, embedding=embedding, estimates=estimates)
        notes: dict[str, ArrayLike] = {
            "alpha": found.alpha,
            "teacher_var": found.teacher_var,
            "second_mse": found.second_mse,
        }
        return TextTargets(*_blended(responses, second, found.alpha), method, notes)
    kept = _nearest(responses, second, embedding)
    chosen = np.take_along_axis(responses.index, kept[:, :, None], axis=2)
    return TextTargets(Responses(responses.prompts, responses.distinct, chosen), np.ones(chosen.shape), method)


def _sources(responses: Responses, second: Responses | None, method: str) -> None:
    wants = method in ("reranked", "precision")
    if wants and second is None:
        who = "an undistilled" if method == "reranked" else "an independent (cross-fitted)"
        raise OptionError(f"method {method!r} combines two sources; pass second=, the responses of {who} student.")
    if second is None:
        return
    if not wants:
        raise OptionError(f"method {method!r} uses the teacher's responses alone; leave second= out.")
    if second.prompts.ids != responses.prompts.ids or second.shape[0] not in (1, responses.shape[0]):
        raise ShapeError(
            f"second must answer the same prompts for S={responses.shape[0]} students or one; got "
            f"{len(second.prompts)} prompts, shape {second.shape}."
        )


def _said_independent(fold: ArrayLike | None, independent: bool, prompts: int) -> None:
    if fold is None and not independent:
        raise OptionError(
            "method 'precision' is optimal for an independent second source only: of a student trained on the very draws "
            "it is combined with the best weight is 0 and the usual one adds variance (T6). Cross-fit and pass fold=, or "
            "say independent=True where its draws are others."
        )
    if fold is not None and independent:
        raise OptionError("method 'precision' got both fold= and independent=True; one of them says what second is.")
    if fold is not None:
        ids = np.asarray(fold)
        if ids.shape != (prompts,) or len(np.unique(ids)) < 2:
            raise OptionError(
                f"fold needs one id for each of P={prompts} prompts and two folds at least; got shape {ids.shape} with "
                f"{len(np.unique(ids))} distinct."
            )


def _nearest(responses: Responses, second: Responses | None, embedding: str) -> Index:
    """(S, P) place of the response nearest the centre, the first of equally near ones."""
    kept = np.empty(responses.shape[:2], dtype=np.int64)
    for block in alikenesses([responses, *([second] if second else [])], embedding):
        centre = block.shares(0)
        if second is not None:
            other = np.broadcast_to(block.shares(1), centre.shape)
            weight = spread_weight(_spread(centre, block.closeness), _spread(other, block.closeness))[..., None]
            centre = weight * centre + (1 - weight) * other
        near = (centre @ block.closeness).transpose(1, 0, 2)
        of_response = np.take_along_axis(near, block.places[0], axis=2)
        kept[:, block.prompts] = (of_response >= of_response.max(axis=2, keepdims=True) - TIE).argmax(axis=2)
    return kept


def _spread(shares: Array, closeness: Array) -> Array:
    """(P', S) variance of the embedding of one response, ddof 0: 1 − ‖mean‖² of unit vectors."""
    spread = 1.0 - ((shares @ closeness) * shares).sum(axis=-1)
    return np.where(spread > TIE, spread, 0.0)  # one text only: zero but for rounding


def spread_weight(first_var: ArrayLike, second_var: ArrayLike) -> Array:
    """Weight on the first of two sources by inverse variance, where a variance may be zero.

    A source without spread takes all the weight, and two of them share it: rules, not an epsilon.

    Examples
    --------
    >>> spread_weight([1.0, 0.0, 0.5, 0.0], [3.0, 0.2, 0.0, 0.0])
    array([0.75, 1.  , 0.  , 0.5 ])
    """
    first, second = np.asarray(first_var, dtype=np.float64), np.asarray(second_var, dtype=np.float64)
    both = first + second
    return np.divide(second, both, out=np.full(both.shape, 0.5), where=both > 0)


def _blended(responses: Responses, second: Responses, alpha: Array) -> tuple[Responses, Array]:
    """Both sources' responses side by side, and their weights."""
    place: dict[Response, int] = {}
    of_first, of_second = (
        np.array([place.setdefault(r, len(place)) for r in source.distinct])[source.index]
        for source in (responses, second)
    )
    students, _, k = responses.shape
    of_second = np.broadcast_to(of_second, (students, *of_second.shape[1:]))
    m = of_second.shape[2]
    weights = np.concatenate(
        [np.repeat((alpha / k)[..., None], k, 2), np.repeat(((1 - alpha) / m)[..., None], m, 2)], 2
    )
    return Responses(responses.prompts, tuple(place), np.concatenate([of_first, of_second], axis=2)), weights


def folds(prompts: int, n: int, key: tuple[Hashable, ...], *, groups: Sequence[Hashable] | None = None) -> Index:
    """Split P prompts at random into n balanced folds for cross-fitting.

    Parameters
    ----------
    prompts : int
        P.
    n : int
        Folds, 2 <= n <= P.
    key : tuple
        Name of the split (`uqkd.seeds`).
    groups : sequence of P, optional
        Prompts of one group stay in one fold.

    Returns
    -------
    (P,) int64
        Fold of each prompt; sizes differ by one at most, or, with groups, by the largest group at most.

    Examples
    --------
    >>> sorted(folds(5, 2, ("doc",)).tolist())
    [0, 0, 0, 1, 1]
    >>> split = folds(4, 2, ("doc",), groups=["x", "y", "x", "y"])
    >>> bool(split[0] == split[2] != split[1] == split[3])
    True
    """
    if groups is not None and len(groups) != prompts:
        raise ShapeError(f"groups needs one entry for each of P={prompts} prompts; got {len(groups)}.")
    names = list(range(prompts)) if groups is None else list(groups)
    place: dict[Hashable, int] = {}
    of_prompt = np.array([place.setdefault(name, len(place)) for name in names], dtype=np.int64)
    if not 2 <= n <= len(place):
        what = "prompts" if groups is None else "groups"
        raise OptionError(f"folds needs 2 <= n <= {len(place)} {what}; got n={n}.")
    sizes = np.bincount(of_prompt)
    shuffled = seeds.generator("llm", "folds", *key).permutation(len(place))
    largest_first = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold, filled = np.empty(len(place), dtype=np.int64), np.zeros(n, dtype=np.int64)
    for group in largest_first:
        fold[group] = int(filled.argmin())
        filled[fold[group]] += sizes[group]
    return fold[of_prompt]
