"""How far networks end apart: of students that begin on their own, and of students that begin alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uqkd.estimators import Moments, mean_and_error
from uqkd.stacked import SeedDesign

Taught = Callable[[SeedDesign], NDArray[Any]]


@dataclass(frozen=True)
class Spread:
    """Variance between students, averaged over prompts.

    Attributes
    ----------
    variance, standard_error : float
    students : int
    """

    variance: float
    standard_error: float
    students: int

    @property
    def columns(self) -> dict[str, float]:
        """For a row of a study's table."""
        return {"students": self.students, "simulated": self.variance, "standard_error": self.standard_error}


def spread_of(answers: NDArray[Any]) -> Spread:
    """Of students (S, P), about their own mean: networks are biased, so that their teacher's mean is no centre.

    Examples
    --------
    >>> spread_of(np.array([[1.0], [3.0], [2.0]])).variance
    1.0
    """
    moments = Moments.of(np.asarray(answers, dtype=np.float64))
    return Spread(moments.mean_variance, moments.mean_variance_se, moments.count)


def begun_anew(taught: Taught, students: int, *, values: int, **drawn: Any) -> Spread:
    """Of independent students, taught chunk by chunk.

    Parameters
    ----------
    taught : callable
        Takes a seed design of S students, returns their answers (S, P).
    students : int
    values : int
        Numbers that one student needs at a time.
    **drawn : bool
        As for `SeedDesign.independent`.
    """
    designs = SeedDesign.in_chunks(students, values=values, **drawn)
    return spread_of(np.concatenate([taught(design) for design in designs]))


def begun_alike(taught: Taught, cell: Mapping[str, Any], **drawn: Any) -> Spread:
    """Of students that share one of a few beginnings, averaged over these; they differ in all else.

    Parameters
    ----------
    taught, **drawn
        As for `begun_anew`.
    cell : mapping
        "replicates" students and "initialisations", the same ones wherever they are used.
    """
    own, recurring = [], ("initialisation", *(name for name, wanted in drawn.items() if wanted))
    size = max(2, cell["replicates"] // cell["initialisations"])
    for level in range(cell["initialisations"]):
        design = SeedDesign.independent(size, first=level * size, **drawn)
        design = replace(design, initialisation=np.full(size, level), recurring=recurring)
        own.append(taught(design).var(axis=0, ddof=1).mean())
    return Spread(*mean_and_error(own), size * len(own))
