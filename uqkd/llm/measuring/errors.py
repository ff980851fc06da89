"""Responses held against reference answers: which are supported, and which mistakes a student has from its teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.estimators.variance.two_way import two_way_standard_error
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.llm.similarity.clusters import normalise

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Estimate = tuple[float, float]  # and its standard error

_BLOCK = 2**14  # responses whose texts are read at once
_PAIRS = 2**25  # pairs of responses that are compared at once (32 MB)


def answered(prompts: Prompts) -> list[int]:
    """Places of the prompts that have reference answers.

    Examples
    --------
    >>> answered(Prompts(("a", "b"), ("?", "!"), ((), ("yes",))))
    [1]
    """
    return [p for p, answers in enumerate(prompts.answers) if answers]


def references(prompts: Prompts) -> Responses:
    """Reference answers as responses (1, P, A) of prompts that all have some; where there are fewer, the last is repeated.

    Examples
    --------
    >>> references(Prompts(("a", "b"), ("?", "!"), (("x", "y"), ("z",)))).texts(0, 1)
    ['z', 'z']
    """
    most = max(len(answers) for answers in prompts.answers)
    padded = [answers[min(i, len(answers) - 1)] for answers in prompts.answers for i in range(most)]
    return Responses.gather(prompts, [Response((), text) for text in padded], (1, len(prompts), most))


def true_distributions(prompts: Prompts, ids: Index, probabilities: Sequence[Sequence[float]]) -> Array:
    """(P, C) known probabilities by cluster: those of answers in one cluster are added.

    Parameters
    ----------
    prompts : Prompts
    ids : (P, A) int
        Cluster of each reference answer, as `references` lists them.
    probabilities : sequence of P sequences of float
        One for each reference answer; they sum to one.

    Examples
    --------
    >>> prompts = Prompts(("a",), ("?",), (("Rome", "rome"),))
    >>> true_distributions(prompts, np.array([[1, 1]]), [[0.25, 0.75]]).tolist()
    [[0.0, 1.0]]
    """
    known = np.zeros((len(prompts), max(int(ids.max()) + 1, 2)))
    for p, (answers, chances) in enumerate(zip(prompts.answers, probabilities, strict=True)):
        if len(chances) != len(answers) or min(chances) < 0 or abs(math.fsum(chances) - 1.0) > 1e-8:
            raise DataError(
                f"probabilities of prompt {prompts.ids[p]!r} must be one for each of its {len(answers)} answers, >= 0 and "
                f"sum to one; got {list(chances)}."
            )
        for place, chance in zip(ids[p], chances, strict=False):
            known[p, place] += chance
    return known


@dataclass(frozen=True)
class Graded:
    """Normal forms of responses and whether a reference answer has the same; made by `mark`.

    Attributes
    ----------
    form : (S, P, R) int
        Number of the normal form; equal numbers in two sources marked together are equal texts but for form.
    supported : (S, P, R) bool
    """

    form: Index
    supported: NDArray[np.bool_]

    @property
    def wrong(self) -> Array:
        """(S, P) share of responses that no reference answer supports."""
        return np.asarray(1.0 - self.supported.mean(axis=2))

    def accuracy(self) -> Array:
        """(S, P): 1 where the answer given most often is supported; of equally frequent ones the share that is."""
        found = np.empty(self.form.shape[:2])
        students, _, draws = self.form.shape
        size = max(1, _PAIRS // (students * draws**2))
        for start in range(0, self.form.shape[1], size):
            form, supported = (of[:, start : start + size] for of in (self.form, self.supported))
            same = (form[..., :, None] == form[..., None, :]).sum(axis=-1)
            weight = (
                same == same.max(axis=-1, keepdims=True)
            ) / same  # an answer counts once, however often it was drawn
            found[:, start : start + size] = (weight * supported).sum(axis=-1) / weight.sum(axis=-1)
        return found


def grade(*sources: Responses) -> list[Graded]:
    """Mark the responses of several sources to the same prompts, all with reference answers.

    Examples
    --------
    >>> prompts = Prompts(("a",), ("capital of Italy ?",), (("Rome",),))
    >>> given = Responses(prompts, (Response((1,), "rome."), Response((2,), "Milan")), [[[0, 1, 1]]])
    >>> marked, = grade(given)
    >>> marked.supported.tolist(), marked.accuracy().tolist()
    ([[[True, False, False]]], [[0.0]])
    """
    number: dict[str, int] = {}
    forms = [_numbered(source, number)[source.index] for source in sources]
    right = [
        (p, number[form])
        for p, answers in enumerate(sources[0].prompts.answers)
        for form in map(normalise, answers)
        if form in number
    ]
    places, wanted = np.array(right, dtype=np.int64).reshape(-1, 2).T
    return [Graded(form, _among(form, places, wanted)) for form in forms]


def _numbered(source: Responses, number: dict[str, int]) -> Index:
    """The number of each distinct response's normal form; new forms are added to those that have one."""
    found = np.empty(len(source.distinct), dtype=np.int64)
    for start in range(0, len(found), _BLOCK):
        places = np.arange(start, min(start + _BLOCK, len(found)))
        found[places] = [number.setdefault(normalise(text), len(number)) for text in source.distinct_texts(places)]
    return found


