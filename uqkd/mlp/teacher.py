"""Neural teachers: a trained network that answers at random, by numbers or by class labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd.checking.arrays import shaped
from uqkd.errors import DataError, OptionError, ShapeError, VarianceError
from uqkd.estimators.variance.categorical import labels_at
from uqkd.mlp.fitting import fit
from uqkd.mlp.initialisation import initialisation
from uqkd.mlp.network import answers
from uqkd.mlp.responding import Answering
from uqkd.stacked import Recipe, batch_orders
from uqkd.targets import weigh

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

ONE = np.zeros(1, dtype=np.int64)  # a teacher is one network: level 0 of every source


@dataclass(frozen=True)
class GaussianAnswers:
    """Answers at fixed prompts: mean + noise of variance `noise_var`.

    Attributes
    ----------
    mean : (P,) float
    noise_var : float
    """

    mean: Array
    noise_var: float

    def draw(self, k: int, generator: np.random.Generator) -> Array:
        """k responses to each prompt, (k, P): the first ones are the same whatever k."""
        return np.asarray(self.mean + np.sqrt(self.noise_var) * generator.standard_normal((k, len(self.mean))))


@dataclass(frozen=True)
class ClassAnswers:
    """Answers at fixed prompts: labels drawn from a distribution over classes.

    Attributes
    ----------
    probabilities : (P, C) float
    """

    probabilities: Array

    def draw(self, k: int, generator: np.random.Generator) -> Labels:
        """k labels for each prompt, (k, P): the first ones are the same whatever k."""
        return labels_at(self.probabilities, generator.random((k, len(self.probabilities))))


@dataclass(frozen=True)
class Teacher(Answering):
    """A network that answers at random: with numbers, its mean + noise of variance `noise_var`, or with class labels.

    Attributes
    ----------
    parameters : dict of name to (1, ...) array
    noise_var : float or None
        Variance of one response around the teacher's mean (σ_T²), squared units of y as it was fitted; None for a teacher
        that answers with labels, drawn from its softmax.
    temperature : float
        Logits are divided by it; above 1 the labels scatter more.
    activation : str
    """

    parameters: dict[str, NDArray[Any]]
    noise_var: float | None
    temperature: float = 1.0
    activation: str = "relu"

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        noise_var: float | None = None,
        classes: int | None = None,
        temperature: float = 1.0,
        hidden: tuple[int, ...] = (16,),
        activation: str = "relu",
        recipe: Recipe | None = None,
        key: tuple[Any, ...],
        engine: str = "auto",
    ) -> Teacher:
        """Fit by least squares, or by cross-entropy; equal arguments give the same teacher wherever it is fitted.

        Parameters
        ----------
        X : (P, p) float
            Features *without* an intercept column, standardised.
        y : (P,) float or int
            Numbers in standardised units (mean 0 and variance 1 on the training part), or the recipe's learning rate does not
            fit; or labels 0 ... classes − 1.
        noise_var : float
            Of numbers: a choice of the study, in those units, the share of Var(y).
        classes : int
            C, of labels. One of the two is given.
        temperature : float
            Of the answers with labels, not of the training; positive.
        hidden, activation
            Widths of the hidden layers; see `mlp`.
        recipe : Recipe
            200 steps on all rows if not given.
        key : tuple
            Names the teacher.
        engine : str
            See `uqkd.stacked.train`.

        Raises
        ------
        DivergedError
            Its training did.
        DataError
            A class without rows.

        Examples
        --------
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> teacher = Teacher.fit(X, 2 * X[:, 0], noise_var=0.25, key=("doc",))
        >>> teacher.predict_mean([[0.5]]).round()
        array([1.])
        >>> teacher = Teacher.fit(X, (X[:, 0] > 0).astype(int), classes=2, hidden=(8,), key=("doc",))
        >>> teacher.predict_proba([[-1.0], [1.0]]).argmax(axis=1)
        array([0, 1])
        """
        if (noise_var is None) == (classes is None):
            raise OptionError(
                f"a teacher of numbers needs noise_var, one of labels needs classes; got noise_var={noise_var}, classes={classes}."
            )
        rows = shaped("X", X, "P p")
        options = {"activation": activation, "engine": engine}
        if classes is None:
            target = _numbers(len(rows), y, noise_var)
            options["loss"], sizes = "mse", (rows.shape[1], *hidden, 1)
        else:
            if not (np.isfinite(temperature) and temperature > 0):
                raise OptionError(f"temperature must be positive; got {temperature}.")
            target = _labels(len(rows), y, classes)
            options["loss"], sizes = "cross_entropy", (rows.shape[1], *hidden, classes)
        trained = _fit_one(rows, target, sizes, recipe or Recipe(steps=200), key, options)
        return cls(trained, None if noise_var is None else float(noise_var), float(temperature), activation)

    def predict_mean(self, X: ArrayLike) -> Array:
        """The noise-free numbers that it answers at the rows of X (P, p), as (P,)."""
        if self.noise_var is None:
            raise OptionError("this teacher answers with labels and has no mean; call predict_proba.")
        return answers(self.parameters, X, activation=self.activation)[0, :, 0]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Its distribution over classes at the rows of X (P, p), as (P, C)."""
        if self.noise_var is not None:
            raise OptionError("this teacher answers with numbers and has no probabilities; call predict_mean.")
        logits = answers(self.parameters, X, activation=self.activation)[0]
        return np.asarray(special.softmax(logits / self.temperature, axis=-1))

    def at(self, X: ArrayLike) -> GaussianAnswers | ClassAnswers:
        """What it answers at the rows of X."""
        if self.noise_var is None:
            return ClassAnswers(self.predict_proba(X))
        return GaussianAnswers(self.predict_mean(X), self.noise_var)


def _numbers(rows: int, y: ArrayLike, noise_var: float | None) -> Array:
    """What a teacher of numbers is fitted to, (1, P, 1)."""
    if noise_var is None or not np.isfinite(noise_var) or noise_var < 0:
        raise VarianceError(f"noise_var must be finite and >= 0 (squared units of y); got {noise_var}.")
    target = shaped("y", y, "P")
    if rows != len(target):
        raise ShapeError(f"X has {rows} rows but y has {len(target)} values; they must be equal.")
    return target[None, :, None]


def _labels(rows: int, y: ArrayLike, classes: int) -> Array:
    """What a teacher of labels is fitted to, (1, P, C)."""
    seen = np.asarray(y)
    if seen.shape != (rows,):
        raise ShapeError(f"X has {rows} rows but labels has shape {seen.shape}; one label per row is needed.")
    target = weigh(seen[None, :, None], classes=classes).probabilities
    if not target.any(axis=(0, 1)).all():
        absent = int(np.argmin(target.any(axis=(0, 1))))
        raise DataError(f"no row has label {absent} of {classes} classes; a teacher cannot learn it. Check classes.")
    return target


def _fit_one(
    X: Array, target: Array, sizes: tuple[int, ...], recipe: Recipe, key: tuple[Any, ...], options: dict[str, str]
) -> dict[str, NDArray[Any]]:
    """Parameters (1, ...) of one network; its draws are shared by all that name the same teacher."""
    begin = initialisation(sizes, ONE, key=key, shared=True)
    orders = None
    if recipe.batch is not None:
        orders = batch_orders(len(X), recipe.batch, recipe.steps, ONE, key=key, shared=True)
    fitted = fit(begin, X, target, recipe, orders=orders, loss=options["loss"], activation=options["activation"],
                 engine=options["engine"])  # fmt: skip
    fitted.training.refuse_failed()
    return fitted.parameters
