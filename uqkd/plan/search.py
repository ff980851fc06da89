"""The best integer design: least standard error for a budget, or least cost for a standard error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd.plan.costs import LEVELS, Costs, Design

Array = NDArray[np.float64]
Limits = Mapping[str, tuple[int, int]]

_EVERY = 12  # up to here every integer is a candidate, beyond them every
_STEP = 1.15  # multiple
_WINDOW = 6  # candidates on either side of the best, when it is looked at more closely
_NARROWER = 0.5  # by which the reach shrinks from round to round
_CLOSE = 1e-4  # reach at which nothing is left to find: the variance is flat to the square of it


@dataclass(frozen=True)
class Problem:
    """What is sought: the variance of designs, their cost, and the limits of each level.

    Attributes
    ----------
    variance : callable (k, students, draws, prompts) -> array
        Squared standard error; linear in 1/prompts.
    costs : Costs
    limits : mapping of level to (least, most)
    budget, target : float or None
        One of them: the greatest cost, or the greatest standard error.
    """

    variance: Callable[..., Array]
    costs: Costs
    limits: Limits
    budget: float | None = None
    target: float | None = None


def best_design(problem: Problem) -> Design | None:
    """The best design within the limits; None where none is within the budget, or meets the target.

    For each (k, S, R) the best number of prompts has a closed form, since both the variance and the cost are linear in 1/P and
    P. Candidates lie on a grid that is geometric beyond a dozen; then the neighbourhood of the best is searched, ever more closely,
    until none is better. The relaxed problem is a geometric program, so that there is one optimum.

    Examples
    --------
    >>> costs = Costs(student=9.0, draw=1.0)
    >>> variance = lambda k, students, draws, prompts: (1.0 + 4.0 / draws) / students + 0.0 * prompts * k
    >>> limits = {"k": (1, 1), "students": (2, 100), "draws": (1, 100), "prompts": (1, 1)}
    >>> best_design(Problem(variance, costs, limits, budget=150.0))  # the square-root rule: 6 draws
    Design(k=1, students=10, draws=6, prompts=1)
    """
    best = _best_of(problem, [_grid(*problem.limits[level]) for level in LEVELS[:3]])
    if best is None:
        return None
    reach = _STEP - 1.0
    while True:
        counts = zip(list(best[1].levels().values())[:3], LEVELS[:3], strict=True)
        found = _best_of(problem, [_near(n, reach, *problem.limits[level]) for n, level in counts])
        if found is not None and found[0] < best[0]:
            best = found
        elif reach < _CLOSE:
            return best[1]
        reach *= _NARROWER


def _grid(least: int, most: int) -> Array:
    """Every integer up to a dozen above the least, then steps of some percent up to the most."""
    first = np.arange(least, min(most, least + _EVERY) + 1)
    if most <= first[-1]:
        return first.astype(np.float64)
    count = int(np.ceil(np.log(most / first[-1]) / np.log(_STEP)))
    return np.unique(np.concatenate([first, np.round(np.geomspace(first[-1], most, count + 1))])).astype(np.float64)


def _near(count: int, reach: float, least: int, most: int) -> Array:
    """Integers around one: next to it, and in steps up to a share of it away."""
    close = count + np.arange(-2, 3)
    far = np.round(count * (1.0 + np.linspace(-reach, reach, 2 * _WINDOW + 1)))
    return np.unique(np.clip(np.concatenate([close, far]), least, most))


def _best_of(problem: Problem, ranges: list[Array]) -> tuple[tuple[float, float], Design] | None:
    """The best of all combinations of (k, S, R), with its (objective, the other)."""
    k, students, draws = (axis.ravel() for axis in np.meshgrid(*ranges, indexing="ij"))
    least, most = map(float, problem.limits["prompts"])
    fixed, each = problem.costs.parts(k, students, draws)
    one = problem.variance(k=k, students=students, draws=draws, prompts=1.0)
    stays = np.maximum(2.0 * problem.variance(k=k, students=students, draws=draws, prompts=2.0) - one, 0.0)
    divided = np.where(one - stays > 1e-12 * one, one - stays, 0.0)  # what prompts divide
    with np.errstate(divide="ignore", invalid="ignore"):
        if problem.budget is not None:
            room = problem.budget * (1.0 + 1e-12) - fixed
            prompts = np.where(each > 0, np.floor(room / each), np.where(room >= 0, most, -1.0))
            prompts = np.minimum(prompts, np.where(divided > 0, most, least))
        elif problem.target is not None:
            left = problem.target**2 * (1.0 + 1e-12) - stays
            prompts = np.where(left > 0, np.ceil(divided / left), np.where((left == 0) & (divided == 0), least, np.inf))
            prompts = np.maximum(prompts, least)
    possible = (prompts >= least) & (prompts <= most)
    if not possible.any():
        return None
    chosen = {"k": k[possible], "students": students[possible], "draws": draws[possible], "prompts": prompts[possible]}
    variance, cost = problem.variance(**chosen), problem.costs.total(**chosen)
    first, second = (variance, cost) if problem.budget is not None else (cost, variance)
    ties = np.flatnonzero(first <= first.min() * (1.0 + 1e-12))
    at = int(ties[np.argmin(second[ties])])
    return (float(first[at]), float(second[at])), Design(*(int(chosen[level][at]) for level in LEVELS))
