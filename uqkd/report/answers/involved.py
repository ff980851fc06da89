"""Shares that a sum's parts have, with limits: how much of a variance involves each of its sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from uqkd.report.answers import Number
from uqkd.report.answers.measured import within

if TYPE_CHECKING:
    import pandas as pd


def share(parts: ArrayLike, low: ArrayLike, high: ArrayLike, chosen: ArrayLike, *, form: str = ".0%") -> Number | None:
    """Share of a sum that some of its parts make up, from the limits of each part.

    Parameters
    ----------
    parts, low, high : (n,) array_like
        Estimates that add up to the whole, and the limits of each.
    chosen : (n,) bool array_like
        The parts whose share is asked for.
    form : str
        Of the number.

    Returns
    -------
    Number or None
        Limits: those of either sum are as far off as the root of the summed squares of its parts' (Zou and Donner 2008,
        doi:10.1002/sim.3095); a share is largest where the chosen sum is at its high and the other at its low limit. The two
        at once are rarer than either, so that the share's interval covers more than its parts'.

    Examples
    --------
    >>> found = share([0.8, 0.1, 0.1], [0.6, 0.1, 0.1], [1.2, 0.1, 0.1], [True, False, False])
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.8, 0.75, 0.857)
    """
    values, below, above = (np.asarray(one, dtype=float) for one in (parts, low, high))
    own = np.asarray(chosen, dtype=bool)

    def limits(of: np.ndarray) -> tuple[float, float, float]:
        whole = float(values[of].sum())
        down, up = (float(np.sqrt(((values - end)[of] ** 2).sum())) for end in (below, above))
        return whole, max(whole - down, 0.0), whole + up

    (mine, mine_low, mine_high), (rest, rest_low, rest_high) = limits(own), limits(~own)
    if not mine + rest > 0 or not mine_low + rest_high > 0:
        return None
    value = min(max(mine / (mine + rest), 0.0), 1.0)
    return within(value, mine_low / (mine_low + rest_high), mine_high / (mine_high + rest_low), form)


def involved(parts: pd.DataFrame, sources: Sequence[str]) -> dict[str, Number | None]:
    """Share of a crossed design's variance that each source is part of, and that of all interactions.

    Parameters
    ----------
    parts : DataFrame
        A row for each component: effect ("a", "a:b", and "residual" for all sources together), estimate, low, high.
    sources : sequence of str
        Names within the effects.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"effect": ["a", "b", "residual"], "estimate": [2.0, 1.0, 1.0]})
    >>> rows = rows.assign(low=rows["estimate"], high=rows["estimate"])
    >>> {name: str(number) for name, number in involved(rows, ("a", "b")).items()}
    {'a': '75 %', 'b': '50 %', 'interactions': '25 %'}
    """
    effects = [list(sources) if effect == "residual" else effect.split(":") for effect in parts["effect"]]
    limits = parts["estimate"], parts["low"], parts["high"]
    own = {source: [source in effect for effect in effects] for source in sources}
    own["interactions"] = [len(effect) > 1 for effect in effects]
    return {name: share(*limits, chosen) for name, chosen in own.items()}
