"""How large a likelihood ratio may be for a variance that cannot lie below zero, so that its interval covers as stated."""

from __future__ import annotations

from scipy import optimize, special


def allowed(distance: float, level: float, dof: float = float("inf")) -> float:
    """Bound of the ratio of the likelihood at a value to that at the best value not below zero (twice its logarithm).

    Parameters
    ----------
    distance : float
        The value in standard errors of the estimate; at least 0.
    level : float
        Probability that the ratio of the true value is within the bound.
    dof : float
        Degrees of freedom of the standard error; infinite where it is known.

    Returns
    -------
    float
        The square of the two-sided quantile far from zero, that of the one-sided quantile at zero.

    Notes
    -----
    Feldman & Cousins (1998). With x = (estimate − value)/error standard normal, the ratio is x² where the estimate is at least
    zero (x ≥ −d) and x² − (x + d)² below; it is within c for −L ≤ x ≤ √c, L = √c up to d and (c + d²)/(2d) beyond.

    Examples
    --------
    >>> [round(allowed(d, 0.95), 2) for d in (0.0, 1.0, 2.0)]
    [2.71, 3.31, 3.84]
    """
    far = float(special.stdtrit(dof, 0.5 + level / 2.0) ** 2)
    if distance**2 >= far:
        return far

    def lacking(bound: float) -> float:
        reach = bound**0.5
        below = (
            reach if reach <= distance else (bound + distance**2) / (2.0 * distance) if distance > 0.0 else float("inf")
        )
        return float(special.stdtr(dof, reach) - special.stdtr(dof, -below)) - level

    return float(optimize.brentq(lacking, 0.0, far, xtol=1e-9)) if lacking(far) > 0.0 else far
