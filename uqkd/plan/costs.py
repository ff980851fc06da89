"""What an experiment is made of, and what a unit of each level costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uqkd.errors import OptionError

LEVELS = ("k", "students", "draws", "prompts")


@dataclass(frozen=True)
class Design:
    """The size of an experiment.

    Attributes
    ----------
    k : int
        Responses of the teacher to each training prompt, for each student.
    students : int
        S.
    draws : int
        R: answers of each student to each prompt.
    prompts : int
        P: prompts that are measured on.
    """

    k: int
    students: int
    draws: int
    prompts: int

    def levels(self) -> dict[str, int]:
        """The four counts by name.

        Examples
        --------
        >>> Design(8, 5, 4, 200).levels()
        {'k': 8, 'students': 5, 'draws': 4, 'prompts': 200}
        """
        return {name: getattr(self, name) for name in LEVELS}


@dataclass(frozen=True)
class Costs:
    """Cost of one unit of each level, in any one unit (seconds, dollars).

    Attributes
    ----------
    response : float
        Of one teacher response.
    student : float
        Of one student, whatever it is trained on.
    row : float
        Of training on one response.
    draw : float
        Of one answer of a student.
    prompt : float
        Of one prompt to measure on: its writing or its reference answer.
    train_prompts : int or None
        Prompts that students are trained on; None if those are the prompts that are measured on.
    one_bank : bool
        All students are trained on the same responses: they are drawn once.

    Examples
    --------
    >>> costs = Costs(response=0.02, student=300.0, draw=0.01, train_prompts=2000)
    >>> float(costs.total(k=8, students=5, draws=4, prompts=200))  # 5·(300 + 2000·8·.02) + 5·4·200·.01
    3140.0
    """

    response: float = 0.0
    student: float = 0.0
    row: float = 0.0
    draw: float = 0.0
    prompt: float = 0.0
    train_prompts: int | None = None
    one_bank: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no cost."""
        for field in fields(self)[:5]:
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise OptionError(f"a cost must be a number of at least 0; got {field.name}={value!r}.")
        if self.train_prompts is not None and self.train_prompts < 1:
            raise OptionError(f"train_prompts must be at least 1; got {self.train_prompts}.")
        if not any(getattr(self, field.name) for field in fields(self)[:5]):
            raise OptionError(
                "all costs are 0, so that the largest design is best; give the cost of one level at least."
            )

    def parts(self, k: ArrayLike, students: ArrayLike, draws: ArrayLike) -> tuple[Any, Any]:
        """What does not depend on the number of prompts measured on, and what each of them costs."""
        k, students, draws = (np.asarray(count, dtype=np.float64) for count in (k, students, draws))
        each = k * (students * self.row + (1.0 if self.one_bank else students) * self.response)
        fixed, by_prompt = students * self.student, self.prompt + students * draws * self.draw
        if self.train_prompts is None:
            return fixed, by_prompt + each
        return fixed + self.train_prompts * each, by_prompt

    def total(self, *, k: ArrayLike, students: ArrayLike, draws: ArrayLike, prompts: ArrayLike) -> NDArray[np.float64]:
        """Cost of designs; counts of one shape or broadcast."""
        fixed, by_prompt = self.parts(k, students, draws)
        return np.asarray(fixed + by_prompt * np.asarray(prompts, dtype=np.float64))

    def of(self, design: Design) -> float:
        """Cost of one design."""
        return float(self.total(**design.levels()))
