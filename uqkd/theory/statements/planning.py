"""T12: the standard error of what a distillation experiment reports, and how a budget is best divided between its levels.

S students, each with its own sample of k teacher responses, its own start and order of batches, give R answers to each of P
prompts. The variance of one answer is a sum of components, one for each source and each combination of sources (T11). A
component is written as its sources joined by colons: "teacher", "initialisation", "order", "bootstrap", "student" (all of a
student that k does not touch, where its parts are not told apart), "prompt", and "decoding". What involves the teacher's
sample is given for one response. "decoding:teacher" alone may be negative: by how much students of one response are surer of
themselves than those of many (T4).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import OptionError, one_of

Array = NDArray[np.float64]

TEACHER, PROMPT, DECODING = "teacher", "prompt", "decoding"
OF_STUDENTS = (TEACHER, "initialisation", "order", "bootstrap", "student")  # drawn anew for every student
SOURCES = (*OF_STUDENTS, PROMPT, DECODING)


def sources_of(effect: str) -> tuple[str, ...]:
    """The sources of an effect, checked.

    Raises
    ------
    OptionError
        An unknown source, one named twice, or decoding joined to more than the teacher: its component is that of one answer.

    Examples
    --------
    >>> sources_of("prompt:teacher")
    ('prompt', 'teacher')
    """
    names = tuple(one_of("source of a component", name, SOURCES) for name in effect.split(":"))
    if len(set(names)) != len(names) or (DECODING in names and not set(names) <= {DECODING, TEACHER}):
        raise OptionError(f"component {effect!r} must join different sources, and decoding the teacher alone.")
    return names


def divisor(
    effect: str,
    *,
    k: ArrayLike,
    students: ArrayLike,
    draws: ArrayLike,
    prompts: ArrayLike,
    shared: Collection[str] = (),
) -> Array:
    """What a component is divided by in the variance of the mean over S students, P prompts and R answers each.

    Parameters
    ----------
    effect : str
        Sources joined by colons.
    k, students, draws, prompts : array_like
        k, S, R and P, of one shape or broadcast.
    shared : names of sources of students
        Of which all students have the same: they are not averaged over students.

    Returns
    -------
    float array

    Examples
    --------
    >>> float(divisor("prompt:teacher", k=8, students=5, draws=4, prompts=100))  # k · S · P
    4000.0
    >>> float(divisor("teacher", k=8, students=5, draws=4, prompts=100, shared=["teacher"]))  # k alone
    8.0
    """
    names = sources_of(effect)
    k, students, draws, prompts = (np.asarray(count, dtype=np.float64) for count in (k, students, draws, prompts))
    if DECODING in names:
        return np.asarray(students * prompts * draws * (k if TEACHER in names else 1.0))
    by = np.ones(np.broadcast_shapes(k.shape, students.shape, draws.shape, prompts.shape))
    if TEACHER in names:
        by = by * k
    if PROMPT in names:
        by = by * prompts
    if any(name in OF_STUDENTS and name not in shared for name in names):
        by = by * students
    return np.asarray(by)


def mean_variance(
    components: Mapping[str, float],
    *,
    k: ArrayLike,
    students: ArrayLike,
    draws: ArrayLike,
    prompts: ArrayLike,
    shared: Collection[str] = (),
    fixed_prompts: bool = False,
) -> Array:
    """Variance of the mean answer (or score) over S students, P prompts and R answers of each student to each prompt.

    Parameters
    ----------
    components : mapping of effect to float
        Squared units of an answer; what involves the teacher for one response.
    k, students, draws, prompts : array_like
        k, S, R and P.
    shared : names of sources of students
        The same for all students, such as one bank of responses that all are trained on.
    fixed_prompts : bool
        The prompts are all that there are: their own differences are no error of the mean over them. How students differ
        from prompt to prompt still is.

    Returns
    -------
    float array
        Σ component / `divisor`. Exact for additive effects, whatever their distribution. That a teacher's part falls as 1/k is
        exact for least-squares students (T1) and the first order for networks (T8).

    Examples
    --------
    >>> parts = {"prompt": 4.0, "student": 1.0, "prompt:student": 2.0, "decoding": 3.0}
    >>> float(mean_variance(parts, k=1, students=2, draws=3, prompts=4))  # 4/4 + 1/2 + 2/8 + 3/24
    1.875
    """
    total = np.zeros(())
    for effect, component in components.items():
        if fixed_prompts and sources_of(effect) == (PROMPT,):
            continue
        total = total + component / divisor(effect, k=k, students=students, draws=draws, prompts=prompts, shared=shared)
    return np.asarray(total)


def student_parts(components: Mapping[str, float], k: ArrayLike) -> tuple[Array, Array]:
    """Variance between students at k responses: common to all prompts, and of its own at each prompt.

    Examples
    --------
    >>> both = student_parts({"teacher": 4.0, "student": 1.0, "prompt:student": 2.0, "prompt": 9.0}, 2)
    >>> [float(part) for part in both]
    [3.0, 2.0]
    """
    common, own = np.zeros(()), np.zeros(())
    for effect, component in components.items():
        names = sources_of(effect)
        if DECODING not in names and any(name in OF_STUDENTS for name in names):
            at_k = component / (np.asarray(k, dtype=np.float64) if TEACHER in names else 1.0)
            common, own = (common, own + at_k) if PROMPT in names else (common + at_k, own)
    return np.asarray(common), np.asarray(own)


def inter_variance(
    components: Mapping[str, float],
    *,
    k: ArrayLike,
    students: ArrayLike,
    draws: ArrayLike,
    prompts: ArrayLike,
    spread: float = 0.0,
    fixed_prompts: bool = False,
) -> Array:
    """Variance of the unbiased inter-student variance (T10), averaged over prompts, as a reported quantity.

    Parameters
    ----------
    components, k, students, draws, prompts
        As for `mean_variance`; S >= 2, and R >= 2 where answers are drawn.
    spread : float
        Variance between prompts of their true inter-student variances; 0 where they are of one size.
    fixed_prompts : bool
        The prompts are all that there are.

    Returns
    -------
    float array
        With A common to all prompts, B of its own at each, c = B + V_R/R:
        2[(A + c/P)² + (P − 1)(c/P)²]/(S − 1) + 2V_R²/(R²(R − 1)SP) + spread·(1 + 2/(S − 1))/P, without the 1 where prompts are
        fixed. Exact for normal effects and one V_R. The effect
        that students have in common at all prompts is not averaged away by prompts: A²·2/(S − 1) stays. Of estimated
        components the eigenvalues A + c/P and c/P count as zero where they are negative.

    Examples
    --------
    >>> parts = {"student": 1.0, "decoding": 4.0}
    >>> sizes = np.array([1, 10**9])
    >>> inter_variance(parts, k=1, students=5, draws=4, prompts=sizes).round(4)
    array([2.1333, 0.5   ])
    """
    common, own = student_parts(components, k)
    S, R, P = (np.asarray(count, dtype=np.float64) for count in (students, draws, prompts))
    within = _decoding(components, k)
    cell = own + within / R
    between = np.maximum(common + cell / P, 0.0) ** 2 + (P - 1.0) * np.maximum(cell / P, 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        subtracted = np.where(within == 0.0, 0.0, 2.0 * within**2 / (R**2 * (R - 1.0) * S * P))
    between = between + spread / P
    return np.asarray(2.0 * between / (S - 1.0) + subtracted + (0.0 if fixed_prompts else spread / P))


def _decoding(components: Mapping[str, float], k: ArrayLike) -> Array:
    """Variance of one answer of a student of k responses."""
    divided = {name: value for name, value in components.items() if DECODING in sources_of(name)}
    return mean_variance(divided, k=k, students=1, draws=1, prompts=1)


def square_root_rule(first_var: float, second_var: float, first_cost: float, second_cost: float) -> float:
    """Best number of units of a second level for each of a first: √(second_var·first_cost/(first_var·second_cost)).

    Of a variance first_var/m + second_var/(m·n) at the cost m·first_cost + m·n·second_cost (nested levels: responses of a
    student, answers to a prompt) it is n; of first_var/m + second_var/n at m·first_cost + n·second_cost (crossed levels:
    prompts and students) it is n/m.

    Parameters
    ----------
    first_var, second_var : float
        What each level's count divides, all other counts as they are; positive.
    first_cost, second_cost : float
        Of one more unit of each level, all other counts as they are; positive.

    Returns
    -------
    float
        Not rounded; below 1 in a nested pair one unit is best.

    Notes
    -----
    Cochran (1977), Sampling Techniques, §10.6; Searle, Casella & McCulloch (1992). The budget does not matter.

    Examples
    --------
    >>> square_root_rule(1.0, 4.0, 9.0, 1.0)
    6.0
    """
    values = {"first_var": first_var, "second_var": second_var, "first_cost": first_cost, "second_cost": second_cost}
    for name, value in values.items():
        if not value > 0:
            raise OptionError(f"the square-root rule needs positive variances and costs; got {name}={value:g}.")
    return float(np.sqrt(second_var * first_cost / (first_var * second_cost)))
