"""What students learn, in one family: responses with weights, whether the responses are numbers, class labels or texts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


class Targets(ABC):
    """Weighted responses of S students to P prompts; made by `weigh`.

    Attributes
    ----------
    method : str
        How they were weighed.
    """

    method: str

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(S, P, k): k responses to each prompt for each student; k = 0 where a distribution stands in their place."""

    @property
    def students(self) -> int:
        """S: as many as are to be distilled, or one for all alike."""
        return self.shape[0]

    @property
    def prompts(self) -> int:
        """P."""
        return self.shape[1]


@dataclass(frozen=True)
class NumberTargets(Targets):
    """Weighted numbers: what each student of a regression is trained on.

    Attributes
    ----------
    values : (S, P) float
        The weighted mean of the responses (and of a second source), the label of a least-squares student.
    responses : (S, P, k) float
        The responses themselves, so that their spread is never lost.
    weights : float or (P,) or (S, P) float
        Weight on the mean of the teacher's responses; the second source has the rest. 1 where there is none.
    method : str

    Examples
    --------
    >>> from uqkd.targets import weigh
    >>> targets = weigh(np.array([[[1.0, 3.0]]]))
    >>> targets.shape, targets.students, targets.prompts, targets.spread
    ((1, 1, 2), 1, 1, array([[1.]]))
    """

    values: Array
    responses: Array
    weights: Array
    method: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, P, k)."""
        return self.responses.shape  # type: ignore[return-value]

    @property
    def spread(self) -> Array:
        """(S, P) mean squared deviation of the responses about their target value (division by k).

        The mean over k responses of (response − m)² is (value − m)² + spread wherever the value is their mean: all that
        a Gaussian head needs to know of them.
        """
        return np.asarray(((self.responses - self.values[..., None]) ** 2).mean(axis=-1))


@dataclass(frozen=True)
class ClassTargets(Targets):
    """Weighted class labels, or a teacher's distributions: what each classifier is trained on.

    Attributes
    ----------
    probabilities : (S, P, C) float
        Target distribution of the cross-entropy; each sums to one.
    labels : (S, P, k) int or None
        The sampled labels behind it; None where the teacher's distribution itself was used.
    method : str

    Examples
    --------
    >>> from uqkd.targets import weigh
    >>> weigh([[[2, 0]]], classes=3).shape, weigh([[0.2, 0.8]], "soft", students=5).shape
    ((1, 1, 2), (5, 1, 0))
    """

    probabilities: Array
    labels: Labels | None
    method: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(S, P, k), k = 0 without labels."""
        students, prompts, _ = self.probabilities.shape
        return students, prompts, 0 if self.labels is None else self.labels.shape[2]
