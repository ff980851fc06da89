"""Figures in one style: theory as lines, simulation as points with bars; PDF, PNG and the tidy table together."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from uqkd.errors import one_of
from uqkd.estimators import half_width, variance_half_widths
from uqkd.report.marks import colours, focus, open_bars, series_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from uqkd.report.answers import Answer
    from uqkd.run import Run

__all__ = [  # with what studies take from the marks
    "GROUPS", "band", "colours", "focus", "intervals", "k_axis", "labelled_point", "layer_name", "legend_below", "limits",
    "log_ticks", "named_rows", "outer_labels", "panels", "points", "publish", "series_styles", "simulation", "theory", "ticks",
]  # fmt: skip

GROUPS = {
    "linear": "Linear regression",
    "mlp": "Networks",
    "llm": "Language models",
    "classify": "Classifiers",
    "across": "Across layers",
    "own": "Other studies",
}

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


def theory(axes: Axes, x: Any, y: Any, **options: Any) -> None:
    """Theory: a line without markers."""
    axes.plot(x, y, **{"zorder": 2, **options})


def simulation(
    axes: Axes, x: Any, y: Any, standard_error: Any, *, students: Any = None, variance_of: Any = None, **options: Any
) -> None:
    """Simulation: points with intervals at `LEVEL`.

    Parameters
    ----------
    students : int or array, optional
        Of a mean over so few students: Student's t.
    variance_of : int or array, optional
        Of a variance over so few students. Without either the estimate is taken for a variance over many replicates: see
        `uqkd.estimators.variance_half_widths`.
    """
    error = np.asarray(standard_error, dtype=float)
    if error.size == 0:  # nothing to show, in a panel that others share
        bars = error
    elif students is not None:
        bars = half_width(error, students)
    else:
        bars = variance_half_widths(np.asarray(y, dtype=float), error, variance_of)
    hollow = {"fmt": "o", "mfc": "white", "mew": 0.9, "ms": 3.5, "capsize": 2, "elinewidth": 0.9, "zorder": 3}
    axes.errorbar(x, y, yerr=bars, **{**hollow, **options})  # type: ignore[arg-type]


def points(
    axes: Axes,
    rows: pd.DataFrame,
    x: Any,
    *,
    y: str = "simulated",
    error: str = "standard_error",
    students: str | None = None,
    **options: Any,
) -> None:
    """Simulation from the rows of a table.

    Parameters
    ----------
    rows : DataFrame
        One row a point.
    x : str or array
        Column of the places, or the places.
    y, error : str
        Columns of the estimate and of its standard error.
    students : str, optional
        Column of how many students are behind a mean, where they are few. Otherwise a column "students" says over how many a
        variance is.
    """
    at = rows[x] if isinstance(x, str) else x
    few = {"students": rows[students]} if students is not None else {"variance_of": rows.get("students")}
    simulation(axes, at, rows[y], rows[error], **few, **options)


def intervals(axes: Axes, x: Any, y: Any, *, xerr: Any = None, yerr: Any = None, **options: Any) -> None:
    """Hollow points with bars of these half-widths, across, along or both."""
    hollow = {"fmt": "o", "mfc": "white", "ms": 3.5, "capsize": 2}
    axes.errorbar(x, y, xerr=xerr, yerr=yerr, **{**hollow, **options})


def layer_name(parameter: str) -> str:
    """A parameter of a sequential network as people call it.

    Examples
    --------
    >>> layer_name("2.weight"), layer_name("0.bias"), layer_name("answers")
    ('weights, layer 2', 'bias, layer 1', 'answers')
    """
    layer, _, kind = parameter.partition(".")
    return f"{kind}{'s' * (kind == 'weight')}, layer {int(layer) // 2 + 1}" if kind else parameter


def labelled_point(axes: Axes, x: float, y: float, text: str, *, standard_error: float, color: Any) -> None:
    """A point with its interval across, and its number above it."""
    simulation(axes, [x], [y], 0.0, color=color, capsize=0)
    intervals(axes, [x], [y], xerr=variance_half_widths([x], standard_error), fmt="none", ecolor=color, elinewidth=0.9)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    where: dict[str, Any] = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 8}
    axes.annotate(text, (x, y), color=color, bbox=box, **where)


def limits(rows: pd.DataFrame, low: str = "low", high: str = "high", *, estimate: str = "estimate") -> Any:
    """Half-widths down and up (2, rows) of intervals whose limits stand in a table."""
    return np.stack([rows[estimate] - rows[low], rows[high] - rows[estimate]])


def band(axes: Axes, value: float, standard_error: float, *, along: str = "x", **options: Any) -> None:
    """The interval of a variance over many replicates as a band over the whole axis."""
    below, above = variance_half_widths(value, standard_error)
    span = axes.axhspan if along == "x" else axes.axvspan
    span(float(value - below), float(value + above), **options)


def ticks(axes: Axes, which: str, places: Any, labels: Any = None) -> None:
    """These ticks on the "x" or "y" axis and no smaller ones; numbers are written out."""
    texts = [f"{place:g}".replace("-", "−") for place in places] if labels is None else list(labels)
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axis.set_ticks(list(places), labels=texts, minor=False)
    axis.set_ticks([], minor=True)


def log_ticks(axes: Axes, which: str = "y", *, steps: tuple[float, ...] = (1, 3)) -> None:
    """Ticks at these multiples of powers of ten, as far as the axis reaches."""
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks(axes, which, [step * 10.0**e for e in powers for step in steps if low <= step * 10.0**e <= high])


def outer_labels(axes: Any, *, x: str = "", y: str = "") -> None:
    """Labels of the lowest and of the leftmost of an array of axes."""
    for axis in axes[-1] if x else ():
        axis.set_xlabel(x)
    for axis in axes[:, 0] if y else ():
        axis.set_ylabel(y)


def k_axis(axes: Axes, places: tuple[int, ...]) -> None:
    """Logarithmic x-axis with these whole numbers written out."""
    axes.set_xscale("log")
    ticks(axes, "x", places, [str(k) for k in places])


def named_rows(axes: Axes, names: Any, **text: Any) -> None:
    """A row for each name, from the top."""
    axes.set_yticks(range(len(names)), labels=list(names), **text)
    axes.set_ylim(len(names) - 0.4, -0.6)


def legend_below(figure: Figure, axes: Axes | Sequence[Axes], title: str, *, columns: int = 3) -> None:
    """One legend for all panels, below them, with the entries of `axes` (of one or of several)."""
    several = axes if isinstance(axes, Sequence) else [axes]
    entries = [axis.get_legend_handles_labels() for axis in several]
    handles, labels = ([one for entry in entries for one in entry[i]] for i in (0, 1))
    below = figure.legend(
        handles=handles, labels=labels, title=title, loc="outside lower center", ncols=min(len(labels), columns)
    )
    below.get_title().set_multialignment("center")


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
    caption: str,
    title: str = "",
    more: Mapping[str, pd.DataFrame] | None = None,
    answer: Answer | None = None,
    group: str = "own",
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
    caption : str
        What is seen.
    title : str, optional
        What is asked: the study's question if not given.
    more : mapping of name to DataFrame, optional
        Further tables behind the figure, written beside it as `<study>.<name>.csv`.
    answer : Answer, optional
        To the question, in one sentence, with the limits that its numbers may have in another run.
    group : str
        Of the figures on the page: a key of `GROUPS`.
    place : int
        Where in its group the figure stands.
    """
    import matplotlib.pyplot as plt

    name, group = run.study, one_of("group", group, GROUPS)
    for axes in figure.axes:
        open_bars(axes)
    for kind in ("pdf", "png"):
        run.store.write_bytes(f"figures/{name}.{kind}", _bytes(figure, kind))
    plt.close(figure)
    run.store.write_bytes(f"tables/{name}.csv", table.to_csv(index=False).encode())
    for part, extra in (more or {}).items():
        run.store.write_bytes(f"tables/{name}.{part}.csv", extra.to_csv(index=False).encode())
    about = {
        "title": title or run.question,
        "answer": answer.to_json() if answer is not None else None,
        "caption": caption.strip(),
        "study": run.study,
        "group": group,
        "place": place,
        "settings": dict(run.settings),
    }
    run.store.write_bytes(f"figures/{name}.json", json.dumps(about, ensure_ascii=False, indent=1).encode())
