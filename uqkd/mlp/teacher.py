"""Neural teachers: a trained network that answers at random, by numbers or by class labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd import seeds
from uqkd.checking.arrays import shaped
from uqkd.errors import DataError, OptionError, ShapeError, VarianceError
from uqkd.estimators.variance.categorical import labels_at
from uqkd.mlp.fitting import fit
from uqkd.mlp.initialisation import initialisation
from uqkd.mlp.network import answers
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
class Teacher:
    """A network that answers at random: response = its mean + noise of variance `noise_var`.

    Attributes
    ----------
    parameters : dict of name to (1, ...) array
    noise_var : float
        Variance of one response around the teacher's mean (σ_T²), squared units of y as it was fitted.
    activation : str
    """

    parameters: dict[str, NDArray[Any]]
    noise_var: float
    activation: str = "relu"

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        noise_var: float,
        hidden: tuple[int, ...] = (16,),
        activation: str = "relu",
        recipe: Recipe | None = None,
        key: tuple[Any, ...],
        engine: str = "auto",
    ) -> Teacher:
        """Fit by least squares; equal arguments give the same teacher wherever it is fitted.

        Parameters
        ----------
        X : (P, p) float
            Features *without* an intercept column, standardised.
        y : (P,) float
            In standardised units (mean 0 and variance 1 on the training part), or the recipe's learning rate does not fit.
        noise_var : float
            A choice of the study, in those units: the share of Var(y).
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

        Examples
        --------
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> teacher = Teacher.fit(X, 2 * X[:, 0], noise_var=0.25, key=("doc",))
        >>> teacher.predict_mean([[0.5]]).round(), teacher.respond(X, 3, students=2, key=("doc", "answers")).shape
        (array([1.]), (2, 20, 3))
        """
        if not np.isfinite(noise_var) or noise_var < 0:
            raise VarianceError(f"noise_var must be finite and >= 0 (squared units of y); got {noise_var}.")
        rows, target = shaped("X", X, "P p"), shaped("y", y, "P")
        if len(rows) != len(target):
            raise ShapeError(f"X has {len(rows)} rows but y has {len(target)} values; they must be equal.")
        sizes = (rows.shape[1], *hidden, 1)
        options = {"loss": "mse", "activation": activation, "engine": engine}
        trained = _fit_one(rows, target[None, :, None], sizes, recipe or Recipe(steps=200), key, options)
        return cls(trained, float(noise_var), activation)

    def predict_mean(self, X: ArrayLike) -> Array:
        """The teacher's noise-free answers at the rows of X (P, p), as (P,)."""
        return answers(self.parameters, X, activation=self.activation)[0, :, 0]

    def at(self, X: ArrayLike) -> GaussianAnswers:
        """What it answers at the rows of X."""
        return GaussianAnswers(self.predict_mean(X), self.noise_var)

    def respond(self, X: ArrayLike, k: int, *, students: int, key: tuple[Any, ...]) -> Array:
        """k independent responses per prompt for each of S students, (S, P, k), from the stream named by `key`."""
        return np.asarray(_respond(self.at(X), k, students, key))


@dataclass(frozen=True)
class ClassTeacher:
    """A network that answers with a class label, drawn from its softmax.

    Attributes
    ----------
    parameters : dict of name to (1, ...) array
    temperature : float
        Logits are divided by it; above 1 the answers scatter more.
    activation : str
    """

    parameters: dict[str, NDArray[Any]]
    temperature: float = 1.0
    activation: str = "relu"

    @classmethod
    def fit(
        cls,
        X: ArrayLike,
        labels: ArrayLike,
        *,
        classes: int,
        hidden: tuple[int, ...] = (128,),
        activation: str = "relu",
        recipe: Recipe | None = None,
        key: tuple[Any, ...],
        temperature: float = 1.0,
        engine: str = "auto",
    ) -> ClassTeacher:
        """Fit by cross-entropy; equal arguments give the same teacher wherever it is fitted.

        Parameters
        ----------
        X : (P, p) float
            Standardised features, no intercept column.
        labels : (P,) int
            0 ... classes − 1.
        classes : int
            C.
        hidden, activation, recipe, key, engine
            As for `Teacher.fit`.
        temperature : float
            Of its answers, not of its training; positive.

        Examples
        --------
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> teacher = ClassTeacher.fit(X, (X[:, 0] > 0).astype(int), classes=2, hidden=(8,), key=("doc",))
        >>> teacher.predict_proba([[-1.0], [1.0]]).argmax(axis=1)
        array([0, 1])
        """
        if not (np.isfinite(temperature) and temperature > 0):
            raise OptionError(f"temperature must be positive; got {temperature}.")
        rows, seen = shaped("X", X, "P p"), np.asarray(labels)
        if seen.shape != (len(rows),):
            raise ShapeError(f"X has {len(rows)} rows but labels has shape {seen.shape}; one label per row is needed.")
        target = weigh(seen[None, :, None], classes=classes).probabilities
        if not target.any(axis=(0, 1)).all():
            absent = int(np.argmin(target.any(axis=(0, 1))))
            raise DataError(
                f"no row has label {absent} of {classes} classes; a teacher cannot learn it. Check classes."
            )
        sizes = (rows.shape[1], *hidden, classes)
        options = {"loss": "cross_entropy", "activation": activation, "engine": engine}
        trained = _fit_one(rows, target, sizes, recipe or Recipe(steps=200), key, options)
        return cls(trained, float(temperature), activation)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Its distribution over classes at the rows of X (P, p), as (P, C)."""
        logits = answers(self.parameters, X, activation=self.activation)[0]
        return np.asarray(special.softmax(logits / self.temperature, axis=-1))

    def at(self, X: ArrayLike) -> ClassAnswers:
        """What it answers at the rows of X."""
        return ClassAnswers(self.predict_proba(X))

    def respond(self, X: ArrayLike, k: int, *, students: int, key: tuple[Any, ...]) -> Labels:
        """k labels per prompt for each of S students, (S, P, k) int, from the stream named by `key`."""
        return np.asarray(_respond(self.at(X), k, students, key))


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


def _respond(drawn: GaussianAnswers | ClassAnswers, k: int, students: int, key: tuple[Any, ...]) -> NDArray[Any]:
    if k < 1 or students < 1:
        raise OptionError(f"respond needs k >= 1 and students >= 1; got k={k}, students={students}.")
    responses = drawn.draw(students * k, seeds.generator(*key))
    return np.ascontiguousarray(responses.reshape(students, k, -1).transpose(0, 2, 1))
