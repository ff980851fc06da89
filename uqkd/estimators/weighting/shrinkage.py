"""Empirical-Bayes shrinkage of many variances, each estimated from few responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from uqkd.checking.arrays import Array, finite, shaped
from uqkd.checking.variation import ROUNDING
from uqkd.errors import ShapeError, VarianceError

_NEWTON_ROUNDS = 60


@dataclass(frozen=True)
class Shrunk:
    """Variances drawn towards what the other prompts say; made by `shrink_variances`.

    Attributes
    ----------
    variance : (P,) array
        ``(prior_dof · prior_var + dof · s²) / (prior_dof + dof)`` = 1/E[1/σ² | s²], the inverse of the expected precision:
        what a moderated t statistic divides by (Smyth's posterior variance). It is below the expected variance.
    prior_var : float
        Location of the prior.
    prior_dof : float
        How many degrees of freedom the prior is worth; inf when the variances spread no more than chance makes them.
    dof : (P,) array
        Degrees of freedom behind each posterior variance, ``prior_dof + dof``.

    Examples
    --------
    >>> Shrunk(np.array([1.0]), 1.0, 4.0, np.array([6.0])).expected_variance
    array([1.5])
    """

    variance: Array
    prior_var: float
    prior_dof: float
    dof: Array

    @property
    def expected_variance(self) -> Array:
        """E[σ² | s²] = `variance` · dof/(dof − 2) of each prompt; infinite where `dof` is 2 or less.

        The variance to state, and to weigh by: weights in proportion to its inverse make the expected squared error of a
        combination least, given the sample variances.
        """
        left = 1.0 - 2.0 / self.dof
        return np.divide(self.variance, left, out=np.full(self.variance.shape, np.inf), where=left > 0.0)


def shrink_variances(variances: Any, dof: Any) -> Shrunk:
    """Variances of many prompts, each shrunk towards a scaled inverse chi-square prior fitted to all of them.

    Parameters
    ----------
    variances : (P,) array_like
        Unbiased variances (ddof 1) of independent prompts; positive, P >= 2.
    dof : float or (P,) array_like
        Degrees of freedom of each, > 0.

    Returns
    -------
    Shrunk
        `.variance` (P,) in the units of `variances`, `.expected_variance`, `.prior_var`, `.prior_dof`, `.dof`.

    Raises
    ------
    ShapeError
        Not one axis, fewer than two prompts, or dof of another length.
    VarianceError
        A variance or dof that is not positive, or a variance that is zero up to rounding beside the largest: the fit is one
        of logarithms, and no epsilon is added.

    Notes
    -----
    T7. Smyth (2004): moments of log s², mean ψ(d/2) − log(d/2) and variance trigamma(d/2) removed. Without excess
    spread the variances are pooled, weighted by dof.

    Examples
    --------
    >>> shrunk = shrink_variances([0.1, 1.0, 10.0], 2)
    >>> shrunk.variance.round(2), round(shrunk.prior_dof, 2)
    (array([0.3 , 0.86, 6.5 ]), 1.2)
    >>> shrink_variances([0.9, 1.0, 1.1], 2).variance.round(2)
    array([1., 1., 1.])
    """
    value = shaped("variances", variances, "P", need={"P": 2})
    freedom = finite("dof", dof)
    if freedom.ndim > 0 and freedom.shape != value.shape:
        raise ShapeError(f"dof must be one number or have the shape of variances {value.shape}; got {freedom.shape}.")
    freedom = np.broadcast_to(freedom, value.shape)
    for name, array in (("variances", value), ("dof", freedom)):
        if array.min() <= 0:
            raise VarianceError(f"{name} must be positive; got {array.min():g} at prompt {int(array.argmin())}.")
    _told_apart(value)
    logs = np.log(value) - special.digamma(freedom / 2.0) + np.log(freedom / 2.0)
    excess = float(logs.var(ddof=1) - special.polygamma(1, freedom / 2.0).mean())
    if excess <= 0.0:
        pooled = float((freedom * (value / value.max())).sum() / freedom.sum() * value.max())
        return Shrunk(np.full(value.shape, pooled), pooled, float("inf"), np.full(value.shape, np.inf))
    prior_dof = 2.0 * _inverse_trigamma(excess)
    prior_var = float(np.exp(logs.mean() + special.digamma(prior_dof / 2.0) - np.log(prior_dof / 2.0)))
    share = prior_dof / (prior_dof + freedom)
    return Shrunk(share * prior_var + (1.0 - share) * value, prior_var, prior_dof, prior_dof + freedom)


def finite_variance(name: str, shrunk: Shrunk) -> Array:
    """`Shrunk.expected_variance`, or `VarianceError` where it is infinite.

    Examples
    --------
    >>> finite_variance("samples[0]", Shrunk(np.array([1.0]), 1.0, 0.5, np.array([1.5])))
    Traceback (most recent call last):
        ...
    uqkd.errors.VarianceError: samples[0]: two responses a prompt and a prior worth 0.5 degrees of freedom leave the ...
    """
    if (shrunk.dof <= 2.0).any():
        raise VarianceError(
            f"{name}: two responses a prompt and a prior worth {shrunk.prior_dof:.3g} degrees of freedom leave the expected "
            "variance infinite: the prompts are too unlike to help each other. Draw k >= 3, or use the plain average."
        )
    return shrunk.expected_variance


def _told_apart(value: Array) -> None:
    """Refuse variances so small beside the largest that responses of one size have them by rounding alone."""
    if np.sqrt(value.min() / value.max()) <= ROUNDING:
        raise VarianceError(
            f"variances holds {value.min():g} at prompt {int(value.argmin())} beside {value.max():g}: of responses of one "
            "size that is rounding, so these responses do not vary. Leave such prompts out (one of them decides the prior)."
        )


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value by Newton on 1 / trigamma, which is nearly linear (Smyth 2004, appendix)."""
    x = 0.5 + 1.0 / value
    for _ in range(_NEWTON_ROUNDS):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1.0 - trigamma / value) / float(special.polygamma(2, x))
        x += step
        if abs(step) <= 1e-14 * x:
            break
    return x
