"""The page of results as a browser would read it: parsed as HTML, not searched for strings."""

import json
import struct
import zlib
from html.parser import HTMLParser

import pandas as pd
import pytest

from tests.report.test_figures import table
from uqkd.report import page as gallery
from uqkd.report.answers import Answer, Number
from uqkd.report.page import glossary, tables, terms
from uqkd.store import Store

EVIL = '<script>alert(1)</script><img src="http://evil.example/x.png" onerror=alert(2)> & "quoted" {{ 7*7 }}'
VOID = {"meta", "link", "img", "input", "br"}


class Element:
    """An element with its attributes, its children and the text in it."""

    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent, self.children, self.pieces = tag, dict(attributes), parent, [], []

    def all(self, tag=None, **attributes):
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        for child in self.children:
            if tag in (None, child.tag) and all(child.attributes.get(name) == value for name, value in wanted.items()):
                yield child
            yield from child.all(tag, **attributes)

    @property
    def text(self):
        return "".join(piece if isinstance(piece, str) else piece.text for piece in self.pieces)


class Parser(HTMLParser):
    """Builds the tree; an element that is closed by another's end is a fault of the page."""

    def __init__(self):
        super().__init__()
        self.root = self.at = Element("", (), None)

    def handle_starttag(self, tag, attributes):
        element = Element(tag, attributes, self.at)
        self.at.children.append(element)
        self.at.pieces.append(element)
        self.at = self.at if tag in VOID else element

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.pieces.append(data)


def png(width, height):
    """A white picture."""
    rows = zlib.compress((b"\0" + b"\xff" * width) * height)
    parts = ((b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b""))
    packed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def publish(store, study="demo", **options):
    """What `figures.publish` writes, with a picture that costs nothing."""
    answer, data, more = options.pop("answer", None), options.pop("table", table()), options.pop("more", {})
    told = {
        "title": f"What of {study}?",
        "caption": "Seen. And more of it.",
        "study": study,
        "group": "own",
        "place": 100,
    }
    told |= {"answer": answer and answer.to_json(), "settings": {"preset": "quick"}, **options}
    store.write_bytes(f"figures/{study}.json", json.dumps(told).encode())
    store.write_bytes(f"figures/{study}.png", png(30, 20))
    for part, one in {"": data, **{f".{name}": one for name, one in more.items()}}.items():
        store.write_bytes(f"tables/{study}{part}.csv", one.to_csv(index=False).encode())


def written(store):
    gallery.write(store)
    parser = Parser()
    parser.feed(store.folder.read("index.html").decode())
    parser.close()
    assert parser.at is parser.root  # everything that was opened is closed
    return parser.root


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A page of a study in which every text is markup."""
    store = Store(tmp_path_factory.mktemp("evil"))
    data = table().assign(data=EVIL)[["data", *table().columns]]
    answer = Answer("{one} of " + EVIL.replace("{", "{{").replace("}", "}}"), {"one": Number.exact(1, "d")})
    settings = {"preset": EVIL, "version": EVIL, "options": {EVIL: EVIL}}
    told = {"table": data, "title": EVIL, "caption": EVIL, "answer": answer, "settings": settings}
    publish(store, **told, more={"part": pd.DataFrame({EVIL: [EVIL]})})
    claim = dict.fromkeys(("claim", "source", "result", "study", "verdict"), EVIL)
    store.write_bytes("tables/claims.csv", pd.DataFrame([claim]).to_csv(index=False).encode())
    return written(store)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A page of three studies, published in another order than that of the page."""
    store = Store(tmp_path_factory.mktemp("three"))
    gain = Number.measured(0.2, 0.1, 0.3, ".1f", shows="limits")
    publish(store, "own_study", place=1)
    answer = Answer("it **gains** {gain}. Much of it at first", {"gain": gain})
    publish(store, "classify_b", place=2, group="classify", answer=answer)
    publish(store, "linear_a", place=900, group="linear", table=pd.DataFrame({"row": range(5000), "x": 1 / 3}))
    return written(store)


