"""p-values corrected for their number."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from uqkd.checking.arrays import Array, known_or_nan
from uqkd.errors import OptionError, one_of

CORRECTIONS = ("holm", "benjamini_hochberg")


def adjusted_p_values(p_values: ArrayLike, correction: str = "holm") -> Array:
    """p-values corrected for how many there are.

    Parameters
    ----------
    p_values : (n,) float
        A NaN stays NaN, and counts as 1 among the others, so that leaving a test out makes no other one significant.
    correction : {"holm", "benjamini_hochberg"}
        Holm (1979): the chance of any false finding, however the tests depend on one another. Benjamini and Hochberg (1995): the
        share of false ones among the findings.

    Returns
    -------
    (n,) float

    Raises
    ------
    OptionError
        An unknown correction.

    Examples
    --------
    >>> adjusted_p_values([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    one_of("correction", correction, CORRECTIONS)
    given = known_or_nan("p_values", p_values)
    low, high = np.fmin.reduce(given, axis=None), np.fmax.reduce(given, axis=None)
    if given.ndim != 1 or np.any(given < 0) or np.any(given > 1):
        raise OptionError(
            f"p_values must be one axis of numbers from 0 to 1; got shape {given.shape}, {low:g} to {high:g}."
        )
    known = np.where(np.isnan(given), 1.0, given)
    if correction == "benjamini_hochberg":
        found = np.asarray(stats.false_discovery_control(known, method="bh"))
    else:
        order = np.argsort(known)
        raised = np.maximum.accumulate(known[order] * np.arange(known.size, 0, -1))
        found = np.empty_like(raised)
        found[order] = np.minimum(raised, 1.0)
    return np.where(np.isnan(given), np.nan, found)
