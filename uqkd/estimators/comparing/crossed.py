"""Standard errors of means over students and prompts that are both samples, with their degrees of freedom and components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from uqkd.checking.arrays import Array
from uqkd.estimators.variance.two_way import mean_squares

# Least share of the mean square of single cells that a variance is taken for: of any table, of a small one, and of few students (or
# prompts) on many of the other. Below it a student or a prompt effect that the sample happens to hide would be left out; above it
# differences without either effect are found too seldom. Three or four of one kind hide their effects most often, and the more
# of the other kind there are, the more these effects weigh. By simulation: uqkd/theory/coverage/comparing.py.
FLOOR, FLOOR_OF_SMALL, FLOOR_OF_FEW = 0.7, 0.6, 1.0
FEW_LEVELS, MANY_LEVELS = 5, 10
_CAUTION = 2.0  # see `_degrees`


@dataclass(frozen=True)
class Term:
    """One mean square's part of a squared standard error, and its degrees of freedom.

    Examples
    --------
    >>> Term(0.5, 4.0).value
    0.5
    """

    value: float
    dof: float


@dataclass(frozen=True)
class Side:
    """One sample of students: how many, and what differs between them.

    Attributes
    ----------
    students : int
    student_var : float
        Variance of a student's mean over all prompts; not below zero. NaN where there is one student.
    cell_var : float
        Variance of what one student has at one prompt alone.
    """

    students: int
    student_var: float
    cell_var: float


@dataclass(frozen=True)
class Spread:
    """Squared standard error of a mean, or of a difference of means, over students and prompts.

    Attributes
    ----------
    variance, dof : float
        NaN where a single value leaves nothing to estimate from.
    sides : tuple of Side
        One of paired students, two of students that are independent.
    prompt_var : float
        Variance over prompts of what all students share; 0 where prompts are fixed, NaN where there is one prompt.
    prompts : int
        Prompts, or groups of them.
    fixed : bool
        Prompts are the ones of interest, not a sample.
    """

    variance: float
    dof: float
    sides: tuple[Side, ...]
    prompt_var: float
    prompts: int
    fixed: bool = False

    def at(self, more_students: float, more_prompts: float) -> tuple[float, float]:
        """Variance and degrees of freedom that are to be expected with more students on each side and more prompts.

        Examples
        --------
        >>> Spread(0.5, 1.0, (Side(2, 1.0, 0.0),), 0.0, 4).at(2, 0)
        (0.25, 3.0)
        """
        prompts = self.prompts + more_prompts
        rows, cells = [], []
        of_cells = 0.0
        for side in self.sides:
            students = side.students + more_students
            own = side.cell_var / (students * prompts)
            of_cells += own
            if side.students > 1:
                rows.append(Term(side.student_var / students + (0.0 if self.fixed else own), students - 1))
                cells.append(Term(own, (students - 1) * (prompts - 1)))
        if self.fixed:
            return _without_cells(rows)
        if self.prompts == 1:
            return _without_cells(rows)
        columns = Term(self.prompt_var / prompts + of_cells, prompts - 1)
        terms = [*rows, columns]
        variance = sum(term.value for term in terms) - sum(term.value for term in cells)
        return variance, _degrees(terms, cells)


def paired_spread(table: Array, *, fixed: bool = False) -> Spread:
    """Of the mean of a table, students × prompts.

    Parameters
    ----------
    table : (S, P) float
        Differences of two methods, student by student and prompt by prompt.
    fixed : bool
        Prompts are the ones of interest.

    Notes
    -----
    (MS_students + MS_prompts − MS_cells)/(SP), as `two_way_standard_error`, with another floor and Satterthwaite's degrees of
    freedom. One student, or one prompt: the one-way t test, exactly.

    Examples
    --------
    >>> found = paired_spread(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> found.variance, found.sides[0].student_var
    (1.25, 2.0)
    """
    return _spread([table], table.mean(axis=0), fixed)


def unpaired_spread(first: Array, second: Array, *, fixed: bool = False, same_prompts: bool = True) -> Spread:
    """Of the difference of two means over independent students, on the same prompts or on others.

    Parameters
    ----------
    first : (S, P) float
    second : (T, P) float
        (T, Q) where prompts are others; these count as independent too.
    fixed : bool
        Prompts are the ones of interest.
    same_prompts : bool

    Notes
    -----
    Welch's t test where there is one prompt. On the same prompts, the students' mean differences prompt by prompt hold what is
    random about the prompts and, of the students, what is their own at each prompt; it is counted once.

    Examples
    --------
    >>> found = unpaired_spread(np.array([[1.0], [3.0]]), np.array([[2.0], [6.0]]))  # 2/2 + 8/2 over two students each
    >>> found.variance
    5.0
    """
    if same_prompts or fixed:
        across = first.mean(axis=0) - second.mean(axis=0) if same_prompts else np.zeros(1)
        return _spread([first, second], across, fixed)
    one, other = (paired_spread(table) for table in (first, second))
    terms = [Term(one.variance, one.dof), Term(other.variance, other.dof)]
    variance, dof = _without_cells(terms)
    prompts = min(first.shape[1], second.shape[1])
    return Spread(variance, dof, (*one.sides, *other.sides), one.prompt_var + other.prompt_var, prompts)


def _spread(tables: Sequence[Array], across: Array, fixed: bool) -> Spread:
    """From students by side, and from what differs between prompts over all sides."""
    prompts = tables[0].shape[1]
    rows, cells, sides = [], [], []
    shared = float(across.var(ddof=1)) / prompts if prompts > 1 else np.nan
    for table in tables:
        students = len(table)
        of_rows, _, of_cells = mean_squares(table)
        size = students * table.shape[1]
        own = of_cells if np.isfinite(of_cells) else 0.0
        if students > 1:
            rows.append(Term(of_rows / size, students - 1))
            if prompts > 1:
                cells.append(Term(own / size, (students - 1) * (prompts - 1)))
        left = max(of_rows - own, 0.0) / table.shape[1] if students > 1 else np.nan
        sides.append(Side(students, left if not fixed else left + own / table.shape[1], 0.0 if fixed else own))
    prompt_var = max(prompts * shared - sum(side.cell_var / side.students for side in sides), 0.0)
    if fixed or prompts == 1:
        variance, dof = _without_cells(rows)
        return Spread(variance, dof, tuple(sides), 0.0 if fixed else np.nan, prompts, fixed)
    terms = [*rows, Term(shared, prompts - 1)]
    variance, dof = _combined(terms, cells)
    return Spread(variance, dof, tuple(sides), prompt_var, prompts)


def _without_cells(terms: Sequence[Term]) -> tuple[float, float]:
    """Sum of independent mean squares: Welch."""
    variance = sum(term.value for term in terms) if terms else np.nan
    return float(variance), _degrees(terms, []) if terms else np.nan


def _combined(terms: Sequence[Term], cells: Sequence[Term]) -> tuple[float, float]:
    """Σ terms − Σ cells, not below its floor, and its degrees of freedom."""
    of_cells = sum(term.value for term in cells)
    whole = sum(term.value for term in terms) - of_cells
    least, most = (pick(term.dof for term in terms) + 1 for pick in (min, max))
    floor = FLOOR_OF_SMALL if most < MANY_LEVELS else FLOOR_OF_FEW if least < FEW_LEVELS else FLOOR
    if not cells or whole > of_cells:
        return float(whole), _degrees(terms, cells)
    dof = of_cells**2 / sum(term.value**2 / term.dof for term in cells) if of_cells > 0 else np.nan
    return float(max(whole, floor * of_cells)), float(dof)


def _degrees(terms: Sequence[Term], cells: Sequence[Term]) -> float:
    """Satterthwaite's degrees of freedom, each mean square taken (1 + 2/dof) times as large as it was seen.

    A mean square of few students that is small by chance makes the variance small and the degrees of freedom large at once; taken
    larger, it keeps the weight that it has on average. Where one mean square is all, this changes nothing.
    """
    plus, minus = ([(t.value * (1.0 + _CAUTION / t.dof), t.dof) for t in part] for part in (terms, cells))
    whole = sum(value for value, _ in plus) - sum(value for value, _ in minus)
    lost = sum(value**2 / dof for value, dof in (*plus, *minus))
    return float(max(whole, 0.0) ** 2 / lost) if lost > 0 else np.nan
