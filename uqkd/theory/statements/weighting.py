"""Inverse-variance weighting with known and with estimated variances (T6, T7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, stats

from uqkd.checking.arrays import finite, shaped
from uqkd.errors import OptionError, VarianceError, one_of
from uqkd.estimators.weighting.exact_variance import blend_variance, graybill_deal_variance
from uqkd.theory.statements.design import Design

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Combined:
    """Weight on the first of two sources and the variance of the combination."""

    weight: float
    variance: float


def combine(first_var: float, second_var: float, *, covariance: float = 0.0) -> Combined:
    """Best unbiased combination of two sources (T6).

    Parameters
    ----------
    first_var, second_var : float
        Variances; for biased sources pass σ² + b² each.
    covariance : float
        Between the sources; for biased ones c + b₁b₂. The weight leaves [0, 1] where it exceeds the smaller variance.

    Returns
    -------
    Combined
        weight = (second − c)/(first + second − 2c), variance = (first·second − c²)/(first + second − 2c).

    Examples
    --------
    >>> combine(1.0, 3.0)
    Combined(weight=0.75, variance=0.75)
    >>> combine(1.0, 3.0, covariance=1.0)
    Combined(weight=1.0, variance=1.0)
    """
    spread = first_var + second_var - 2 * covariance
    if first_var <= 0 or second_var <= 0 or spread <= 0 or covariance**2 > first_var * second_var:
        raise VarianceError(
            "combine needs positive variances and a covariance that they allow; got "
            f"{first_var}, {second_var}, covariance {covariance}."
        )
    return Combined((second_var - covariance) / spread, (first_var * second_var - covariance**2) / spread)


def precision_variance(leverage: ArrayLike, response_mean_var: float, *, draws: str) -> Array:
    """Variance of a label that blends the mean of k responses with a student's prediction, at known weights (T6).

    Parameters
    ----------
    leverage : (P,) float
        h at the training rows; the least-squares student there has variance v·h, v = `response_mean_var` = σ_T²/k.
    response_mean_var : float
        v.
    draws : {"fresh", "same"}
        Whether the student was trained on independent draws or on the very draws it is combined with. Both use the
        naive weight h/(1+h) on the responses.

    Returns
    -------
    (P,) float
        fresh: v·h/(1+h), a gain of 1/(1+h) over the student alone. same: v·[h + h²(1−h)/(1+h)²], a loss.

    Examples
    --------
    >>> precision_variance([0.5], 1.0, draws="fresh").round(4), precision_variance([0.5], 1.0, draws="same").round(4)
    (array([0.3333]), array([0.5556]))
    """
    one_of("draws", draws, ["fresh", "same"])
    h = finite("leverage", leverage)
    if draws == "fresh":
        return response_mean_var * h / (1 + h)
    return response_mean_var * (h + h**2 * (1 - h) / (1 + h) ** 2)


def oracle_label_variance(k: int) -> float:
    """Label variance of the published weighting relative to averaging, Var(z)/(σ_T²/k) (T6).

    The published scripts blend the mean of k responses with the teacher's noise-free mean, and weigh the two by the
    sample variance (ddof 0) of *one* response against σ_T²: z − m = (T̄ − m)/(1 + s₀²/σ_T²). For Gaussian responses
    T̄ and s₀² are independent, so the ratio is E[(1 + χ²_{k−1}/k)⁻²], whatever σ_T² is.

    Examples
    --------
    >>> [round(oracle_label_variance(k), 3) for k in (3, 4, 5, 10, 50)]
    [0.491, 0.427, 0.39, 0.317, 0.263]
    """
    if k < 2:
        raise OptionError(f"oracle_label_variance needs k >= 2 responses to have a sample variance; got k={k}.")
    value, _ = integrate.quad(lambda t: stats.chi2.pdf(t**2, k - 1) * 2 * t / (1 + t**2 / k) ** 2, 0, np.inf)
    return float(value)


def graybill_deal_ratio(k: int, variance_ratio: float) -> float:
    """Var(Graybill–Deal)/Var(better source) of two normal sources with k draws each and estimated variances (T7).

    Parameters
    ----------
    k : int
        Draws per source, >= 2.
    variance_ratio : float
        σ_S²/σ_T² >= 1; source T is the better one.

    Returns
    -------
    float
        Exact, by quadrature. At equal variances (k+1)/(2k); above 1 plug-in weights lose to the better source.

    Examples
    --------
    >>> round(graybill_deal_ratio(3, 1.0), 4), round(graybill_deal_ratio(3, 4.0), 2)
    (0.6667, 1.16)
    """
    if k < 2 or variance_ratio < 1:
        raise OptionError(f"graybill_deal_ratio needs k >= 2 and variance_ratio >= 1; got {k}, {variance_ratio}.")
    return float(graybill_deal_variance([k, k], [1.0, variance_ratio]) * k)


def blended_student_variance(X: ArrayLike, X_new: ArrayLike, response_mean_var: float, *, draws: str) -> Array:
    """Variance over students trained on labels that blend k responses with an earlier student (T6, known weights).

    Parameters
    ----------
    X : (P, q) float
    X_new : (m, q) float
    response_mean_var : float
        v = σ_T²/k.
    draws : {"fresh", "same"}
        As in `precision_variance`.

    Returns
    -------
    (m,) float
        With D = diag(h/(1+h)), H the hat matrix and a = XGx: fresh v·aᵀ[D² + (I−D)H(I−D)]a,
        same v·‖[D + H(I−D)]a‖². Averaging alone gives v·h(x), averaging twice as many responses half of it.

    Examples
    --------
    >>> blended_student_variance([[1.0], [1.0]], [[1.0]], 1.0, draws="fresh").round(4)
    array([0.2778])
    """
    one_of("draws", draws, ["fresh", "same"])
    design = Design.of(X)
    weight = design.leverage / (1 + design.leverage)
    influence = shaped("X_new", X_new, "m q") @ design.projector.T  # rows aᵀ
    through = (influence * (1 - weight)) @ design.projector @ design.X.T
    own = influence * weight
    if draws == "same":
        return np.asarray(response_mean_var * ((own + through) ** 2).sum(axis=1))
    return np.asarray(response_mean_var * ((own**2).sum(axis=1) + (through**2).sum(axis=1)))


def estimated_label_variance(leverage: ArrayLike, k: int) -> Array:
    """Label variance relative to averaging, Var(z)/(σ_T²/k), when the weight uses each prompt's own s² (T6, T7).

    Parameters
    ----------
    leverage : (P,) float
        The second source is an independent least-squares student on fresh draws, of known variance v·h.
    k : int
        Responses per prompt behind s² (ddof 1), >= 2.

    Returns
    -------
    (P,) float
        E[w²] + h·E[(1−w)²] with w = h/(h + χ²_{k−1}/(k−1)); for k → ∞ it falls to h/(1+h).

    Examples
    --------
    >>> estimated_label_variance([0.5], 3).round(3), estimated_label_variance([0.5], 3000).round(3)
    (array([0.442]), array([0.333]))
    """
    if k < 2:
        raise OptionError(f"estimated_label_variance needs k >= 2 responses to have a sample variance; got k={k}.")
    return blend_variance(finite("leverage", leverage), k)
