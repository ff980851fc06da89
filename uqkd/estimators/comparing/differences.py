"""Two methods compared: the difference of any measure over students and prompts, its interval and p-value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from uqkd.checking.arrays import Array, confidence_level, numpy_of
from uqkd.checking.variation import raisable
from uqkd.errors import OptionError, ShapeError, one_of
from uqkd.estimators.comparing.boundary import Bound, is_constant, unvaried
from uqkd.estimators.comparing.compared import Comparison
from uqkd.estimators.comparing.crossed import Spread, paired_spread, unpaired_spread
from uqkd.estimators.comparing.jackknifed import measure_values
from uqkd.estimators.comparing.measures import measure_file
from uqkd.estimators.intervals.level import LEVEL

PROMPTS = ("random", "fixed")


def compare(
    first: Any,
    second: Any,
    *,
    measure: str | Callable[..., Any] = "score",
    labels: Any = None,
    teacher: Any = None,
    paired: bool = True,
    same_prompts: bool = True,
    prompts: str = "random",
    groups: ArrayLike | None = None,
    level: float = LEVEL,
    comparisons: int = 1,
    names: tuple[str, str] = ("the first", "the second"),
) -> Comparison:
    """Difference of a measure between two methods, over students and prompts that are both samples.

    Parameters
    ----------
    first, second : (S, P), (S, P, R[, D]) or (S, P, C) array_like
        Scores, draws (whole numbers are class labels) or class probabilities of either method's students.
    measure : str or callable
        A name of `measure_names`, such as "accuracy" or "inter"; "score" are the numbers as they are. Or a statistic of the
        data, and of `labels` and `teacher` where they are given: it returns (S, P), (S,) or one number.
    labels, teacher : array_like, optional
        What the measure needs, one for each prompt. Where prompts are others, a pair: of the first and of the second.
    paired : bool
        Student s of both methods belong together: same seed, start, or draws of the teacher. A method of one given model (S = 1) is
        compared with each student of the other. Otherwise students are independent, and S may differ.
    same_prompts : bool
        False for students that are independent on prompts that are, too.
    prompts : {"random", "fixed"}
        A sample of those to which the difference is to apply, or all of them.
    groups : (P,) array_like, optional
        Topic of each prompt: then topics are the sample.
    level : float
        Of the interval; of all intervals together where there are several `comparisons` (Bonferroni).
    comparisons : int
    names : two str
        Of the methods, for sentences.

    Returns
    -------
    Comparison
        `.difference` (first less second), `.low`, `.high`, `.p_value`, `.more_students`, `.more_prompts`, `.sentence()`.

    Raises
    ------
    ShapeError
        Students or prompts that do not match; nothing that is a sample.
    OptionError
        Unknown names, or labels and teachers that the measure does not take or lacks.

    Notes
    -----
    T10, T11; differences d = a − b are split into students, prompts and cells, and their mean has Student's t at Satterthwaite's
    degrees of freedom (`paired_spread`); unpaired, Welch's (`unpaired_spread`). Measures that are no means enter by values whose
    mean they are (`measure_values`). What is rejected where nothing differs: docs/coverage/comparing.csv. Where a difference
    never varied there is no standard error but a bound (`unvaried`).

    Examples
    --------
    >>> method = np.array([[3.0, 5.0, 4.0], [3.5, 5.0, 4.5], [3.1, 5.4, 4.0]])
    >>> found = compare(method, method - [[1.0], [1.2], [1.1]])
    >>> round(found.difference, 3), round(found.low, 3), round(found.high, 3), round(found.p_value, 4)
    (1.1, 0.852, 1.348, 0.0027)
    >>> found.sentence().split(" [")[0]
    'The score of the first is 1.1 higher than that of the second'
    """
    one_of("prompts", prompts, PROMPTS)
    if comparisons < 1:
        raise OptionError(f"compare needs comparisons >= 1; got {comparisons}.")
    if not same_prompts and (paired or prompts == "fixed"):
        raise OptionError(
            "same_prompts=False is of independent students on random prompts; say paired=False, prompts='random'."
        )
    if not same_prompts and groups is not None:
        raise OptionError("groups= are of the same prompts; leave it out, or give same_prompts=True.")
    beside = _beside(labels, teacher, same_prompts)
    tables = [measure_values(measure, data, **own) for data, own in zip((first, second), beside, strict=True)]
    _check(tables, paired=paired, same_prompts=same_prompts)
    tables = [raisable(which, table) for which, table in zip(("first", "second"), tables, strict=True)]
    count = min(np.shape(numpy_of(data))[1] for data in (first, second))
    if groups is not None:
        tables = [grouped(table, groups) for table in tables]
    fixed = prompts == "fixed"
    limit = math.inf if callable(measure) or groups is not None else measure_file(measure).LIMIT
    spread = _spread(tables, paired=paired, fixed=fixed, same_prompts=same_prompts)
    own_level = 1.0 - (1.0 - confidence_level(level)) / comparisons
    what = str(getattr(measure, "__name__", "measure")) if callable(measure) else measure_file(measure).WHAT
    remark = "" if callable(measure) else getattr(measure_file(measure), "REMARK", "")
    means = float(tables[0].mean()), float(tables[1].mean())
    bound = _bound(tables, paired=paired, fixed=fixed, same_prompts=same_prompts, limit=limit, level=own_level)
    about: dict[str, Any] = {
        "measure": what, "first": means[0], "second": means[1], "level": level, "own_level": own_level, "names": names,
        "spread": spread, "paired": paired, "prompts": prompts, "count": count, "groups": groups is not None,
        "remark": remark,
    }  # fmt: skip
    if bound is not None:
        return Comparison(low=bound.low, high=bound.high, p_value=bound.p_value, bound=bound, **about)
    return _by_t(means[0] - means[1], spread, own_level, about)


def _by_t(difference: float, spread: Spread, level: float, about: dict[str, Any]) -> Comparison:
    """Student's t at the degrees of freedom of the spread."""
    error = math.sqrt(spread.variance)
    half = float(special.stdtrit(spread.dof, 0.5 + level / 2.0)) * error
    p_value = 2.0 * float(special.stdtr(spread.dof, -abs(difference) / error))
    return Comparison(low=difference - half, high=difference + half, p_value=p_value, bound=None, **about)


