"""Which classes a method makes better or worse: accuracy per class against a baseline, over students."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from uqkd.checking.arrays import Array, shaped
from uqkd.checking.probabilities import checked_probabilities
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.estimators.comparing.multiple import CORRECTIONS, adjusted_p_values


@dataclass(frozen=True)
class ClassChanges:
    """Accuracy per class of two methods and whether it differs; made by `class_accuracy_changes`.

    Attributes
    ----------
    accuracy, baseline : (C,) array
        Mean accuracy over the students of the method, and of the baseline.
    difference, standard_error : (C,) array
        accuracy − baseline, and its standard error over students.
    p_value, adjusted : (C,) array
        Two-sided, of no difference; as it is, and corrected for the number of classes. NaN in `without_spread`.
    changed : (C,) bool array
        adjusted <= level.
    count : (C,) int array
        Test points of the class; where there are none every number is NaN.
    without_spread : tuple of int
        Classes that differ while no student differs from those of its own method: no test can be made of them.
    """

    accuracy: Array
    baseline: Array
    difference: Array
    standard_error: Array
    p_value: Array
    adjusted: Array
    changed: Any
    count: Any
    without_spread: tuple[int, ...]

    @property
    def improved(self) -> tuple[int, ...]:
        """Classes that changed for the better."""
        return tuple(np.flatnonzero(self.changed & (self.difference > 0)).tolist())

    @property
    def worsened(self) -> tuple[int, ...]:
        """Classes that changed for the worse."""
        return tuple(np.flatnonzero(self.changed & (self.difference < 0)).tolist())


def class_accuracy_changes(
    probs: Any, baseline: Any, labels: Any, *, level: float = 0.05, correction: str = "holm", paired: bool = False
) -> ClassChanges:
    """Test for each class whether students of one method are right as often as those of another.

    Parameters
    ----------
    probs : (S, P, C) array_like
        Class probabilities of the method's students; S >= 2.
    baseline : (T, P, C) array_like
        Those of the other method's students on the same points; T >= 2.
    labels : (P,) integers
        True classes.
    level : float
        Holm: chance of naming any class where none differs. Benjamini–Hochberg: share of false ones among those named.
    correction : {"holm", "benjamini_hochberg"}
        For the number of classes with test points. Holm holds however classes depend on one another.
    paired : bool
        Student s of both methods belong together (one seed, one start), S = T: a t test of their differences. Otherwise
        students are independent, and the test is Welch's.

    Returns
    -------
    ClassChanges

    Raises
    ------
    ShapeError, NotFiniteError, DataError
        As in `expected_calibration_error`; fewer than two students, points or classes that differ, pairs that do not match.
    OptionError
        A level outside (0, 1), an unknown correction.

    Notes
    -----
    Students are the sample and test points are fixed: what is judged is the accuracy on these points, not on the class at
    large. Where no student differs from those of its own method, p is 1 if the methods agree. If they do not, t is infinite,
    which says more of the few students than of the class: p is NaN, the class is named in `without_spread`, and it counts as
    p = 1 in the correction, so that leaving it out makes no other class significant.
    Accuracies on few points are coarse, and t only approximate.

    Examples
    --------
    >>> right, wrong = [[0.9, 0.1]], [[0.1, 0.9]]  # one point of class 0 and two of class 1
    >>> method = [right + wrong + wrong, right + wrong + wrong]
    >>> other = [right + wrong + right, right + right + wrong]
    >>> changes = class_accuracy_changes(method, other, [0, 1, 1])
    >>> changes.difference, changes.p_value, changes.without_spread
    (array([0. , 0.5]), array([ 1., nan]), (1,))
    """
    one_of("correction", correction, CORRECTIONS)
    if isinstance(level, bool) or not isinstance(level, (int, float, np.floating)) or not 0.0 < level < 1.0:
        raise OptionError(f"level must lie strictly between 0 and 1, such as 0.05; got {level!r}.")
    (one, count), (other, _) = _right("probs", probs, labels), _right("baseline", baseline, labels)
    if one.shape[1] != other.shape[1]:
        raise ShapeError(f"probs has C={one.shape[1]} classes and baseline C={other.shape[1]}; they must be equal.")
    if paired and len(one) != len(other):
        raise ShapeError(f"paired students need S = T; got S={len(one)} and T={len(other)}. Say paired=False.")
    points = np.where(count > 0, count, np.nan)  # 0/0 is NaN: no test points, no accuracy
    gap = one.mean(axis=0) - other.mean(axis=0)
    squared, dof = _paired(one - other) if paired else _welch(one, other)
    p_value = _p_values(gap, squared, dof)
    silent = (squared == 0.0) & (gap != 0.0)
    tested = count > 0
    adjusted = np.full(gap.shape, np.nan)
    adjusted[tested] = adjusted_p_values(np.where(silent, 1.0, p_value)[tested], correction)
    adjusted[silent] = np.nan
    return ClassChanges(
        accuracy=one.mean(axis=0) / points,
        baseline=other.mean(axis=0) / points,
        difference=gap / points,
        standard_error=np.sqrt(squared) / points,
        p_value=np.where(tested, p_value, np.nan),
        adjusted=adjusted,
        changed=adjusted <= level,
        count=count,
        without_spread=tuple(np.flatnonzero(silent).tolist()),
    )


def _right(name: str, probs: Any, labels: Any) -> tuple[Array, Any]:
    """Points of each class that each student gets right, (S, C), whole numbers so that equal ones have no spread; and all."""
    shaped(name, probs, "S P C", need={"S": 2, "C": 2})
    array, truth = checked_probabilities(probs, labels)
    of_class = np.eye(array.shape[-1])[truth]
    return (array.argmax(axis=-1) == truth) @ of_class, of_class.sum(axis=0).astype(int)


def _welch(one: Array, other: Array) -> tuple[Array, Array]:
    """Squared standard error of the difference of means, and degrees of freedom (Welch–Satterthwaite)."""
    parts = [table.var(axis=0, ddof=1) / len(table) for table in (one, other)]
    squared = parts[0] + parts[1]
    lost = parts[0] ** 2 / (len(one) - 1) + parts[1] ** 2 / (len(other) - 1)
    return squared, np.divide(squared**2, lost, out=np.ones_like(lost), where=lost > 0.0)


def _paired(differences: Array) -> tuple[Array, Array]:
    students, classes = differences.shape
    return differences.var(axis=0, ddof=1) / students, np.full(classes, students - 1.0)


def _p_values(gap: Array, squared: Array, dof: Array) -> Array:
    """Two-sided p of t = gap / √squared; without spread, 1 if there is no gap and NaN if there is."""
    t = np.divide(gap, np.sqrt(squared), out=np.where(gap == 0.0, 0.0, np.nan), where=squared > 0.0)
    return np.asarray(2.0 * stats.t.sf(np.abs(t), dof))
