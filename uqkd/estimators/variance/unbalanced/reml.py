"""Variance components of unbalanced, crossed or nested random effects by restricted maximum likelihood (REML)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from uqkd.checking.arrays import confidence_level
from uqkd.errors import OptionError, nearest
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.variance.unbalanced.mixed_model import MixedModel, mixed_model

Array = NDArray[np.float64]

_LARGEST = 1e4  # of the same: beyond it sums of products cancel
_PRECISION = 3e-4  # of a limit, relative
_SMALLEST = 1e-8  # share of a component below which it is not told from 0
_ZERO = 1e-5  # of a standard deviation relative to the residual's: at the bound, as optimisers leave it


@dataclass(frozen=True)
class RemlComponents:
    """Components of variance by effect; made by `reml_components`.

    Attributes
    ----------
    effects : tuple of str
        As given, then "residual".
    estimate, standard_error, low, high : (E,) float
        Squared units of the value; REML estimates are never negative. Limits are those of the profile likelihood, as of lme4's
        `confint`, but restricted: 0 below where nothing excludes it. An estimate of 0 has no standard error.
    covariance : (E, E) float
        Of the estimates, from the observed information; NaN for estimates of 0.
    criterion : float
        −2 log restricted likelihood (lme4's REML criterion).
    level : float
    """

    effects: tuple[str, ...]
    estimate: Array
    standard_error: Array
    low: Array
    high: Array
    covariance: Array
    criterion: float
    level: float

    def of(self, *effects: str) -> tuple[float, float]:
        """Sum of the components of some effects, and its standard error.

        Between students, prompts fixed, is `of("student", "student:prompt")`. Components of 0 are taken as known.

        Examples
        --------
        >>> table = {"s": [0, 0, 1, 1, 2], "value": [1.0, 3.0, 5.0, 7.0, 8.0]}
        >>> round(reml_components(table, ["s"]).of("s")[0], 3)
        7.923
        """
        for effect in effects:
            if effect not in self.effects:
                raise OptionError(f"effect got {effect!r}; {nearest(effect, self.effects)}.")
        places = [self.effects.index(effect) for effect in effects]
        square = np.nan_to_num(self.covariance)[np.ix_(places, places)].sum()
        return float(self.estimate[places].sum()), float(np.sqrt(square)) if square > 0 else float("nan")


def reml_components(
    table: Mapping[str, Any],
    effects: Sequence[str],
    *,
    fixed: Sequence[str] = (),
    value: str = "value",
    level: float = LEVEL,
) -> RemlComponents:
    """Estimate variance components where cells hold unequal numbers of values, or none.

    Parameters
    ----------
    table : mapping of column name to 1-D array
        Long form (a dict of arrays or a data frame): one row per value, a column per factor, a column `value`.
    effects : sequence of str
        Random effects: a column, or several joined by ":" for their interaction; "student" and "student:prompt".
    fixed : sequence of str
        Columns whose levels have fixed effects, beside the intercept: "prompt", to compare students within prompts.
    value : str
        Column of the response.
    level : float
        Of the intervals.

    Returns
    -------
    RemlComponents

    Raises
    ------
    DataError
        A column is missing, or no values differ within the smallest cells.
    ShapeError
        An effect has one level only, or one level for each value.
    NotFiniteError
        Any NaN or inf among the values.

    See Also
    --------
    variance_components : balanced designs, unbiased; where its estimates are positive the two agree.
    decompose_unbalanced : prompt by prompt, unbiased, without equal variances or normality.

    Notes
    -----
    T11. Patterson & Thompson (1971); the profiled criterion of Bates et al. (2015, lme4), with the effect of most levels
    eliminated in closed form, so that students × prompts costs (students + prompts)³. Normal effects, equal variances.

    Examples
    --------
    Three batches, one value of the second missing:

    >>> table = {"batch": [0, 0, 0, 1, 1, 2, 2, 2], "value": [15.4, 14.4, 14.4, 15.5, 15.6, 15.9, 15.5, 16.0]}
    >>> parts = reml_components(table, ["batch"])
    >>> parts.effects, parts.estimate.round(3)
    (('batch', 'residual'), array([0.263, 0.161]))
    """
    confidence_level(level)
    model = mixed_model(table, effects, fixed=fixed, value=value)
    root = _fit(model)
    ratio = np.where(root > _ZERO, root**2, 0.0)
    residual, criterion = model.profiled(ratio)
    estimate = residual * np.append(ratio, 1.0)
    covariance = _covariance(model, estimate)
    error = np.sqrt(np.diag(covariance))
    limits = [_limits(model, estimate, criterion, at, level) for at in range(len(estimate))]
    low, high = np.array(limits).T
    return RemlComponents((*effects, "residual"), estimate, error, low, high, covariance, criterion, level)


def _fit(model: MixedModel) -> Array:
    """Standard deviations relative to the residual's at the least criterion, from several starts."""

    def criterion(root: Array) -> float:
        return model.profiled(root**2)[1]

    bounds = [(0.0, _LARGEST)] * model.effects
    starts = [np.full(model.effects, start) for start in (1.0, 0.2)]
    found = [
        optimize.minimize(
            criterion, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-8, "maxiter": 500}
        )
        for start in starts
    ]
    best = min(found, key=lambda one: float(one.fun))
    return _polished(criterion, np.asarray(best.x, dtype=np.float64))


