"""Reports of one file: nothing is fetched, markup stays text, figures fit, and charts put estimates where they are."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from uqkd.errors import DataError
from uqkd.report.standalone import LARGEST, results_report
from uqkd.report.standalone.charts import _ticks, intervals
from uqkd.report.standalone.pictures import pictures
from uqkd.store import Store


def png(width=1600, height=800, *, noise=0):
    """A figure; with noise one that hardly compresses."""
    values = np.full((height, width, 3), 255, dtype=np.uint8)
    values[::7] = 40
    if noise:
        values = np.random.default_rng(noise).integers(0, 256, size=values.shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="PNG")
    return buffer.getvalue()


def publish(store, study, **more):
    about = {"title": f"What of {study}?", "caption": "Seen <i>here</i>.", "study": study, "place": 1, **more}
    store.write_bytes(f"figures/{study}.json", json.dumps(about).encode())
    store.write_bytes(f"figures/{study}.png", png(300, 150))
    store.write_bytes(f"tables/{study}.csv", b"a,b\n1,2\n3,4\n")


def test_a_results_folder_is_one_page_of_questions_answers_and_figures(tmp_path):
    store = Store(tmp_path)
    answer = {"sentence": "{x}", "text": "It is 0.5 [0.4, 0.6] <b>.", "numbers": {}}
    publish(
        store, "mlp_first", answer=answer, group="mlp", settings={"preset": "quick", "options": {}, "version": "1.2"}
    )
    publish(store, "older")
    publish(store, "none", answer=None, place=0, group="llm")
    text = results_report(store).decode()
    assert '<p class="answer">It is 0.5 [0.4, 0.6] &lt;b&gt;.</p>' in text
    assert "Seen &lt;i&gt;here&lt;/i&gt;." in text
    assert "preset quick, uqkd 1.2; 2 rows in tables/mlp_first.csv" in text
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads == ["Networks", "Language models", "Other studies"]
    images = re.findall(r"<img [^>]*>", text)
    assert len(images) == 3
    for image in images:
        assert 'src="data:image/png;base64,' in image
        assert 'width="300" height="150"' in image  # never made larger
        assert re.search(r'alt="Figure of \w+\. Seen', image)
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_figure_that_is_not_there_is_no_hole(tmp_path):
    store = Store(tmp_path)
    publish(store, "one")
    (tmp_path / "figures/one.png").unlink()
    (tmp_path / "tables/one.csv").unlink()
    assert "<img" not in results_report(store).decode()


def test_what_cannot_be_read_is_named(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(DataError, match="holds no figures"):
        results_report(store)
    store.write_bytes("figures/torn.json", b"{")
    with pytest.raises(DataError, match=r"figures/torn\.json of .* cannot be read"):
        results_report(store)


@pytest.mark.slow  # pictures are made smaller seven times
def test_pictures_are_made_as_small_as_there_is_room_for():
    files = {"plain": png(1300, 52), "dense": png(1300, 52, noise=1)}
    sizes = {}
    for room in (10**9, 24_000, 0):
        found = pictures(files, room=room)
        (sizes[room],) = {one.width for one in found.values()}
        assert all(one.height == round(one.width / 25) for one in found.values())
        if room:
            assert sum(len(one.uri) for one in found.values()) <= room
    assert sizes[10**9] == 1200
    assert 340 < sizes[24_000] < 1200
    assert sizes[0] == 340  # the smallest there is
    assert pictures({}, room=LARGEST) == {}


def test_a_figure_without_background_is_shown_on_white():
    buffer = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(buffer, format="PNG")
    (one,) = pictures({"a": buffer.getvalue()}, room=10**6).values()
    shown = Image.open(io.BytesIO(base64.b64decode(one.uri.split(",")[1]))).convert("RGB")
    assert shown.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.03, 0.2), (0.0, 0.0), (0.0, 7.3), (-2.0, 0.0), (0.0, 3e-7)])
def test_an_axis_holds_everything_between_its_ends(low, high):
    ticks = _ticks(low, high)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert 2 <= len(ticks) <= 8
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_a_chart_puts_estimates_where_they_are():
    chart = intervals([("a", 0.25, 0.0, 0.5), ("b", -0.5, None, None)], of="X")
    (first, at_first), *_, (last, at_last) = [(float(text), x) for x, text in chart.ticks]

    def place(value):
        return at_first + (value - first) * (at_last - at_first) / (last - first)

    one, two = chart.points
    for shown, value in ((one.at, 0.25), (one.low, 0.0), (one.high, 0.5), (two.at, -0.5)):
        assert shown == pytest.approx(place(value), abs=0.11)  # two places are rounded to a tenth of a unit
    assert (two.low, two.high) == (None, None)
    assert two.y > one.y
    assert chart.alt == "X: a 0.250, from 0.000 to 0.500; b -0.500."
    assert intervals([], of="X") is None
