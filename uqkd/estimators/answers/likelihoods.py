"""What the log-probabilities of an answer's tokens say of its uncertainty: per answer, per token, per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import unmasked
from uqkd.errors import DataError, ShapeError

Array = NDArray[np.float64]

_ROUNDING = 1e-3  # nats: engines of low precision give tokens that are certain a log-probability a little above 0


@dataclass(frozen=True)
class AnswerLikelihoods:
    """Likelihood measures of answers, R to a prompt on the last axis; made by `answer_likelihoods`.

    Attributes
    ----------
    log_likelihood : (..., R) float
        Natural logarithm of the probability of each answer: the sum over its tokens.
    tokens : (..., R) int
        How many there are; of an empty answer none.
    least : (..., R) float
        Log-probability of its least probable token; 0 of an empty answer.
    """

    log_likelihood: Array
    tokens: NDArray[np.int64]
    least: Array

    @property
    def length_normalised(self) -> Array:
        """Log-likelihood per token, nats; 0 of an empty answer. Without it, short answers seem the surer ones."""
        return np.asarray(self.log_likelihood / np.maximum(self.tokens, 1))

    @property
    def perplexity(self) -> Array:
        """exp of minus the log-likelihood per token, of each answer: among how many equally probable tokens it chose."""
        return np.exp(-self.length_normalised)

    @property
    def max_token_uncertainty(self) -> Array:
        """−log p of the least probable token, nats: the one place where an answer was least sure."""
        return np.asarray(-self.least)

    @property
    def predictive_entropy(self) -> Array:
        """(...) nats an answer: the mean of −log p over a prompt's draws, unbiased for the entropy of the answers' distribution.

        Of answers drawn from the distribution whose log-probabilities these are, not of raw ones at another temperature.
        """
        return np.asarray(-self.log_likelihood.mean(axis=-1))

    @property
    def predictive_entropy_normalised(self) -> Array:
        """(...) nats a token: the mean over draws of −log p by its length (Malinin & Gales 2021)."""
        return np.asarray(-self.length_normalised.mean(axis=-1))

    @property
    def token_entropy(self) -> Array:
        """(...) nats a token: all −log p of a prompt's draws by all their tokens, the mean entropy of a token that is drawn.

        A token's −log p is on average the entropy of the distribution that it was drawn from, so no distribution need be kept.
        """
        return np.asarray(-self.log_likelihood.sum(axis=-1) / np.maximum(self.tokens.sum(axis=-1), 1))


def answer_likelihoods(
    token_logprobs: Sequence[Sequence[float]], shape: tuple[int, ...] | None = None
) -> AnswerLikelihoods:
    """Length-normalised log-likelihood, perplexity, token entropy and the like from token log-probabilities.

    Parameters
    ----------
    token_logprobs : sequence of N sequences of float
        Natural logarithms of the probabilities of each answer's tokens, that which ended it among them, as a bank keeps them.
    shape : tuple of int, optional
        Of the answers, such as (S, P, R), in that order; (N,) if not given: answers to one prompt.

    Returns
    -------
    AnswerLikelihoods

    Raises
    ------
    DataError
        A log-probability that is NaN, or above 0 by more than rounding; names the answer.
    ShapeError
        No answers, or a shape of another number of them.

    Notes
    -----
    Malinin & Gales (2021), "Uncertainty estimation in autoregressive structured prediction"; Murray & Chiang (2018) on length.

    Examples
    --------
    >>> found = answer_likelihoods([np.log([0.5, 0.5]), np.log([0.25])])
    >>> found.perplexity, found.max_token_uncertainty.round(3)
    (array([2., 4.]), array([0.693, 1.386]))
    >>> [round(float(x), 3) for x in (found.predictive_entropy, found.predictive_entropy_normalised, found.token_entropy)]
    [1.386, 1.04, 0.924]
    """
    rows = [_row(row) for row in token_logprobs]
    if not rows or any(row.ndim != 1 for row in rows):
        raise ShapeError("answer_likelihoods needs one sequence of numbers for each of one or more answers.")
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    return likelihoods_of_rows(np.concatenate(rows), lengths, shape)


def _row(values: Sequence[float]) -> Array:
    """One answer's numbers; an answer without tokens has none."""
    try:
        return np.asarray(unmasked("token_logprobs", values), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"token_logprobs needs numbers for every answer; got {values!r:.60}.") from None


def likelihoods_of_rows(values: Array, lengths: NDArray[np.int64], shape: tuple[int, ...] | None) -> AnswerLikelihoods:
    """The same from the log-probabilities of all answers behind one another, and how many each has.

    Examples
    --------
    >>> likelihoods_of_rows(np.array([-1.0, -2.0, -4.0]), np.array([2, 0, 1]), (3,)).log_likelihood
    array([-3.,  0., -4.])
    """
    kind = (len(lengths),) if shape is None else tuple(shape)
    if int(np.prod(kind)) != len(lengths) or not len(lengths):
        raise ShapeError(f"answer_likelihoods got {len(lengths)} answers and the shape {kind}.")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    bad = np.isnan(values) | (values > _ROUNDING)
    if bad.any():
        place = int(bad.argmax())
        answer = int(np.searchsorted(starts, place, side="right")) - 1
        raise DataError(
            f"answer_likelihoods needs logarithms of probabilities, none above 0; answer {answer} holds {values[place]:.4g}."
        )
    total, least = np.zeros(len(lengths)), np.zeros(len(lengths))
    full = lengths > 0
    if full.any():  # rows that are empty take no values, so the others' starts stand behind one another
        total[full] = np.add.reduceat(values, starts[full])
        least[full] = np.minimum(np.minimum.reduceat(values, starts[full]), 0.0)
    return AnswerLikelihoods(total.reshape(kind), lengths.reshape(kind), least.reshape(kind))
