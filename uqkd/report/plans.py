"""The curve of a plan as a figure: the standard error along each level, everything else at its best."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uqkd.report import figures

_TITLES = {
    "k": "responses k", "students": "students S", "draws": "answers R", "prompts": "prompts P", "budget": "budget",
    "target": "cost",
}  # fmt: skip


def plan_figure(rows: Sequence[Mapping[str, Any]], *, kind: str = "png") -> bytes:
    """A panel for each level that was varied, with the limits that the pilot leaves; PNG or PDF.

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
    figure, axes = figures.panels(1, len(varied), height=2.2, sharey=True)
    for axis, name in zip(axes[0], varied, strict=True):
        own = [row for row in rows if row["varied"] == name]
        x = [row["cost" if name in ("budget", "target") else name] for row in own]
        order = np.argsort(x)
        at, error, low, high = (
            np.array(values, dtype=float)[order]
            for values in (x, *([row[column] for row in own] for column in ("standard_error", "low", "high")))
        )
        if np.isfinite(low).all():
            axis.fill_between(at, low, high, color="0.9")
        figures.theory(axis, at, error, marker="o", markersize=2.5, color=figures.colours(1)[0])
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(_TITLES[name])
    axes[0, 0].set_ylabel("standard error")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    plt.close(figure)
    return buffer.getvalue()
