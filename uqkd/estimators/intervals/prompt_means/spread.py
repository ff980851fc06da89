"""What students' responses say of the variance of a mean over prompts of variances; arrays with any leading axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import Array

# Excess kurtosis assumed before any is seen, in which a normal mean square's variance, 2/ν, grows by the half: 10 %.
ASSUMED_EXCESS = 0.2
# What is seen of it counts twice, since few students show little of a heavy tail; and 1.5 skewness² besides, the excess of
# exponential and other gamma effects, as their skewness is seen sooner.
SEEN_EXCESS, OF_SKEWNESS = 2.0, 1.5
# Students up to which light tails are not believed, and from which they are: ten without an outlier may be of any kind.
FEW, MANY = 10, 30
# Students whose differences have a direction to look for, and those up to whom it is: with more the spectrum tells enough.
DIRECTED = (3, 200)
_FIRST = 256  # numbers looked at before all of them
SMALLEST_STRETCH = 0.3  # of a normal mean square's variance, however light the tails

# Responses' worth of normal theory that the noise of a student's variance is shrunk to: a spread from few cells is variable.
NORMAL_WEIGHT = 10.0


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
    of_gini : float
        The variance as a multiple of the chance that two values differ: 1 for Gini variances, d²/2 for numbers of two values
        apart by d, infinite for others.
    """

    centred: Array
    within: Array
    responses: float
    largest: float = np.inf
    of_gini: float = np.inf

    @property
    def students(self) -> int:
        """S."""
        return int(self.within.shape[-2])

    @property
    def prompts(self) -> int:
        """P."""
        return int(self.within.shape[-1])

    @cached_property
    def about(self) -> Array:
        """(..., S, P) squared distance of a student's mean from that of all students."""
        return np.asarray((self.centred**2).sum(axis=-1))

    @cached_property
    def between(self) -> tuple[Part, ...]:
        """`between_parts` of it, found once."""
        return between_parts(self)

    @cached_property
    def own(self) -> Part:
        """`within_part` of it, found once."""
        return within_part(self)


Spread = Callable[[], StudentSpread]  # found when an interval is asked for, as it holds what students said


@dataclass(frozen=True)
class Part:
    """One mean square of a sum: its value, and what its limits are made from.

    Attributes
    ----------
    value : (...,) float
        Not negative.
    relative : (...,) float
        Its variance over value² for normal data: chi-square limits with 2 / relative degrees of freedom.
    stretch : (...,) float
        By what the logarithms of these limits are multiplied, for tails that are not normal.
    beside : (...,) float
        A further relative variance, known from few students only.
    squares : (..., S) float
        What each student adds to it.
    """

    value: Array
    relative: Array
    stretch: Array
    beside: Array
    squares: Array


def between_parts(spread: StudentSpread) -> tuple[Part, ...]:
    """Variance between students of their means, averaged over prompts: what is common to all prompts, and the rest.

    The first is the variance of a student's mean over prompts, which has S − 1 degrees of freedom whatever P; the second what
    goes together at the other prompts in another way, up at some and down at others, with as many; the third has as many as
    there are directions in which students differ besides. All are stretched by their excess kurtosis.

    Examples
    --------
    >>> centred = np.array([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]])[..., None]  # one effect, common to both prompts
    >>> common, other, rest = between_parts(StudentSpread(centred, np.zeros((3, 2)), np.inf))
    >>> float(common.value), float(other.value), float(rest.value), float(common.relative)
    (1.0, 0.0, 0.0, 1.0)
    """
    common = spread.centred.mean(axis=-2)
    others = spread.centred - common[..., None, :]
    flat = others.reshape(*others.shape[:-2], -1)
    dimensions = common.shape[-1]
    first = _mean_square(common, 1.0, dimensions)
    rest = _mean_square(flat, 1.0 / spread.prompts, max(flat.shape[-1] - dimensions, 1))
    if not DIRECTED[0] <= spread.students <= DIRECTED[1] or spread.prompts < 2:
        return first, rest
    share = shared_share(others)
    second = Part(
        share * rest.value, np.full_like(share, 2.0 / (spread.students - 1)), rest.stretch, rest.beside, rest.squares
    )
    return first, second, replace(rest, value=(1.0 - share) * rest.value)


def shared_share(centred: Array) -> Array:
    """Share of the variance between students that lies in one direction of theirs at all prompts, beyond chance; (...,).

    The direction of most variance is found at every other prompt and looked for at those between, and the other way round; where
    students differ at each prompt in a way of its own, it holds 1/(S − 1) of the variance there, which is taken off.

    Examples
    --------
    >>> ways = np.array([1.0, -1.0, 2.0, 0.5])  # up at some prompts, down at others
    >>> float(shared_share(np.array([-1.0, 0.0, 2.0, -1.0])[:, None, None] * ways[:, None]).round(6))
    1.0
    """
    students = centred.shape[-3]
    halves = [part.reshape(*part.shape[:-2], -1) for part in (centred[..., ::2, :], centred[..., 1::2, :])]
    grams = [half @ np.swapaxes(half, -1, -2) for half in halves]
    top = [np.linalg.eigh(gram)[1][..., -1] for gram in grams]
    found = sum(np.einsum("...s,...st,...t->...", top[1 - i], grams[i], top[1 - i]) for i in range(2))
    whole = sum(np.trace(gram, axis1=-2, axis2=-1) for gram in grams)
    share = np.where(whole > 0, found / _positive(np.asarray(whole)), 0.0)
    return np.clip(((students - 1.0) * share - 1.0) / (students - 2.0), 0.0, 1.0)


