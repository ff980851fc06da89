"""Out-of-fold predictions: what a teacher says about rows whose labels it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd import seeds
from uqkd.checking.arrays import unmasked
from uqkd.classify.arguments import checked_key, is_int
from uqkd.classify.classifiers import Classifiers, fit_classifiers, one_hot
from uqkd.classify.mixup import MixedBatches, Mixing
from uqkd.classify.networks.plain import Factory
from uqkd.errors import DataError, OptionError
from uqkd.estimators import fit_temperature
from uqkd.estimators.calibration.temperature import Temperature
from uqkd.stacked import Recipe, SeedDesign
from uqkd.stacked.losses import cross_entropy

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class OutOfFold:
    """Cross-fitted predictions; made by `out_of_fold`.

    Attributes
    ----------
    logits : (P, C) float
        At each row, of the network that was trained without its fold.
    fold : (P,) int
        Fold of each row.
    folds : Classifiers
        The networks, one per fold.
    """

    logits: Array
    fold: Labels
    folds: Classifiers

    @property
    def probabilities(self) -> Array:
        """(P, C) as trained."""
        return np.asarray(special.softmax(self.logits, axis=-1))

    def temperature(self, labels: ArrayLike) -> Temperature:
        """The one temperature that fits the labels of all rows best."""
        return fit_temperature(self.logits, labels)

    def calibrated(self, labels: ArrayLike) -> Array:
        """(P, C) at that temperature."""
        return self.at(float(self.temperature(labels).temperature))

    def at(self, temperature: float) -> Array:
        """(P, C) at any temperature."""
        return np.asarray(special.softmax(self.logits / temperature, axis=-1))


def out_of_fold(
    X: ArrayLike,
    labels: ArrayLike,
    *,
    classes: int,
    factory: Factory,
    recipe: Recipe,
    key: tuple[Any, ...],
    folds: int = 5,
    mixing: Mixing | None = None,
) -> OutOfFold:
    """Train one network per fold on the other folds, all in one pass, and ask each about its own fold.

    Parameters
    ----------
    X : (P, ...) float or int
    labels : (P,) int
        0 ... classes − 1; every class needs two rows, in different folds.
    classes : int
        C.
    factory : callable
        Builds one network.
    recipe : Recipe
        With a batch size.
    key : tuple
        Names the streams of folds and networks; equal keys give equal predictions wherever they are made.
    folds : int
        At least two.
    mixing : Mixing, optional
        As the teacher whose predictions these stand for.

    Returns
    -------
    OutOfFold

    Raises
    ------
    OptionError
        Fewer than two folds, or more than rows; a recipe without batches.
    DataError
        Labels outside the classes; a class with a single row.
    """
    key = checked_key(key)
    target = one_hot(labels, len(np.asarray(X)), classes)
    place = split_folds(labels, folds=folds, key=key)
    if recipe.batch is None:
        raise OptionError("out_of_fold trains on folds of different sizes; give the recipe a batch size.")
    seed_design = replace(SeedDesign.independent(folds), recurring=("initialisation", "order"))
    transform = None if mixing is None else MixedBatches(mixing, seed_design.order, (*key, "folds"))
    trained = fit_classifiers(
        X, target, factory=factory, loss=cross_entropy, recipe=recipe, seed_design=seed_design, key=(*key, "folds"),
        allowed=place[None] != np.arange(folds)[:, None], transform=transform, classes=classes, who="fold",
    )  # fmt: skip
    logits = np.take_along_axis(trained.logits(X), place[None, :, None], axis=0)[0]
    return OutOfFold(logits, place, trained)


def split_folds(labels: ArrayLike, *, folds: int, key: tuple[Any, ...]) -> Labels:
    """Fold of each row, (P,) int: at random, every class spread evenly over the folds.

    Examples
    --------
    >>> np.bincount(split_folds([0, 0, 0, 1, 1, 1], folds=3, key=("doc",)))
    array([2, 2, 2])
    """
    classes = np.asarray(unmasked("labels", labels))
    if not is_int(folds, 2) or folds > len(classes):
        raise OptionError(f"out-of-fold predictions need 2 <= folds <= rows; got folds={folds}, {len(classes)} rows.")
    rng = seeds.generator(*key, "split folds", folds, shared=True)
    place = np.empty(len(classes), dtype=np.int64)
    first = 0  # where one class ends the next goes on, so that the folds are equal to one row
    for label in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == label))
        if len(rows) < 2:
            raise DataError(
                f"class {label} has one row: the fold that holds it would be predicted by a network that never saw the class. "
                "Bring another row of it, or drop it."
            )
        place[rows] = (first + np.arange(len(rows))) % folds
        first += len(rows)
    return place
