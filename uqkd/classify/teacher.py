"""Teachers: a trained classifier that answers with class labels, drawn from its distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from uqkd.classify.arguments import checked_key, checked_network, is_int
from uqkd.classify.classifiers import Classifiers, Loss, draw_labels, fit_classifiers, one_hot
from uqkd.classify.mixup import MixedBatches, Mixing
from uqkd.classify.networks.outputs import PROBE_ROWS
from uqkd.classify.networks.plain import Factory
from uqkd.classify.targets.objectives import Shaping
from uqkd.errors import OptionError
from uqkd.estimators import fit_temperature
from uqkd.estimators.variance.categorical import labels_at
from uqkd.stacked import Recipe, SeedDesign, Stacked
from uqkd.stacked.losses import cross_entropy
from uqkd.stacked.randomness.orders import by_level

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Teacher:
    """A classifier that is distilled; made by `fit`, `fit_many` or `of`.

    Attributes
    ----------
    model : Stacked
        One network.
    temperature : float
        Logits are divided by it wherever the teacher answers.
    """

    model: Stacked
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.temperature < float("inf"):
            raise OptionError(f"a teacher's temperature must be a positive number; got {self.temperature}.")

    @classmethod
    def of(cls, module: nn.Module, *, temperature: float = 1.0) -> Teacher:
        """Any trained module that turns rows into logits.

        Raises
        ------
        OptionError
            No module, or one of the transformers library, which gives an object: see `pretrained`.
        """
        module = checked_network(module, "Teacher.of takes")
        model = Stacked.of(module, 1, key=("classify", "teacher"), share_frozen=False, dropout=[0])
        values = {name: value[None] for name, value in module.state_dict().items()}
        held = model.parameters_by_name(buffers=True)
        model.load({name: value for name, value in values.items() if name in held})
        return cls(model.eval(), temperature)

    @classmethod
    def fit(cls, X: ArrayLike, labels: ArrayLike, *, key: tuple[Any, ...], **options: Any) -> Teacher:
        """Train one teacher on labels; see `fit_many` for the options.

        Examples
        --------
        >>> from uqkd.classify import perceptron
        >>> X = np.linspace(-1, 1, 40)[:, None]
        >>> teacher = Teacher.fit(
        ...     X, (X[:, 0] > 0).astype(int), classes=2, factory=lambda: perceptron(1, 2), recipe=Recipe(steps=100), key=("doc",)
        ... )
        >>> teacher.predict_proba([[-1.0], [1.0]]).argmax(axis=1)
        array([0, 1])
        >>> teacher.respond([[1.0]], 3, students=2, key=("doc", "answers")).shape
        (2, 1, 3)
        """
        return cls.fit_many(X, labels, teachers=1, key=key, **options)[0]

    @classmethod
    def fit_many(
        cls,
        X: ArrayLike,
        labels: ArrayLike,
        *,
        teachers: int,
        classes: int,
        factory: Factory,
        recipe: Recipe,
        key: tuple[Any, ...],
        mixing: Mixing | None = None,
        shared: bool = True,
    ) -> list[Teacher]:
        """Train independent teachers on the same labels in one pass: by cross-entropy, with mixup if wanted.

        Parameters
        ----------
        X : (P, ...) float or int
        labels : (P,) int
            0 ... classes − 1.
        teachers : int
        classes : int
            C.
        factory : callable
            Builds one network; see `uqkd.classify.networks.plain`.
        recipe : Recipe
        key : tuple
            Names the streams; equal keys give equal teachers wherever they are fitted.
        mixing : Mixing, optional
            Mixup of the teacher's rows and labels too.
        shared : bool
            The same teachers are made by several units of work on purpose; see `uqkd.seeds.generator`.

        Returns
        -------
        list of Teacher

        Raises
        ------
        DataError
            Labels outside the classes.
        DivergedError
            Names those that diverged, and when.
        """
        if not is_int(teachers, 1):
            raise OptionError(f"fit_many needs a whole number of teachers >= 1; got {teachers!r}.")
        seed_design = SeedDesign.independent(teachers)
        seed_design = replace(seed_design, recurring=("initialisation", "order") if shared else ())
        target = one_hot(labels, len(np.asarray(X)), classes)
        transform = None if mixing is None else MixedBatches(mixing, seed_design.order, key)
        trained = fit_classifiers(
            X, target, factory=factory, loss=cross_entropy, recipe=recipe, seed_design=seed_design, key=key, transform=transform,
            classes=classes, who="teacher",
        )  # fmt: skip
        return cls.from_classifiers(trained)

    @classmethod
    def from_classifiers(cls, trained: Classifiers) -> list[Teacher]:
        """Each of several classifiers as a teacher."""
        return [cls.of(trained.alone(s)) for s in range(len(trained.kept))]

    def shaped(
        self, X: ArrayLike, labels: ArrayLike, *, shaping: Shaping | Loss, recipe: Recipe, key: tuple[Any, ...]
    ) -> Teacher:
        """This teacher, trained further with its uncertainty shaped (DUS)."""
        target = one_hot(labels, len(np.asarray(X)), self.classes(X))
        seed_design = replace(SeedDesign.independent(1), recurring=("initialisation", "order"))
        trained = fit_classifiers(
            X, target, factory=self.model, loss=shaping, recipe=recipe, seed_design=seed_design, key=(*checked_key(key), "shaped"),
            who="shaped teacher",
        )  # fmt: skip
        return Teacher(trained.model, self.temperature)

    def calibrated(self, X: ArrayLike, labels: ArrayLike) -> Teacher:
        """This teacher at the temperature that fits held-out labels best; see `uqkd.estimators.fit_temperature`."""
        return replace(self, temperature=float(fit_temperature(self._raw(X), labels).temperature))

    def logits(self, X: ArrayLike | Tensor) -> Array:
        """Its logits, divided by its temperature, at the rows of X (P, ...), as (P, C)."""
        return self._raw(X) / self.temperature

    def predict_proba(self, X: ArrayLike | Tensor) -> Array:
        """Its distribution over classes at the rows of X (P, ...), as (P, C)."""
        return torch.from_numpy(self.logits(X)).softmax(-1).numpy()

    def features(self, X: ArrayLike | Tensor) -> Array:
        """What its last linear layer gets at the rows of X (P, ...), as (P, D)."""
        return self._as_classifiers().features(X)[0]

    def respond(self, X: ArrayLike | Tensor, k: int, *, students: int | SeedDesign, key: tuple[Any, ...]) -> Labels:
        """k labels per prompt for each of S students.

        Parameters
        ----------
        X : (P, ...) float or int
            Prompts.
        k : int
            Responses per prompt, >= 1.
        students : int or SeedDesign
            S independent sets of labels, all of one stream; or students of a seed design: those of equal level of its
            `responses` get the same ones, and the first k of a level are the same whatever k.
        key : tuple
            Names the stream: `uqkd.seeds.generator(*key)`, or `(*key, "responses", l)` for level l.

        Returns
        -------
        (S, P, k) int
        """
        count = students.students if isinstance(students, SeedDesign) else students
        if not (is_int(k, 1) and is_int(count, 1)):
            raise OptionError(f"respond needs whole k >= 1 and students >= 1; got k={k!r}, students={count!r}.")
        answers = self.predict_proba(X)
        if isinstance(students, SeedDesign):
            found = by_level(
                students.responses,
                lambda rng: labels_at(answers, rng.random((k, len(answers)))),
                key=(*checked_key(key), "responses"),
                shared=students.recurs("responses"),
            )
            return np.ascontiguousarray(found.transpose(0, 2, 1))
        return draw_labels(np.broadcast_to(answers, (students, *answers.shape)), k, key=key)

    def _raw(self, X: ArrayLike | Tensor) -> Array:
        return np.asarray(self._as_classifiers().logits(X)[0])

    def classes(self, X: ArrayLike) -> int:
        """C, as its answer to the first rows of X (P, ...) shows."""
        return int(self._raw(np.asarray(X)[:PROBE_ROWS]).shape[-1])

    def _as_classifiers(self) -> Classifiers:
        return Classifiers(self.model, np.array([-1]), np.full(1, np.nan))
