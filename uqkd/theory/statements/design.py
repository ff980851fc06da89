"""A fixed design, factorised once: what statements about least-squares students and the students themselves share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import qr, solve_triangular

from uqkd.checking.arrays import shaped
from uqkd.errors import RankError

Array = NDArray[np.float64]

CONDITION_LIMIT = 1e12
HEADS = ("point", "targets", "responses", "carried")


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
        factor = Factor.of(design)
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
class Factor:
    """X = Q·R·diag(scale): one factorisation, shared by the teacher and every student on the same design."""

    q: Array
    r: Array
    scale: Array
    condition: float

    @classmethod
    def of(cls, design: Array, columns: Sequence[str] | None = None) -> Factor:
        """Factorise a design (n, q), or name the columns that depend on one another."""
        rows, width = design.shape
        if rows <= width:
            raise RankError(
                f"least squares needs more rows than columns to leave a degree of freedom; got n={rows} rows and q={width} "
                "columns. Bring more rows, drop columns, or ask for rank='minimum_norm' by name."
            )
        peak = np.abs(design).max(axis=0)
        safe = np.where(peak > 0, peak, 1.0)
        length = safe * np.sqrt(((design / safe) ** 2).sum(axis=0))  # no overflow for huge or tiny columns
        scale = np.exp2(np.round(np.log2(np.where(peak > 0, length, 1.0))))  # powers of two: scaling is exact
        q, r = qr(design / scale, mode="economic")
        _, singular, right = np.linalg.svd(r / np.linalg.norm(r, axis=0).clip(min=np.finfo(float).tiny))
        condition = float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
        if condition > CONDITION_LIMIT:
            raise RankError(_dependent_columns(design, right[-1], condition, columns))
        return cls(q, r, scale, condition)

    def solve(self, rhs: Array) -> Array:
        """Least-squares coefficients (q, ...) of targets (n, ...)."""
        return np.asarray(solve_triangular(self.r, self.q.T @ rhs) / self.scale)

    def inverse_r(self) -> Array:
        """R⁻¹ with the column scale undone, (q, q): G = inverse·inverseᵀ."""
        return np.asarray(solve_triangular(self.r, np.eye(len(self.r))) / self.scale[:, None])


def _dependent_columns(design: Array, direction: Array, condition: float, columns: Sequence[str] | None) -> str:
    names = list(columns) if columns is not None else [f"column {j}" for j in range(design.shape[1])]
    involved = [names[j] for j in np.flatnonzero(np.abs(direction) > 0.1 * np.abs(direction).max())]
    constant = [names[j] for j in range(design.shape[1]) if np.ptp(design[:, j]) == 0]
    note = f" Constant columns: {', '.join(constant)} (an intercept is one of them)." if len(constant) > 1 else ""
    return (
        f"the design is rank-deficient or nearly so: condition number {condition:.2g} (limit {CONDITION_LIMIT:.0e}), "
        f"linearly dependent: {', '.join(involved)}.{note} Drop one of them, or ask for rank='minimum_norm' by name."
    )
