"""A score of one's own for each student and prompt."""

from __future__ import annotations

import math
from typing import Any

from uqkd.checking.arrays import Array, shaped

WHAT = "score"
NEEDS: tuple[str, ...] = ()
LIMIT = math.inf


def values(data: Any, labels: Any = None, teacher: Any = None) -> Array:
    """The scores themselves, (S, P).

    Examples
    --------
    >>> values([[0.5, 1.0]])
    array([[0.5, 1. ]])
    """
    return shaped("scores", data, "S P")
