"""Inter- and intra-student variance of class probabilities, and what conserves their sum (T4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.probabilities import distributions
from uqkd.checking.variation import certain
from uqkd.errors import DataError, ShapeError
from uqkd.estimators.intervals.prompt_means.spread import Spread
from uqkd.estimators.variance.entropy_mean import EntropyMean, entropy_mean
from uqkd.estimators.variance.names import EpistemicAleatoric
from uqkd.estimators.variance.prompt_mean import PromptMean, prompt_mean, spread_of
from uqkd.estimators.variance.two_way import share_of

Array = NDArray[np.float64]


def gini(probs: ArrayLike) -> Array:
    """Gini variance 1 − Σ p² of categorical distributions: the variance of a one-hot answer.

    Parameters
    ----------
    probs : (..., C) float

    Returns
    -------
    (...) float
        Between 0 (certain) and 1 − 1/C (uniform).

    Examples
    --------
    >>> gini([[0.5, 0.5], [1.0, 0.0]])
    array([0.5, 0. ])
    """
    return np.asarray(1.0 - (distributions("probs", probs) ** 2).sum(axis=-1))


def entropy(probs: ArrayLike) -> Array:
    """Shannon entropy of categorical distributions, in nats; 0·log 0 counts as 0.

    Examples
    --------
    >>> entropy([[0.5, 0.5], [1.0, 0.0]]).round(4)
    array([0.6931, 0.    ])
    """
    return _entropy(distributions("probs", probs))


def _entropy(p: Array) -> Array:
    logs = np.log(p, out=np.zeros_like(p), where=p > 0)
    return np.asarray(np.maximum(-(p * logs).sum(axis=-1), 0.0))


def kl_divergence(p: ArrayLike, q: ArrayLike, *, least: float = 0.0) -> Array:
    """Kullback–Leibler divergence KL(p‖q) = Σ p·log(p/q), in nats; 0·log 0 counts as 0.

    Parameters
    ----------
    p : (..., C) float
        The distribution that is looked for, such as the teacher's.
    q : (..., C) float
        What is held against it, such as a student's; leading axes broadcast with those of p.
    least : float
        Probabilities of q below it count as it: rounding of single precision, of which a logarithm would make nats.

    Returns
    -------
    (...) float
        Infinite where q is zero and p is not.

    Examples
    --------
    >>> kl_divergence([0.5, 0.5], [[0.5, 0.5], [0.25, 0.75]]).round(4)
    array([0.    , 0.1438])
    """
    p, q = np.broadcast_arrays(distributions("p", p), distributions("q", q))
    ratio = np.divide(p, np.maximum(q, least), out=np.full(p.shape, np.inf), where=np.maximum(q, least) > 0)
    return np.asarray((p * np.log(ratio, out=np.zeros_like(p), where=p > 0)).sum(axis=-1))


def labels_at(probabilities: Array, uniform: Array) -> NDArray[np.int64]:
    """The labels that uniform numbers pick from distributions, by inversion.

    Parameters
    ----------
    probabilities : (..., C) float
    uniform : (...) float
        In [0, 1); axes broadcast with those before the classes.

    Returns
    -------
    (...) int

    Examples
    --------
    >>> labels_at(np.array([[0.25, 0.25, 0.5]]), np.array([[0.1], [0.25], [0.9]]))[:, 0]
    array([0, 1, 2])
    """
    edges = np.moveaxis(np.cumsum(probabilities, axis=-1)[..., :-1], -1, 0)
    picked = np.zeros(np.broadcast_shapes(uniform.shape, edges.shape[1:]), dtype=np.int64)
    for edge in edges:
        picked += uniform >= edge
    return picked


@dataclass(frozen=True)
class CategoricalDecomposition(EpistemicAleatoric):
    """Gini and entropy decompositions of students' class probabilities, per prompt.

    `.epistemic` and `.aleatoric` are the Gini parts, whose sum is `total`; in entropy they are `mutual_information` and
    `expected_entropy`.

    Attributes
    ----------
    inter, intra, total : (P,) float
        Gini versions: total = intra + inter; inter is unbiased (ddof 1).
    total_entropy, expected_entropy, mutual_information : (P,) float
        Nats; total = expected (intra) + mutual information (inter). These are plug-in values: with S students the
        mutual information is at most log S and too small on average.
    mutual_information_jackknife : (P,) float
        The same with the first-order bias in 1/S removed; NaN where S = 2. May be negative.
    per_student_inter, per_student_intra : (S, P) float
        Gini pseudo-values, for standard errors.
    per_student_information : (S, P) float
        Pseudo-values of the mutual information, whose mean is the jackknifed one; NaN where S = 2.
    per_student_entropy : (S, P) float
        Entropy of each student.
    spread : callable, optional
        Makes what intervals of the means need.
    """

    inter: Array
    intra: Array
    total: Array
    total_entropy: Array
    expected_entropy: Array
    mutual_information: Array
    mutual_information_jackknife: Array
    per_student_inter: Array
    per_student_intra: Array
    per_student_information: Array
    per_student_entropy: Array
    spread: Spread | None = field(default=None, repr=False, compare=False)

    @property
    def mean(self) -> PromptMean:
        """Gini averages over prompts with two-way standard errors (students × prompts)."""
        own, between = self.per_student_intra, self.per_student_inter
        return prompt_mean(between, own, inter=self.inter, intra=self.intra, spread=self.spread)

    @property
    def entropy_mean(self) -> EntropyMean:
        """Averages over prompts of the entropies; the information is the jackknifed one, NaN where S = 2."""
        own = self.per_student_information
        parts = (self.mutual_information_jackknife, self.expected_entropy, self.expected_entropy + own.mean(axis=0))
        return entropy_mean(self.per_student_entropy, own, parts=parts)

    def conservation(self, teacher_probs: ArrayLike) -> Array:
        """κ = (intra + inter)/G_p per prompt; 1 where the students are mean-unbiased for the teacher (T4).

        Parameters
        ----------
        teacher_probs : (P, C) float
            The teacher's answer distribution. A prompt with a certain teacher (G_p = 0) has no κ: DataError.

        Returns
        -------
        (P,) float
        """
        spread = gini(teacher_probs)
        if spread.shape != self.total.shape:
            raise ShapeError(f"conservation needs teacher_probs (P, C) with P={len(self.total)}; got {spread.shape}.")
        if certain(spread, np.shape(teacher_probs)[-1]).any():
            p = int(np.argmin(spread))
            raise DataError(
                f"conservation is 0/0 for prompt {p}, where the teacher is certain; leave such prompts out."
            )
        return np.asarray(self.total / spread)


def decompose_categorical(probs: ArrayLike) -> CategoricalDecomposition:
    """Split the spread of categorical answers into inter- and intra-student parts (Gini and entropy).

    Parameters
    ----------
    probs : (S, P, C) float
        Class probabilities of student s for prompt p; rows sum to one. Needs S >= 2 and C >= 2.

    Returns
    -------
    CategoricalDecomposition

    Raises
    ------
    ShapeError
        Not (S, P, C), S < 2 or C < 2.
    DataError
        Negative entries, or rows that do not sum to one.
    NotFiniteError
        Any NaN or inf.

    Notes
    -----
    T4. intra = mean_s(1 − Σ_c q²), inter = Σ_c Var_s(q_c); E[intra] + inter = 1 − Σ_c E[q_c]².

    Examples
    --------
    Two students that memorised one answer each: all the spread lies between them.

    >>> parts = decompose_categorical([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> parts.intra, parts.inter, parts.mutual_information.round(4)
    (array([0.]), array([1.]), array([0.6931]))
    """
    q = distributions("probs", probs, need_students=2)
    students = len(q)
    mean = q.mean(axis=0)
    within = 1.0 - (q**2).sum(axis=-1)
    squared = ((q - mean) ** 2).sum(axis=-1)
    inter, intra = squared.sum(axis=0) / (students - 1), within.mean(axis=0)
    pseudo = (students * squared - inter) / (students - 2) if students > 2 else np.full_like(within, np.nan)
    own = _entropy(q)
    total_entropy, expected = _entropy(mean), own.mean(axis=0)
    information = np.maximum(total_entropy - expected, 0.0)  # Jensen: negative by rounding only
    of_student = _information_by_student(q, mean, own)
    return CategoricalDecomposition(
        inter=inter,
        intra=intra,
        total=inter + intra,
        total_entropy=total_entropy,
        expected_entropy=expected,
        mutual_information=information,
        mutual_information_jackknife=of_student.mean(axis=0),
        per_student_inter=pseudo,
        per_student_intra=within,
        per_student_information=of_student,
        per_student_entropy=own,
        spread=partial(spread_of, q, within, bounds=(1.0, 1.0)),
    )


def _information_by_student(q: Array, mean: Array, own: Array) -> Array:
    students = len(q)
    if students < 3:
        return np.full(own.shape, np.nan)
    without = np.clip((students * mean - q) / (students - 1), 0.0, 1.0)
    left_out = _entropy(without) - (own.sum(axis=0) - own) / (students - 1)
    return np.asarray(students * (_entropy(mean) - own.mean(axis=0)) - (students - 1) * left_out)


def uncertainty_shares(parts: CategoricalDecomposition, spread: ArrayLike) -> dict[str, tuple[float, float]]:
    """What students keep of their teacher's Gini variance, what moves between them, and both together.

    Parameters
    ----------
    parts : CategoricalDecomposition
        Of the students, by `decompose_categorical`.
    spread : (P,) float
        The teacher's Gini variance G_p at each prompt.

    Returns
    -------
    dict of str to (share, standard_error)
        "intra", "inter" and "total" (κ), as `share_of`.

    Notes
    -----
    T4: students that memorise k answers keep 1 − 1/k, 1/k moves between them, and κ = 1 wherever they are unbiased.

    Examples
    --------
    >>> parts = decompose_categorical([[[1.0, 0.0]], [[0.0, 1.0]], [[0.5, 0.5]]])
    >>> {name: round(share, 2) for name, (share, _) in uncertainty_shares(parts, [0.5]).items()}
    {'intra': 0.33, 'inter': 1.0, 'total': 1.33}
    """
    intra, inter = parts.per_student_intra, parts.per_student_inter
    return {
        "intra": share_of(intra, spread),
        "inter": share_of(inter, spread),
        "total": share_of(intra + inter, spread),
    }