def test_texts_that_are_markup_are_shown_as_they_are(evil):
    (article,) = evil.all("article")
    assert next(article.all("h2")).text == EVIL
    assert next(article.all("strong")).text == f"1 of {EVIL}."
    assert next(article.all("p", class_="caption")).text == EVIL
    cells = [cell.text for cell in article.all("td")]
    assert tables.shorter(EVIL) in cells
    assert [cell.text for cell in next(evil.all("table", class_="sortable claims")).all("td")] == [EVIL] * 4
    assert len(list(evil.all("script"))) == 1
    assert len(list(evil.all("img"))) == 1
    assert not [name for element in evil.all() for name in element.attributes if name.startswith("on")]


def test_nothing_is_fetched_but_the_pictures_beside_the_page(evil, three):
    for page in (evil, three):
        fetched = [
            one.attributes.get("src") or one.attributes.get("href") for tag in ("img", "link") for one in page.all(tag)
        ]
        fetched += [one.attributes.get("src", "data:") for one in page.all("script")]
        assert all(path.startswith(("figures/", "data:")) for path in fetched)
        styles = "".join(style.text for style in page.all("style"))
        assert "url(" not in styles
        assert "@import" not in styles


def test_pictures_have_their_size_and_say_what_is_seen(three):
    pictures = list(three.all("img"))
    assert [one.attributes["src"] for one in pictures] == [
        f"figures/{name}.png" for name in ("linear_a", "classify_b", "own_study")
    ]
    for picture in pictures:
        assert (int(picture.attributes["width"]), int(picture.attributes["height"])) == (30, 20)
        assert picture.attributes["loading"] == "lazy"
        assert picture.attributes["alt"] == "Seen. And more of it."


def test_studies_stand_by_layer_and_those_of_no_group_at_the_end(three):
    assert [one.attributes["id"] for one in three.all("article")] == ["linear_a", "classify_b", "own_study"]
    assert [one.text for one in three.all("p", class_="banner")] == [
        "Linear regression",
        "Classifiers",
        "Other studies",
    ]
    contents = next(three.all("nav"))
    assert [link.attributes["href"] for link in contents.all("a")][:3] == ["#linear_a", "#classify_b", "#own_study"]


@pytest.mark.parametrize("about", [{"group": "unheard of"}, {"group": None}, {}])
def test_results_of_another_version_are_shown_too(tmp_path, about):
    """A study that names no group, no answer and no settings, as older results do, or a group that is not known."""
    store = Store(tmp_path)
    publish(store)
    store.write_bytes(
        "figures/demo.json",
        json.dumps({"title": "What?", "caption": "", "study": "demo", "place": 1, **about}).encode(),
    )
    page = written(store)
    assert [one.text for one in page.all("p", class_="banner")] == ["Other studies"]
    assert not list(page.all("strong"))
    assert next(page.all("img")).attributes["alt"] == "Figure of the study demo"


def test_the_answer_is_one_bold_sentence_and_its_lack_is_said(three):
    first, second, third = three.all("article")
    assert [one.text for one in second.all("strong")] == ["It gains 0.2 [0.1, 0.3]."]
    assert next(second.all("p", class_="answer")).text == "It gains 0.2 [0.1, 0.3]. Much of it at first."
    for article in (first, third):
        assert not list(article.all("strong"))
        assert "states no answer" in next(article.all("p", class_="answer none")).text


def test_long_tables_are_cut_and_lead_to_their_file(three):
    article = next(three.all("article"))
    (folded,) = article.all("details", class_="data")
    assert len(list(folded.all("tr"))) == tables.FIRST_ROWS + 1
    assert f"The first {tables.FIRST_ROWS} of 5,000 rows" in folded.text
    (link,) = folded.all("a")
    assert link.attributes["href"] == "tables/linear_a.csv"
    assert "download" in link.attributes
    assert [head.attributes["scope"] for head in folded.all("th")] == ["col", "col"]
    assert [cell.text for cell in folded.all("td")][:2] == ["0", "0.3333"]


