"""Colours and markers of series, axes around estimates, and arrows where the bar of an interval goes on beyond its axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from uqkd.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# After Okabe and Ito (2008), whose yellow is too pale on white: the first eight differ for the colour-blind, and next to each
# other in lightness too, so that grey tells them.
PALETTE = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9", "#222222", "#8c6d31", "#949494", "#fbafe4",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
MARKER_SIZES = (4.0, 3.8, 4.6, 3.6, 4.6, 5.0, 4.8, 6.0, 4.6, 4.6)  # points: equally large to the eye


def colours(n: int) -> list[str]:
    """n colours that colour-blind readers can tell apart.

    Raises
    ------
    OptionError
        More than ten.

    Examples
    --------
    >>> colours(2)
    ['#0173b2', '#de8f05']
    """
    if n > len(PALETTE):
        raise OptionError(f"ten colours can be told apart; got a request for {n}. Use panels or one sequential map.")
    return list(PALETTE[:n])


def series_styles(n: int) -> list[dict[str, Any]]:
    """Colour, marker and size for each of n series, as `simulation`, `points` and `intervals` of the figures take them.

    No two series share a colour or a marker: what is told by colour is told without it.

    Examples
    --------
    >>> [(style["color"], style["fmt"]) for style in series_styles(2)]
    [('#0173b2', 'o'), ('#de8f05', 's')]
    """
    return [
        {"color": colour, "fmt": marker, "ms": size}
        for colour, marker, size in zip(colours(n), MARKERS, MARKER_SIZES, strict=False)
    ]


def focus(axes: Axes, values: Any, *, which: str = "y", room: float = 0.12) -> None:
    """Limits around these estimates alone: bars that reach beyond get an arrow when the figure is published.

    Parameters
    ----------
    axes : Axes
    values : float array
        Estimates; NaN is left out, and on a logarithmic axis what is not above zero.
    which : {"x", "y"}
    room : float
        Left free at both ends, as a share of the axis's length.
    """
    found = np.asarray(values, dtype=float).ravel()
    logarithmic = (axes.get_yscale() if which == "y" else axes.get_xscale()) == "log"
    found = found[np.isfinite(found) & ((found > 0) | (not logarithmic))]
    if found.size == 0:
        return
    ends = np.log(found) if logarithmic else found
    low, high = float(ends.min()), float(ends.max())
    limits = np.array([low, high]) + room * (high - low or 1.0) * np.array([-1.0, 1.0])
    (axes.set_ylim if which == "y" else axes.set_xlim)(*(np.exp(limits) if logarithmic else limits))


def open_bars(axes: Axes) -> int:
    """Draw an arrow at the edge of the axes where the bar of an interval goes on beyond it; returns how many.

    On a logarithmic axis an interval that holds zero has no lower end: it is open too.
    """
    from matplotlib.container import ErrorbarContainer

    drawn = 0
    for container in [one for one in axes.containers if isinstance(one, ErrorbarContainer)]:
        kinds = [kind for kind, has in enumerate((container.has_xerr, container.has_yerr)) if has]
        for along, bars in zip(kinds, container.lines[2], strict=True):
            for segment in bars.get_segments():
                drawn += _open_ends(axes, np.asarray(segment, dtype=float), along, bars.get_color()[0])
    return drawn


def _open_ends(axes: Axes, segment: Any, along: int, colour: Any) -> int:
    """Arrows of one bar, (2, 2) places in the axes' units, that lies along x (0) or y (1)."""
    limits = (sorted(axes.get_xlim()), sorted(axes.get_ylim()))
    if len(segment) < 2 or not np.isfinite(segment).all():
        return 0
    (start, end), across, (low, high) = sorted(segment[:, along]), float(segment[0, 1 - along]), limits[along]
    if not limits[1 - along][0] <= across <= limits[1 - along][1] or end < low or start > high:
        return 0  # nothing of the bar is seen
    arrows = [(low, "<v"[along])][: int(start < low)] + [(high, ">^"[along])][: int(end > high)]
    for at, marker in arrows:
        place = (at, across) if along == 0 else (across, at)
        shown = {"marker": marker, "color": colour, "markersize": 4, "linestyle": "none", "zorder": 4, "clip_on": False}
        axes.plot(*place, scalex=False, scaley=False, **shown)
    return len(arrows)
