"""What students' responses say of the variance of a mean over prompts of variances; arrays with any leading axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import Array

# Weight of the plug-in (too small) beside the unbiased (too variable) estimate of how many directions students differ in;
# chosen by the table of candidates, docs/coverage/variance_mean_candidates.csv.
PLUG_IN_WEIGHT = 0.25


@dataclass(frozen=True)
class StudentSpread:
    """Deviations of students' mean responses and students' own variances: all that intervals of their means need.

    Attributes
    ----------
    centred : (..., S, P, D) float
        Mean response of each student, less the mean over students.
    within : (..., S, P) float
        Variance (ddof 1) of a student's own responses.
    responses : float
        R behind each mean; infinite where means are known exactly.
    largest : float
        Largest value that the variances can have: 1 for Gini variances, infinite for numbers.
    """

    centred: Array
    within: Array
    responses: float
    largest: float = np.inf

    @property
    def students(self) -> int:
        """S."""
        return int(self.within.shape[-2])

    @property
    def prompts(self) -> int:
        """P."""
        return int(self.within.shape[-1])


@dataclass(frozen=True)
class Part:
    """One mean square of a sum: its value, and the relative variance that its limits are made for.

    Attributes
    ----------
    value : (...,) float
        Not negative.
    relative : (...,) float
        Its variance over value²; chi-square limits with 2 / relative degrees of freedom have the same.
    beside : (...,) float
        A further relative variance, known from few students only.
    """

    value: Array
    relative: Array
    beside: Array


def between_parts(spread: StudentSpread) -> tuple[Part, Part]:
    """Variance between students of their means, averaged over prompts: what is common to all prompts, and the rest.

    The first is the variance of a student's mean over prompts, which has S − 1 degrees of freedom whatever P; the second
    has as many as there are directions in which students differ besides. Both are widened by their excess kurtosis.

    Examples
    --------
    >>> centred = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])[..., None]  # one effect, common to both prompts
    >>> common, rest = between_parts(StudentSpread(centred, np.zeros((3, 2)), np.inf))
    >>> float(common.value), float(rest.value), float(common.relative)
    (1.0, 0.0, 1.0)
    """
    flat = spread.centred.reshape(*spread.centred.shape[:-2], -1)
    common = spread.centred.mean(axis=-2)
    rest = (spread.centred - common[..., None, :]).reshape(flat.shape)
    dimensions = common.shape[-1]
    first = _mean_square(common, 1.0, dimensions)
    return first, _mean_square(rest, 1.0 / spread.prompts, max(flat.shape[-1] - dimensions, 1))


def _mean_square(rows: Array, scale: float, directions: int) -> Part:
    """Trace of the covariance of rows (..., S, d) over students times `scale`, and its relative variance."""
    students = rows.shape[-2]
    gram = rows @ np.swapaxes(rows, -1, -2)
    squares = np.diagonal(gram, axis1=-2, axis2=-1)
    trace = squares.sum(axis=-1) / (students - 1)
    kurtosis, of_square, of_trace = trace_moments(
        (squares**2).sum(axis=-1), (gram**2).sum((-2, -1)), trace**2, students
    )
    safe = np.where(trace > 0, trace, 1.0) ** 2
    plug_in = np.clip(trace**2 * (students - 1) ** 2 / _positive((gram**2).sum((-2, -1))), 1.0, directions)
    unbiased = np.clip(np.where(of_square > 0, of_trace / _positive(of_square), np.inf), 1.0, directions)
    ratio = unbiased ** (1.0 - PLUG_IN_WEIGHT) * plug_in**PLUG_IN_WEIGHT if students > 2 else 1.0
    relative = 2.0 / ((students - 1) * ratio) + np.maximum(kurtosis, 0.0) / students / safe
    return Part(scale * trace, relative, np.zeros_like(trace))


def _positive(value: Array) -> Array:
    return np.where(value > 0, value, 1.0)


def trace_moments(fourth: Array, gram_square: Array, trace_square: Array, students: int) -> NDArray[np.float64]:
    """Unbiased Σ cum₄ (traced), tr Σ² and (tr Σ)² of students' vectors, (3, ...), from sums over centred students.

    Parameters
    ----------
    fourth : Σ_s ‖c_s‖⁴
    gram_square : Σ_st (c_s·c_t)²
    trace_square : (Σ_s ‖c_s‖² / (S − 1))²
    students : int
        With three or fewer the cumulant cannot be told, and is put at zero.

    Notes
    -----
    With K = Σ_pq cum(x_p, x_p, x_q, x_q): Var(tr S) = K/n + 2 tr Σ²/(n − 1), E tr S² = n tr Σ²/(n − 1) + K/n +
    (tr Σ)²/(n − 1), E ‖c‖⁴ = a K + (1 − 1/n)²((tr Σ)² + 2 tr Σ²), a = (n − 1)((n − 1)³ + 1)/n⁴. For one dimension K/σ⁴ is
    the excess kurtosis; of normal data the last two are those of Bai & Saranadasa (1996).

    Examples
    --------
    >>> trace_moments(*(np.array([x]) for x in (2.0, 4.0, 1.0)), 3)[:, 0].round(4)  # one direction, S = 3: -1, 0, 1
    array([0. , 0.5, 0.5])
    """
    n = students
    seen = np.stack([fourth / n, trace_square, gram_square / (n - 1) ** 2])
    square = (1.0 - 1.0 / n) ** 2
    weights = np.array(
        [
            [(n - 1) * ((n - 1) ** 3 + 1) / n**4, 2.0 * square, square],
            [1.0 / n, 2.0 / (n - 1), 1.0],
            [1.0 / n, n / (n - 1), 1.0 / (n - 1)],
        ]
    )
    if n > 3:
        return np.tensordot(np.linalg.inv(weights), seen, 1)
    if n == 2:  # one direction in any case
        return np.stack([np.zeros_like(fourth), trace_square / 3.0, trace_square / 3.0])
    both = np.tensordot(np.linalg.inv(weights[1:, 1:]), seen[1:], 1)
    return np.stack([np.zeros_like(fourth), both[0], both[1]])
