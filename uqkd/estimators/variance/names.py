"""Epistemic and aleatoric: the names under which people look for the two parts of an uncertainty."""

from __future__ import annotations

from typing import Any


class EpistemicAleatoric:
    """The parts `inter` and `intra` of a decomposition by the field's other names; their sum is `total`.

    Examples
    --------
    >>> from uqkd.estimators import decompose_variance
    >>> parts = decompose_variance([[[1.0, 3.0]], [[5.0, 7.0]]])
    >>> parts.epistemic, parts.aleatoric
    (array([7.]), array([2.]))
    """

    inter: Any
    intra: Any

    @property
    def epistemic(self) -> Any:
        """`inter`: what independently distilled students disagree about, given one teacher.

        Not all that is not known: the teacher's own estimation error is common to all its students and shows in no
        difference between them (T1).
        """
        return self.inter

    @property
    def aleatoric(self) -> Any:
        """`intra`: what a student leaves open by itself, on average; the teacher's spread, as far as students kept it (T3, T4)."""
        return self.intra
