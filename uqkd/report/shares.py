"""Shares of a teacher's variance in one style: within one student, between students, and their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from uqkd.estimators import variance_half_widths
from uqkd.report import captions, figures

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SHARES = {"intra": "within one student", "inter": "between students", "total": "sum (κ)"}


def memorised_lines(axes: Axes, low: float, high: float) -> None:
    """T4 for students that memorise k answers, from k = low to high."""
    dense = np.geomspace(low, high, 200)
    lines = (1.0 - 1.0 / dense, 1.0 / dense, np.ones_like(dense))
    for line, colour in zip(lines, figures.colours(3), strict=True):
        figures.theory(axes, dense, line, color=colour)


def share_points(axes: Axes, rows: pd.DataFrame, x: Any = "k", *, sort: bool = False, **options: Any) -> None:
    """Points of the shares in a table with a column quantity; `x` names their places, or makes them of a table's part."""
    for (quantity, label), colour in zip(SHARES.items(), figures.colours(3), strict=True):
        part = rows[rows["quantity"] == quantity]
        if len(part):
            part = part.sort_values("k") if sort else part
            shown = {"color": colour, "label": label, **options}
            figures.points(axes, part, x if isinstance(x, str) else x(part), **shown)


def places_of(k: pd.Series) -> pd.Series:
    """Places on the axis of k: soft targets are k without end, one gap to the right."""
    return k.where(np.isfinite(k), 3.0 * k[np.isfinite(k)].max())


def answers_axis(axes: Axes, k: pd.Series, label: str) -> tuple[float, float]:
    """Logarithmic x-axis of k answers, with "soft" for k without end; returns the least and the largest finite k."""
    finite = k[np.isfinite(k)]
    axes.set(xscale="log", xlabel=label, xlim=(finite.min() / 1.3, 4.0 * finite.max()))
    labels = ["soft" if np.isinf(one) else f"{one:g}" for one in sorted(k.unique())]
    figures.ticks(axes, "x", sorted(places_of(k).unique()), labels)
    return float(finite.min()), float(finite.max())


def shares_text(by: pd.DataFrame) -> str:
    """Of "training" and of "test" prompts: within one student / between students / together, which has its interval.

    Parameters
    ----------
    by : DataFrame
        Columns simulated, standard_error and students; indexed by prompts and quantity.

    Examples
    --------
    >>> import pandas as pd
    >>> at = pd.MultiIndex.from_product([["training", "test"], ["intra", "inter", "total"]])
    >>> shares_text(pd.DataFrame({"simulated": [0.1, 0.8, 0.9] * 2, "standard_error": 0.1, "students": 9}, index=at))
    '0.10 / 0.80 / 0.90 ± 0.30 at training and 0.10 / 0.80 / 0.90 ± 0.30 at test prompts'
    """
    texts = []
    for where in ("training", "test"):
        total_of: Any = by.loc[(where, "total"), ["simulated", "standard_error", "students"]]
        value, error, students = total_of
        reach = float(variance_half_widths(value, error, students).max())
        digits = max(2, -int(np.floor(np.log10(reach)))) if reach > 0 else 2  # so that ± says which digits count
        total = captions.plus_minus(value, error, f".{digits}f", variance_of=students)
        intra, inter = (float(by["simulated"].to_dict()[where, quantity]) for quantity in ("intra", "inter"))
        texts.append(f"{intra:.2f} / {inter:.2f} / {total}")
    return f"{texts[0]} at training and {texts[1]} at test prompts"
