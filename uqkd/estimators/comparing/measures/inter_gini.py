"""Inter-student Gini variance of class probabilities."""

from __future__ import annotations

import math
from typing import Any

from uqkd.checking.arrays import Array
from uqkd.estimators.variance.by_student import of_probabilities

WHAT = "Gini variance between students"
NEEDS: tuple[str, ...] = ()
LIMIT = math.inf
REMARK = "where one variance between students is twice the other, intervals of 95 % cover 87 to 94 % (normal effects)"


def values(data: Any, labels: Any = None, teacher: Any = None) -> Array:
    """Of probabilities (S, P, C): per student and prompt, their mean is the estimate (T4).

    Examples
    --------
    >>> values([[[1.0, 0.0]], [[0.0, 1.0]], [[1.0, 0.0]]]).mean().round(6)
    np.float64(0.666667)
    """
    return of_probabilities(data, "inter_gini").per_student_inter
