"""Spread and test error of least-squares students, what they report, and the data bootstrap (T1–T3, T9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from uqkd.checking.arrays import shaped
from uqkd.errors import OptionError, one_of
from uqkd.estimators.intervals.level import LEVEL
from uqkd.theory.statements.design import HEADS, Design

Array = NDArray[np.float64]


def coef_covariance(X: ArrayLike, noise_var: float, k: int, *, label_var: float = 0.0) -> Array:
    """Covariance of a student's coefficients (T1).

    Parameters
    ----------
    X : (P, q) float
        Fixed design of teacher and student.
    noise_var : float
        Variance of one response.
    k : int
        Independent responses averaged per prompt.
    label_var : float
        Variance of the labels the teacher was fitted to; 0 gives the covariance given the teacher. This part is common
        to all students and no k removes it.

    Returns
    -------
    (q, q) float
        (label_var + noise_var/k)·G.

    Examples
    --------
    >>> coef_covariance([[1.0], [1.0]], noise_var=4.0, k=2)
    array([[1.]])
    """
    return (label_var + noise_var / k) * Design.of(X).covariance_unscaled


def inter_student_variance(X: ArrayLike, X_new: ArrayLike, noise_var: float, k: int) -> Array:
    """Variance over students of their prediction at new rows, given the teacher: (noise_var/k)·h(x) (T1).

    Students must have independent responses; students that share all draws are identical and have 0.

    Parameters
    ----------
    X : (P, q) float
    X_new : (m, q) float
    noise_var : float
    k : int

    Returns
    -------
    (m,) float
        On the training rows its mean is (noise_var/k)·q/P.

    Examples
    --------
    >>> inter_student_variance([[1.0], [1.0]], [[1.0], [2.0]], noise_var=4.0, k=2)
    array([1., 4.])
    """
    return noise_var / k * Design.of(X).leverage_at(X_new)


@dataclass(frozen=True)
class ErrorMoments:
    """Mean and variance over students of the test mean squared error."""

    mean: float
    variance: float


def expected_error(X: ArrayLike, X_test: ArrayLike, residual: ArrayLike, noise_var: float, k: int) -> ErrorMoments:
    """Mean and variance of a student's test mean squared error, given the teacher (T2).

    Parameters
    ----------
    X : (P, q) float
        Training design.
    X_test : (m, q) float
    residual : (m,) float
        y_test − teacher's mean at X_test.
    noise_var : float
    k : int

    Returns
    -------
    ErrorMoments
        With v = noise_var/k, A = X_testᵀX_test/m, b = X_testᵀ·residual/m: mean = MSE_teacher + v·tr(AG),
        variance = 4v·bᵀGb + 2v²·tr((AG)²) for Gaussian noise.

    Examples
    --------
    >>> moments = expected_error([[1.0], [1.0]], [[1.0]], [0.0], noise_var=2.0, k=1)
    >>> round(moments.mean, 12), round(moments.variance, 12)
    (1.0, 2.0)
    """
    rows, error = shaped("X_test", X_test, "m q"), shaped("residual", residual, "m")
    unscaled = Design.of(X).covariance_unscaled
    spread = rows.T @ rows / len(rows) @ unscaled
    b = rows.T @ error / len(rows)
    v = noise_var / k
    return ErrorMoments(
        mean=float(error @ error / len(rows) + v * np.trace(spread)),
        variance=float(4 * v * b @ unscaled @ b + 2 * v**2 * np.trace(spread @ spread)),
    )


def reported_variance(head: str, noise_var: float, k: int) -> float:
    """Expected predictive variance that a student reports, by head (T3).

    Parameters
    ----------
    head : {"point", "targets", "responses", "carried"}
        See `uqkd.linear.distill`.
    noise_var : float
    k : int

    Returns
    -------
    float
        0, noise_var/k, noise_var, noise_var: averaging the targets hides all but 1/k of the spread.

    Examples
    --------
    >>> [reported_variance(head, 6.0, k=3) for head in ("point", "targets", "responses", "carried")]
    [0.0, 2.0, 6.0, 6.0]
    """
    one_of("head", head, HEADS)
    return {"point": 0.0, "targets": noise_var / k}.get(head, noise_var)


def interval_coverage(X: ArrayLike, X_new: ArrayLike, head: str, k: int, *, level: float = LEVEL) -> Array:
    """Share of fresh teacher responses inside a student's nominal predictive interval (T1 and T3).

    Parameters
    ----------
    X : (P, q) float
        Training design.
    X_new : (m, q) float
    head : str
        As in `reported_variance`.
    k : int
        Responses averaged per prompt, >= 1; the head "carried" has a spread within prompts from k = 2 on.
    level : float
        Nominal level of mean ± z·√(reported variance).

    Returns
    -------
    (m,) float
        2·F(z·√(ρ/(1 + h(x)/k))) − 1 with ρ the share of the variance that the head reports and F Student's t with the
        head's degrees of freedom: a fresh response misses the student's mean by the teacher's noise and by the student's
        own error, and the head's variance is an estimate independent of both. Exact for Gaussian noise.

    Raises
    ------
    OptionError
        Too few responses for the head.

    Examples
    --------
    >>> X = np.ones((1000, 1))
    >>> interval_coverage(X, X[:1], "carried", 4).round(3), interval_coverage(X, X[:1], "targets", 4).round(3)
    (array([0.95]), array([0.673]))
    """
    least = 2 if one_of("head", head, HEADS) == "carried" else 1
    if k < least:
        raise OptionError(f"interval_coverage of head {head!r} needs k >= {least} responses per prompt; got k={k}.")
    share, design = reported_variance(head, 1.0, k), Design.of(X)
    rows, width = design.X.shape
    dof = {"point": 1, "targets": rows - width, "responses": rows * k - width, "carried": rows * (k - 1)}[head]
    reach = stats.norm.isf((1 - level) / 2) * np.sqrt(share / (1.0 + design.leverage_at(X_new) / k))
    return np.asarray(2 * stats.t.cdf(reach, dof) - 1)


def bootstrap_variance(X: ArrayLike, residual: ArrayLike, X_new: ArrayLike, *, drawn: int) -> Array:
    """Variance of predictions of students trained on bootstrap resamples of the rows (T9).

    Parameters
    ----------
    X : (n, q) float
        Design that is resampled.
    residual : (n,) float
        Labels − fit on all rows. With the teacher's noise-free labels it is 0 and so is the variance.
    X_new : (m, q) float
    drawn : int
        Rows in each resample.

    Returns
    -------
    (m,) float
        Sandwich (n/drawn)·xᵀG(Σ e_i² x_i x_iᵀ)Gx; asymptotic, for drawn ≫ q.

    Examples
    --------
    >>> bootstrap_variance([[1.0]] * 4, [1.0, -1.0, 1.0, -1.0], [[1.0]], drawn=4)
    array([0.25])
    """
    design = Design.of(X)
    error, rows = shaped("residual", residual, "n"), shaped("X_new", X_new, "m q")
    influence = design.projector * error[:, None]
    meat = influence.T @ influence  # (q, q): nothing of size rows × rows
    return np.asarray(len(error) / drawn * np.einsum("mi,ij,mj->m", rows, meat, rows))
