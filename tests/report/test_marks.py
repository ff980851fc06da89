"""What is told by colour is told without it, and a bar that goes on beyond its axes says so."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from uqkd.report import figures, marks

# Viénot, Brettel & Mollon's kinds of vision as matrices on linear RGB, severity 1: Machado, Oliveira & Fernandes (2009), table 1.
DEUTERANOPE = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPE = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
FIRST = 8  # colours that lines alone may be told by
LEAST_DISTANCE = (
    5 * 2.3
)  # CIE 1976: 2.3 is just noticed side by side (Mahy et al. 1994); these stand apart, five such steps


def lab(colour, seen=None):
    """CIELAB (D65) of a colour as somebody sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip((np.eye(3) if seen is None else seen) @ linear, 0.0, 1.0)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = to_xyz @ linear / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(palette, seen):
    places = np.array([lab(colour, seen) for colour in palette])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    return apart[np.triu_indices(len(palette), 1)].min()


@pytest.mark.parametrize("seen", [None, DEUTERANOPE, PROTANOPE])
def test_the_first_colours_differ_for_everybody(seen):
    assert nearest(marks.colours(FIRST), seen) > LEAST_DISTANCE


@pytest.mark.parametrize(
    "palette",
    [
        ["#d62728", "#2ca02c", "#8c564b"],  # red, green and brown of matplotlib's own
        [
            "#0173b2",
            "#de8f05",
            "#029e73",
            "#d55e00",
            "#cc78bc",
            "#ca9161",
            "#fbafe4",
            "#949494",
        ],  # as figures had before
    ],
)
def test_a_palette_that_the_colour_blind_cannot_tell_is_seen(palette):
    assert nearest(palette, DEUTERANOPE) < LEAST_DISTANCE


def test_no_two_series_share_a_colour_or_a_marker():
    styles = marks.series_styles(10)
    assert len({style["color"] for style in styles}) == len({style["fmt"] for style in styles}) == 10
    for style in styles:
        assert marks.marker_style(style["color"]) == {"fmt": style["fmt"], "ms": style["ms"]}


def test_points_take_the_marker_of_their_colour_if_none_is_given():
    _, ((axes,),) = figures.panels(1, 1)
    second = figures.colours(2)[1]
    figures.intervals(axes, [1.0], [1.0], yerr=[0.1], color=second)
    figures.simulation(axes, [1.0], [1.0], [0.1], color=second)
    figures.intervals(axes, [1.0], [1.0], yerr=[0.1], color=second, fmt="*")
    figures.intervals(axes, [1.0], [1.0], yerr=[0.1], color=(0.1, 0.2, 0.3))
    assert [container.lines[0].get_marker() for container in axes.containers] == ["s", "s", "*", "o"]


def arrows(axes):
    return [(line.get_marker(), *line.get_xydata()[0]) for line in axes.lines if line.get_marker() in "<>v^"]


def test_an_interval_that_holds_zero_ends_in_an_arrow_on_a_logarithmic_axis():
    _, ((axes,),) = figures.panels(1, 1)
    figures.intervals(axes, [1.0, 2.0], [0.1, 0.1], yerr=[[0.2, 0.05], [0.1, 0.1]], fmt="o")
    axes.set_yscale("log")
    axes.set_ylim(0.01, 1.0)
    assert marks.open_bars(axes) == 1
    assert arrows(axes) == [("v", 1.0, 0.01)]
    assert axes.get_ylim() == (0.01, 1.0)


def test_bars_beyond_either_end_have_arrows_there_and_unseen_points_none():
    _, ((axes,),) = figures.panels(1, 1)
    figures.intervals(axes, [0.5], [0.5], xerr=[[2.0], [2.0]], yerr=[[0.1], [0.1]], fmt="o")
    figures.intervals(axes, [0.5, 5.0], [9.0, 0.5], xerr=[9.0, 0.5], fmt="o")  # above the axes, and right of them
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    assert marks.open_bars(axes) == 2
    assert arrows(axes) == [("<", 0.0, 0.5), (">", 1.0, 0.5)]


def test_bars_within_their_axes_have_none():
    _, ((axes,),) = figures.panels(1, 1)
    figures.intervals(axes, [0.5], [0.5], xerr=[0.1], yerr=[0.1])
    assert marks.open_bars(axes) == 0


@pytest.mark.parametrize(("scale", "expected"), [("linear", (-0.1, 1.1)), ("log", (10**-1.1, 10**0.1))])
def test_limits_around_estimates_leave_bars_out(scale, expected):
    _, ((axes,),) = figures.panels(1, 1)
    figures.intervals(axes, [0.0, 1.0], [0.1, 1.0], yerr=[50.0, 50.0])
    axes.set_yscale(scale)
    values = [0.0, 1.0] if scale == "linear" else [0.1, 1.0, -3.0, np.nan]
    marks.focus(axes, values, room=0.1)
    np.testing.assert_allclose(axes.get_ylim(), expected, rtol=1e-12)


def test_rows_of_intervals_are_named_from_the_top():
    _, ((axes,),) = figures.panels(1, 1)
    rows = pd.DataFrame({"estimate": [1.0, 2.0], "low": [0.5, 1.0], "high": [2.0, 4.0]})
    figures.interval_rows(axes, rows, ["one", "two"], colours=["0.1", "0.5"])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["one", "two"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.lines[0].get_xdata().tolist() == [0.5, 2.0]
    assert mpl.get_backend().lower() == "agg"
