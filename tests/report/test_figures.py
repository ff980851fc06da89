"""Figures and the gallery: same bytes for the same table, everything published is on the page, text is escaped."""

import json
import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from matplotlib.colors import to_hex

from uqkd import seeds
from uqkd.errors import OptionError
from uqkd.estimators import Moments, comparison
from uqkd.report import figures
from uqkd.report import page as gallery
from uqkd.store import Store


class FakeRun:
    """What `publish` needs of a run."""

    def __init__(self, store, study="demo"):
        self.store, self.study, self.settings = store, study, {"preset": "quick"}


def table(z_shift=0.0):
    rows = [
        {
            "k": k,
            **comparison("T1", "inter-student variance", 1.0 / k, 1.0 / k + 0.01 * (i % 3 - 1) + z_shift, 0.01),
        }
        for i, k in enumerate((1, 2, 4, 8))
    ]
    return pd.DataFrame(rows)


def publish(store, data, **options):
    figure, axes = figures.panels(1, 1)
    figures.theory(axes[0, 0], data["k"], data["predicted"])
    figures.simulation(axes[0, 0], data["k"], data["simulated"], data["standard_error"], label="points")
    figures.legend_below(figure, axes[0, 0], "legend")
    run = FakeRun(store, options.pop("study", "demo"))
    figures.publish(run, figure, **{"table": data, "title": "What?", "caption": "Seen.", **options})


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_equal_tables_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        store = Store(tmp_path / name)
        publish(store, table())
        gallery.write(store)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert {"figures/demo.pdf", "figures/demo.png", "tables/demo.csv", "index.html"} <= set(contents(tmp_path / "a"))


def test_files_name_no_time_and_no_version_and_figures_are_closed(tmp_path):
    before = plt.get_fignums()
    publish(Store(tmp_path), table())
    assert plt.get_fignums() == before  # a run of all studies would hold every figure in memory
    for kind in ("pdf", "png"):
        data = (tmp_path / "figures" / f"demo.{kind}").read_bytes()
        assert not [trace for trace in (b"CreationDate", b"Matplotlib", b"Producer", b"Software") if trace in data]


def test_style_theory_below_points_and_colours_for_everyone():
    figure, ((axes,),) = figures.panels(1, 1)
    figures.theory(axes, [1.0, 2.0], [1.0, 2.0])
    figures.simulation(axes, [1.0], [1.0], [0.5])
    (points,) = axes.containers
    assert axes.lines[0].get_zorder() < points.lines[0].get_zorder()
    assert not axes.spines["top"].get_visible()
    assert figures.colours(3) == [to_hex(colour) for colour in sns.color_palette("colorblind", 3)]
    plt.close(figure)


def test_the_table_beside_the_figure_holds_its_numbers(tmp_path):
    publish(Store(tmp_path), table(), more={"fits": pd.DataFrame({"slope": [1.5]})})
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables" / "demo.csv"), table())
    assert pd.read_csv(tmp_path / "tables" / "demo.fits.csv")["slope"][0] == 1.5


def test_the_gallery_counts_and_marks(tmp_path):
    store = Store(tmp_path)
    publish(store, table())
    gallery.write(store)
    page = (tmp_path / "index.html").read_text()
    assert "4 theory checks" in page
    assert 'class="out"' not in page
    publish(store, table(z_shift=0.2))  # twenty standard errors off: every row must be marked
    gallery.write(store)
    assert (tmp_path / "index.html").read_text().count('class="out"') == 4


def judged(*cells):
    return "".join(f'<td class="n">{cell}</td>' for cell in cells)


def test_both_signs_are_marked_and_summed_up(tmp_path):
    store = Store(tmp_path)
    publish(store, table(z_shift=-0.2))  # z = -21, -20, -19, -21
    gallery.write(store)
    page = (tmp_path / "index.html").read_text()
    assert page.count('class="out"') == 4
    assert judged("4", "0.0%", "21.00", "4") in page
    publish(store, table().assign(z=[0.5, -1.9, 2.5, -3.0]))
    gallery.write(store)
    assert judged("4", "50.0%", "3.00", "0") in (tmp_path / "index.html").read_text()


