"""Numbers of trained models, with the limits within which a run elsewhere finds them.

Training in floating point does not reproduce from one machine to another: its students are other students, and its estimate
differs from the one here by the errors of both. Intervals of one run are too narrow for that by √2.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from uqkd.estimators import normal_quantile
from uqkd.report.answers import Number, Shows, measured

TWO_RUNS = np.sqrt(2.0)  # standard error of the difference of two runs, in those of one


def rows_of(table: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """Rows in which these columns have these values.

    Examples
    --------
    >>> rows_of(pd.DataFrame({"k": [1, 4], "found": [0.5, 0.1]}), k=4)["found"].tolist()
    [0.1]
    """
    chosen = np.logical_and.reduce([table[name] == value for name, value in columns.items()], axis=0)
    return table[np.broadcast_to(chosen, len(table))]


def estimate(rows: pd.DataFrame, form: str = ".2f", *, shows: Shows = "value", positive: bool = True) -> Number | None:
    """Mean of rows of a table, and the limits within which a run elsewhere finds it.

    Parameters
    ----------
    rows : DataFrame
        Columns simulated, standard_error and students. Several rows have the same students: their errors may agree, and that
        of the mean is the mean of theirs.
    form, shows : str
        Of the number.
    positive : bool
        A variance or another positive estimate (`measured.positive`) rather than a mean or a difference (Student's t).

    Returns
    -------
    Number or None
        None if there are no rows, or one has no estimate or no standard error.

    Examples
    --------
    >>> row = {"simulated": 0.5, "standard_error": 0.1, "students": 100}
    >>> str(estimate(pd.DataFrame([row, row]), shows="limits", positive=False)), estimate(pd.DataFrame([row])[:0])
    ('0.50 [0.22, 0.78]', None)
    """
    value, error = (rows[name].mean(skipna=False) for name in ("simulated", "standard_error"))
    if len(rows) == 0:
        return None
    limited = measured.positive if positive else measured.mean
    return limited(value, error * TWO_RUNS, form, shows=shows, students=int(rows["students"].min()))


def difference(
    first: pd.DataFrame, second: pd.DataFrame, form: str = "+.2f", *, shows: Shows = "value"
) -> Number | None:
    """Of the means of two parts of a table, whose students are others; limits and None as of `estimate`.

    Examples
    --------
    >>> rows = pd.DataFrame([{"simulated": 0.5, "standard_error": 0.03, "students": 100}])
    >>> str(difference(rows, rows.assign(simulated=0.1, standard_error=0.04), shows="limits"))
    '+0.40 [+0.26, +0.54]'
    """
    if len(first) == 0 or len(second) == 0:
        return None
    sides = [rows[["simulated", "standard_error"]].mean(skipna=False) for rows in (first, second)]
    fewest = min(int(rows["students"].min()) for rows in (first, second))
    row = {
        "simulated": sides[0].iloc[0] - sides[1].iloc[0],
        "standard_error": np.hypot(*(side.iloc[1] for side in sides)),
    }
    return estimate(pd.DataFrame([{**row, "students": fewest}]), form, shows=shows, positive=False)


def count_beyond(z: ArrayLike, limit: float) -> Number:
    """How many of these are beyond a limit of |z|, and how many may be elsewhere, where each has another error.

    Examples
    --------
    >>> found = count_beyond([0.5, 3.5, -9.0], 4.0)
    >>> found.value, found.low, found.high
    (1.0, 1.0, 2.0)
    """
    size, reach = np.abs(np.asarray(z, dtype=float)), normal_quantile() * TWO_RUNS
    found, least, most = (int((size > bound).sum()) for bound in (limit, limit + reach, limit - reach))
    return Number.measured(found, least, most, ".0f", shows="limits")


def counts(**known: float) -> dict[str, Number | None]:
    """Counts that are the same everywhere; None for one that is not known.

    Examples
    --------
    >>> {name: str(number) for name, number in counts(k=4, students=8.0).items()}
    {'k': '4', 'students': '8'}
    """
    return {name: Number.exact(int(count), "d") if np.isfinite(count) else None for name, count in known.items()}


def inflation(row: pd.Series) -> Number | None:
    """How much an estimate exceeds what it is of, as a share, where the excess does not depend on it.

    Parameters
    ----------
    row : Series
        simulated, and predicted: something that varies as the variance between students on prompts does, whose relative error
        is about √(2/((students − 1)·prompts)), that of a variance of normal numbers.

    Returns
    -------
    Number or None
        None where that error leaves no upper limit.

    Examples
    --------
    >>> str(inflation(pd.Series({"simulated": 0.14, "predicted": 0.1, "students": 9, "prompts": 100})))
    '40 % [35 %, 46 %]'
    """
    more = row["simulated"] / row["predicted"] - 1.0 if row["predicted"] > 0 else np.nan
    reach = float(normal_quantile() * TWO_RUNS * np.sqrt(2.0 / ((row["students"] - 1) * row["prompts"])))
    if not np.isfinite(more) or reach >= 1.0:
        return None
    low, high = sorted((more / (1.0 + reach), more / (1.0 - reach)))
    return measured.within(more, low, high, ".0%", shows="limits")


def named(rows: pd.DataFrame, columns: list[str], form: str = ".2f") -> dict[str, Number | None]:
    """Number of each row of a table of intervals (estimate, low, high: of recorded answers, the same everywhere), by its columns.

    Examples
    --------
    >>> row = {"part": "held out", "method": "single", "estimate": 0.2, "low": 0.1, "high": 0.3}
    >>> {name: str(number) for name, number in named(pd.DataFrame([row]), ["part", "method"]).items()}
    {'held_out_single': '0.20 [0.10, 0.30]'}
    """
    found = {}
    for row in rows.to_dict("records"):
        name = "_".join(str(row[column]) for column in columns).replace(" ", "_")
        found[name] = measured.within(row["estimate"], row["low"], row["high"], form, shows="limits")
    return found
