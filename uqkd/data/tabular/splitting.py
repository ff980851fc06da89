"""Training and test parts: keyed by the data, scaled by the training part only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uqkd import seeds
from uqkd.data.tabular.dataset import Dataset
from uqkd.errors import DataError, OptionError

Array = NDArray[np.float64]

CONDITION_LIMIT = 1e12  # of the standardised features, as for the teacher's fit


@dataclass(frozen=True)
class Split:
    """Training and test designs (intercept first, features standardised by the training part) and their labels.

    Attributes
    ----------
    X, X_test : (n, q), (m, q) float
    y, y_test : (n,), (m,) float
    columns : tuple of str
        "intercept", then the feature names.
    """

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    columns: tuple[str, ...]

    @property
    def features(self) -> Array:
        """(n, p) the training design without its intercept, which a network has of its own."""
        return self.X[:, 1:]

    @property
    def features_test(self) -> Array:
        """(m, p) the test design without its intercept."""
        return self.X_test[:, 1:]

    @property
    def y_standard(self) -> Array:
        """(n,) training labels with mean 0 and variance 1: squared errors are in units of Var(y)."""
        return np.asarray((self.y - self.y.mean()) / self.y.std())

    @property
    def y_test_standard(self) -> Array:
        """(m,) test labels, scaled by the same numbers."""
        return np.asarray((self.y_test - self.y.mean()) / self.y.std())


def split(dataset: Dataset, *, test_fraction: float = 0.2) -> Split:
    """Split at random, keyed by the data's fingerprint, and standardise by the training part only.

    Parameters
    ----------
    dataset : Dataset
    test_fraction : float
        Share of rows held out, in (0, 1).

    Returns
    -------
    Split
        The training design has mean 0 and variance 1 in each feature; the test design is scaled by the same numbers.

    Raises
    ------
    DataError
        Too few training rows, or a feature that is constant on them.

    Examples
    --------
    >>> from uqkd.data import load
    >>> part = split(load("diabetes"))
    >>> part.X.shape, part.X_test.shape
    ((354, 11), (88, 11))
    >>> bool(np.allclose(part.X[:, 1:].mean(axis=0), 0, atol=1e-12)), bool(abs(part.X_test[:, 1].mean()) > 1e-3)
    (True, True)
    """
    if not 0.0 < test_fraction < 1.0:
        raise OptionError(f"test_fraction must lie strictly between 0 and 1; got {test_fraction}.")
    n, p = dataset.X.shape
    held_out = max(1, round(n * test_fraction))
    if n - held_out <= p + 1:
        raise DataError(
            f"data {dataset.name} leaves {n - held_out} training rows for {p + 1} coefficients; more rows than "
            "coefficients are needed. Lower test_fraction or drop columns."
        )
    order = seeds.generator("data", "split", dataset.fingerprint, test_fraction, shared=True).permutation(n)
    test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    centre, scale = dataset.X[train].mean(axis=0), dataset.X[train].std(axis=0)
    if (scale == 0).any():
        raise DataError(
            f"column {dataset.columns[int(np.argmin(scale))]!r} of data {dataset.name} is constant on the training part; "
            "drop it."
        )
    X = np.column_stack([np.ones(n), (dataset.X - centre) / scale])
    _refuse_dependent(dataset, X[train, 1:])
    return Split(X[train], dataset.y[train], X[test], dataset.y[test], ("intercept", *dataset.columns))


def _refuse_dependent(dataset: Dataset, standardised: Array) -> None:
    """Name the features that are linear combinations of one another on the training part."""
    _, singular, right = np.linalg.svd(standardised, full_matrices=False)
    if singular[-1] > singular[0] / CONDITION_LIMIT:
        return
    involved = [
        c
        for c, weight in zip(dataset.columns, np.abs(right[-1]), strict=True)
        if weight > 0.1 * np.abs(right[-1]).max()
    ]
    raise DataError(
        f"columns {', '.join(map(repr, involved))} of data {dataset.name} are linearly dependent (condition number "
        f"{singular[0] / max(singular[-1], np.finfo(float).tiny):.1g}); drop one of them."
    )
