"""Linear students: weigh the teacher's responses, distil S students at once, let them predict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import FewResponsesWarning, OptionError, ShapeError, VarianceError, one_of
from uqkd.estimators.checking import shaped
from uqkd.estimators.shrinkage import shrink_variances
from uqkd.estimators.weighting import FEW_RESPONSES
from uqkd.estimators.weighting_law import blend_variance
from uqkd.linear.teacher import _Factor

Array = NDArray[np.float64]

HEADS = ("point", "targets", "responses", "carried")


@dataclass(frozen=True)
class Targets:
    """Weighted responses: what each student is trained on; made by `weigh`.

    Attributes
    ----------
    values : (S, P) float
        The weighted mean of the responses (and of a second source), the label of a least-squares student.
    responses : (S, P, k) float
        The responses themselves, so that their spread is never lost.
    weights : float or (P,) or (S, P) float
        Weight on the mean of the teacher's responses; the second source has the rest. 1 where there is none.
    method : str
    """

    values: Array
    responses: Array
    weights: Array
    method: str


def weigh(
    responses: Array,
    method: str = "average",
    *,
    source: Array | None = None,
    source_var: ArrayLike | None = None,
    response_var: ArrayLike | None = None,
) -> Targets:
    """Turn k responses per prompt into weighted responses.

    Parameters
    ----------
    responses : (S, P, k) float
    method : str
        "single": the first response. "average": the mean of k ("multi", weight 1/k each, trains the same least-squares
        coefficients). "oracle": the published variant, which blends in the teacher's noise-free mean with weights from
        the variance (ddof 0) of *one* response. "known": inverse-variance weights from known variances. "estimated":
        from each prompt's own sample variance (ddof 1). "shrunk": the same after empirical-Bayes shrinkage over prompts.
    source : (P,) or (S, P) float
        Second source, needed by the last four: predictions of an independent student, or for "oracle" the mean.
    source_var : float or (P,) or (S, P) float
        Its variance.
    response_var : float
        Known variance of one response, for "known".

    Returns
    -------
    Targets

    Notes
    -----
    T6, T7: the weight on the mean of k responses is k·source_var/(response_var + k·source_var).

    Examples
    --------
    >>> responses = np.array([[[1.0, 3.0]]])
    >>> weigh(responses).values
    array([[2.]])
    >>> weigh(responses, "known", source=np.array([4.0]), source_var=1.0, response_var=2.0).values
    array([[3.]])
    """
    one_of("method", method, ["single", "average", "multi", "oracle", "known", "estimated", "shrunk"])
    k = responses.shape[-1]
    if method == "single":
        return Targets(responses[..., 0], responses[..., :1], np.ones(()), method)
    mean = responses @ np.full(k, 1.0 / k)
    if method in ("average", "multi"):
        return Targets(mean, responses, np.ones(()), method)
    if source is None or source_var is None:
        raise OptionError(f"method {method!r} combines two sources; pass source and source_var.")
    second = _positive("source_var", source_var)
    if method == "oracle":
        first = _positive("the sample variance of the responses", _spread(responses, ddof=0))
    elif method == "known":
        first = _positive("response_var", response_var) / k
    else:
        first = _positive("the sample variance of the responses", _spread(responses, ddof=1))
        if method == "estimated" and k < FEW_RESPONSES:
            warnings.warn(_few(k), FewResponsesWarning, stacklevel=2)
        if method == "shrunk":
            first = np.stack([shrink_variances(row, k - 1).variance for row in first])
        first = first / k
    weights = second / (first + second)
    return Targets(weights * mean + (1.0 - weights) * source, responses, weights, method)


def _few(k: int) -> str:
    cost = 2 * blend_variance([1.0], k)[0]
    return (
        f"weights from the sample variance of k={k} responses (fewer than {FEW_RESPONSES}): beside a source of equal, known "
        f"variance the mean squared error is {cost:.3g} times that of the best weights. Compare method='average', or use "
        "'shrunk'."
    )


def _positive(name: str, value: ArrayLike | None) -> Array:
    array = np.asarray(value if value is not None else np.nan, dtype=np.float64)
    if not (array > 0).all():
        raise VarianceError(f"{name} must be given and positive to weigh by inverse variance; got {array.min()}.")
    return array


def _spread(responses: Array, *, ddof: int) -> Array:
    if responses.shape[-1] < 2:
        raise VarianceError(
            "estimated inverse-variance weights need k >= 2 responses per prompt; got k=1. Draw more responses, pass "
            "known variances, or use method='average'."
        )
    return np.asarray(responses.var(axis=-1, ddof=ddof))


@dataclass(frozen=True)
class Design:
    """A fixed design, factorised once and shared by all students trained on it.

    Attributes
    ----------
    X : (P, q) float
    projector : (P, q) float
        X·G: targets (S, P) @ projector = coefficients (S, q).
    leverage : (P,) float
        h(x) = xᵀGx at the training rows; sums to q.
    covariance_unscaled : (q, q) float
        G = (XᵀX)⁻¹.
    """

    X: Array
    projector: Array
    leverage: Array
    covariance_unscaled: Array

    @classmethod
    def of(cls, X: ArrayLike) -> Design:
        """Factorise X by QR; the same rank checks as `fit_ols`.

        Examples
        --------
        >>> Design.of([[1.0], [1.0], [1.0], [1.0]]).leverage
        array([0.25, 0.25, 0.25, 0.25])
        """
        design = shaped("X", X, "n q")
        factor = _Factor.of(design)
        inverse = factor.inverse_r()
        return cls(
            X=design,
            projector=factor.q @ inverse.T,
            leverage=(factor.q**2).sum(axis=1),
            covariance_unscaled=inverse @ inverse.T,
        )

    def leverage_at(self, X: ArrayLike) -> Array:
        """h(x) = xᵀGx at any rows (m, q), as (m,)."""
        rows = shaped("X", X, "m q")
        return np.asarray(np.einsum("mi,ij,mj->m", rows, self.covariance_unscaled, rows))


@dataclass(frozen=True)
class Students:
    """S students; made by `distill`.

    Attributes
    ----------
    coef : (S, q) float
    head_var : (S,) float
        Variance of the Gaussian head, squared units of y; 0 for point students.
    """

    coef: Array
    head_var: Array

    @classmethod
    def joined(cls, parts: Sequence[Students]) -> Students:
        """Students of several chunks as one set, in the order given."""
        return cls(np.concatenate([p.coef for p in parts]), np.concatenate([p.head_var for p in parts]))

    def means(self, X: ArrayLike) -> Array:
        """Predictive means at the rows of X (P, q), as (S, P)."""
        return np.asarray(self.coef @ np.asarray(X, dtype=np.float64).T)

    def predict(self, X: ArrayLike, responses: int, *, key: tuple[Any, ...]) -> Array:
        """Draw R responses per prompt from each student's predictive distribution.

        Parameters
        ----------
        X : (P, q) float
        responses : int
            R.
        key : tuple
            Names the stream; see `uqkd.seeds.generator`.

        Returns
        -------
        (S, P, R) float

        Examples
        --------
        >>> Students(np.ones((2, 1)), np.zeros(2)).predict([[3.0]], 2, key=("doc",))[:, 0]
        array([[3., 3.],
               [3., 3.]])
        """
        means = self.means(X)
        draws = seeds.generator(*key).standard_normal((*means.shape, responses))
        draws *= np.sqrt(self.head_var)[:, None, None]
        draws += means[:, :, None]
        return draws


def distill(design: Design, targets: Targets, *, head: str = "point") -> Students:
    """Train one least-squares student per row of targets, all in one product.

    Parameters
    ----------
    design : Design
    targets : Targets
    head : {"point", "targets", "responses", "carried"}
        What the student reports as its predictive variance: nothing; the residual variance of its (averaged) targets,
        dof P − q; the residual variance of all k·P raw responses, dof kP − q; or the pooled within-prompt spread
        that the average carries along (k >= 2).

    Returns
    -------
    Students

    Notes
    -----
    T1, T3. The three heads report σ_T²/k, σ_T² and σ_T² on average.

    Examples
    --------
    >>> design = Design.of([[1.0], [1.0]])
    >>> targets = weigh(np.array([[[1.0, 3.0], [5.0, 7.0]]]))
    >>> distill(design, targets).coef
    array([[4.]])
    >>> [float(distill(design, targets, head=h).head_var[0].round(2)) for h in HEADS]
    [0.0, 8.0, 6.67, 2.0]
    """
    one_of("head", head, HEADS)
    rows, width = design.X.shape
    if targets.values.shape[-1] != rows:
        raise ShapeError(f"distill got targets for {targets.values.shape[-1]} prompts but a design of {rows} rows.")
    coef = targets.values @ design.projector
    if head == "point":
        return Students(coef, np.zeros(len(coef)))
    fitted = coef @ design.X.T
    k = targets.responses.shape[-1]
    if head == "targets":
        head_var = ((targets.values - fitted) ** 2).sum(axis=1) / (rows - width)
    elif head == "responses":
        head_var = ((targets.responses - fitted[:, :, None]) ** 2).sum(axis=(1, 2)) / (rows * k - width)
    else:
        head_var = _spread(targets.responses, ddof=1).mean(axis=1)
    return Students(coef, head_var)
