"""Closed-form limits for sums and differences of mean squares: modified large sample, and Satterthwaite."""

from __future__ import annotations

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array
from uqkd.errors import VarianceError


def modified_large_sample(terms: Array, dof: Array, tail: float) -> tuple[Array, Array]:
    """Modified large sample limits of Σ cᵢ E[MSᵢ].

    Parameters
    ----------
    terms : (n,) or (n, P) array
        Observed cᵢ MSᵢ, of either sign.
    dof : (n,) array
        Degrees of freedom.
    tail : float
        Probability left out on each side.

    Returns
    -------
    two arrays, scalar or (P,)
        Lower and upper limit. An upper limit is minus the lower limit of the combination with all signs turned.

    Notes
    -----
    Graybill & Wang (1980) for one sign, Ting et al. (1990) for mixed signs.

    Examples
    --------
    >>> low, high = modified_large_sample(np.array([2.0]), np.array([10.0]), 0.025)  # one term: the chi-square limits
    >>> float(low.round(4)), float(high.round(4))
    (0.9764, 6.1596)
    """
    estimate = terms.sum(axis=0)
    return estimate - _reach(terms, dof, tail), estimate + _reach(-terms, dof, tail)


def _reach(terms: Array, dof: Array, tail: float) -> Array:
    """Distance from the estimate to the lower limit (Ting et al. 1990, eq. for V_L; Burdick & Graybill 1992, §3.3)."""
    # A sign is the coefficient's: a zero mean square contributes nothing either way.
    plus = [i for i in range(dof.size) if np.any(terms[i] > 0)]
    minus = [i for i in range(dof.size) if i not in plus]
    below = 1.0 - dof / special.chdtri(dof, tail)
    above = dof / special.chdtri(dof, 1.0 - tail) - 1.0
    square = np.zeros(terms.shape[1:])
    for i in plus:
        square = square + (below[i] * terms[i]) ** 2
    for j in minus:
        square = square + (above[j] * terms[j]) ** 2
        for i in plus:
            ratio = special.fdtri(dof[i], dof[j], 1.0 - tail)
            cross = ((ratio - 1.0) ** 2 - (below[i] * ratio) ** 2 - above[j] ** 2) / ratio
            square = square + cross * terms[i] * np.abs(terms[j])
    if minus:  # exactness where two positive terms face negative ones
        for a, i in enumerate(plus):
            for j in plus[a + 1 :]:
                square = square + _like_signs(dof[i], dof[j], tail) / (len(plus) - 1) * terms[i] * terms[j]
    return np.sqrt(np.maximum(square, 0.0))


def _like_signs(first: float, second: float, tail: float) -> float:
    both = first + second
    below = 1.0 - np.array([first, second, both]) / special.chdtri(np.array([first, second, both]), tail)
    cross = below[2] ** 2 * both**2 / (first * second) - below[0] ** 2 * first / second - below[1] ** 2 * second / first
    return float(cross)


def satterthwaite_limits(terms: Array, dof: Array, tail: float) -> tuple[Array, Array]:
    """Limits from one chi-square whose two moments match Σ cᵢ MSᵢ, all cᵢ positive; arguments as above.

    Raises
    ------
    VarianceError
        A negative term.

    Examples
    --------
    >>> low, high = satterthwaite_limits(np.array([1.0, 1.0]), np.array([10.0, 10.0]), 0.025)  # 20 degrees of freedom
    >>> float(low.round(4)), float(high.round(4))
    (1.1706, 4.1707)
    """
    if np.any(terms < 0):
        raise VarianceError("satterthwaite needs coefficients of one sign; use method='mls' for a difference.")
    total = terms.sum(axis=0)
    share = terms / np.where(total > 0, total, 1.0)
    matched = 1.0 / np.maximum((share**2 / dof.reshape((-1,) + (1,) * (terms.ndim - 1))).sum(axis=0), 1e-300)
    return total * matched / special.chdtri(matched, tail), total * matched / special.chdtri(matched, 1.0 - tail)
