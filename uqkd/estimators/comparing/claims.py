"""What a claim of the form "this is lower than that" comes to, decided by intervals over students and prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from numpy.typing import ArrayLike
from scipy import special

from uqkd.checking.arrays import confidence_level, known_or_nan
from uqkd.checking.variation import raisable
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.estimators.comparing.crossed import paired_spread
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
DIRECTIONS = ("lower", "higher")


def two_way_interval(values: ArrayLike, *, level: float = LEVEL, comparisons: int = 1) -> Interval:
    """Interval for the mean over students and prompts, both of them samples.

    Parameters
    ----------
    values : (S, P) float
        One number per student and prompt; differences of two methods pair by pair for an interval of their difference.
    level : float
        Coverage; of all intervals together where there are several `comparisons`.
    comparisons : int
        Intervals that are read together (Bonferroni).

    Returns
    -------
    Interval
        Units of `values`. NaN limits where nothing varies or S·P = 1.

    Raises
    ------
    ShapeError
        Not two axes.
    OptionError
        Fewer than one comparison.

    Notes
    -----
    Student's t at Satterthwaite's degrees of freedom, as of the difference of paired methods (`paired_spread`, `compare`): with
    five students those are four where students differ much, and near P − 1 where they do not. Coverage at a level of 95 % with
    normal effects of any sizes, P = 24 or 48: 94 to 96 % at S = 5 and 10, 92.5 to 98 % at S = 3, 90 to 98 % at S = 2
    (tests/estimators/comparing/test_claims.py).

    Examples
    --------
    >>> found = two_way_interval([[1.0, 2.0, 3.0], [2.0, 3.0, 4.5]])
    >>> round(float(found.estimate), 3), round(float(found.low), 3), round(float(found.high), 3)
    (2.583, -0.569, 5.736)
    """
    table = raisable("values", known_or_nan("values", values))
    if table.ndim != 2:
        raise ShapeError(f"two_way_interval needs axes (S, P); got shape {table.shape}.")
    if comparisons < 1:
        raise OptionError(f"two_way_interval needs comparisons >= 1; got {comparisons}.")
    tail = (1.0 - confidence_level(level)) / (2.0 * comparisons)
    spread = paired_spread(table)
    half = float(special.stdtrit(spread.dof, 1.0 - tail)) * math.sqrt(spread.variance)
    mean = table.mean()
    note = "students and prompts random" if len(table) > 1 else "one student: prompts random"
    return Interval(mean, mean - half, mean + half, level, "two-way, Student's t", note)


@dataclass(frozen=True)
class Claim:
    """A claim and what became of it; made by `judge_claim`.

    Attributes
    ----------
    says : {"lower", "higher"}
        Of the first of two what is claimed beside the second.
    parts : dict of str to Interval
        First less second of each comparison; all cover their truths together at the level.

    Examples
    --------
    >>> Claim("lower", {"a": Interval(-1.0, -2.0, -0.5, 0.95, ""), "b": Interval(-1.0, -3.0, 1.0, 0.95, "")}).verdicts
    {'a': 'holds', 'b': 'not decided'}
    """

    says: str
    parts: Mapping[str, Interval]

    @property
    def verdicts(self) -> dict[str, str]:
        """ "holds", "does not hold" or "not decided" of each comparison."""
        return {name: _verdict(self.says, part) for name, part in self.parts.items()}

    @property
    def verdict(self) -> str:
        """Of the whole: it holds if every comparison does, and does not if any is decided against it."""
        found = set(self.verdicts.values())
        return HOLDS if found == {HOLDS} else FAILS if FAILS in found else OPEN

    def rows(self) -> list[dict[str, object]]:
        """One row for each comparison: its interval, the verdict on it and on the whole.

        Examples
        --------
        >>> Claim("lower", {"a": Interval(-1.0, -2.0, -0.5, 0.95, "")}).rows()[0]["claim_verdict"]
        'holds'
        """
        verdicts, whole = self.verdicts, self.verdict
        return [
            {
                "comparison": name, "estimate": own.estimate, "low": own.low, "high": own.high, "verdict": verdicts[name],
                "claim_verdict": whole,
            }
            for name, own in self.parts.items()
        ]  # fmt: skip


def _verdict(says: str, part: Interval) -> str:
    """An interval without width decides nothing: what never varied here says nothing of how it would elsewhere."""
    low, high = (part.low, part.high) if says == "lower" else (-part.high, -part.low)
    if not low < high:
        return OPEN
    return HOLDS if high < 0 else FAILS if low > 0 else OPEN


def judge_claim(differences: Mapping[str, ArrayLike], *, says: str, level: float = LEVEL) -> Claim:
    """Decide a claim by the intervals of its comparisons.

    Parameters
    ----------
    differences : mapping of str to (S, P) float
        Of each comparison the first less the second, student by student (where the second has none: the same number for all)
        and prompt by prompt.
    says : {"lower", "higher"}
        What is claimed of the first.
    level : float
        Chance that all intervals cover, so that a verdict over several comparisons is as sure as one over one.

    Returns
    -------
    Claim

    Raises
    ------
    OptionError
        Nothing to compare, or an unknown direction.

    Examples
    --------
    >>> import numpy as np
    >>> lower = np.array([[-1.0, -1.2, -0.9], [-1.1, -1.3, -0.9], [-1.0, -1.2, -0.8], [-1.1, -1.2, -0.9]])
    >>> judge_claim({"averaging": lower, "weighting": 0.9 * lower}, says="lower").verdict
    'holds'
    >>> judge_claim({"averaging": lower, "weighting": -lower}, says="lower").verdict
    'does not hold'
    """
    one_of("says", says, DIRECTIONS)
    if not differences:
        raise OptionError("judge_claim got no comparisons; give at least one table of differences.")
    count = len(differences)
    return Claim(says, {n: two_way_interval(d, level=level, comparisons=count) for n, d in differences.items()})
