"""Generalized pivotal quantities of mean squares, their quantiles found by quadrature (no random numbers)."""

from __future__ import annotations

import numpy as np
from scipy import special

from uqkd.errors import ShapeError
from uqkd.estimators.checking import Array

_NODES = {1: 1, 2: 128, 3: 40}  # per integrated term; the limits move by < 1e-3 of their width when doubled
_ROUNDS = 60
_CHUNK = 2**21  # elements of the largest temporary, 16 MiB


def pivotal_cdf(value: Array, terms: Array, dof: Array) -> Array:
    """Chance that the generalized pivotal quantity Σ νᵢ cᵢ MSᵢ / Wᵢ, Wᵢ ~ χ²(νᵢ), is at most `value`.

    Parameters
    ----------
    value : (P,) array
        Where to evaluate.
    terms : (n, P) array
        Observed cᵢ MSᵢ, n <= 3.
    dof : (n,) array
        Degrees of freedom.

    Returns
    -------
    (P,) array
        In [0, 1].

    Raises
    ------
    ShapeError
        More than three terms.

    Notes
    -----
    Weerahandi (1993). The term with the fewest degrees of freedom is integrated in closed form, the others by
    Gauss-Legendre quadrature in probability.

    Examples
    --------
    >>> pivotal_cdf(np.array([2.0]), np.array([[1.0]]), np.array([2.0])).round(4)  # P(2 / W <= 2) = P(W >= 1)
    array([0.6065])
    """
    if dof.size > 3:
        raise ShapeError(f"the generalized interval takes at most 3 mean squares; got {dof.size}. Use method='mls'.")
    least = int(np.argmin(dof))
    rest = [i for i in range(dof.size) if i != least]
    inverses, weight = _grid(dof[rest])
    step = max(1, _CHUNK // weight.size)
    out = np.empty(value.shape)
    for start in range(0, value.size, step):
        part = slice(start, start + step)
        gap = value[part] - np.tensordot(inverses, terms[rest, part], axes=(0, 0))
        out[part] = weight @ _chance(gap, dof[least] * terms[least, part], float(dof[least]))
    return out


def _grid(dof: Array) -> tuple[Array, Array]:
    """Tensor grid: νᵢ / Wᵢ at the nodes, (n − 1, nodes), and the weights of the nodes."""
    point, weight = np.polynomial.legendre.leggauss(_NODES[dof.size + 1])
    point, weight = (point + 1.0) / 2.0, weight / 2.0
    axes = np.meshgrid(*[d / special.chdtri(d, point) for d in dof], indexing="ij")
    weights = np.ones(1)
    for _ in dof:
        weights = np.multiply.outer(weights, weight)
    return np.array([a.ravel() for a in axes]).reshape(dof.size, weights.size), weights.ravel()


def _chance(gap: Array, scaled: Array, dof: float) -> Array:
    """P(scaled / W <= gap) for W ~ χ²(dof); scaled of either sign."""
    safe = np.where(gap == 0.0, 1.0, gap)
    with np.errstate(over="ignore"):
        bound = scaled / safe
    positive = np.where(gap > 0.0, special.chdtrc(dof, np.maximum(bound, 0.0)), 0.0)
    negative = np.where(gap >= 0.0, 1.0, special.chdtr(dof, np.maximum(bound, 0.0)))
    return np.where(scaled >= 0.0, positive, negative)


def pivotal_limits(terms: Array, dof: Array, low: Array, high: Array, *, tail: float) -> tuple[Array, Array]:
    """Quantiles `tail` and 1 − `tail` of the generalized pivotal quantity, searched from approximate limits.

    Parameters
    ----------
    terms : (n,) or (n, P) array
        Observed cᵢ MSᵢ, n <= 3.
    dof : (n,) array
        Degrees of freedom.
    low, high : scalar or (P,) array
        Where the search starts.
    tail : float
        Probability left out on each side.

    Returns
    -------
    two arrays of the shape of `low`
        Accurate to 1e-9 of the distance between `low` and `high`.

    Raises
    ------
    ShapeError
        More than three terms.

    Examples
    --------
    >>> low, high = pivotal_limits(np.array([[1.0]]), np.array([2.0]), np.array([0.1]), np.array([30.0]), tail=0.5)
    >>> low.round(4), high.round(4)  # 2 / median of χ²(2)
    (array([1.4427]), array([1.4427]))
    """
    flat, shape = terms.reshape(dof.size, -1), np.shape(low)
    first, last = np.ravel(low), np.ravel(high)
    width = np.maximum(last - first, np.finfo(float).tiny)
    below = _root(flat, dof, first, width, tail)
    above = _root(flat, dof, last, width, 1.0 - tail)
    return below.reshape(shape), above.reshape(shape)


def _root(terms: Array, dof: Array, start: Array, width: Array, chance: float) -> Array:
    """Bracket by doubling, then the Illinois variant of regula falsi, all prompts at once."""
    left, right = start - width / 8.0, start + width / 8.0
    for side, sign in ((left, -1.0), (right, 1.0)):
        step = width / 4.0
        for _ in range(_ROUNDS):
            short = sign * (pivotal_cdf(side, terms, dof) - chance) < 0.0
            if not short.any():
                break
            side[short] += sign * step[short]
            step = step * 2.0
    at_left, at_right = pivotal_cdf(left, terms, dof) - chance, pivotal_cdf(right, terms, dof) - chance
    for _ in range(_ROUNDS):
        span = at_right - at_left
        share = np.where(span > 0.0, -at_left / np.where(span > 0.0, span, 1.0), 0.5)
        middle = left + np.clip(share, 1e-3, 1.0 - 1e-3) * (right - left)
        value = pivotal_cdf(middle, terms, dof) - chance
        up = value >= 0.0
        at_left, at_right = np.where(up, at_left / 2.0, value), np.where(up, value, at_right / 2.0)
        left, right = np.where(up, left, middle), np.where(up, middle, right)
        if np.all(right - left <= 1e-9 * width) or np.all(np.abs(value) <= 1e-12):
            return middle
    return (left + right) / 2.0
