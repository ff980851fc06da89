"""All k responses, 1/k each: alone in keeping the teacher's distribution (T4)."""

from __future__ import annotations

import numpy as np

from uqkd.llm.responses import Responses, TextTargets

SECOND = None
CHOOSES = False


def weighed(responses: Responses) -> TextTargets:
    """Weight 1/k on each response."""
    return TextTargets(responses, np.full(responses.shape, 1.0 / responses.shape[2]), "multi")