def test_the_page_shows_every_study_with_its_own_files(tmp_path):
    """Two studies, one's name the beginning of the other's: each has its picture, its caption and its own tables."""
    store = Store(tmp_path)
    publish(store, table(), caption="Seen first.")
    publish(store, table(), caption="Seen second.", study="demo_more", more={"fits": pd.DataFrame({"slope": [1.5]})})
    gallery.write(store)
    page = (tmp_path / "index.html").read_text()
    assert f"|z| exceeds {gallery.threshold(8):.2f}" in page  # eight comparisons on the page share the error
    first, second = re.findall("<article .*?</article>", page, re.DOTALL)
    assert '<p class="caption">Seen first.</p>' in first
    assert '<p class="caption">Seen second.</p>' in second
    expected = ["figures/demo.pdf", "figures/demo.png", "tables/demo.csv"]
    for section, files in ((first, expected), (second, [p.replace("demo", "demo_more") for p in expected])):
        shown = re.findall(r'(?:href|src)="([^"]+)"', section)
        own = [*files, "tables/demo_more.fits.csv"] if "more" in files[0] else files
        assert sorted({path for path in shown if path[0] != "#" and "//" not in path}) == sorted(own)
        assert all((tmp_path / path).is_file() for path in own)
        assert f'<img src="{files[1]}"' in section


def test_the_threshold_shares_the_error_over_the_page():
    assert gallery.threshold(1) == pytest.approx(3.2905, abs=1e-4)  # normal quantile of .0005, from tables
    assert gallery.threshold(1000) > gallery.threshold(100) > gallery.threshold(1)


def test_rows_with_nothing_random_are_no_check(tmp_path):
    assert math.isnan(comparison("T1", "variance", 0.0, 0.0, 0.0)["z"])
    store = Store(tmp_path)
    more = [comparison("T1", "none", 0.0, 0.0, 0.0), comparison("", "shown, not judged", 1.0, 2.0, 0.1)]
    publish(store, pd.concat([table(), pd.DataFrame([{"k": 9, **row} for row in more])]))
    assert len(gallery.published(store)[0].checks) == 4


def test_text_is_escaped(tmp_path):
    """Fault 31: titles, captions and cells are data, not markup."""
    store = Store(tmp_path)
    evil = "<script>alert(1)</script> & =cmd()"
    publish(
        store, table().assign(data=[evil] * 2 + ["plain"] * 2)[["data", *table().columns]], title=evil, caption=evil
    )
    gallery.write(store)
    page = (tmp_path / "index.html").read_text()
    assert "<script>alert" not in page
    assert page.count("<script") == 1  # the page's own
    assert page.count("&lt;script&gt;") >= 4


def test_the_about_file_is_json(tmp_path):
    publish(Store(tmp_path), table(), caption="± α")
    about = json.loads((tmp_path / "figures" / "demo.json").read_text())
    told = {"title": "What?", "caption": "± α", "study": "demo", "place": 100}
    assert about == {**told, "answer": None, "group": "own", "settings": {"preset": "quick"}}


def test_bars_are_196_standard_errors_down_and_as_much_on_the_logarithmic_scale_up():
    figure, axes = figures.panels(1, 1)
    figures.simulation(axes[0, 0], [1.0], [5.0], [0.5])
    reach = 0.5 * 1.959963984540054  # the normal quantile of 97.5 %
    (bars,) = axes[0, 0].containers
    low, high = bars.lines[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose([low, high], [5 - reach, 5 * np.exp(reach / 5)], rtol=1e-12)
    assert figure.get_size_inches()[0] == figures.WIDTH
    plt.close(figure)


def test_more_colours_than_can_be_told_apart_are_refused():
    assert len(figures.colours(10)) == 10
    with pytest.raises(OptionError, match="ten colours"):
        figures.colours(11)


def exceeding(replicates, **options):
    """Share of |z| above 4.8 over 20,000 variances of a squared Gaussian, a skewed quantity."""
    x = seeds.generator("test", "skewed", replicates, shared=True).standard_normal((20_000, replicates)) ** 2
    stream = Moments.about(np.ones(20_000)).add(x.T)
    rows = zip(stream.variance, stream.variance_se, strict=True)
    z = [comparison("T2", "variance", 2.0, float(v), float(se), **options)["z"] for v, se in rows]
    return float((np.abs(z) > 4.8).mean())


def test_a_variance_is_judged_by_its_standard_error_at_the_prediction():
    """At 200 replicates: 1.2 % of false marks with the sample's own standard error, less than a twentieth of that with it."""
    assert exceeding(200) > 0.005
    assert exceeding(200, variance_of=200) < 0.0006


def test_few_replicates_are_shown_but_not_judged():
    assert comparison("T1", "variance", 1.0, 2.0, 0.1, variance_of=199)["statement"] == ""
    assert comparison("T1", "variance", 1.0, 2.0, 0.1, variance_of=200)["statement"] == "T1"
    assert comparison("T1", "mean", 1.0, 2.0, 0.1)["statement"] == "T1"


def test_without_randomness_a_difference_beyond_rounding_is_infinitely_wrong():
    assert comparison("T1", "exact", 1.0, 1.0 + 1e-6, 0.0)["z"] == np.inf
    assert np.isnan(comparison("T1", "exact", 1.0, 1.0 + 1e-12, 0.0)["z"])
