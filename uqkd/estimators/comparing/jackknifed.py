"""Numbers per student and prompt of any statistic: its own, or by leaving out students and prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from uqkd.checking.arrays import Array, finite, numpy_of
from uqkd.errors import OptionError, ShapeError
from uqkd.estimators.comparing.measures import measure_file

BLOCKS = 100  # prompts are left out in at most so many blocks


def measure_values(measure: str | Callable[..., Any], data: Any, *, labels: Any = None, teacher: Any = None) -> Array:
    """Numbers per student and prompt whose mean is the measure and whose spread is that of its estimate.

    Parameters
    ----------
    measure : str or callable
        A name of `measure_names`, or a statistic: see `statistic_values`.
    data : array_like
        (S, P), (S, P, R) or (S, P, C).
    labels, teacher : array_like, optional
        What the measure needs.

    Returns
    -------
    (S, P) array

    Raises
    ------
    OptionError
        An unknown measure; labels or a teacher that are missing, or that it does not take.

    Examples
    --------
    >>> measure_values("acuracy", [[[0.9, 0.1]]], labels=[0])
    Traceback (most recent call last):
        ...
    uqkd.errors.OptionError: measure got 'acuracy'; did you mean 'accuracy'? Valid: ...
    """
    if callable(measure):
        return statistic_values(measure, data, *(given for given in (labels, teacher) if given is not None))
    file = measure_file(measure)
    for name, given in (("labels", labels), ("teacher", teacher)):
        if given is None and name in file.NEEDS:
            raise OptionError(f"measure {measure!r} needs {name}; pass {name}=.")
        if given is not None and name not in file.NEEDS:
            raise OptionError(f"measure {measure!r} takes no {name}; leave {name}= out.")
    return np.asarray(file.values(data, labels, teacher))


def statistic_values(statistic: Callable[..., Any], data: Any, *beside: Any) -> Array:
    """Numbers per student and prompt of a statistic.

    Parameters
    ----------
    statistic : callable
        Of `data` and what stands `beside` it: it returns (S, P) numbers, which are taken as they are; (S,) numbers, one for each
        student, such as those of `MEASURES`; or one number.
    data : (S, P, ...) array_like
    *beside : (P, ...) array_like
        Such as labels.

    Returns
    -------
    (S, P) array
        (S, 100) where there are more prompts: these are left out in blocks.

    Raises
    ------
    ShapeError
        Another shape comes back, or prompts of `data` and of what is beside it differ in number.
    NotFiniteError
        The statistic is not finite.

    Notes
    -----
    Jackknife pseudo-values (Efron & Stein 1981): what the statistic is less what it is without a prompt; of one number also
    without a student and without both, so that a student and a prompt that are left out together count once. Pseudo-values are
    moved to have the statistic itself as their mean.

    Examples
    --------
    >>> statistic_values(np.mean, [[1.0, 2.0], [3.0, 6.0]])
    array([[1., 2.],
           [3., 6.]])
    """
    array = np.asarray(numpy_of(data))
    rest = [np.asarray(numpy_of(other)) for other in beside]
    if array.ndim < 2 or any(other.shape[:1] != array.shape[1:2] for other in rest):
        shapes = ", ".join(str(other.shape) for other in (array, *rest))
        raise ShapeError(
            f"a statistic needs data (S, P, ...) and beside it (P, ...), one for each prompt; got {shapes}."
        )

    def of(students: Any, prompts: Any) -> Array:
        return np.asarray(statistic(array[students][:, prompts], *(other[prompts] for other in rest)), dtype=np.float64)

    students, prompts = array.shape[:2]
    whole = of(slice(None), slice(None))
    if whole.shape == (students, prompts):
        return finite("measure", whole)
    if whole.shape not in ((), (students,)):
        raise ShapeError(f"a measure returns (S, P), (S,) or one number; got {whole.shape} of {students, prompts}.")
    if prompts == 1:
        raise ShapeError("a measure that returns no number for each prompt needs P >= 2 prompts; got P=1.")
    number = min(prompts, BLOCKS)
    kept = [np.arange(prompts) % number != block for block in range(number)]
    without = np.stack([of(slice(None), keep) for keep in kept], axis=-1)
    if whole.ndim == 1 or students == 1:
        found = number * whole[..., None] - (number - 1) * without
        found = found.reshape(students, number)
        return finite("measure", found - found.mean(axis=1, keepdims=True) + whole.reshape(-1, 1))
    others = [np.arange(students) != s for s in range(students)]
    alone = np.array([of(other, slice(None)) for other in others])[:, None]
    neither = np.array([[of(other, keep) for keep in kept] for other in others])
    s, p = students, number
    found = s * p * whole - (s - 1) * p * alone - s * (p - 1) * without + (s - 1) * (p - 1) * neither
    return finite("measure", found - found.mean() + whole)
