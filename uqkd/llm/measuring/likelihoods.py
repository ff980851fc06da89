"""Likelihood measures as quantities of the table: what they are, and how well they rank supported answers above others."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.estimators.answers.likelihoods import AnswerLikelihoods
from uqkd.estimators.calibration.ranking import auroc_values
from uqkd.estimators.variance.two_way import ratio_values
from uqkd.llm.measuring.answers.likelihoods import BankLikelihoods
from uqkd.llm.measuring.tables.sheet import Sheet, Values

Array = NDArray[np.float64]

# Scores of each answer (S, P, R), higher where it is surer, by the quantity whose rank they are.
SCORES: dict[str, Callable[[AnswerLikelihoods], Array]] = {
    "log_likelihood": lambda one: one.log_likelihood,
    "length_normalised": lambda one: one.length_normalised,
    "max_token_uncertainty": lambda one: -one.max_token_uncertainty,
    "predictive_entropy": lambda one: np.broadcast_to(-one.predictive_entropy[..., None], one.tokens.shape),
    "predictive_entropy_normalised": lambda one: np.broadcast_to(
        -one.predictive_entropy_normalised[..., None], one.tokens.shape
    ),
}


def add_likelihoods(sheet: Sheet, found: BankLikelihoods, *, undistilled: bool) -> None:
    """Predictive entropy, token entropy, perplexity and the greatest uncertainty of a token, of students and the undistilled one.

    Parameters
    ----------
    sheet : Sheet
    found : BankLikelihoods
        Of the students and, if `undistilled`, of the undistilled one as the last.
    undistilled : bool
    """
    ours, base = parts(found, undistilled=undistilled)
    kind = f"{found.kind} log-probabilities"
    rows: list[tuple[str, str, str, Callable[[AnswerLikelihoods], Values]]] = [
        ("predictive_entropy", "nats an answer", "mean −log p", lambda one: Values.of(one.predictive_entropy)),
        (
            "predictive_entropy_normalised",
            "nats a token",
            "mean of −log p by length",
            lambda one: Values.of(one.predictive_entropy_normalised),
        ),
        ("token_entropy", "nats a token", "−log p by tokens", lambda one: Values.of(_token_entropy(one))),
        ("perplexity", "tokens", "exp of the token entropy", _perplexity),
        (
            "max_token_uncertainty",
            "nats",
            "−log p of an answer's least probable token",
            lambda one: Values.of(one.max_token_uncertainty.mean(axis=2)),
        ),
    ]
    for name, unit, note, values in rows:
        one = None if base is None else values(base)
        sheet.add(name, values(ours), unit=unit, note=f"{note}; {kind}", base=one)
        each = [values(_student(ours, s)) for s in range(len(ours.tokens))]
        sheet.add_each(name, each, unit=unit, base=one)


def add_aurocs(
    sheet: Sheet,
    found: BankLikelihoods,
    supported: tuple[NDArray[np.bool_], NDArray[np.bool_] | None],
    places: list[int],
) -> None:
    """How each score ranks supported answers above others: AUROC of each student's answers, averaged over students.

    Parameters
    ----------
    sheet : Sheet
    found : BankLikelihoods
        Of all prompts.
    supported : (S, places, R) bool, and (1, places, R) of the undistilled student or None
    places : list of int
        Of the prompts that have reference answers.
    """
    ours, base = parts(found, undistilled=supported[1] is not None)
    note = "chance that a supported answer scores above one that is not"
    for name, score in SCORES.items():
        one = None if base is None or supported[1] is None else _auroc(score(base)[:, places], supported[1])
        values = _auroc(score(ours)[:, places], supported[0])
        sheet.add(f"auroc_{name}", values, unit="probability", note=note, base=one, prompts=len(places))


def parts(found: BankLikelihoods, *, undistilled: bool) -> tuple[AnswerLikelihoods, AnswerLikelihoods | None]:
    """Of the students, and of the undistilled one, which is the last."""
    if not undistilled:
        return found.answers, None
    return found.of_students(slice(0, -1)), found.of_students(slice(-1, None))


def _auroc(scores: Array, supported: NDArray[np.bool_]) -> Values:
    try:
        return Values.of(auroc_values(scores, supported))
    except DataError as problem:
        return Values.missing(f"no AUROC: {problem}")


def _token_entropy(one: AnswerLikelihoods) -> Array:
    return ratio_values(-one.log_likelihood.sum(axis=2), one.tokens.sum(axis=2))


def _perplexity(one: AnswerLikelihoods) -> Values:
    """exp of the token entropy, its spread to first order."""
    table = _token_entropy(one)
    nats = float(table.mean())
    return Values(math.exp(nats) * (1.0 + table - nats), math.exp(nats), Values.of(table).why)


def _student(one: AnswerLikelihoods, s: int) -> AnswerLikelihoods:
    return AnswerLikelihoods(one.log_likelihood[s : s + 1], one.tokens[s : s + 1], one.least[s : s + 1])
