"""Neural students: distil S networks at once from weighted responses, let them predict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from uqkd import seeds
from uqkd.checking.arrays import shaped
from uqkd.errors import OptionError, ShapeError, UqkdWarning, one_of
from uqkd.estimators.variance.categorical import labels_at
from uqkd.mlp.fitting import fit
from uqkd.mlp.initialisation import initialisation
from uqkd.mlp.network import answers
from uqkd.stacked import Recipe, SeedDesign, batch_orders, bootstrap_rows
from uqkd.targets import ClassTargets, Targets

Array = NDArray[np.float64]

HEADS = ("point", "targets", "responses")
DRAWN = ("responses", "initialisation", "order", "bootstrap")  # sources of randomness that these students have


@dataclass(frozen=True)
class Students:
    """S students; made by `distill`.

    Attributes
    ----------
    parameters : dict of name to (S, ...) array
        Of the students that are kept.
    head : str
        One of `HEADS`, or "classes".
    activation : str
    failed_at : (S + failed,) int
        Of every student trained, the step at which it diverged; -1 for those kept.
    """

    parameters: dict[str, NDArray[Any]]
    head: str
    activation: str
    failed_at: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Students]) -> Students:
        """Students of several chunks as one set, in the order given."""
        kinds = {(part.head, part.activation) for part in parts}
        if len(kinds) != 1:
            raise OptionError(
                f"only students of one kind can be joined; got {len(kinds)} kinds of (head, activation): {kinds}."
            )
        names = parts[0].parameters
        return cls(
            {name: np.concatenate([part.parameters[name] for part in parts]) for name in names},
            *kinds.pop(),
            np.concatenate([part.failed_at for part in parts]),
        )

    @property
    def kept(self) -> NDArray[np.int64]:
        """(S,) places of the students kept among all that were trained."""
        return np.flatnonzero(self.failed_at < 0)

    def predict_mean(self, X: ArrayLike) -> Array:
        """Predictive means at the rows of X (P, p), as (S, P)."""
        self._are(regression=True)
        return self._answers(X)[..., 0]

    def variances(self, X: ArrayLike) -> Array:
        """Predictive variances at the rows of X (P, p), as (S, P): 0 for point students."""
        self._are(regression=True)
        outputs = self._answers(X)
        return np.zeros(outputs.shape[:2]) if self.head == "point" else np.exp(outputs[..., 1])

    def predict_proba(self, X: ArrayLike) -> Array:
        """Class probabilities at the rows of X (P, p), as (S, P, C)."""
        self._are(regression=False)
        return np.asarray(special.softmax(self._answers(X), axis=-1))

    def predict(self, X: ArrayLike, draws: int, *, key: tuple[Any, ...]) -> NDArray[Any]:
        """Draw R responses per prompt from each student's predictive distribution.

        Parameters
        ----------
        X : (P, p) float
        draws : int
            R.
        key : tuple
            Names the stream; see `uqkd.seeds.generator`.

        Returns
        -------
        (S, P, R) float, or int class labels
        """
        if draws < 1:
            raise OptionError(f"predict needs draws >= 1; got {draws}.")
        generator = seeds.generator(*key)
        if self.head == "classes":
            probabilities = self.predict_proba(X)
            uniform = generator.random((draws, *probabilities.shape[:2]))
            return np.moveaxis(labels_at(probabilities, uniform), 0, -1)
        means, deviations = self.predict_mean(X)[..., None], np.sqrt(self.variances(X))[..., None]
        return np.asarray(means + deviations * generator.standard_normal((*means.shape[:2], draws)))

    def _answers(self, X: ArrayLike) -> Array:
        return answers(self.parameters, X, activation=self.activation)

    def _are(self, *, regression: bool) -> None:
        if regression == (self.head == "classes"):
            one, other = ("means and variances", "classifiers") if regression else ("probabilities", "regressions")
            raise OptionError(f"these students are {other} and have no {one}; ask for the other.")


@dataclass(frozen=True)
class _Method:
    """How students are trained, whatever they are trained on."""

    hidden: tuple[int, ...]
    activation: str
    recipe: Recipe
    seed_design: SeedDesign
    key: tuple[Any, ...]
    scheme: str
    perturbation: float | None
    drawn: int | None
    engine: str
    dtype: str
    exclude_failed: bool

    def train(self, X: Array, target: Array, *, outputs: int, loss: str, head: str) -> Students:
        """Students on targets (S or 1, P, D)."""
        self.seed_design.refuse_others("mlp.distill", DRAWN)
        students = self.seed_design.students
        if target.shape[1] != len(X) or len(target) not in (1, students):
            raise ShapeError(
                f"distill got targets for {len(target)} students and {target.shape[1]} prompts, but sources for {students} "
                f"students and X of {len(X)} rows. Draw the targets with the levels seed_design.responses, at the rows of X."
            )
        sizes, shared = (X.shape[1], *self.hidden, outputs), self.seed_design.recurs("initialisation")
        begin = initialisation(
            sizes,
            self.seed_design.initialisation,
            key=self.key,
            scheme=self.scheme,
            perturbation=self.perturbation,
            shared=shared,
        )
        fitted = fit(
            begin, X, target, self.recipe, loss=loss, orders=self._orders(len(X)),
            activation=self.activation, engine=self.engine, dtype=self.dtype,
        )  # fmt: skip
        failed_at = np.asarray(fitted.training.failed_at, dtype=np.int64)
        fitted.training.refuse_failed(exclude_failed=self.exclude_failed)
        kept = failed_at < 0
        if not kept.all():
            lost = f"{(~kept).sum()} of {students} students diverged and are left out; {kept.sum()} remain."
            warnings.warn(lost, UqkdWarning, stacklevel=3)
        return Students({name: a[kept] for name, a in fitted.parameters.items()}, head, self.activation, failed_at)

    def _orders(self, rows: int) -> NDArray[np.int32] | None:
        """Rows of every step (S or 1, T, B): an order points into the resample, if there is one."""
        resample: NDArray[np.int32] | None = None
        if self.seed_design.bootstrap is not None:
            levels, shared = _fewest(self.seed_design.bootstrap), self.seed_design.recurs("bootstrap")
            resample = bootstrap_rows(rows, levels, key=self.key, drawn=self.drawn, shared=shared)[:, None, :]
            rows = resample.shape[2]
        elif self.drawn is not None:
            raise OptionError(
                f"drawn={self.drawn} is the size of a bootstrap resample; use sources with bootstrap=True."
            )
        if self.recipe.batch is None:
            return resample
        levels, shared = _fewest(self.seed_design.order), self.seed_design.recurs("order")
        order = batch_orders(rows, self.recipe.batch, self.recipe.steps, levels, key=self.key, shared=shared)
        if resample is None:
            return order
        students = max(len(order), len(resample))
        order = np.broadcast_to(order, (students, *order.shape[1:]))
        return np.take_along_axis(np.broadcast_to(resample, (students, 1, rows)), order, axis=2)


def _fewest(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """One level where all are equal: what all students share is held once."""
    return levels[:1] if (levels == levels[0]).all() else levels


def distill(
    X: ArrayLike,
    targets: Targets | ClassTargets,
    *,
    hidden: tuple[int, ...] = (16,),
    activation: str = "relu",
    recipe: Recipe,
    seed_design: SeedDesign,
    key: tuple[Any, ...],
    head: str = "point",
    scheme: str = "default",
    perturbation: float | None = None,
    drawn: int | None = None,
    engine: str = "auto",
    dtype: str = "float32",
    exclude_failed: bool = False,
) -> Students:
    """Train one network per row of targets, all in one pass.

    Parameters
    ----------
    X : (P, p) float
        Features, standardised, without an intercept column.
    targets : Targets or ClassTargets
        Of S students, or of one where all train on the same labels (ground truth, noise-free answers). Class targets make
        classifiers, trained by cross-entropy with their target distributions.
    hidden, activation
        Widths of the hidden layers; see `mlp`.
    recipe : Recipe
    seed_design : SeedDesign
        Levels of the students; the targets were drawn with `seed_design.responses`.
    key : tuple
        Names the streams of initialisation, order and bootstrap.
    head : {"point", "targets", "responses"}
        Of regressions. "point": one output, mean squared error. The others have a mean and a log-variance, trained by the Gaussian
        likelihood: "targets" of the target values alone, so that the student reports the variance of a k-mean;
        "responses" of the k raw responses, so that it reports that of one response.
    scheme, perturbation
        How networks begin; see `initialisation`.
    drawn : int, optional
        Rows of each bootstrap resample; as many as there are if not given.
    engine : str
        See `uqkd.stacked.train`.
    dtype : {"float32", "float64"}
        Precision of training. Predictions are float64 always.
    exclude_failed : bool
        Leave diverged students out, with a warning that says how many remain. Otherwise they are an error.

    Returns
    -------
    Students

    Raises
    ------
    DivergedError
        Names the students that diverged, and when.
    ShapeError
        Targets of another number of students or prompts.

    Notes
    -----
    T3, T8. Many students: call it for each of `uqkd.seeds.chunks(S)` with `SeedDesign.independent(size, first=...)`.

    Examples
    --------
    >>> from uqkd.targets import weigh, weigh_labels
    >>> X, seed_design = np.linspace(-1, 1, 20)[:, None], SeedDesign.independent(2)
    >>> labels = weigh(np.broadcast_to(2 * X[:, 0], (1, 20))[..., None])
    >>> students = distill(X, labels, recipe=Recipe(steps=500), seed_design=seed_design, key=("doc",))
    >>> students.predict_mean([[0.5]]).round()[:, 0], students.variances([[0.5]])[:, 0]
    (array([1., 1.]), array([0., 0.]))
    >>> classes = weigh_labels((X[None] > 0).astype(int), 2)
    >>> students = distill(X, classes, recipe=Recipe(steps=200), seed_design=seed_design, key=("doc",))
    >>> students.predict_proba([[-1.0], [1.0]]).argmax(axis=-1)
    array([[0, 1],
           [0, 1]])
    """
    one_of("head", head, HEADS)
    if isinstance(targets, ClassTargets) and head != "point":
        raise OptionError(f"classifiers have a head of their own; leave head={head!r} out.")
    method = _Method(
        hidden, activation, recipe, seed_design, key, scheme, perturbation, drawn, engine, dtype, exclude_failed
    )
    rows = shaped("X", X, "P p")
    if isinstance(targets, ClassTargets):
        distribution = targets.probabilities
        return method.train(rows, distribution, outputs=distribution.shape[-1], loss="cross_entropy", head="classes")
    if head == "point":
        return method.train(rows, targets.values[..., None], outputs=1, loss="mse", head=head)
    spread = targets.spread if head == "responses" else np.zeros_like(targets.values)
    return method.train(rows, np.stack([targets.values, spread], axis=-1), outputs=2, loss="gaussian", head=head)
