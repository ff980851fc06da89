"""Variance components of a balanced crossed design: every main effect and interaction (T11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.checking.arrays import finite, unmasked
from uqkd.checking.variation import raisable
from uqkd.errors import DataError, OptionError, ShapeError, nearest
from uqkd.estimators.intervals.level import LEVEL
from uqkd.estimators.intervals.mean_squares import mean_square_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """Components of variance by effect; made by `variance_components`.

    Attributes
    ----------
    effects : tuple of str
        "teacher", "init", "teacher:init", ..., "residual" (decoding noise, or the highest interaction where each
        cell holds one value).
    estimate, low, high : (E,) float
        Squared units of the value; estimates are unbiased, may be negative and are not clipped. The limits are those of
        `mean_square_interval` (MLS) at `level`, for normal effects. At 95 % they cover 94.5–95.9 % in designs of two and
        three factors of three levels or more; with four factors up to 97 % for small components, and down to 92.5 % for a
        factor of two levels (tests/estimators/intervals/test_coverage_designs.py).
    mean_square : (E,) float
    dof : (E,) int
    total : float
        Sum of the estimates: the variance of one value with every factor drawn anew.
    level : float
    """

    effects: tuple[str, ...]
    estimate: Array
    low: Array
    high: Array
    mean_square: Array
    dof: NDArray[np.int64]
    total: float
    level: float

    def of(self, effect: str) -> float:
        """Estimated component of one effect.

        Examples
        --------
        >>> table = {"s": [0, 0, 1, 1], "value": [1.0, 3.0, 5.0, 7.0]}
        >>> variance_components(table, ["s"]).of("s")
        7.0
        """
        if effect not in self.effects:
            raise OptionError(f"effect got {effect!r}; {nearest(effect, self.effects)}.")
        return float(self.estimate[self.effects.index(effect)])


def variance_components(
    table: Mapping[str, Any], factors: Sequence[str], *, value: str = "value", level: float = LEVEL
) -> Components:
    """Estimate all variance components of a balanced crossed random design by analysis of variance.

    Parameters
    ----------
    table : mapping of column name to 1-D array
        Long form (a dict of arrays or a data frame): one row per value, a column per factor, a column `value`.
    factors : sequence of str
        Names of the crossed factors, at least one, each with two levels or more.
    value : str
        Column of the response.
    level : float
        Of the intervals.

    Returns
    -------
    Components

    Raises
    ------
    DataError
        A column is missing, or the design is not balanced (names the first deficient cell).
    ShapeError
        A factor has one level only, or no degree of freedom is left for the residual.
    NotFiniteError
        Any NaN or inf among the values.

    Notes
    -----
    T11. Searle, Casella & McCulloch (1992), ch. 4: E[MS_e] = Σ_{f ⊇ e} c_f·component_f + residual with
    c_f = N/Π levels(f); solved by inclusion and exclusion.

    Examples
    --------
    >>> table = {"t": [0, 0, 1, 1], "i": [0, 1, 0, 1], "value": [1.0, 2.0, 5.0, 8.0]}
    >>> parts = variance_components(table, ["t", "i"])
    >>> parts.effects, parts.estimate
    (('t', 'i', 'residual'), array([12. ,  1.5,  1. ]))
    """
    cube = _balanced_cube(table, factors, value)
    shape, names = cube.shape, list(factors)
    square, dof, dof_of_mean = _mean_squares(cube.reshape(*shape, -1), names)
    return _components(square, dof, dof_of_mean, shape[: len(names) + 1], names, level)


def mean_variance_components(
    values: ArrayLike, factors: Mapping[str, ArrayLike], *, level: float = LEVEL
) -> Components:
    """All variance components of students in a balanced crossed design, averaged over prompts.

    Parameters
    ----------
    values : (S, P) float
        Mean response of every student to every prompt.
    factors : mapping of name to (S,) array
        Level of each factor for each student.
    level : float
        Of the intervals.

    Returns
    -------
    Components
        Estimates are the means over prompts of `variance_components` prompt by prompt. The prompts are answered by the
        same students, so a mean over them is less variable than one of them, but not as much as their number suggests: the
        intervals use the degrees of freedom of a mean of dependent mean squares, ν·(tr Σ)²/tr Σ² (Satterthwaite), the
        ratio estimated from the students; they cover 94–98.5 % at 95 % (`dof` is that of one prompt).

    Raises
    ------
    As `variance_components`.

    Examples
    --------
    >>> students = [[1.0, 2.0], [2.0, 4.0], [5.0, 10.0], [8.0, 16.0]]
    >>> parts = mean_variance_components(students, {"t": [0, 0, 1, 1], "i": [0, 1, 0, 1]})
    >>> parts.effects, parts.estimate
    (('t', 'i', 'residual'), array([30.  ,  3.75,  2.5 ]))
    """
    answers = raisable("values", finite("values", values))
    if answers.ndim != 2:
        raise ShapeError(f"values must have the axes (S, P); got shape {answers.shape}.")
    place = _balanced_cube({**factors, "place": np.arange(len(answers))}, list(factors), "place").astype(np.intp)
    cube, names = answers[place], list(factors)
    square, dof, dof_of_mean = _mean_squares(cube, names)
    return _components(square, dof, dof_of_mean, place.shape, names, level)


def _components(
    square: dict[str, float],
    dof: dict[str, int],
    dof_of_mean: dict[str, float],
    shape: tuple[int, ...],
    names: list[str],
    level: float,
) -> Components:
    estimates, lows, highs = [], [], []
    for effect in square:
        contrast, scale = _contrast(effect, square, shape, names)
        interval = mean_square_interval(
            np.array([[square[name]] for name in contrast]),
            np.array([dof_of_mean[name] for name in contrast]),
            np.array(list(contrast.values())) / scale,
            level=level,
        )
        estimates.append(float(interval.estimate[0]))
        lows.append(float(interval.low[0]))
        highs.append(float(interval.high[0]))
    return Components(
        effects=tuple(square),
        estimate=np.array(estimates),
        low=np.array(lows),
        high=np.array(highs),
        mean_square=np.array(list(square.values())),
        dof=np.array(list(dof.values()), dtype=np.int64),
        total=float(sum(estimates)),
        level=level,
    )


def _balanced_cube(table: Mapping[str, Any], factors: Sequence[str], value: str) -> Array:
    """The values as an array (levels of factor 1, ..., levels of factor F, replicates)."""
    reserved = [name for name in factors if ":" in name or name == "residual"]
    if not factors or len(set(factors)) != len(factors) or reserved:
        raise OptionError(f"factors needs distinct names without ':' and not 'residual'; got {list(factors)}.")
    columns = [str(name) for name in table.keys()]  # noqa: SIM118 - a data frame iterates like this too
    for name in (*factors, value):
        if name not in columns:
            raise DataError(f"variance_components found no column {name!r}; {nearest(name, columns)}.")
    values = raisable(value, finite(value, table[value]))
    levels, codes = zip(
        *(np.unique(np.asarray(unmasked(name, table[name])), return_inverse=True) for name in factors), strict=True
    )
    if len({values.size, *(code.size for code in codes)}) > 1:
        sizes = ", ".join(f"{name}: {code.size}" for name, code in zip(factors, codes, strict=True))
        raise ShapeError(f"every value needs a level of every factor; got {values.size} values and {sizes} levels.")
    shape = tuple(len(level) for level in levels)
    for name, length in zip(factors, shape, strict=True):
        if length < 2:
            raise ShapeError(f"factor {name!r} has one level only; a variance needs two or more.")
    cell = np.ravel_multi_index(codes, shape)
    counts = np.bincount(cell, minlength=int(np.prod(shape)))
    replicates = int(counts.max())
    if (counts != replicates).any():
        where = np.unravel_index(int(np.argmin(counts)), shape)
        cell_name = ", ".join(f"{n}={lv[i]}" for n, lv, i in zip(factors, levels, where, strict=True))
        raise DataError(
            f"variance_components needs a balanced design; cell ({cell_name}) holds {counts.min()} values where others "
            f"hold {replicates}. Run the missing cells, or fit a mixed model for unbalanced data."
        )
    if replicates == 1 and len(factors) == 1:
        raise ShapeError(f"one factor ({factors[0]!r}) with one value per level leaves nothing for the residual.")
    return values[np.argsort(cell, kind="stable")].reshape(*shape, replicates)


def _mean_squares(cube: Array, names: list[str]) -> tuple[dict[str, float], dict[str, int], dict[str, float]]:
    """Mean square by effect averaged over prompts (the last axis), its degrees of freedom, and those of the average.

    With one value per cell the highest interaction is the residual.
    """
    factors, replicates = len(names), cube.shape[-2]
    square, dof, dof_of_mean = {}, {}, {}
    for size in range(1, factors + 1):
        for axes in combinations(range(factors), size):
            others = tuple(axis for axis in range(factors + 1) if axis not in axes)
            effect = cube.mean(axis=others, keepdims=True)
            for axis in axes:
                effect = effect - effect.mean(axis=axis, keepdims=True)
            full_without_replicates = size == factors and replicates == 1
            name = "residual" if full_without_replicates else ":".join(names[axis] for axis in axes)
            dof[name] = int(np.prod([cube.shape[axis] - 1 for axis in axes]))
            square[name], dof_of_mean[name] = _averaged(effect, cube.size / effect.size, dof[name])
    if replicates > 1:
        dof["residual"] = int(np.prod(cube.shape[:factors])) * (replicates - 1)
        within = cube - cube.mean(axis=-2, keepdims=True)
        square["residual"], dof_of_mean["residual"] = _averaged(within, 1.0, dof["residual"])
    return square, dof, dof_of_mean


def _averaged(effect: Array, weight: float, dof: int) -> tuple[float, float]:
    """Mean over prompts of an effect's mean squares, and its degrees of freedom.

    Of S = Σ̂ on ν degrees of freedom, E[(tr S)²] = (tr Σ)² + 2 tr Σ²/ν and E[tr S²] = (1 + 1/ν) tr Σ² + (tr Σ)²/ν. The
    ratio of the unbiased estimates, used as if it were known, gives limits that cover 90–95 %; the plug-in ratio, which
    is too small, 95–99.8 %; their geometric mean, which is taken, 94–98.5 % (tests/estimators/variance/test_mean_components.py).
    """
    rows = effect.reshape(-1, effect.shape[-1])
    prompts = rows.shape[1]
    trace = weight * float((rows**2).sum()) / dof
    if prompts == 1 or dof == 1 or trace == 0.0:  # one degree of freedom cannot tell one direction from many
        return trace / prompts, float(dof)
    small = rows @ rows.T if len(rows) <= prompts else rows.T @ rows
    of_square = weight**2 * float((small**2).sum()) / dof**2
    unbiased = np.linalg.solve([[1.0, 2.0 / dof], [1.0 / dof, 1.0 + 1.0 / dof]], [trace**2, of_square])
    ratio = unbiased[0] / unbiased[1] if unbiased[1] > 0 else float(prompts)
    spread = np.sqrt(np.clip(ratio, 1.0, prompts) * np.clip(trace**2 / of_square, 1.0, prompts))
    return trace / prompts, dof * float(spread)


def _contrast(
    effect: str, square: dict[str, float], shape: tuple[int, ...], names: list[str]
) -> tuple[dict[str, float], float]:
    """Signs of the mean squares whose sum has expectation scale × component (inclusion and exclusion)."""
    if effect == "residual":
        return {"residual": 1.0}, 1.0
    own = set(effect.split(":"))
    replicated = shape[-1] > 1
    signs = {}
    for name in square:
        members = set(names) if name == "residual" else set(name.split(":"))
        if own <= members and not (name == "residual" and replicated):
            signs[name] = (-1.0) ** (len(members) - len(own))
    if replicated and own == set(names):
        signs["residual"] = -1.0
    levels = np.prod([shape[names.index(name)] for name in own])
    return signs, float(np.prod(shape) / levels)
