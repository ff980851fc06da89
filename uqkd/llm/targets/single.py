"""The first response alone: what a student of one answer learns from (T4)."""

from __future__ import annotations

import numpy as np

from uqkd.llm.responses import Responses, TextTargets

SECOND = None
CHOOSES = True


def weighed(responses: Responses) -> TextTargets:
    """Weight 1 on the first response."""
    return TextTargets(responses.first(1), np.ones((*responses.shape[:2], 1)), "single")