def _beside(labels: Any, teacher: Any, same_prompts: bool) -> list[dict[str, Any]]:
    """Labels and teacher of either side."""
    if same_prompts:
        return [{"labels": labels, "teacher": teacher}] * 2
    for name, given in (("labels", labels), ("teacher", teacher)):
        if given is not None and len(given) != 2:
            raise ShapeError(
                f"{name} of other prompts are a pair, of the first and of the second; got {len(given)} of them."
            )
    return [
        {"labels": None if labels is None else labels[i], "teacher": None if teacher is None else teacher[i]}
        for i in (0, 1)
    ]


def _check(tables: list[Array], *, paired: bool, same_prompts: bool) -> None:
    (students, prompts), (others, theirs) = (table.shape for table in tables)
    if same_prompts and prompts != theirs:
        raise ShapeError(
            f"compare needs the same prompts; got P={prompts} and P={theirs}. Other ones: same_prompts=False."
        )
    if paired and students != others and 1 not in (students, others):
        raise ShapeError(
            f"paired students need equal numbers; got S={students} and S={others}. Independent: paired=False."
        )


def _spread(tables: list[Array], *, paired: bool, fixed: bool, same_prompts: bool) -> Spread:
    if paired:
        found = paired_spread(tables[0] - tables[1], fixed=fixed)
    else:
        found = unpaired_spread(tables[0], tables[1], fixed=fixed, same_prompts=same_prompts)
    if math.isnan(found.variance):
        shapes = " and ".join(f"(S={len(table)}, P={table.shape[1]})" for table in tables)
        kind = "prompts fixed" if fixed else "prompts random"
        raise ShapeError(
            f"compare has nothing that is a sample: {shapes}, {kind}. It takes two students or two prompts."
        )
    return found


def _bound(
    tables: list[Array], *, paired: bool, fixed: bool, same_prompts: bool, limit: float, level: float
) -> Bound | None:
    """The bound where the difference never varied; None where it did."""
    if fixed:
        tables = [table.mean(axis=1, keepdims=True) for table in tables]
    if paired:
        varied = [tables[0] - tables[1]]
    elif same_prompts:
        varied = [table - tables[1][:1] for table in tables]
    else:
        varied = tables
    scale = max(float(np.abs(table).max()) for table in tables)
    if not all(is_constant(table, scale) for table in varied):
        return None
    sizes = [size for table in tables for size in (len(table), table.shape[1]) if size > 1]
    return unvaried(float(tables[0].mean() - tables[1].mean()), min(sizes), limit=limit, level=level)


def grouped(table: Array, groups: ArrayLike) -> Array:
    """Numbers per student and group of prompts, of the same mean; groups count by their prompts.

    Examples
    --------
    >>> grouped(np.array([[1.0, 3.0, 5.0]]), ["a", "a", "b"])
    array([[1.66666667, 4.33333333]])
    """
    names = np.asarray(groups)
    if names.shape != table.shape[1:]:
        raise ShapeError(f"groups needs (P={table.shape[1]},) names, one for each prompt; got {names.shape}.")
    _, which = np.unique(names, return_inverse=True)
    number = int(which.max()) + 1
    if number < 2:
        raise ShapeError("groups needs two groups of prompts or more; got one.")
    mean = table.mean()
    sums = np.stack([np.bincount(which, row - mean, minlength=number) for row in table])
    return np.asarray(mean + sums * number / table.shape[1])
