"""Figures in one style: theory as lines, simulation as points with bars; PDF, PNG and the tidy table together."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from uqkd.errors import OptionError
from uqkd.estimators import half_width

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uqkd.run import Run

WIDTH = 7.0  # inches: the text width of a page

STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "uqkd",
}


def _use_style() -> None:
    import matplotlib as mpl

    mpl.use("Agg")  # draws without a display
    mpl.rcParams.update(STYLE)  # type: ignore[arg-type]  # the stubs list every name as a literal


def panels(rows: int = 1, columns: int = 1, *, height: float = 2.7, **options: Any) -> tuple[Figure, Any]:
    """A figure of the text width in the project's style, and its axes (always a 2-D array)."""
    import matplotlib.pyplot as plt

    _use_style()
    return plt.subplots(rows, columns, figsize=(WIDTH, height * rows), squeeze=False, **options)


def colours(n: int) -> list[Any]:
    """n colours that colour-blind readers can tell apart."""
    import seaborn as sns

    if n > 10:
        raise OptionError(f"ten colours can be told apart; got a request for {n}. Use panels or one sequential map.")
    return list(sns.color_palette("colorblind", n))


def theory(axes: Axes, x: Any, y: Any, **options: Any) -> None:
    """Theory: a line without markers."""
    axes.plot(x, y, **{"zorder": 2, **options})


def simulation(axes: Axes, x: Any, y: Any, standard_error: Any, *, students: Any = None, **options: Any) -> None:
    """Simulation: points with bars of ± 1.96 standard errors, or of 95 % by Student's t where so few `students` are behind each.

    Not called 95 % intervals: at 1,000 replicates they hold the truth in about 94.4 % of the cases for means and for
    variances of Gaussian quantities, and in 92.5 % for the variance of a skewed one (a squared Gaussian, the worst case
    of a test error); measured in tests/estimators/intervals/test_coverage.py.
    """
    error = np.asarray(standard_error, dtype=float)
    bars = 1.96 * error if students is None else half_width(error, students)
    hollow = {"fmt": "o", "mfc": "white", "mew": 0.9, "ms": 3.5, "capsize": 2, "elinewidth": 0.9, "zorder": 3}
    axes.errorbar(x, y, yerr=bars, **{**hollow, **options})  # type: ignore[arg-type]


def k_axis(axes: Axes, ticks: tuple[int, ...]) -> None:
    """Logarithmic x-axis with these whole numbers written out."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, labels=[str(k) for k in ticks], minor=False)
    axes.set_xticks([], minor=True)


def legend_below(figure: Figure, axes: Axes, title: str, *, columns: int = 3) -> None:
    """One legend for all panels, below them, with the entries of `axes`."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, title=title, loc="outside lower center", ncols=min(len(labels), columns))


def _bytes(figure: Figure, kind: str) -> bytes:
    # Without dates and version numbers equal figures are equal files.
    metadata = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}, "png": {"Software": None}}[kind]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def publish(
    run: Run,
    figure: Figure,
    *,
    table: pd.DataFrame,
    title: str,
    caption: str,
    more: Mapping[str, pd.DataFrame] | None = None,
    place: int = 100,
) -> None:
    """Write a study's figure (PDF and PNG), its tidy table and its caption into the results.

    Parameters
    ----------
    run : Run
        Of the study; its name is the figure's.
    figure : matplotlib Figure
        Closed afterwards.
    table : DataFrame
        Tidy: every number in the figure and in the caption comes from it. Rows of `uqkd.estimators.comparison` are listed
        among the theory checks of the gallery.
    title, caption : str
        What is asked; what is seen.
    more : mapping of name to DataFrame, optional
        Further tables behind the figure, written beside it as `<study>.<name>.csv`.
    place : int
        Where in the gallery's order the figure stands.
    """
    import matplotlib.pyplot as plt

    name = run.study
    for kind in ("pdf", "png"):
        run.store.write_bytes(f"figures/{name}.{kind}", _bytes(figure, kind))
    plt.close(figure)
    run.store.write_bytes(f"tables/{name}.csv", table.to_csv(index=False).encode())
    for part, extra in (more or {}).items():
        run.store.write_bytes(f"tables/{name}.{part}.csv", extra.to_csv(index=False).encode())
    about = {"title": title, "caption": caption, "study": run.study, "place": place}
    run.store.write_bytes(f"figures/{name}.json", json.dumps(about, ensure_ascii=False, indent=1).encode())
