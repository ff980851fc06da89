"""Means over prompts of a decomposition of entropy: standard errors, and intervals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from uqkd.checking.arrays import Array
from uqkd.errors import ShapeError, one_of
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import Interval
from uqkd.estimators.intervals.prompt_means.tables import table_interval
from uqkd.estimators.variance.names import EpistemicAleatoric
from uqkd.estimators.variance.two_way import ratio_values, two_way_standard_error

COMPONENTS = ("mutual_information", "expected", "total", "share")


@dataclass(frozen=True)
class EntropyMean(EpistemicAleatoric):
    """Means over prompts of students' entropies, nats, each with its two-way standard error (students × prompts).

    Attributes
    ----------
    mutual_information, expected, total : float
        As estimated prompt by prompt.
    mutual_information_se, expected_se, total_se : float
        Not for intervals where students are few: see `interval`. NaN of two students, where it takes three.
    per_student, per_student_information : (S, P) float
        Each student's entropy, and pseudo-values of the information.
    """

    mutual_information: float
    expected: float
    total: float
    mutual_information_se: float
    expected_se: float
    total_se: float
    per_student: Array = field(repr=False, compare=False)
    per_student_information: Array = field(repr=False, compare=False)

    @property
    def inter(self) -> float:
        """`mutual_information`."""
        return self.mutual_information

    @property
    def intra(self) -> float:
        """`expected`."""
        return self.expected

    def interval(
        self,
        component: str = "mutual_information",
        *,
        level: float = LEVEL,
        prompts: str = "random",
        groups: ArrayLike | None = None,
    ) -> Interval:
        """Interval for the mean over prompts of an entropy, for new students and, unless they are fixed, new prompts.

        Parameters
        ----------
        component : {"mutual_information", "expected", "total", "share"}
            Between students, within a student, their sum, and the information as a share of it.
        level : float
            Nominal coverage.
        prompts : {"random", "fixed"}
        groups : (P,) array_like, optional
            Topic of each prompt: prompts of a topic count as one draw. Of random prompts only.

        Returns
        -------
        Interval
            Of what the estimate is on average: the bias of entropies from few answers is not in it.

        Raises
        ------
        OptionError
            An unknown component or kind of prompts, or groups of fixed prompts.
        ShapeError
            Two students, of whom information has no interval; random prompts, but a single prompt or group.

        Examples
        --------
        >>> from uqkd.estimators import decompose_entropy
        >>> found = decompose_entropy([[[0, 0], [1, 2]], [[1, 1], [1, 1]], [[0, 1], [1, 2]]]).mean.interval()
        >>> bool(found.low < found.estimate < found.high)
        True
        """
        one_of("component", component, COMPONENTS)
        if component != "expected" and np.isnan(self.per_student_information).any():
            raise ShapeError(f"an interval of {component!r} takes three students; got {len(self.per_student)}.")
        both = self.per_student + self.per_student_information
        tables = {"mutual_information": self.per_student_information, "expected": self.per_student, "total": both}
        if component == "share":
            found = ratio_values(self.per_student_information, both)
            centre = self.mutual_information / self.total
        else:
            found, centre = tables[component], float(getattr(self, component))
        return table_interval(
            found + (centre - found.mean()), level=level, prompts=prompts, groups=groups, positive=True
        )


def entropy_mean(per_student: Array, information: Array, *, parts: tuple[Array, Array, Array]) -> EntropyMean:
    """From tables (S, P) and the (P,) information, expected entropy and total.

    Examples
    --------
    >>> one = np.ones(2)
    >>> entropy_mean(np.ones((3, 2)), np.ones((3, 2)), parts=(one, one, 2 * one)).total
    2.0
    """
    return EntropyMean(
        mutual_information=float(parts[0].mean()),
        expected=float(parts[1].mean()),
        total=float(parts[2].mean()),
        mutual_information_se=two_way_standard_error(information),
        expected_se=two_way_standard_error(per_student),
        total_se=two_way_standard_error(per_student + information),
        per_student=per_student,
        per_student_information=information,
    )