def _mean_square(rows: Array, scale: float, directions: int) -> Part:
    """Trace of the covariance of rows (..., S, d) over students times `scale`, and its relative variance."""
    n = rows.shape[-2]
    turned = np.swapaxes(rows, -1, -2)
    gram = rows @ turned if n <= rows.shape[-1] else turned @ rows  # either has the same squares
    squares = (rows**2).sum(axis=-1)
    trace = squares.sum(axis=-1) / (n - 1)
    kurtosis, of_square, of_trace = trace_moments((squares**2).sum(axis=-1), (gram**2).sum((-2, -1)), trace**2, n)
    ratio = np.clip(np.where(of_square > 0, of_trace / _positive(of_square), np.inf), 1.0, directions) if n > 2 else 1.0
    normal = 2.0 / ((n - 1) * ratio) * np.ones_like(trace)
    excess = kurtosis / _positive(trace**2) * max(n - 3, 0) / (n + 2.0)
    excess = np.where(excess > 0, SEEN_EXCESS, np.clip((n - FEW) / (MANY - FEW), 0.0, 1.0)) * excess
    if rows.shape[-1] == 1 and n > 2:
        third = n * (rows[..., 0] ** 3).sum(axis=-1) / ((n - 1) * (n - 2))
        excess = excess + OF_SKEWNESS * np.maximum(third**2 / _positive(trace**3) - 6.0 / n, 0.0)
    stretch = np.maximum(1.0 + ASSUMED_EXCESS / 2.0 + excess / n / normal, SMALLEST_STRETCH)
    return Part(scale * trace, normal, np.sqrt(stretch), np.zeros_like(trace), scale * squares)


def within_part(spread: StudentSpread) -> Part:
    """Mean of the students' own variances; what students differ in beyond the noise stands in `beside`.

    Examples
    --------
    >>> part = within_part(StudentSpread(np.zeros((3, 2, 1)), np.ones((3, 2)), 9))
    >>> float(part.value), float(part.beside)
    (1.0, 0.0)
    """
    table = spread.within
    students, prompts = spread.students, spread.prompts
    grand = table.mean(axis=(-2, -1))
    rows, columns = table.mean(axis=-1), table.mean(axis=-2)
    of_rows = rows.var(axis=-1, ddof=1)
    both = table - rows[..., :, None] - columns[..., None, :] + grand[..., None, None]
    cells = students * prompts
    theory = 2.0 * (table**2).mean(axis=(-2, -1)) / (spread.responses + 1.0)  # of variances that differ; of equal ones
    theory = np.maximum(theory, 2.0 * grand**2 / (spread.responses - 1.0))
    free = (students - 1.0) * (prompts - 1.0)
    seen = (both**2).sum(axis=(-2, -1))
    prior = NORMAL_WEIGHT if np.isfinite(spread.responses) else 0.0
    noise = (prior * theory + seen) / max(prior + free, 1.0) / cells
    safe = np.where(grand > 0, grand, 1.0) ** 2
    beside = np.maximum(of_rows / students - noise, 0.0)
    return Part(grand, noise / safe, np.ones_like(grand), beside / safe, rows)


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
        return np.linalg.solve(weights, seen.reshape(3, -1)).reshape(seen.shape)
    if n == 2:  # one direction in any case
        return np.stack([np.zeros_like(fourth), trace_square / 3.0, trace_square / 3.0])
    both = np.linalg.solve(weights[1:, 1:], seen[1:].reshape(2, -1)).reshape(seen[1:].shape)
    return np.stack([np.zeros_like(fourth), both[0], both[1]])


def as_few_columns(centred: Array) -> Array:
    """Deviations (S, P, U) with the same products between students in at most S columns, however many answers there are.

    Examples
    --------
    >>> rows = np.arange(24.0).reshape(2, 1, 12) - np.arange(24.0).reshape(2, 1, 12).mean(axis=0)
    >>> few = as_few_columns(rows)
    >>> few.shape, bool(np.allclose(few[:, 0] @ few[:, 0].T, rows[:, 0] @ rows[:, 0].T))
    ((2, 1, 2), True)
    """
    by_prompt = np.moveaxis(centred, 1, 0)
    if by_prompt.shape[2] <= by_prompt.shape[1]:
        return centred
    return factors(by_prompt @ np.swapaxes(by_prompt, 1, 2))


def factors(grams: Array) -> Array:
    """Deviations (S, P, S) whose products between students are these, (P, S, S).

    Examples
    --------
    >>> factors(np.array([[[1.0, -1.0], [-1.0, 1.0]]]))[..., 1].ravel().round(4)
    array([-1.,  1.])
    """
    size, direction = np.linalg.eigh(grams)
    return np.moveaxis(direction * np.sqrt(np.maximum(size, 0.0))[:, None, :], 0, 1)


def two_values(draws: Array) -> tuple[float, float]:
    """Largest variance of numbers that take two values apart by d, d²/4, and their variance by Gini's, d²/2; infinite for others.

    Examples
    --------
    >>> two_values(np.array([0.0, 1.0, 1.0])), two_values(np.array([0.0, 1.0, 2.0]))
    ((0.25, 0.5), (inf, inf))
    """
    if draws.ndim > 3 or np.unique(draws.flat[:_FIRST]).size > 2:
        return np.inf, np.inf
    low, high = draws.min(), draws.max()
    if low == high or not ((draws == low) | (draws == high)).all():
        return np.inf, np.inf
    return float((high - low) ** 2 / 4.0), float((high - low) ** 2 / 2.0)