def test_every_link_and_description_leads_somewhere(three, evil):
    for page in (three, evil):
        names = [one.attributes["id"] for one in page.all() if "id" in one.attributes]
        assert len(names) == len(set(names))
        inside = [link.attributes["href"][1:] for link in page.all("a") if link.attributes["href"].startswith("#")]
        told = [
            one.attributes[name]
            for one in page.all()
            for name in ("aria-describedby", "aria-labelledby")
            if name in one.attributes
        ]
        assert set(inside) | set(told) <= set(names)


def test_how_a_study_was_measured_names_no_folder(tmp_path):
    store = Store(tmp_path / "results")
    options = {"data": str(tmp_path / "mine.csv"), "tasks": ["~/own.npz", "intents:30"], "ks": [1, 2], "target": None}
    publish(store, settings={"preset": "paper", "version": "9.9", "options": options})
    page = written(store)
    how = next(page.all("details", class_="how")).text
    for said in ("--preset paper", "uqkd 9.9", "mine.csv", "own.npz, intents:30", "1, 2", "none"):
        assert said in how
    assert str(tmp_path) not in store.folder.read("index.html").decode()


def test_the_study_is_linked_where_its_file_lies_beside_the_results(tmp_path):
    store = Store(tmp_path / "results")
    publish(store)
    assert "../studies/demo.py" not in [link.attributes["href"] for link in written(store).all("a")]
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/demo.py").write_text("")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/theory.md").write_text("")
    assert {"../studies/demo.py", "../docs/theory.md"} <= {link.attributes["href"] for link in written(store).all("a")}


def test_claims_stand_first_with_their_verdicts_and_link_to_studies_that_were_run(tmp_path):
    store = Store(tmp_path)
    publish(store)
    rows = [{"claim": "A", "source": "s", "result": "0.1 [0.0, 0.2]", "study": "demo", "verdict": "confirmed"}]
    rows += [{"claim": "B", "source": "s", "result": "not run", "study": "llm_real, demo", "verdict": "not run"}]
    assert not list(written(store).all("section", id="claims"))
    store.write_bytes("tables/claims.csv", pd.DataFrame(rows).to_csv(index=False).encode())
    page = written(store)
    sections = [
        one.attributes.get("id") or one.attributes["class"]
        for one in next(page.all("main")).children
        if one.tag == "section"
    ]
    assert sections == ["claims", "group", "glossary", "audit"]
    claims = next(page.all("section", id="claims"))
    assert [one.attributes["class"] for one in claims.all("span")] == ["verdict confirmed", "verdict "]
    assert [link.attributes["href"] for link in claims.all("a")] == ["#demo", "#demo", "tables/claims.csv"]
    assert "llm_real, demo" in claims.text


def test_every_term_is_explained_and_found_where_it_is_written():
    keys = [term.key for term in terms.TERMS]
    assert len(keys) == len(set(keys))
    assert [term.name for term in terms.STATEMENTS] == [f"T{number}" for number in range(1, 13)]
    said = "T12 and T1: at k = 3, c = 1, S = 8, P = 5, R = 2, α, λ, κ and G_p, DUS and W-Clip, intra-student and inter-student."
    assert glossary.terms_in(said) == [
        "T12", "T1", "k", "c", "S", "P", "R", "alpha", "lambda", "kappa", "Gp", "DUS", "WClip", "intra", "inter",
    ]  # fmt: skip
    assert glossary.terms_in("U.S. states, T2w, kernel, 10k, a risk, it's, T13, c and P") == []


def test_a_term_is_a_link_only_where_it_stands_first():
    texts = glossary.Glossed()
    assert texts.explain("κ & k").count("<a ") == 2
    assert (
        texts.explain("<κ> k G_p")
        == '&lt;κ&gt; k <a class="term" href="#term-Gp" aria-describedby="means-Gp"><abbr>G_p</abbr></a>'
    )


def test_the_page_of_no_study_is_a_page(tmp_path):
    page = written(Store(tmp_path))
    assert not list(page.all("article"))
    assert next(page.all("h1")).text == "uqkd results"