def _among(form: Index, places: Index, wanted: Index) -> NDArray[np.bool_]:
    """(S, P, R) whether a form is one of those `wanted` at its prompt; `places` says of which prompt each is."""
    names = max(int(form.max()), int(wanted.max(initial=0))) + 1
    return np.isin(np.arange(form.shape[1])[None, :, None] * names + form, places * names + wanted)


def ratio(part: Array, whole: Array) -> Estimate:
    """Ratio of the means of two (S, P) tables and its standard error; NaN where there is nothing to divide by.

    Examples
    --------
    >>> ratio(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 1.0], [1.0, 1.0]]))[0]
    0.5
    """
    unit = float(whole.mean())
    if unit <= 0:
        return math.nan, math.nan
    value = float(part.mean()) / unit
    return value, two_way_standard_error(part - value * whole) / unit


def given_by(students: Graded, teacher: Graded) -> Array:
    """(S, P) share of responses that are unsupported and that the teacher gave too.

    Examples
    --------
    >>> prompts = Prompts(("a",), ("capital of Italy ?",), (("Rome",),))
    >>> words = tuple(Response((i,), text) for i, text in enumerate(["Rome", "Milan", "Turin"]))
    >>> ours, teacher = grade(Responses(prompts, words, [[[0, 1, 2, 1]]]), Responses(prompts, words, [[[0, 1]]]))
    >>> given_by(ours, teacher)
    array([[0.5]])
    """
    places = np.broadcast_to(np.arange(teacher.form.shape[1])[None, :, None], teacher.form.shape)
    given = _among(students.form, places.ravel(), teacher.form.ravel())
    return np.asarray((given & ~students.supported).mean(axis=2))


def correlation_values(students: Graded, teacher: Graded) -> tuple[tuple[float, Array] | None, str]:
    """Correlation over prompts of the students' and the teacher's rates of unsupported answers, cleared of sampling noise.

    Each variance over prompts is that of the observed rates less what finitely many draws and students add. Beside it the
    pseudo-values (P,) of a jackknife over prompts, whose spread is its; or None, and why: it needs two students (of one,
    two draws), two draws of the teacher and three prompts. It may exceed one by chance.

    Examples
    --------
    >>> prompts, words = Prompts(("a", "b"), ("?", "!"), (("x",),) * 2), (Response((0,), "x"), Response((1,), "y"))
    >>> ours, teacher = grade(*[Responses(prompts, words, [[[0, 0], [1, 1]]] * n) for n in (2, 1)])
    >>> correlation_values(ours, teacher)
    (None, 'a correlation over prompts needs 3 of them; there are 2')
    """
    theirs, (count, prompts, responses) = teacher.wrong.mean(axis=0), students.form.shape
    draws = teacher.form.shape[0] * teacher.form.shape[2]
    if prompts < 3:
        return None, f"a correlation over prompts needs 3 of them; there are {prompts}"
    if draws < 2 or (count < 2 and responses < 2):
        return None, "the noise of one draw alone is not known; it takes 2"
    rate = students.wrong.mean(axis=0)
    noise = students.wrong.var(axis=0, ddof=1) / count if count > 1 else rate * (1.0 - rate) / (responses - 1)
    sums = _sums(rate, theirs, noise, theirs * (1.0 - theirs) / (draws - 1))
    value = float(_cleared(sums.sum(axis=1), prompts))
    left_out = _cleared(sums.sum(axis=1, keepdims=True) - sums, prompts - 1)
    if not np.isfinite(value) or not np.isfinite(left_out).all():
        return None, "rates of errors differ over prompts by no more than sampling noise"
    return (value, value + (prompts - 1) * (left_out.mean() - left_out)), ""


def _sums(first: Array, second: Array, noise: Array, other_noise: Array) -> Array:
    """(7, P) whose sums over prompts are all that a correlation takes; centred first, so that nothing cancels."""
    x, y = first - first.mean(), second - second.mean()
    return np.stack([x, y, x * x, y * y, x * y, noise, other_noise])


def _cleared(sums: Array, prompts: int) -> Array:
    x, y, xx, yy, xy, noise, other_noise = sums
    var = (xx - x * x / prompts) / (prompts - 1) - noise / prompts
    other_var = (yy - y * y / prompts) / (prompts - 1) - other_noise / prompts
    both = (xy - x * y / prompts) / (prompts - 1)
    good = (var > 0) & (other_var > 0)
    scale = np.sqrt(np.where(good, var * other_var, 1.0))
    return np.asarray(np.where(good, both / scale, np.nan))
