"""Linear students: distil S of them at once from weighted responses, let them predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import ShapeError, one_of
from uqkd.targets import NumberTargets
from uqkd.targets.numbers import sample_variance
from uqkd.theory.statements.design import HEADS, Design

Array = NDArray[np.float64]


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

    def predict_mean(self, X: ArrayLike) -> Array:
        """Predictive means at the rows of X (P, q), as (S, P)."""
        return np.asarray(self.coef @ np.asarray(X, dtype=np.float64).T)

    def predict(self, X: ArrayLike, draws: int, *, key: tuple[Any, ...]) -> Array:
        """Draw R responses per prompt from each student's predictive distribution.

        Parameters
        ----------
        X : (P, q) float
        draws : int
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
        means = self.predict_mean(X)
        drawn = seeds.generator(*key).standard_normal((*means.shape, draws))
        drawn *= np.sqrt(self.head_var)[:, None, None]
        drawn += means[:, :, None]
        return drawn


def distill(X: ArrayLike | Design, targets: NumberTargets, *, head: str = "point") -> Students:
    """Train one least-squares student per row of targets, all in one product.

    Parameters
    ----------
    X : (P, q) float, or Design
        Features as they are, no column added; a `Design` of them is factored once for many calls.
    targets : NumberTargets
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
    >>> from uqkd.targets import weigh
    >>> X = [[1.0], [1.0]]
    >>> targets = weigh(np.array([[[1.0, 3.0], [5.0, 7.0]]]))
    >>> distill(X, targets).coef
    array([[4.]])
    >>> [float(distill(Design.of(X), targets, head=h).head_var[0].round(2)) for h in HEADS]
    [0.0, 8.0, 6.67, 2.0]
    """
    one_of("head", head, HEADS)
    design = X if isinstance(X, Design) else Design.of(X)
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
        head_var = sample_variance(targets.responses, ddof=1).mean(axis=1)
    return Students(coef, head_var)
