"""Averaging k teacher responses without losing the spread that the mean hides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, finite
from uqkd.checking.variation import raisable
from uqkd.errors import ShapeError


@dataclass(frozen=True)
class Averaged:
    """Mean of k responses together with the spread it hides; made by `average_responses`.

    Attributes
    ----------
    mean : array
        Mean over the k responses; the axes of the input without k.
    within_var : array or None
        Variance of ONE response around the prompt's mean (ddof 1), same shape as `mean`. None for k = 1.
    k : int
        Responses averaged.
    mean_var : array or None
        Variance of the mean, ``within_var / k``. None for k = 1.
    note : str
        Says why the variances are missing; empty otherwise.
    """

    mean: Array
    within_var: Array | None
    k: int
    mean_var: Array | None
    note: str = ""


def average_responses(responses: Any, *, axis: int | None = None) -> Averaged:
    """Mean of the k teacher responses to each prompt, with the within-prompt variance carried along.

    Parameters
    ----------
    responses : (k,), (P, k) or (S, P, k, D) array_like; (P, k, D) or (S, P, k) with `axis`
        Responses to average.
    axis : int, optional
        The axis k. Needed for three axes only, where (P, k, D) means ``axis=1`` and (S, P, k) means ``axis=2``.

    Returns
    -------
    Averaged
        `.mean`, `.within_var`, `.k`, `.mean_var`; means in units of `responses`, variances in squared units.

    Raises
    ------
    ShapeError
        No axis or more than four, three axes without `axis`, or `axis` out of range.
    NotFiniteError
        Any NaN or infinity.

    Notes
    -----
    T3: a student trained on means alone reports `mean_var` where the truth is `within_var`, k times too little.
    Train or report with `within_var`.

    Examples
    --------
    >>> averaged = average_responses([[1.0, 3.0], [5.0, 5.0]])
    >>> averaged.mean, averaged.within_var, averaged.mean_var
    (array([2., 5.]), array([2., 0.]), array([1., 0.]))
    >>> average_responses([[1.0], [5.0]]).within_var is None
    True
    """
    array = raisable("responses", finite("responses", responses))
    axis = _response_axis(array.shape, axis)
    k = array.shape[axis]
    mean = np.asarray(array.mean(axis=axis))
    if k == 1:
        return Averaged(mean, None, 1, None, "one response per prompt: its variance cannot be estimated; draw k >= 2")
    within_var = np.asarray(array.var(axis=axis, ddof=1))
    return Averaged(mean, within_var, k, within_var / k)


def _response_axis(shape: tuple[int, ...], axis: int | None) -> int:
    if not 1 <= len(shape) <= 4:
        raise ShapeError(f"responses needs 1 to 4 axes, (k,), (P, k[, D]) or (S, P, k[, D]); got shape {shape}.")
    if axis is None:
        if len(shape) == 3:
            raise ShapeError(
                f"responses of three axes, shape {shape}, may be (P, k, D) or (S, P, k): say axis=1 or axis=2."
            )
        return {1: 0, 2: 1, 4: 2}[len(shape)]
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"axis={axis} does not exist in responses of shape {shape}.")
    return axis % len(shape)
