"""Components of variance as a pilot leaves them: estimates, and the mean squares that say how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from uqkd.checking.arrays import finite
from uqkd.errors import OptionError, VarianceError
from uqkd.theory.statements.planning import DECODING, sources_of

Array = NDArray[np.float64]
_ROUNDS = 3  # of reweighting; the weights then move by less than a tenth of a percent


@dataclass(frozen=True)
class PilotComponents:
    """Components of variance of one answer (or score), by effect; made by the functions of `uqkd.plan`.

    Attributes
    ----------
    effects : tuple of str
        Sources joined by colons; see `uqkd.theory.statements.planning`. Teacher parts are those of one response.
    estimate : (E,) float
        Unbiased, squared units of an answer; may be negative.
    used : (E,) float
        The same under the restriction that no component is negative: what plans are made of.
    mean_squares, dof : (n,) float
        Independent mean squares of the pilot and their degrees of freedom; none where the components are known.
    contrasts : (E, n) float
        estimate = contrasts @ mean_squares.
    held : mapping of level to int
        Levels ("k", "draws") that the pilot had one value of, so that their part is not known: plans keep that value.
    size : mapping of level to int
        Of the pilot.
    """

    effects: tuple[str, ...]
    estimate: Array
    used: Array
    mean_squares: Array
    dof: Array
    contrasts: Array
    held: Mapping[str, int] = field(default_factory=dict)
    size: Mapping[str, int] = field(default_factory=dict)

    def as_mapping(self) -> dict[str, float]:
        """The components that plans are made of, by effect.

        Examples
        --------
        >>> known_components({"student": 2.0}).as_mapping()
        {'student': 2.0}
        """
        return dict(zip(self.effects, map(float, self.used), strict=True))

    @property
    def is_known(self) -> bool:
        """Whether the components were given, not estimated."""
        return self.mean_squares.size == 0


def known_components(
    components: Mapping[str, Any], *, k: int | None = None, draws: int | None = None
) -> PilotComponents:
    """Components that are taken as known: from theory, or from a pilot so large that its error does not matter.

    Parameters
    ----------
    components : mapping of effect to float
        Such as {"prompt": .04, "teacher": .02, "student": .01, "decoding": .1}; teacher parts for one response.
    k, draws : int, optional
        The responses, or answers, that the components hold for, where they were not told apart: plans keep them.

    Raises
    ------
    OptionError
        An unknown source, or no component.
    VarianceError
        A negative component, or none that is positive.

    Examples
    --------
    >>> known_components({"teacher": 0.02, "prompt:teacher": 0.1}).effects
    ('teacher', 'prompt:teacher')
    """
    if not components:
        raise OptionError("known_components needs one component at least, such as {'student': 0.01}; got none.")
    values = finite("components", list(components.values()))
    for name, value in components.items():
        if value < 0 and set(sources_of(name)) != {DECODING, "teacher"}:
            raise VarianceError(
                f"component {name!r} is negative ({value:g}); a known component is a variance. Give 0, or the pilot's draws."
            )
    if not (values > 0).any():
        raise VarianceError("all components are 0: nothing varies, and any design has standard error 0.")
    held = {name: count for name, count in (("k", k), ("draws", draws)) if count is not None}
    nothing = np.zeros(0)
    return PilotComponents(tuple(components), values, values, nothing, nothing, np.zeros((len(values), 0)), held)


def fitted(
    effects: Sequence[str], mean_squares: Any, dof: Any, expectations: Any, *, guess: Any = 1.0, **about: Any
) -> PilotComponents:
    """Components from mean squares whose expectations are linear in them, by weighted least squares.

    Parameters
    ----------
    effects : sequence of E str
    mean_squares, dof : (n,) float
        Independent; n >= E.
    expectations : (n, E) float
        E[mean_squares] = expectations @ components.
    guess : (n,) float
        What the mean squares are to each other, where there are more of them than components. Not taken from the data, so that
        estimates are linear in the mean squares, as their limits take them to be.
    **about
        Further fields of `PilotComponents`.

    Raises
    ------
    VarianceError
        No answer differs from another.

    Notes
    -----
    The variance of a mean square is 2·E[MS]²/dof. With n = E the unrestricted fit is the analysis of variance, whatever the
    weights. Without negative components weights are those of the fit itself, in a few rounds.

    Examples
    --------
    >>> found = fitted(["student", "decoding"], [9.0, 1.0], [4.0, 10.0], [[2.0, 1.0], [0.0, 1.0]])
    >>> found.estimate, found.used
    (array([4., 1.]), array([4., 1.]))
    """
    squares, freedom, design = (np.array(part, dtype=np.float64) for part in (mean_squares, dof, expectations))
    if not squares.any():
        raise VarianceError(
            "the pilot's answers do not vary at all, so that nothing can be planned by them; give a larger pilot."
        )
    least = np.array([-np.inf if set(sources_of(name)) == {DECODING, "teacher"} else 0.0 for name in effects])
    scale = float(squares.max())
    expected = np.maximum(squares, 1e-6 * scale)
    for _ in range(_ROUNDS):
        weight = np.sqrt(freedom / 2.0) / expected
        used = _restricted(design * weight[:, None], squares * weight, least)
        expected = np.maximum(design @ used, 1e-6 * scale)
    weight = freedom / np.broadcast_to(np.asarray(guess, dtype=np.float64), freedom.shape) ** 2
    contrasts = np.asarray(np.linalg.solve(design.T @ (weight[:, None] * design), design.T * weight), dtype=np.float64)
    return PilotComponents(tuple(effects), contrasts @ squares, used, squares, freedom, contrasts, **about)


def _restricted(design: Array, values: Array, least: Array) -> Array:
    """Least squares with lower bounds."""
    if np.isinf(least).any():
        return np.asarray(optimize.lsq_linear(design, values, (least, np.inf), method="bvls").x)
    return np.asarray(optimize.nnls(design, values)[0])
