"""Variance between students that are what they were given: shares of k responses, prompt by prompt and averaged over prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import unmasked
from uqkd.errors import ShapeError
from uqkd.estimators.answers.counting import answers
from uqkd.estimators.variance.categorical import gini

Array = NDArray[np.float64]
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class ShareVariances:
    """Variance between students, summed over classes.

    Attributes
    ----------
    per_prompt : float or (E,) array
        Of the shares of answers to one prompt, averaged over prompts.
    prompt_average : float or (E,) array
        Of the shares of word groups averaged over prompts: what students share across prompts shows here alone.
    """

    per_prompt: Any
    prompt_average: Any


def expected_share_variances(p: ArrayLike, words: ArrayLike, k: int) -> ShareVariances:
    """What k independent responses to each of P prompts give.

    Parameters
    ----------
    p : (P, C) float
        Distribution of the answers.
    words : (P, C) int
        Group of each answer, the same numbers at all prompts.
    k : int

    Notes
    -----
    T4: G_p/k on average over prompts; Σ_p v_p/(k·P²) for the average, v_p the Gini variance of the groups.

    Examples
    --------
    >>> expected_share_variances([[0.5, 0.5], [1.0, 0.0]], [[0, 1], [0, 1]], k=2)
    ShareVariances(per_prompt=0.125, prompt_average=0.0625)
    """
    law, groups = np.asarray(unmasked("p", p), dtype=np.float64), answers("words", words, "P C")
    by_word = np.zeros((len(law), int(groups.max()) + 1))
    np.add.at(by_word, (np.arange(len(law))[:, None], groups), law)
    return ShareVariances(float(gini(law).mean()) / k, float(gini(by_word).mean()) / (k * len(law)))


def share_variances(classes: Classes, words: Classes) -> ShareVariances:
    """Variance between the students of each experiment, unbiased (ddof 1).

    Parameters
    ----------
    classes : (E, S, P, k) int
        Which answer each response is: experiments, their students, prompts, responses.
    words : (P, C) int
        As for `expected_share_variances`.

    Examples
    --------
    >>> share_variances(np.array([[[[0, 0]], [[1, 1]]]]), np.array([[0, 0]]))
    ShareVariances(per_prompt=array([1.]), prompt_average=array([0.]))
    """
    classes, words = answers("classes", classes, "E S P k", need=(1, 2)), answers("words", words, "P C")
    experiments, students, prompts, k = classes.shape
    if len(words) != prompts or classes.min() < 0 or classes.max() >= words.shape[1]:
        raise ShapeError(
            f"share_variances needs words (P={prompts}, C) and classes in 0 ... C − 1; got words {words.shape} and classes "
            f"{classes.min()} to {classes.max()}."
        )
    shares = np.eye(words.shape[1])[classes].mean(axis=3)
    begun = np.zeros((experiments, students, int(words.max()) + 1))
    word = words[np.arange(prompts)[:, None], classes]  # (E, S, P, k)
    where = (np.arange(experiments)[:, None, None, None], np.arange(students)[:, None, None])
    np.add.at(begun, (*where, word), 1.0 / (prompts * k))
    per_prompt = shares.var(axis=1, ddof=1).sum(axis=-1).mean(axis=-1)
    return ShareVariances(per_prompt, begun.var(axis=1, ddof=1).sum(axis=-1))


def consecutive_ratio(students: int, k: int) -> float:
    """Variance between students at consecutive seeds, of which the r-th draw uses seed + r, as a multiple of the right one.

    Examples
    --------
    >>> consecutive_ratio(2, 4), consecutive_ratio(3, 1)
    (0.25, 1.0)
    """
    # Students d seeds apart share max(k − d, 0) of k draws; the variance between them is one less the mean correlation.
    shared = sum((students - d) * max(k - d, 0) / k for d in range(1, students))
    return 1.0 - shared / (students * (students - 1) / 2)
