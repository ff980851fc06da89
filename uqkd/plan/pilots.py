"""From what a pilot left to components of variance: draws, tables of scores, crossed designs, pilots at several k."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.checking.arrays import finite, shaped
from uqkd.errors import DataError, OptionError, ShapeError, VarianceError
from uqkd.estimators.variance.components import variance_components
from uqkd.estimators.variance.two_way import mean_squares
from uqkd.plan.components import PilotComponents, fitted
from uqkd.theory.statements.planning import sources_of

Array = NDArray[np.float64]


def components_of_draws(draws: Any, *, k: int | None = None) -> PilotComponents:
    """Components from the answers (or scores) of a pilot's students.

    Parameters
    ----------
    draws : (S, P, R) float
        Response r of student s to prompt p, as a number: the answer itself, or its score (0 or 1). S >= 2, P >= 2. With R = 1
        decoding is part of "prompt:student", and plans keep R = 1.
    k : int, optional
        Teacher responses to each training prompt. What falls with k is not told apart in one pilot: plans keep this k.

    Raises
    ------
    ShapeError
        One student, whose difference from others is not seen; one prompt; other axes.

    Notes
    -----
    T11, two-way with replicates: E[MS_student] = P·A + B + V_R/R, E[MS_prompt] = S·V_P + B + V_R/R, E[MS_both] = B + V_R/R of
    means over draws, and V_R within.

    Examples
    --------
    >>> pilot = components_of_draws([[[1.0, 3.0], [2.0, 2.0]], [[5.0, 7.0], [5.0, 9.0]]], k=8)
    >>> dict(zip(pilot.effects, pilot.estimate.round(3).tolist()))
    {'prompt': 0.0, 'student': 10.0, 'prompt:student': -1.25, 'decoding': 3.0}
    """
    values = shaped("draws", draws, "S P R")
    S, P, R = values.shape
    _enough(S, P)
    _vary(values)
    means = values.mean(axis=2)
    if R == 1:
        return components_of_table(means, k=k, draws=1)
    within = float(values.var(axis=2, ddof=1).mean())
    effects, squares, dof, expectations = _two_way(means)
    expectations = np.block([[expectations, np.full((3, 1), 1.0 / R)], [np.zeros((1, 3)), np.ones((1, 1))]])
    return fitted(
        (*effects, "decoding"), [*squares, within], [*dof, S * P * (R - 1)], expectations,
        held={} if k is None else {"k": k}, size={"students": S, "draws": R, "prompts": P},
    )  # fmt: skip


def components_of_table(values: Any, *, k: int | None = None, draws: int = 1) -> PilotComponents:
    """Components from one number for each student and prompt, in which the draws are averaged already.

    Parameters
    ----------
    values : (S, P) float
    k : int, optional
        Teacher responses to each training prompt; plans keep it.
    draws : int
        Answers behind each number; plans keep it, since decoding is part of "prompt:student".

    Examples
    --------
    >>> pilot = components_of_table([[1.0, 2.0], [3.0, 6.0]], k=8, draws=4)
    >>> pilot.effects, pilot.estimate
    (('prompt', 'student', 'prompt:student'), array([1.5, 4. , 1. ]))
    """
    table = shaped("values", values, "S P")
    _enough(*table.shape)
    _vary(table)
    return of_mean_squares(mean_squares(table), students=table.shape[0], prompts=table.shape[1], k=k, draws=draws)


def of_mean_squares(
    squares: Any, *, students: int, prompts: int, k: int | None = None, draws: int | None = None
) -> PilotComponents:
    """Components from the mean squares of students, of prompts and of both, of a table (S, P).

    Examples
    --------
    >>> of_mean_squares([9.0, 5.0, 1.0], students=2, prompts=2).estimate
    array([2., 4., 1.])
    """
    effects, dof, expectations = _expected(students, prompts)
    held = {name: count for name, count in (("k", k), ("draws", draws)) if count is not None}
    size = {"students": students, "prompts": prompts, **({} if draws is None else {"draws": draws})}
    return fitted(effects, squares, dof, expectations, held=held, size=size)


def _vary(values: Array) -> None:
    if np.ptp(values) == 0.0:  # asked of the answers, for rounding makes a mean square of equal ones larger than 0
        raise VarianceError(
            "the pilot's answers do not vary at all, so that nothing can be planned by them; give a larger pilot."
        )


def _enough(students: int, prompts: int) -> None:
    if students < 2:
        raise ShapeError(
            "a pilot of one student does not show how students differ; got S=1. Distil two at least, better five."
        )
    if prompts < 2:
        raise ShapeError(f"a pilot needs P >= 2 prompts, to tell students from prompts; got P={prompts}.")


def _two_way(table: Array) -> tuple[tuple[str, ...], tuple[float, float, float], list[int], Array]:
    effects, dof, expectations = _expected(*table.shape)
    return effects, mean_squares(table), dof, expectations


def _expected(students: int, prompts: int) -> tuple[tuple[str, ...], list[int], Array]:
    """Effects, and of the mean squares of students, prompts and both the degrees of freedom and expectations."""
    effects = ("prompt", "student", "prompt:student")
    dof = [students - 1, prompts - 1, (students - 1) * (prompts - 1)]
    return effects, dof, np.array([[0.0, prompts, 1.0], [students, 0.0, 1.0], [0.0, 0.0, 1.0]])


def components_at_several_k(pilots: Mapping[int, Any]) -> PilotComponents:
    """Components from pilots at two or more k on the same prompts, which tell apart what falls as 1/k and what stays.

    Parameters
    ----------
    pilots : mapping of k to (S, P, R) float
        S >= 2 students at each k (not necessarily as many), the same P >= 2 prompts in one order, the same R. With R = 1 decoding
        is part of "prompt:student" and "prompt:teacher", and plans keep R = 1.

    Returns
    -------
    PilotComponents
        "teacher" and "prompt:teacher" of one response, "student" and "prompt:student" that no k removes, "decoding" and
        "decoding:teacher", "prompt".

    Notes
    -----
    Lines in 1/k (T1, T4; first order in T8). The prompts' mean square is that of their means over all k, each k weighing the same.

    Examples
    --------
    >>> import numpy as np
    >>> draws = np.arange(24.0).reshape(3, 2, 4) ** 1.5
    >>> components_at_several_k({1: draws, 4: draws / 2}).effects
    ('prompt', 'student', 'teacher', 'prompt:student', 'prompt:teacher', 'decoding', 'decoding:teacher')
    """
    found = {k: shaped(f"draws at k={k}", values, "S P R") for k, values in sorted(pilots.items())}
    if len(found) < 2 or min(found) < 1:
        raise OptionError(f"components_at_several_k needs two or more k of at least 1; got {sorted(found)}.")
    places = {values.shape[1:] for values in found.values()}
    if len(places) > 1:
        raise ShapeError(f"pilots at several k need the same P prompts and R answers; got (P, R) = {sorted(places)}.")
    ((P, R),) = places
    _vary(np.concatenate(list(found.values())))
    effects = ("prompt", "student", "teacher", "prompt:student", "prompt:teacher", "decoding", "decoding:teacher")
    squares, dof, rows, guess = [], [], [], []
    share = np.zeros(7)  # of each component in the variance of a prompt's mean over all k
    share[0] = 1.0
    for k, values in found.items():
        S, line = len(values), np.array([1.0, 1.0 / k])
        _enough(S, P)
        student, _, both = mean_squares(values.mean(axis=2))
        cell = np.concatenate([np.zeros(3), line, line / R])
        squares += [student, both]
        dof += [S - 1, (S - 1) * (P - 1)]
        rows += [np.concatenate([[0.0], P * line, np.zeros(4)]) + cell, cell]
        guess += [1.0 + 1.0 / k] * (3 if R > 1 else 2)  # as much falls with k as stays, for want of better
        if R > 1:
            squares, dof = [*squares, float(values.var(axis=2, ddof=1).mean())], [*dof, S * P * (R - 1)]
            rows.append(np.concatenate([np.zeros(5), line]))
        share += cell / (S * len(found) ** 2)
    of_prompts = np.mean([values.mean(axis=(0, 2)) for values in found.values()], axis=0)
    squares, dof, rows = [*squares, float(of_prompts.var(ddof=1))], [*dof, P - 1], [*rows, share]
    size, count = {"students": min(map(len, found.values())), "draws": R, "prompts": P}, 7 if R > 1 else 5
    held = {} if R > 1 else {"draws": 1}
    return fitted(effects[:count], squares, dof, np.array(rows)[:, :count], guess=[*guess, 1.0], size=size, held=held)


def components_of_design(draws: Any, factors: Mapping[str, Any], *, k: int, decoding: bool = True) -> PilotComponents:
    """Components of students of a balanced crossed design, with what of each effect is their own at each prompt.

    Parameters
    ----------
    draws : (S, P, R) float
        Answers of S students. With R = 1 decoding and the highest interaction are one, and plans keep R = 1 and k.
    factors : mapping of name to (S,) array
        Level of each source for each student, as `SeedDesign.table()` has them; "responses" is the teacher's sample.
    k : int
        Teacher responses to each training prompt, by which the teacher's parts are multiplied.
    decoding : bool
        Whether answers were drawn; False where students report their means (R = 1), which leaves k free.

    Raises
    ------
    DataError
        The design is not balanced.

    Notes
    -----
    T11, with prompts as one more crossed factor.

    Examples
    --------
    >>> import numpy as np
    >>> levels = {"responses": [0, 0, 1, 1], "initialisation": [0, 1, 0, 1]}
    >>> components_of_design(np.arange(24.0).reshape(4, 3, 2) ** 2, levels, k=2).effects[:3]
    ('teacher', 'initialisation', 'prompt')
    """
    values = finite("draws", draws)
    if values.ndim != 3:
        raise ShapeError(f"draws needs axes (S, P, R); got shape {values.shape}.")
    S, P, R = values.shape
    _enough(S, P)
    _vary(values)
    names = [{"responses": "teacher"}.get(name, name) for name in factors]
    if k < 1 or not names or any(len(np.asarray(levels)) != S for levels in factors.values()):
        raise DataError(f"components_of_design needs k >= 1 and a level of each factor for each of S={S} students.")
    student, prompt, _ = np.indices(values.shape).reshape(3, -1)
    table: dict[str, Any] = {
        name: np.asarray(levels)[student] for name, levels in zip(names, factors.values(), strict=True)
    }
    crossed = [*names, "prompt"]
    found = variance_components({**table, "prompt": prompt, "value": values.ravel()}, crossed)
    every = ":".join(sorted(crossed, key=_place))
    own = [every if e == "residual" and R == 1 else "decoding" if e == "residual" else e for e in found.effects]
    effects = tuple(":".join(sorted(e.split(":"), key=_place)) for e in own)
    levels = {**{name: len(np.unique(table[name])) for name in names}, "prompt": P}
    replicates = values.size // int(np.prod(list(levels.values())))
    if replicates > R:
        raise DataError("components_of_design needs one student for each combination of levels; got several.")
    expectations = np.array(
        [[_share(own, other, levels, size=values.size, k=k) for other in effects] for own in effects]
    )
    held = {} if R > 1 else {"draws": 1, "k": k} if decoding else {"draws": 1}
    return fitted(
        effects, found.mean_square, found.dof, expectations, held=held, size={"students": S, "draws": R, "prompts": P}
    )


def _place(source: str) -> int:
    """Prompts first, then the students' sources."""
    return 0 if source == "prompt" else 1


def _share(own: str, other: str, levels: Mapping[str, int], *, size: int, k: int) -> float:
    """How much of a component is in the expectation of an effect's mean square (Searle et al. 1992, ch. 4)."""
    if other == "decoding":
        return 1.0
    if own == "decoding" or not set(sources_of(own)) <= set(sources_of(other)):
        return 0.0
    of = sources_of(other)
    return size / float(np.prod([levels[name] for name in of])) / (k if "teacher" in of else 1)
