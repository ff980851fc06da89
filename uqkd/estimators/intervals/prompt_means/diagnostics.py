"""Are the data as intervals for variances assume: students' means normal, their own variances alike?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uqkd.estimators.intervals.prompt_means.spread import StudentSpread, trace_moments

# Standard deviations beyond which data are said to be unlike normal ones of equal students. Both statistics are skewed where
# there are few prompts; up to 1 % of normal data lie beyond (tests/estimators/intervals/test_diagnostics.py).
BEYOND = 4.0


@dataclass(frozen=True)
class Diagnosis:
    """How far data are from normal effects of students that are equally variable, in standard deviations of either statistic.

    Attributes
    ----------
    kurtosis : float
        Of students' means, averaged over prompts, against normal ones; 0 with three students, of whom it cannot be told.
    unequal : float
        Dispersion of students' own variances, at each prompt or over all of them, against that of normal responses of students
        with one variance; 0 where means are known exactly.
    answers: bool
        The values are answers or take two values alone, which no normal theory is for, and of which the two others, 0 then, say
        nothing.
    """

    kurtosis: float
    unequal: float
    answers: bool = False

    @property
    def heavy(self) -> bool:
        """Whether students' means have heavier tails than normal ones."""
        return self.kurtosis > BEYOND

    @property
    def differ(self) -> bool:
        """Whether students' own variances differ by more than normal responses would make them."""
        return self.unequal > BEYOND

    @property
    def warning(self) -> str:
        """What is not as assumed, or nothing."""
        said = [
            f"students' means have heavy tails (kurtosis {self.kurtosis:.1f} standard deviations above a normal one)"
            * self.heavy,
            f"students' own variances differ ({self.unequal:.1f} standard deviations beyond chance)" * self.differ,
        ]
        return " and ".join(filter(None, said))


def diagnose(spread: StudentSpread) -> Diagnosis:
    """Hold the kurtosis of students' means and the dispersion of their variances against normal data of equal students.

    Parameters
    ----------
    spread : StudentSpread
        Of one experiment.

    Returns
    -------
    Diagnosis

    Notes
    -----
    Given their sum, squares of n centred normal numbers have Σc⁴·n/(Σc²)² of mean 3(n − 1)/(n + 1) and variance
    24n(n − 2)(n − 3)/((n + 1)²(n + 3)(n + 5)) (Fisher 1930); S variances of R normal responses are, over their sum, Dirichlet with
    parameters (R − 1)/2. Prompts count for the kurtosis as far as students differ there in directions of their own.

    Examples
    --------
    >>> from uqkd.seeds import generator
    >>> rng = generator("doc", "diagnose")
    >>> draws = rng.normal(size=(10, 200, 4)) * np.linspace(0.2, 3, 10)[:, None, None]
    >>> means = draws.mean(axis=2)[..., None]
    >>> found = diagnose(StudentSpread(means - means.mean(axis=0), draws.var(axis=2, ddof=1), 4))
    >>> found.differ, found.heavy
    (True, True)
    """
    if np.isfinite(spread.largest):
        return Diagnosis(0.0, 0.0, answers=True)
    return Diagnosis(_kurtosis(spread), _unequal(spread))


def _kurtosis(spread: StudentSpread) -> float:
    n = spread.students
    rows = spread.centred.reshape(n, -1)
    squares = (rows**2).sum(axis=0)
    seen = squares > 1e-20 * squares.max(initial=0.0)
    if n < 4 or not seen.any():
        return 0.0
    rows = rows[:, seen] / np.sqrt(squares[seen])
    mean = float((n * (rows**4).sum(axis=0)).mean())
    gram = rows @ rows.T if n < rows.shape[1] else rows.T @ rows
    trace = rows.shape[1] / (n - 1.0)
    _, of_square, of_trace = trace_moments((gram.diagonal() ** 2).sum(), (gram**2).sum(), np.asarray(trace**2), n)
    directions = float(np.clip(of_trace / of_square if of_square > 0 else np.inf, 1.0, rows.shape[1]))
    variance = 24.0 * n * (n - 2.0) * (n - 3.0) / ((n + 1.0) ** 2 * (n + 3.0) * (n + 5.0))
    return float((mean - 3.0 * (n - 1.0) / (n + 1.0)) / np.sqrt(variance / directions))


def _unequal(spread: StudentSpread) -> float:
    if not np.isfinite(spread.responses):
        return 0.0
    table = spread.within[:, spread.within.sum(axis=0) > 0]
    if not table.size:
        return 0.0
    share, prompts = table / table.sum(axis=0), table.shape[1]
    mean, variance = _dirichlet(spread)
    each = ((share**2).sum(axis=0) - mean).mean() / np.sqrt(variance / prompts)
    n = spread.students
    rows = n * share.mean(axis=1) - 1.0  # alike over all prompts; Σ rows² has the mean (S·mean − 1)·S/P, as χ²(S − 1)
    over = ((rows**2).sum() * prompts / (n * (n * mean - 1.0)) - 1.0) / np.sqrt(2.0 / (n - 1.0))
    return float(max(each, over))


def _dirichlet(spread: StudentSpread) -> tuple[float, float]:
    """Mean and variance of Σ share² of S variances of R normal responses."""
    s, a = spread.students, (spread.responses - 1.0) / 2.0
    whole = s * a
    steps = np.arange(4.0)
    rising = np.cumprod(a + steps) / np.cumprod(whole + steps)
    mean = s * rising[1]
    both = s * rising[3] + s * (s - 1.0) * (a * (a + 1.0)) ** 2 / np.prod(whole + steps)
    return float(mean), float(both - mean**2)
