"""Labels that are wrong at a known rate, and the exact distribution of what is then seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.data.tabular.classes import Labels
from uqkd.errors import OptionError, ShapeError, one_of

Array = NDArray[np.float64]

KINDS = ("uniform", "family")


def with_label_noise(
    labels: ArrayLike,
    rate: float,
    *,
    classes: int,
    key: tuple[Any, ...],
    kind: str = "uniform",
    families: ArrayLike | None = None,
) -> Labels:
    """Labels of which each is wrong with probability `rate`, independently of all others.

    Parameters
    ----------
    labels : (n,) int
        0 ... C − 1.
    rate : float
        In [0, 1]. A wrong label is never the true one.
    classes : int
        C.
    key : tuple
        Names the stream; see `uqkd.seeds.generator`.
    kind : {"uniform", "family"}
        A wrong label is any other class, or any other of the same family, each as likely.
    families : (C,) int, optional
        Family of each class; needed for kind "family".

    Returns
    -------
    (n,) int

    Raises
    ------
    OptionError
        A rate outside [0, 1], an unknown kind, no families, or a family of one class.
    ShapeError
        Labels outside 0 ... C − 1.

    Examples
    --------
    >>> with_label_noise([0, 1, 2, 3], 1.0, classes=4, kind="family", families=[0, 0, 1, 1], key=("doc",))
    array([1, 0, 3, 2])
    """
    true = np.asarray(labels, dtype=np.int64)
    groups = _groups(rate, classes=classes, kind=kind, families=families)
    if true.ndim != 1 or (true.size and not 0 <= true.min() <= true.max() < classes):
        raise ShapeError(f"labels must be one axis of whole numbers 0 ... {classes - 1}; got shape {true.shape}.")
    rng = seeds.generator(*key, "label noise")
    wrong, chosen = rng.random(len(true)) < rate, rng.random(len(true))
    order = np.argsort(groups, kind="stable")
    size = np.bincount(groups)[groups]  # of each class's family
    first = np.searchsorted(groups[order], groups)
    place = np.argsort(order) - first  # of each class in its family
    step = 1 + np.floor(chosen * (size[true] - 1)).astype(np.int64)  # to another member, each as likely
    other = order[first[true] + (place[true] + step) % size[true]]
    return np.where(wrong, other, true)


def noisy_posterior(
    posterior: ArrayLike, rate: float, *, kind: str = "uniform", families: ArrayLike | None = None
) -> Array:
    """Distribution of the label that `with_label_noise` shows, given that of the true one.

    Parameters
    ----------
    posterior : (n, C) float
        P(class | input); rows sum to one.
    rate, kind, families
        As for `with_label_noise`.

    Returns
    -------
    (n, C) float
        (1 − rate)·p + rate·(Σ of p over the other classes of the family)/(their number).

    Examples
    --------
    >>> noisy_posterior([[0.7, 0.3, 0.0]], 0.2)
    array([[0.59, 0.31, 0.1 ]])
    """
    true = np.asarray(posterior, dtype=np.float64)
    if true.ndim != 2:
        raise ShapeError(f"a posterior has two axes, (n, C); got shape {true.shape}.")
    groups = _groups(rate, classes=true.shape[1], kind=kind, families=families)
    same = (groups[:, None] == groups[None, :]).astype(np.float64) - np.eye(len(groups))
    others = true @ (same / np.maximum(same.sum(axis=1), 1.0))  # a lonely class is here only with rate 0
    return np.asarray((1.0 - rate) * true + rate * others)


def _groups(rate: float, *, classes: int, kind: str, families: ArrayLike | None) -> Labels:
    """(C,) the family of each class, 0 ... F − 1; uniform noise is that of one family."""
    one_of("kind", kind, KINDS)
    if not 0.0 <= rate <= 1.0:
        raise OptionError(f"rate of label noise must lie in [0, 1]; got {rate}.")
    if kind == "uniform":
        groups = np.zeros(classes, dtype=np.int64)
    elif families is None or np.shape(families) != (classes,):
        raise OptionError(
            f"noise within families needs families, one number per class ({classes}); got "
            f"{'none' if families is None else f'shape {np.shape(families)}'}."
        )
    else:
        groups = np.unique(np.asarray(families), return_inverse=True)[1].astype(np.int64)
    if rate > 0 and (alone := np.flatnonzero(np.bincount(groups)[groups] == 1)).size:
        raise OptionError(
            f"class {int(alone[0])} is the only one of its family, so no other can be taken for it; use kind='uniform', "
            "or merge families."
        )
    return groups
