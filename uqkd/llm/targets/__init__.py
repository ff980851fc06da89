"""Responses with weights: what a student of text is trained on. Text is chosen and weighted, never averaged.

Every file beside this one is a method, called by the file's name. It holds all that the method is:

- `SECOND`: the second source that it combines with the teacher: None, "undistilled" (a student before training) or
  "cross-fitted" (a student that has not seen the responses that it is combined with, see `folds`);
- `CHOOSES`: whether it keeps one of the teacher's responses to each prompt, or all of them;
- `weighed(responses, ...)`: the targets. It gets `second` if it wants one and `embedding` if it names it; every further
  keyword is an option of its own, which `weigh` passes on.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import OptionError, ShapeError, nearest, one_of
from uqkd.llm.responses import Responses, TextTargets
from uqkd.registry import Registry

__all__ = ["folds", "method_names", "responses_kept", "second_source", "weigh"]

Index = NDArray[np.int64]

_SOURCES = {"undistilled": "an undistilled", "cross-fitted": "an independent (cross-fitted)"}


_FILES = Registry("method", __name__, importlib.import_module, ("SECOND", "CHOOSES", "weighed"))


def method_names() -> tuple[str, ...]:
    """The names of the methods, none of them imported.

    Examples
    --------
    >>> method_names()
    ('medoid', 'multi', 'precision', 'reranked', 'single')
    """
    return _FILES.names()


def second_source(method: str) -> str | None:
    """The second source that a method combines with the teacher: None, "undistilled" or "cross-fitted".

    Examples
    --------
    >>> second_source("multi"), second_source("reranked"), second_source("precision")
    (None, 'undistilled', 'cross-fitted')
    """
    source = _FILES.named(method).SECOND
    return None if source is None else one_of(f"SECOND of method {method!r}", source, _SOURCES)


def responses_kept(method: str, k: int) -> int:
    """How many of a teacher's k responses to a prompt a student of a method is trained on: k or 1.

    Examples
    --------
    >>> responses_kept("multi", 8), responses_kept("medoid", 8)
    (8, 1)
    """
    return 1 if _FILES.named(method).CHOOSES else k


def weigh(
    responses: Responses,
    method: str,
    *,
    embedding: str = "builtin",
    second: Responses | None = None,
    fold: ArrayLike | None = None,
    independent: bool = False,
    **options: Any,
) -> TextTargets:
    """Turn k teacher responses per prompt into weighted responses.

    Parameters
    ----------
    responses : Responses
        (S, P, k), drawn by the teacher for each student.
    method : {"single", "multi", "medoid", "reranked", "precision"}
        Or any other file in `uqkd/llm/targets/`. "single": the first response. "multi": all, 1/k each; alone in keeping the
        teacher's distribution. "medoid" (the published "averaging"): the response whose embedding is nearest the mean
        embedding. "reranked" (the published "variance-weighting"): the response nearest the mean of both sources' mean
        embeddings. "precision": teacher responses and those of an independent student, weighted by their errors.
    embedding : str
        Of `embed`, or "exact": texts are equal or have nothing in common. For the methods that compare texts.
    second : Responses
        (S or 1, P, m), where the method has a second source (`second_source`): of an undistilled student, or of a student
        that has not seen the responses it is combined with.
    fold : (P,) int
        `second` answers prompt p by a student trained on the other folds (cross-fitting, see `folds`).
    independent : bool
        `second` comes of other draws altogether; said where there are no folds.
    **options
        Of the method; see its file.

    Returns
    -------
    TextTargets

    Raises
    ------
    OptionError
        Unknown method, embedding or option; a second source missing or not wanted; independence not said (T6).

    Notes
    -----
    T4 ("single", "multi"), T5 ("medoid"), T6 ("reranked", "precision"). Memory beyond `responses` is that of the weights and
    of one block of prompts.

    Examples
    --------
    >>> from uqkd.llm.responses import Prompts, Response
    >>> prompts = Prompts(("a",), ("capital of Italy ?",))
    >>> answers = Responses(prompts, (Response((5,), "Milan"), Response((6,), "Rome")), [[[0, 1, 1]]])
    >>> weigh(answers, "medoid").responses.texts(0, 0), weigh(answers, "multi").weights.round(2).tolist()
    (['Rome'], [[[0.33, 0.33, 0.33]]])
    """
    file = _FILES.named(method)
    source, weighed = second_source(method), file.weighed
    _check_sources(responses, second, method)
    if source == "cross-fitted":
        _said_independent(method, fold, independent, len(responses.prompts))
    elif fold is not None or independent:
        raise OptionError(f"method {method!r} has no cross-fitted source; leave fold= and independent= out.")
    wanted = list(inspect.signature(weighed).parameters)[1:]
    own = [name for name in wanted if name not in ("second", "embedding")]
    for name in options:
        if name not in own:
            hint = nearest(name, own) if own else "it has none"
            raise OptionError(f"method {method!r} has no option {name!r}; {hint}.")
    given = {"second": second, "embedding": embedding}
    made: TextTargets = weighed(responses, **{name: given[name] for name in wanted if name in given}, **options)
    of_teacher = made.responses.shape[2] - (second.shape[2] if second is not None and not file.CHOOSES else 0)
    if of_teacher != responses_kept(method, responses.shape[2]):
        raise OptionError(
            f"method {method!r} kept {of_teacher} of k={responses.shape[2]} responses to a prompt; its file says "
            f"CHOOSES = {file.CHOOSES}."
        )
    return made


def _check_sources(responses: Responses, second: Responses | None, method: str) -> None:
    source = second_source(method)
    if source is not None and second is None:
        raise OptionError(
            f"method {method!r} combines two sources; pass second=, the responses of {_SOURCES[source]} student."
        )
    if second is None:
        return
    if source is None:
        raise OptionError(f"method {method!r} uses the teacher's responses alone; leave second= out.")
    if second.prompts.ids != responses.prompts.ids or second.shape[0] not in (1, responses.shape[0]):
        raise ShapeError(
            f"second must answer the same prompts for S={responses.shape[0]} students or one; got "
            f"{len(second.prompts)} prompts, shape {second.shape}."
        )


def _said_independent(method: str, fold: ArrayLike | None, independent: bool, prompts: int) -> None:
    if fold is None and not independent:
        raise OptionError(
            f"method {method!r} is optimal for an independent second source only: of a student trained on the very draws "
            "it is combined with the best weight is 0 and the usual one adds variance (T6). Cross-fit and pass fold=, or "
            "say independent=True where its draws are others."
        )
    if fold is not None and independent:
        raise OptionError(f"method {method!r} got both fold= and independent=True; one of them says what second is.")
    if fold is not None:
        ids = np.asarray(fold)
        if ids.shape != (prompts,) or len(np.unique(ids)) < 2:
            raise OptionError(
                f"fold needs one id for each of P={prompts} prompts and two folds at least; got shape {ids.shape} with "
                f"{len(np.unique(ids))} distinct."
            )


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