def _polished(criterion: Callable[[Array], float], root: Array) -> Array:
    """Newton steps on the interior: finite differences leave the minimiser some 1e-5 away."""
    inside = np.flatnonzero(root > _ZERO)
    for _ in range(3):
        if not inside.size:
            break
        start = root

        def of_inside(part: Array, start: Array = start) -> float:
            return criterion(_with(start, inside, part))

        gradient, hessian = _derivatives(of_inside, root[inside])
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            break
        moved = _with(root, inside, root[inside] - np.linalg.solve(hessian, gradient))
        if (moved < 0).any() or criterion(moved) > criterion(root):
            break
        root = moved
    return root


def _with(root: Array, places: NDArray[np.intp], part: Array) -> Array:
    out = root.copy()
    out[places] = part
    return out


def _derivatives(function: Callable[[Array], float], at: Array) -> tuple[Array, Array]:
    """Gradient and Hessian by central differences; steps of 1e-3, whose error is 1e-6 of the scale."""
    step, n = 1e-3 * np.maximum(np.abs(at), 1e-12), len(at)
    unit = np.diag(step)
    gradient, hessian, centre = np.zeros(n), np.zeros((n, n)), function(at)
    for i in range(n):
        up, down = function(at + unit[i]), function(at - unit[i])
        gradient[i], hessian[i, i] = (up - down) / (2 * step[i]), (up - 2 * centre + down) / step[i] ** 2
        for j in range(i):
            mixed = sum(
                a * b * function(at + a * unit[i] + b * unit[j]) for a in (1.0, -1.0) for b in (1.0, -1.0)
            )  # fmt: skip
            hessian[i, j] = hessian[j, i] = mixed / (4 * step[i] * step[j])
    return gradient, hessian


def _covariance(model: MixedModel, estimate: Array) -> Array:
    """Inverse of the observed information of the components that are not 0."""
    inside = np.flatnonzero(estimate > 0)
    out = np.full((len(estimate), len(estimate)), np.nan)

    def criterion(part: Array) -> float:
        return model.criterion(_with(estimate, inside, part))

    _, hessian = _derivatives(criterion, estimate[inside])
    if np.linalg.eigvalsh(hessian)[0] > 0:
        out[np.ix_(inside, inside)] = 2.0 * np.linalg.solve(hessian, np.eye(len(inside)))
    return out


def _limits(model: MixedModel, estimate: Array, criterion: float, at: int, level: float) -> tuple[float, float]:
    """Where the criterion, least over all other components, has risen by the chi-square quantile of one degree of freedom."""
    rise = float(special.chdtri(1.0, 1.0 - level))
    centre = estimate[at] if estimate[at] > 0 else estimate[-1]
    others = [i for i in range(len(estimate)) if i != at and estimate[i] > 0]

    def above(log_component: float) -> float:
        return _profile(model, estimate, at, float(np.exp(log_component)), others) - criterion - rise

    low, smallest = 0.0, float(np.log(centre * _SMALLEST))
    if estimate[at] > 0 and above(smallest) > 0:
        low = float(np.exp(optimize.brentq(above, smallest, np.log(estimate[at]), xtol=_PRECISION)))
    step, top = 0.5, float(np.log(centre))
    while above(top) < 0 and step < 100.0:
        top, step = top + step, step * 1.6
    if above(top) < 0:
        return low, float("inf")
    bottom = np.log(estimate[at]) if estimate[at] > 0 else smallest
    return low, float(np.exp(optimize.brentq(above, bottom, top, xtol=_PRECISION)))


def _profile(model: MixedModel, estimate: Array, at: int, component: float, others: list[int]) -> float:
    """The least criterion over the other components, where one is given."""
    fixed = _with(estimate, np.array([at]), np.array([component]))
    if not others:
        return model.criterion(fixed)
    places, start = np.array(others), np.log(estimate[others])

    def criterion(logs: Array) -> float:
        return model.criterion(_with(fixed, places, np.exp(logs)))

    bounds = [(one - 15.0, one + 15.0) for one in start]
    return float(optimize.minimize(criterion, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-8}).fun)
