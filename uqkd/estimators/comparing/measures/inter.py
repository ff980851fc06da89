"""Inter-student variance of draws."""

from __future__ import annotations

import math
from typing import Any

from uqkd.checking.arrays import Array
from uqkd.estimators.variance.by_student import of_draws

WHAT = "variance between students"
NEEDS: tuple[str, ...] = ()
LIMIT = math.inf
REMARK = "where one variance between students is twice the other, intervals of 95 % cover 87 to 94 % (normal effects)"


def values(data: Any, labels: Any = None, teacher: Any = None) -> Array:
    """Of draws (S, P, R[, D]), numbers or class labels: per student and prompt, their mean is the estimate (T10).

    Examples
    --------
    >>> values([[[1.0, 3.0]], [[5.0, 7.0]], [[3.0, 5.0]]]).mean().round(6)
    np.float64(3.0)
    """
    parts = of_draws(data, "inter")
    return parts.per_student_inter
