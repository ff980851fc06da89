"""The curve of a plan as a figure: along each level, everything else at its best."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from uqkd.report import figures

_COUNTS = {"k": "responses k", "students": "students S", "draws": "answers R", "prompts": "prompts P"}


def plan_figure(rows: Sequence[Mapping[str, Any]], *, kind: str = "png") -> bytes:
    """A panel for each level that was varied: the standard error for a budget, with limits, or the cost of a standard error.

    Parameters
    ----------
    rows : sequence of mappings
        Of `Plan.curve()`.
    kind : {"png", "pdf"}

    Examples
    --------
    >>> row = {"varied": "students", "students": 5, "cost": 9.0, "standard_error": 0.1, "low": 0.05, "high": 0.3}
    >>> plan_figure([row, {**row, "students": 6}])[1:4]
    b'PNG'
    """
    import matplotlib.pyplot as plt

    varied = list(dict.fromkeys(str(row["varied"]) for row in rows))
    y, last = ("cost", "standard_error") if "target" in varied else ("standard_error", "cost")
    figure, axes = figures.panels(1, len(varied), height=2.2, sharey=True)
    for axis, name in zip(axes[0], varied, strict=True):
        x = name if name in _COUNTS else last
        _panel(axis, sorted((row for row in rows if row["varied"] == name), key=lambda row: row[x]), x, y)
        axis.set_xlabel(_COUNTS.get(name, last.replace("_", " ")))
    figures.log_ticks(axes[0, 0], "y", steps=(1, 2, 5))
    axes[0, 0].set_ylabel(y.replace("_", " "))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    plt.close(figure)
    return buffer.getvalue()


def _panel(axis: Axes, rows: Sequence[Mapping[str, Any]], x: str, y: str) -> None:
    at, of, low, high = (np.array([row[column] for row in rows], dtype=float) for column in (x, y, "low", "high"))
    if y == "standard_error" and np.isfinite(low).all():
        axis.fill_between(at, low, high, color="0.9")
    figures.theory(axis, at, of, marker="o", markersize=2.5, color=figures.colours(1)[0])
    axis.set_xscale("log")
    axis.set_yscale("log")
    ends = list(dict.fromkeys([at[0], at[-1]]))
    figures.ticks(axis, "x", ends, [f"{place:,.0f}" if place >= 100 else f"{place:.2g}" for place in ends])
