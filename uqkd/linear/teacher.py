"""The linear teacher: ordinary least squares, and k noisy responses per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from uqkd import seeds
from uqkd.checking.arrays import finite, shaped
from uqkd.errors import OptionError, ShapeError, VarianceError, one_of
from uqkd.theory.statements.design import Factor

Array = NDArray[np.float64]

# Columns scaled to length one, a condition number c costs log10(c) of float64's 16 digits; 1e12 leaves about four.


@dataclass(frozen=True)
class OLS:
    """An ordinary least-squares fit; made by `fit_ols`.

    Attributes
    ----------
    coef : (q,) float
    covariance_unscaled : (q, q) float
        G = (XᵀX)⁻¹ (pseudo-inverse for a minimum-norm fit); times the noise variance it is the covariance of `coef`.
    dof : int
        n − rank.
    residual_var : float
        Residual sum of squares / dof.
    condition : float
        Condition number of X after scaling its columns to length one.
    rank : int
    """

    coef: Array
    covariance_unscaled: Array
    dof: int
    residual_var: float
    condition: float
    rank: int

    def predict(self, X: ArrayLike) -> Array:
        """Fitted means at the rows of X (m, q), as (m,)."""
        return np.asarray(finite("X", X) @ self.coef)


def fit_ols(X: ArrayLike, y: ArrayLike, *, rank: str = "full", columns: Sequence[str] | None = None) -> OLS:
    """Ordinary least squares by Householder QR of the column-scaled design, refined in extended precision.

    Parameters
    ----------
    X : (n, q) float
        Design as given: no column is added, so pass the intercept as a column of ones. Needs n > q.
    y : (n,) float
        Responses.
    rank : {"full", "minimum_norm"}
        "full" refuses a deficient design; "minimum_norm" asks by name for the SVD solution of smallest length.
    columns : sequence of str, optional
        Names for error messages.

    Returns
    -------
    OLS
        `.coef` (q,), `.covariance_unscaled` (q, q), `.dof`, `.residual_var`, `.condition`, `.rank`.

    Raises
    ------
    RankError
        n <= q, or columns (named, with the condition number) that are linearly dependent or nearly so.
    ShapeError, NotFiniteError
        Wrong axes; NaN or inf.

    Notes
    -----
    T1. Never forms XᵀX. Checked against NIST's reference data sets (tests/reference).

    Examples
    --------
    >>> fit = fit_ols([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0])
    >>> fit.coef.round(12), fit.dof
    (array([1., 2.]), 1)
    """
    one_of("rank", rank, ["full", "minimum_norm"])
    design, target = shaped("X", X, "n q"), shaped("y", y, "n")
    if len(design) != len(target):
        raise ShapeError(f"X has {len(design)} rows but y has {len(target)} values; they must be equal.")
    if rank == "minimum_norm":
        return _minimum_norm(design, target)
    factor = Factor.of(design, columns)
    coef = _refined(design, target, factor)
    residual = (target.astype(np.longdouble) - design.astype(np.longdouble) @ coef).astype(np.float64)
    dof = len(design) - design.shape[1]
    inverse = factor.inverse_r()
    return OLS(
        coef=coef.astype(np.float64),
        covariance_unscaled=inverse @ inverse.T,
        dof=dof,
        residual_var=float(residual @ residual / dof),
        condition=factor.condition,
        rank=design.shape[1],
    )


def _refined(design: Array, target: Array, factor: Factor) -> NDArray[np.longdouble]:
    """Least-squares coefficients after three steps of refinement with extended-precision residuals.

    Björck's augmented system: residual r and coefficients b are corrected together, which is what a design with a
    large residual needs. Each step multiplies the error by about condition·eps, down to about condition·2⁻⁶⁴.
    """
    wide, y = design.astype(np.longdouble), target.astype(np.longdouble)
    coef = factor.solve(target).astype(np.longdouble)
    residual = y - wide @ coef
    for _ in range(3):
        f = (y - residual - wide @ coef).astype(np.float64)
        g = -(wide.T @ residual).astype(np.float64)
        inner = solve_triangular(factor.r, g / factor.scale, trans="T")
        projected = factor.q.T @ f
        coef = coef + solve_triangular(factor.r, projected - inner) / factor.scale
        residual = residual + (f - factor.q @ projected + factor.q @ inner)
    return coef


def _minimum_norm(design: Array, target: Array) -> OLS:
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    keep = singular > singular[0] * max(design.shape) * np.finfo(np.float64).eps
    inverse = right[keep].T / singular[keep]
    coef = inverse @ (left[:, keep].T @ target)
    rank = int(keep.sum())
    dof = len(design) - rank
    residual = target - design @ coef
    condition = float(singular[0] / singular[keep][-1])
    residual_var = float(residual @ residual / dof) if dof else float("nan")
    return OLS(coef, inverse @ inverse.T, dof, residual_var, condition, rank)


@dataclass(frozen=True)
class Teacher:
    """A linear teacher that answers at random: response = x·coef + noise of variance `noise_var`.

    Attributes
    ----------
    coef : (q,) float
    noise_var : float
        Variance of one response around the teacher's mean (σ_T²), squared units of y.
    """

    coef: Array
    noise_var: float

    @classmethod
    def fit(cls, X: ArrayLike, y: ArrayLike, *, noise_var: float) -> Teacher:
        """Fit by `fit_ols`; the response noise is a choice of the study, in squared units of y."""
        if not np.isfinite(noise_var) or noise_var < 0:
            raise VarianceError(f"noise_var must be finite and >= 0 (squared units of y); got {noise_var}.")
        return cls(fit_ols(X, y).coef, float(noise_var))

    def predict_mean(self, X: ArrayLike) -> Array:
        """The teacher's noise-free answers at the rows of X (P, q), as (P,)."""
        return np.asarray(finite("X", X) @ self.coef)

    def respond(self, X: ArrayLike, k: int, *, students: int, key: tuple[Any, ...]) -> Array:
        """k independent responses per prompt for each of S students.

        Parameters
        ----------
        X : (P, q) float
            Prompts.
        k : int
            Responses per prompt, >= 1.
        students : int
            S, the number of independent sets of responses.
        key : tuple
            Names the stream; see `uqkd.seeds.generator`.

        Returns
        -------
        (S, P, k) float

        Examples
        --------
        >>> teacher = Teacher.fit([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 3.0, 5.0], noise_var=0.25)
        >>> teacher.respond([[1.0, 4.0]], 3, students=2, key=("doc",)).shape
        (2, 1, 3)
        """
        if k < 1 or students < 1:
            raise OptionError(f"respond needs k >= 1 and students >= 1; got k={k}, students={students}.")
        mean = self.predict_mean(X)
        responses = seeds.generator(*key).standard_normal((students, len(mean), k))
        responses *= np.sqrt(self.noise_var)
        responses += mean[:, None]
        return responses
