"""How a teacher of this layer responds: S independent sets of answers, or those of the levels of a seed design."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.stacked import SeedDesign
from uqkd.stacked.randomness.orders import by_level


class Answers(Protocol):
    """What a teacher answers at fixed prompts: something that responses can be drawn from."""

    def draw(self, k: int, generator: np.random.Generator) -> NDArray[Any]:
        """k responses to each prompt, (k, P): the first ones are the same whatever k."""
        ...


class Answering(ABC):
    """A teacher: `uqkd.mlp.Teacher`, or one of your own that says what it answers `at` prompts."""

    @abstractmethod
    def at(self, X: ArrayLike) -> Answers:
        """Its answers at the rows of X."""

    def respond(self, X: ArrayLike, k: int, *, students: int | SeedDesign, key: tuple[Any, ...]) -> NDArray[Any]:
        """k responses per prompt for each of S students.

        Parameters
        ----------
        X : (P, p) float
            Prompts.
        k : int
            Responses per prompt, >= 1.
        students : int or SeedDesign
            S independent sets of responses, all of one stream; or students of a seed design: those of equal level of its
            `responses` get the same ones, and the first k of a level are the same whatever k.
        key : tuple
            Names the stream: `uqkd.seeds.generator(*key)`, or `(*key, "responses", l)` for level l.

        Returns
        -------
        (S, P, k) float, or int for class labels

        Examples
        --------
        >>> from uqkd.mlp import Recipe, Teacher
        >>> teacher = Teacher.fit([[0.0], [1.0]], [0.0, 1.0], noise_var=1.0, recipe=Recipe(steps=1), key=("doc",))
        >>> teacher.respond([[5.0]], 3, students=2, key=("doc", "answers")).shape
        (2, 1, 3)
        >>> design = SeedDesign.crossed({"responses": 2, "initialisation": 2})
        >>> two = teacher.respond([[5.0]], 2, students=design, key=("doc",))
        >>> bool((two[0] == two[1]).all()), bool((two[0] == two[2]).any())
        (True, False)
        >>> bool((teacher.respond([[5.0]], 1, students=design, key=("doc",)) == two[:, :, :1]).all())
        True
        """
        count = students.students if isinstance(students, SeedDesign) else students
        if k < 1 or count < 1:
            raise OptionError(f"respond needs k >= 1 and students >= 1; got k={k}, students={count}.")
        answers = self.at(X)
        if not isinstance(students, SeedDesign):
            drawn = answers.draw(students * k, seeds.generator(*key))
            return np.ascontiguousarray(drawn.reshape(students, k, -1).transpose(0, 2, 1))
        shared = students.recurs("responses")
        found = by_level(students.responses, lambda rng: answers.draw(k, rng), key=(*key, "responses"), shared=shared)
        return np.ascontiguousarray(found.transpose(0, 2, 1))
