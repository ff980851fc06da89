"""Methods compared on the same teachers and the same rows: paired differences from one of them, with Holm's correction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from uqkd.errors import DataError
from uqkd.estimators import LEVEL, adjusted_p_values, half_width, two_way_mean

Array = NDArray[np.float64]


def squares(table: pd.DataFrame, value: str, *, row: str, column: str) -> dict[str, Array]:
    """Of each method of a tidy table its values (row, column), both sorted; `DataError` where one is missing.

    Examples
    --------
    >>> table = pd.DataFrame({"method": ["a", "a"], "replicate": [0, 0], "text": [0, 1], "kl": [0.5, 1.5]})
    >>> squares(table, "kl", row="replicate", column="text")
    {'a': array([[0.5, 1.5]])}
    """
    places = [pd.factorize(table[name], sort=name != "method") for name in ("method", row, column)]
    found = np.full([len(names) for _, names in places], np.nan)
    found[tuple(codes for codes, _ in places)] = table[value]
    if np.isnan(found).any():
        raise DataError(f"{int(np.isnan(found).sum())} of {found.size} values of {value!r} are missing or no number.")
    return dict(zip(map(str, places[0][1]), found, strict=True))


def paired_differences(
    values: Mapping[str, Array], plain: str, *, tested: Collection[str], level: float = LEVEL
) -> list[dict[str, Any]]:
    """Mean of every method, and its difference from that of `plain`, teacher by teacher and row by row.

    Parameters
    ----------
    values : mapping of method to (S, P) float
        Of the same S teachers and P rows, both samples. A method that has a value which is not finite is not compared.
    plain : str
        The method that the others are held against.
    tested : collection of str
        Methods that Holm's correction counts.
    level : float
        Of the intervals, each for itself, and of the signs, for all that are tested together.

    Returns
    -------
    list of dict
        method, value and half_width, difference and difference_half_width, p and p_holm (two-sided; NaN where nothing is tested),
        sign ("below", "above", "undecided"), teachers, rows.

    Notes
    -----
    Standard errors are two-way (`two_way_mean`), and t has S − 1 degrees of freedom: cautious where rows are the larger part of
    them. Holm (1979), Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> plain, shift = rng.normal(size=(5, 40)), rng.normal(0.5, 0.1, size=(5, 40))
    >>> found = paired_differences({"plain": plain, "better": plain - shift}, "plain", tested=["better"])
    >>> found[1]["sign"], round(found[1]["difference"], 1)
    ('below', -0.5)
    """
    from scipy import stats

    lines: list[dict[str, Any]] = []
    for method, table in values.items():
        teachers, rows = table.shape
        line: dict[str, Any] = {
            "method": method,
            "value": np.inf,
            "sign": "undecided",
            "teachers": teachers,
            "rows": rows,
        }
        line |= dict.fromkeys(("half_width", "difference", "difference_half_width", "p", "p_holm"), np.nan)
        lines.append(line)
        if np.isfinite(table).all():
            (value, error), (apart, apart_error) = two_way_mean(table), two_way_mean(table - values[plain])
            reach = half_width([error, apart_error], teachers, level=level)
            line |= {"value": value, "half_width": float(reach[0]), "difference": apart}
            line["difference_half_width"] = float(reach[1])
            if apart_error > 0:
                line["p"] = float(2 * stats.t.sf(abs(apart) / apart_error, teachers - 1))
    counted = [line for line in lines if line["method"] in tested and np.isfinite(line["p"])]
    adjusted: Any = adjusted_p_values([line["p"] for line in counted]) if counted else []
    for line, p in zip(counted, adjusted, strict=True):
        line["p_holm"] = float(p)
        if p <= 1 - level:
            line["sign"] = "below" if line["difference"] < 0 else "above"
    return lines
