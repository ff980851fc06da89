"""What is measured against reference answers: errors, those shared with the teacher, and distances from known probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.estimators.answers.agreement import agreement_with, gini_from_draws
from uqkd.estimators.answers.distance import squared_distance
from uqkd.estimators.variance.two_way import ratio_values
from uqkd.llm.measuring.answers.likelihoods import BankLikelihoods
from uqkd.llm.measuring.errors import (
    Graded,
    answered,
    correlation_values,
    given_by,
    grade,
    references,
    true_distributions,
)
from uqkd.llm.measuring.likelihoods import add_aurocs
from uqkd.llm.measuring.tables.sheet import Sheet, Values
from uqkd.llm.responses import Responses
from uqkd.llm.similarity.clusters import cluster

Array = NDArray[np.float64]

NONE_WRONG = "every answer is supported: there are no errors to share"


def add_truth(
    sheet: Sheet,
    students: Responses,
    undistilled: Responses | None,
    probabilities: Sequence[Sequence[float]],
    *,
    how: str,
    model: str | None,
) -> None:
    """Distances from known probabilities of the reference answers."""
    if len(probabilities) != len(students.prompts):
        raise DataError(f"probabilities needs one row for each of P={len(students.prompts)}; got {len(probabilities)}.")
    places = [p for p in answered(students.prompts) if len(probabilities[p])]
    if not places:
        raise DataError("probabilities were given for no prompt that has reference answers.")
    some = students.of_prompts(places)
    beside = [references(some.prompts), *([undistilled.of_prompts(places)] if undistilled is not None else [])]
    grouped = cluster(some, how, beside=beside, model=model)
    known = true_distributions(some.prompts, grouped.beside[0][0], [probabilities[p] for p in places])
    apart, base = squared_distance(grouped.ids, probs=known), None
    if undistilled is not None:
        own = grouped.beside[1]
        base = Values.of(1.0 - gini_from_draws(own) - 2.0 * agreement_with(own, known) + (known**2).sum(axis=-1))
    unit, n = "probability²", len(places)
    sheet.add(
        "distance_from_truth",
        Values.of(apart.per_student),
        unit=unit,
        note="mean ‖q − p‖², p known",
        base=base,
        prompts=n,
    )
    bias = Values.of(apart.per_student_bias, pair=apart.bias_square)
    sheet.add("bias_from_truth", bias, unit=unit, note="‖E q − p‖², common to all students", prompts=n)


def add_errors(
    sheet: Sheet,
    students: Responses,
    teacher: Responses | None,
    undistilled: Responses | None,
    places: Sequence[int],
    *,
    likelihoods: BankLikelihoods | None = None,
) -> Array:
    """Unsupported answers, accuracy, what of the errors is the teacher's, and whether likelihoods rank them.

    Returns
    -------
    (places,) float
        Share of errors by prompt.
    """
    every = [students, teacher, undistilled]
    graded = iter(grade(*(one.of_prompts(places) for one in every if one is not None)))
    ours = next(graded)
    theirs = next(graded) if teacher is not None else None
    own = next(graded) if undistilled is not None else None
    n = len(places)
    for name, note, table, base in (
        ("unsupported", "share of responses that no reference answer supports", ours.wrong, own and own.wrong),
        ("accuracy", "most frequent answer of a student is supported", ours.accuracy(), own and own.accuracy()),
    ):
        one = None if base is None else Values.of(base, chance=True)
        sheet.add(name, Values.of(table, chance=True), unit="share", note=note, base=one, prompts=n)
        sheet.add_each(name, [Values.of(row[None], chance=True) for row in table], unit="share", base=one)
    alone = None if own is None else Values.of(calibration_gaps(own))
    note = "chance that two answers agree, all supported ones counted as one, less the share supported; above 0 surer than right"
    gaps = Values.of(calibration_gaps(ours))
    sheet.add("calibration_gap", gaps, unit="probability", note=note, base=alone, prompts=n)
    if theirs is not None:
        _add_shared(sheet, ours, theirs, own, n)
    if likelihoods is not None:
        add_aurocs(sheet, likelihoods, (ours.supported, None if own is None else own.supported), list(places))
    return np.asarray(ours.wrong.mean(axis=0))


def calibration_gaps(graded: Graded) -> Array:
    """By how much answers are surer than right, per student and prompt: 0 on average over prompts if they are calibrated.

    An answer that is given with probability q is to be right in q of the cases. So is, on average over answers as they are
    given, Σ q² the share of right ones. Both are estimated without bias: Σ q² from pairs of answers.

    Parameters
    ----------
    graded : Graded
        (S, P, R), R >= 2. All supported answers to a prompt count as one, however they are put.

    Returns
    -------
    (S, P) float
        Positive where answers are repeated more often than they are right.

    Examples
    --------
    >>> both = Graded(np.array([[[0, 0, 1, 1]]]), np.array([[[True, True, False, False]]]))
    >>> sure = Graded(np.array([[[0, 0, 0, 0]]]), np.array([[[False, False, False, False]]]))
    >>> calibration_gaps(both).round(3).tolist(), calibration_gaps(sure).tolist()
    ([[-0.167]], [[1.0]])
    """
    answers = np.where(graded.supported, graded.form.max() + 1, graded.form)
    return np.asarray(graded.wrong - gini_from_draws(answers))


def _add_shared(sheet: Sheet, ours: Graded, theirs: Graded, own: Graded | None, n: int) -> None:
    rate = Values.of(theirs.wrong.mean(axis=0, keepdims=True), chance=True)
    sheet.add("teacher_unsupported", rate, unit="share", note="of the teacher's responses", prompts=n)
    draws = theirs.form.shape[0] * theirs.form.shape[2]
    note = f"unsupported answers that the teacher gave too in {draws} draws"
    shared, base = (None if one is None else _shared(one, theirs) for one in (ours, own))
    assert shared is not None
    sheet.add("shared_errors", shared, unit="share of errors", note=note, base=base, prompts=n)
    note = "of unsupported rates over prompts, cleared of sampling noise"
    values, alone = (None if one is None else _correlation(one, theirs) for one in (ours, own))
    assert values is not None
    sheet.add("error_correlation", values, unit="correlation", note=note, base=alone, prompts=n)


def _shared(ours: Graded, theirs: Graded) -> Values:
    wrong = ours.wrong
    return Values.of(ratio_values(given_by(ours, theirs), wrong)) if wrong.any() else Values.missing(NONE_WRONG)


def _correlation(ours: Graded, theirs: Graded) -> Values:
    found, why = correlation_values(ours, theirs)
    return Values.missing(why) if found is None else Values(found[1][None], found[0])
