"""The standard error that a design will have, and the interval that the pilot's own error leaves for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from uqkd.errors import OptionError, one_of
from uqkd.estimators.intervals.level import LEVEL, tails
from uqkd.estimators.intervals.mean_squares import Interval, mean_square_interval
from uqkd.plan.components import PilotComponents
from uqkd.plan.costs import Design
from uqkd.theory.statements.planning import inter_variance, mean_variance

Array = NDArray[np.float64]

QUANTITIES = ("mean", "inter")
_POINTS = 4096  # of the quasi-random sample behind the limits; twice as many move them by less than half a percent
_CERTAIN = 1e-3
_ROUNDING = 1e-12
_FEW = 4  # degrees of freedom up to which the pivot of a mean square has no standard deviation
CAUTION = 0.75  # level of the one-sided intervals that cautious plans go by


@dataclass(frozen=True)
class Question:
    """What is reported, and what is a sample in it.

    Attributes
    ----------
    quantity : {"mean", "inter"}
        The mean answer (or score) of students over prompts; or the inter-student variance, averaged over prompts.
    fixed_prompts : bool
        The pilot's prompts are all that there are.
    shared : tuple of str
        Sources that all students have in common.
    """

    quantity: str = "mean"
    fixed_prompts: bool = False
    shared: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown quantity."""
        one_of("quantity", self.quantity, QUANTITIES)
        if self.quantity == "inter" and self.shared:
            raise OptionError(f"the variance between students leaves out what they share; got shared={self.shared}.")

    def variance(self, components: Any, **design: Any) -> Array:
        """Squared standard error of designs; components by effect, numbers or arrays."""
        if self.quantity == "inter":
            return inter_variance(components, **design, fixed_prompts=self.fixed_prompts)
        return mean_variance(components, **design, shared=self.shared, fixed_prompts=self.fixed_prompts)


def predict(components: PilotComponents, design: Design, question: Question, *, level: float = LEVEL) -> Interval:
    """Standard error that a design will have, with its limits.

    Parameters
    ----------
    components : PilotComponents
    design : Design
    question : Question
    level : float

    Returns
    -------
    Interval
        Units of an answer (mean) or of its square (inter); NaN limits where the components are known.

    Notes
    -----
    Limits are quantiles of the generalised pivotal quantity (Weerahandi 1993): the standard error at components that vary as the
    pilot's mean squares leave them, negative ones included, which keeps the coverage where a component is zero (pivots cut off at
    zero one by one cover 66 % where two are). Where more than two mean squares have at most four degrees of freedom their pivots
    add up too high (three on two degrees each: 88 %, on four: 93 %): then, for a mean, modified large sample limits
    (`mean_square_interval`). The lower limit is not below what decoding and the highest interactions alone reach with chance
    1 − `_CERTAIN`, so that it is no zero.

    Examples
    --------
    >>> from uqkd.plan.components import known_components
    >>> parts = known_components({"prompt": 4.0, "student": 1.0, "prompt:student": 2.0, "decoding": 3.0})
    >>> round(float(predict(parts, Design(1, 2, 3, 4), Question()).estimate), 4)  # √1.875
    1.3693
    """
    counts = design.levels()
    estimate = float(np.sqrt(question.variance(components.as_mapping(), **counts)))
    if components.is_known:
        return Interval(estimate, np.nan, np.nan, level, "known", "components taken as known")
    drawn = _pivots(components)
    last = np.array([_is_last(effect, components.effects) for effect in components.effects])
    alone = np.where(last[:, None], _cut(components, drawn), 0.0)
    least = float(np.quantile(_errors(components, alone, question, design), _CERTAIN))
    if question.quantity == "mean" and (components.dof <= _FEW).sum() > 2:
        method, (low, high) = "mls", _linear_limits(components, design, question, level=level)
    else:
        errors = _errors(components, drawn, question, design)
        method, (low, high) = "generalized", np.quantile(errors, tails(level), method="weibull").tolist()
    return Interval(estimate, min(max(low, least), estimate), max(high, estimate), level, method, "normal effects")


def _linear_limits(
    components: PilotComponents, design: Design, question: Question, *, level: float
) -> tuple[float, float]:
    """Limits where the variance is Σ weight·component, and so Σ coefficient·mean square."""
    weights = np.array([float(question.variance({name: 1.0}, **design.levels())) for name in components.effects])
    coefficients = weights @ components.contrasts
    coefficients[np.abs(coefficients) < _ROUNDING * np.abs(coefficients).max()] = 0.0  # whose sign would be chance
    found = mean_square_interval(components.mean_squares, components.dof, coefficients, level=level)
    return float(np.sqrt(max(found.low, 0.0))), float(np.sqrt(max(found.high, 0.0)))


def cautious_components(components: PilotComponents) -> dict[str, float]:
    """Each component at the upper end of its one-sided interval of `CAUTION`; known components as they are.

    Examples
    --------
    >>> from uqkd.plan.pilots import of_mean_squares
    >>> pilot = of_mean_squares([9.0, 5.0, 1.0], students=5, prompts=50)
    >>> {effect: round(value, 2) for effect, value in cautious_components(pilot).items()}
    {'prompt': 0.96, 'student': 0.35, 'prompt:student': 1.08}
    """
    if components.is_known:
        return components.as_mapping()
    upper = np.quantile(_cut(components, _pivots(components)), CAUTION, axis=1)
    return dict(zip(components.effects, map(float, upper), strict=True))


def _errors(components: PilotComponents, drawn: Array, question: Question, design: Design) -> Array:
    variance = question.variance(dict(zip(components.effects, drawn, strict=True)), **design.levels())
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _pivots(components: PilotComponents) -> Array:
    """Generalised pivotal quantities of the components (E, points): Σ contrast·ν·MS/W, W ~ χ²(ν)."""
    dof = components.dof
    draws = dof[:, None] * components.mean_squares[:, None] / _chi_squares(tuple(dof.tolist()))
    return np.asarray(components.contrasts @ draws)


def _is_last(effect: str, effects: tuple[str, ...]) -> bool:
    """Decoding and the highest interactions, of which there is always some."""
    return "decoding" in effect or len(effect.split(":")) == max(len(other.split(":")) for other in effects)


def _cut(components: PilotComponents, drawn: Array) -> Array:
    """The same without negative components."""
    free = np.array([set(name.split(":")) == {"decoding", "teacher"} for name in components.effects])
    return np.where(free[:, None], drawn, np.maximum(drawn, 0.0))


@lru_cache(maxsize=64)
def _chi_squares(dof: tuple[float, ...]) -> Array:
    """A low-discrepancy sample of independent chi-squares (n, points): Sobol points, not random."""
    uniform = stats.qmc.Sobol(len(dof), scramble=False).random(_POINTS).T + 0.5 / _POINTS
    return np.asarray(special.chdtri(np.array(dof)[:, None], uniform))
