"""Generalized pivotal quantities of mean squares, their quantiles found by quadrature (no random numbers)."""

from __future__ import annotations

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array
from uqkd.errors import ShapeError

# Nodes per integrated term. Against a grid eight times finer the limits move by at most 2e-3 of their width from 4
# degrees of freedom on, and by 4e-2 at one degree of freedom.
_NODES = {1: 1, 2: 128, 3: 48}
_ROUNDS = 60
_OUTSIDE = 1e-9  # probability cut off at each end of an integrated term
_CHUNK = 2**21  # elements of the largest temporary, 16 MiB


def pivotal_cdf(value: Array, terms: Array, dof: Array, *, near: float = 0.5) -> Array:
    """Chance that the generalized pivotal quantity Σ νᵢ cᵢ MSᵢ / Wᵢ, Wᵢ ~ χ²(νᵢ), is at most `value`.

    Parameters
    ----------
    value : (P,) array
        Where to evaluate.
    terms : (n, P) array
        Observed cᵢ MSᵢ, n <= 3.
    dof : (n,) array
        Degrees of freedom.
    near : float
        Roughly the chance expected; decides which term is integrated in closed form, so accuracy only.

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
    Weerahandi (1993). At each prompt the term that reaches furthest into the tail is integrated in closed form,
    which leaves a smooth function of the others for the trapezoidal rule in log W.

    Examples
    --------
    >>> pivotal_cdf(np.array([2.0]), np.array([[1.0]]), np.array([2.0])).round(4)  # P(2 / W <= 2) = P(W >= 1)
    array([0.6065])
    """
    if dof.size > 3:
        raise ShapeError(f"the generalized interval takes at most 3 mean squares; got {dof.size}. Use method='mls'.")
    widest = np.argmax(_spread(terms, dof, near), axis=0)
    out = np.empty(value.shape)
    for closed in range(dof.size):
        rest = [i for i in range(dof.size) if i != closed]
        prompts = np.flatnonzero(widest == closed)
        inverses, weight = _grid(dof[rest])
        step = max(1, _CHUNK // weight.size)
        for start in range(0, prompts.size, step):
            part = prompts[start : start + step]
            gap = value[part] - np.tensordot(inverses, terms[rest][:, part], axes=(0, 0))
            out[part] = weight @ _chance(gap, dof[closed] * terms[closed, part], float(dof[closed]))
    return out


def _spread(terms: Array, dof: Array, near: float) -> Array:
    """How far each term alone moves the quantile `near` of the sum; from its own quantile at that chance."""
    near = min(max(near, 1e-6), 1.0 - 1e-6)
    below = np.abs(dof / special.chdtri(dof, near) - 1.0)  # W at its 1 − near quantile: a positive term is small
    above = np.abs(dof / special.chdtri(dof, 1.0 - near) - 1.0)
    return np.asarray(np.abs(terms) * np.where(terms >= 0.0, below[:, None], above[:, None]))


def _grid(dof: Array) -> tuple[Array, Array]:
    """Tensor grid: νᵢ / Wᵢ at the nodes, (n − 1, nodes), and the weights of the nodes."""
    lines = [_line(d, _NODES[dof.size + 1]) for d in dof]
    axes = np.meshgrid(*[line[0] for line in lines], indexing="ij")
    weights = np.ones(1)
    for line in lines:
        weights = np.multiply.outer(weights, line[1])
    return np.array([a.ravel() for a in axes]).reshape(dof.size, weights.size), weights.ravel()


def _line(dof: float, nodes: int) -> tuple[Array, Array]:
    """Values of ν / W on a grid even in log W, and their probabilities (trapezoidal rule, both ends vanish)."""
    half = dof / 2.0
    ends = np.log(2.0 * special.gammaincinv(half, _OUTSIDE)), np.log(2.0 * special.gammainccinv(half, _OUTSIDE))
    log_w = np.linspace(*ends, nodes)
    chance = np.exp(half * (log_w - log_w.mean()) - np.exp(log_w) / 2.0)
    return dof * np.exp(-log_w), chance / chance.sum()


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
        Roots to 1e-9 of the distance between `low` and `high`; the quadrature's error is larger (`_NODES`).

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

    def cdf(at: Array) -> Array:
        return pivotal_cdf(at, terms, dof, near=chance)

    left, right = start - width / 8.0, start + width / 8.0
    for side, sign in ((left, -1.0), (right, 1.0)):
        step = width / 4.0
        for _ in range(_ROUNDS):
            short = sign * (cdf(side) - chance) < 0.0
            if not short.any():
                break
            side[short] += sign * step[short]
            step = step * 2.0
    at_left, at_right = cdf(left) - chance, cdf(right) - chance
    for _ in range(_ROUNDS):
        span = at_right - at_left
        share = np.where(span > 0.0, -at_left / np.where(span > 0.0, span, 1.0), 0.5)
        middle = left + np.clip(share, 1e-3, 1.0 - 1e-3) * (right - left)
        value = cdf(middle) - chance
        up = value >= 0.0
        at_left, at_right = np.where(up, at_left / 2.0, value), np.where(up, value, at_right / 2.0)
        left, right = np.where(up, left, middle), np.where(up, middle, right)
        if np.all(right - left <= 1e-9 * width) or np.all(np.abs(value) <= 1e-12):
            return middle
    return (left + right) / 2.0
