"""What a comparison found, and the sentence that says it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from uqkd.estimators.comparing.boundary import Bound
from uqkd.estimators.comparing.crossed import Spread
from uqkd.estimators.comparing.deciding import POWER, more_needed
from uqkd.estimators.comparing.sentences import sentence_of
from uqkd.estimators.intervals.level import percent


@dataclass(frozen=True)
class Comparison:
    """Difference of a measure between two methods; made by `compare`.

    Attributes
    ----------
    measure : str
        In words.
    first, second : float
        Of either method.
    low, high : float
        Interval of the difference at `level`; of several comparisons, all of them cover together. NaN where the difference never
        varied and values have no limit.
    p_value : float
        Two-sided, of no difference; not corrected for the number of comparisons.
    level, own_level : float
        Asked for, and of this interval alone: the same where there is one comparison.
    names : two str
        Of the methods.
    spread : Spread
        Variance of the difference, its degrees of freedom and components.
    bound : Bound or None
        Where the difference never varied.
    paired : bool
    prompts : {"random", "fixed"}
    count : int
        Prompts.
    groups : bool
        Groups of prompts are the sample.
    adjusted : float or None
        The p-value corrected for the number of comparisons (`compare_methods`).
    remark : str
        Of the measure, where its interval covers less than it says.

    Examples
    --------
    >>> from uqkd.estimators import compare
    >>> found = compare([[1, 1, 0, 1]], [[0, 1, 1, 1]])  # one student each: prompts are the sample
    >>> found.difference, round(found.p_value, 3), found.decided
    (0.0, 1.0, False)
    """

    measure: str
    first: float
    second: float
    low: float
    high: float
    p_value: float
    level: float
    own_level: float
    names: tuple[str, str]
    spread: Spread
    bound: Bound | None
    paired: bool
    prompts: str
    count: int
    groups: bool
    adjusted: float | None = None
    remark: str = ""

    @property
    def difference(self) -> float:
        """First less second."""
        return self.first - self.second

    @property
    def standard_error(self) -> float:
        """Of the difference; NaN where it never varied."""
        return math.nan if self.bound is not None else math.sqrt(self.spread.variance)

    @property
    def dof(self) -> float:
        """Degrees of freedom of the standard error; NaN where the difference never varied."""
        return math.nan if self.bound is not None else self.spread.dof

    @property
    def students(self) -> tuple[int, ...]:
        """How many: of paired students one number, otherwise those of either method."""
        return tuple(side.students for side in self.spread.sides)

    @property
    def decided(self) -> bool:
        """Whether a difference was found: the p-value, corrected if there are several, is below 1 − level."""
        p_value = self.p_value if self.adjusted is None else self.adjusted
        return bool(p_value < 1.0 - self.level)

    @property
    def note(self) -> str:
        """What is a sample, how the interval was found, and where it covers less than it says."""
        what = "pairs of students" if self.paired else "independent students"
        several = any(count > 1 for count in self.students)
        over = [what] if several else ["one student each"]
        unit = "groups of prompts" if self.groups else "prompts"
        over.append(f"{unit} {self.prompts}" if self.spread.prompts > 1 else "one prompt")
        if self.bound is not None:
            return f"{', '.join(over)}; no variation: exact bound from {self.bound.units} independent trials"
        found = f"{', '.join(over)}; Student's t, {self.dof:.3g} degrees of freedom"
        return f"{found}; {self.remark}" if self.remark else found

    @property
    def more_students(self) -> float:
        """Students to add so that the difference, if it is the true one, is decided with a power of .8; see `more`."""
        return self.more("students")

    @property
    def more_prompts(self) -> float:
        """Prompts to add for the same; see `more`."""
        return self.more("prompts")

    def more(self, axis: str, *, difference: float | None = None, power: float = POWER) -> float:
        """Students, or prompts, to add so that a true difference lies outside its own interval with the chance `power`.

        Parameters
        ----------
        axis : {"students", "prompts"}
            What is added to, students on each side; the other stays.
        difference : float, optional
            The true one; default: the one that was seen, which is larger than the true one more often than not where it was chosen
            for being large. Better the smallest that matters.
        power : float

        Returns
        -------
        float
            A whole number; infinite where no number would do, because the other axis is the bottleneck; NaN where the axis is
            not a sample, or where nothing varied.

        Notes
        -----
        Components of variance are taken as they were estimated, which from few students is rough.

        Examples
        --------
        >>> from uqkd.estimators import compare
        >>> found = compare([[1.0], [2.0], [4.0], [3.0]], [[0.5], [2.5], [2.0], [3.0]])
        >>> found.more("students"), found.more("students", difference=1.0), found.more("prompts")
        (35.0, 8.0, nan)
        """
        if self.bound is not None:
            return math.nan
        wanted = self.difference if difference is None else difference
        found = more_needed(wanted, self.spread, axis, level=self.own_level, power=power)
        if axis == "prompts" and math.isfinite(found):  # of groups, or blocks, of prompts
            found = math.ceil(found * self.count / self.spread.prompts)
        return float(found)

    def sentence(self) -> str:
        """What was found, for people.

        Examples
        --------
        >>> from uqkd.estimators import compare
        >>> print(compare([[1, 1, 1, 1]] * 3, [[1, 1, 1, 1]] * 3, measure="score", names=("A", "B")).sentence())
        A and B had the same score everywhere (3 pairs of students, 4 prompts): at 95 %, at most 63.2 % of new students and ...
        """
        return sentence_of(self)

    @property
    def percent(self) -> str:
        """The level as text says it."""
        return percent(self.level)
