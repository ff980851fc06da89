"""Data of one's own, as a newcomer brings them: found by path, told apart by what they hold, read by one set of options."""

import numpy as np
import pytest
from PIL import Image

from uqkd import data
from uqkd.errors import OptionError

WORDS = ["pay", "card", "loan", "bank", "cash", "coin"]


class Words:
    vocabulary = (*WORDS, "like", "please")


@pytest.fixture
def reader(tmp_path):
    """A tokenizer that knows every word of `write_texts`, as a model's folder."""
    data.tokenizer(Words()).save_pretrained(tmp_path / "reader")
    return str(tmp_path / "reader")


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The folder worked in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write_texts(path, *, rows=60, columns=("text", "label")):
    lines = [f"please {WORDS[n % 6]} {WORDS[n // 6 % 6]},{'xy'[n % 2]}" for n in range(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(columns), *lines]))
    return str(path)


def write_pictures(root, *, rows=40, seed=1):
    pixels = np.random.Generator(np.random.SFC64(seed)).integers(0, 256, size=(rows, 5, 5), dtype=np.uint8)
    for number, one in enumerate(pixels):
        (root / "xy"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(root / "xy"[number % 2] / f"{number:03}.png")
    return str(root)


def refused(error, message, call, *arguments, **options):
    with pytest.raises(error, match=message) as caught:
        call(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_columns_of_texts_are_named_by_options_of_tasks(reader, work):
    usual = data.load_task(write_texts(work / "a.csv"), tokenizer=reader, length=8)
    other = write_texts(work / "b.csv", columns=("query", "kind"))
    refused(OptionError, "no column 'text': say which one to use with text=", data.load_task, other, tokenizer=reader)
    refused(OptionError, "no column 'label'.* target=", data.load_task, other, tokenizer=reader, text="query")
    found = data.load_task(other, tokenizer=reader, length=8, text="query", target="kind")
    np.testing.assert_array_equal(found.X, usual.X)
    assert (found.fingerprint, usual.name, found.name) == (usual.fingerprint, "a.csv", "b.csv")
    cell = data.cell_task(other, tokenizer=reader, length=8, text="query", target="kind")
    assert cell["reading"] == {"tokenizer": reader, "length": 8, "text": "query", "target": "kind"}
    assert data.of_cell_task(cell).X.shape == usual.X.shape


def test_one_set_of_options_reads_texts_and_images(reader, work):
    options = {"tokenizer": reader, "length": 8, "size": 4, "text": "text", "target": None}
    sources = [write_texts(work / "t.csv"), write_pictures(work / "png"), "intents:4", "digits"]
    cells = [data.cell_task(source, **options) for source in sources]
    assert [cell["kind"] for cell in cells] == ["texts", "images", "texts", "images"]
    text = {"tokenizer": reader, "length": 8, "text": "text"}
    assert [cell["reading"] for cell in cells] == [text, {"size": 4}, {}, {"size": 4}]
    assert data.cell_task("digits", tokenizer="x", length=64)["reading"] == {}
    assert data.cell_task(sources[0], tokenizer=reader, length=128)["reading"] == {"tokenizer": reader}
    assert [data.of_cell_task(cell).name for cell in cells] == ["t.csv", "png", "intents:4", "digits"]
    with pytest.raises(TypeError, match="lenght"):
        data.cell_task("digits", lenght=3)


def test_a_study_of_one_kind_refuses_the_other_before_it_is_read(work):
    message = "^data 't.csv' holds texts, but this study mixes rows by averaging, and token ids have no average; give images.$"
    write_texts(work / "t.csv")
    refused(OptionError, message, data.cell_task, "t.csv", only="images")
    refused(OptionError, "'banking77' holds texts", data.cell_task, "banking77", only="images")
    refused(OptionError, "^data 'digits' holds images, .* give texts.$", data.cell_task, "digits", only="texts")
    refused(OptionError, "only got 'image'; did you mean 'images'", data.cell_task, "digits", only="image")
    assert data.cell_task("digits", only="images")["kind"] == "images"


def test_what_is_no_name_is_refused():
    for name in (7, None, 1.5, ["digits"], "", " "):
        for call in (data.load_task, data.kind_of, data.cell_task, data.load_images, data.load_texts):
            refused(OptionError, "^data must be the name of a data set or a path; got ", call, name)


def test_paths_are_taken_as_text_or_as_paths(work):
    write_pictures(work / "digits")  # named as a data set is
    found = data.load_task((work / "digits").relative_to(work))
    assert (found.name, len(found.classes), len(data.load_task(work / "digits").classes)) == ("digits", 2, 2)
    assert data.cell_task(work.relative_to(work) / "digits")["data"] == "./digits"
