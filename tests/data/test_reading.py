"""Data of one's own, as a newcomer brings them: found by path, told apart by what they hold, read by one set of options."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from uqkd import data
from uqkd.data.kinds import kind_of
from uqkd.data.texts import tokens
from uqkd.errors import DataError, OptionError, ProvenanceError, UqkdWarning
from uqkd.testbeds.cells import task_cell, task_of

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
    cell = task_cell(other, tokenizer=reader, length=8, text="query", target="kind")
    assert cell["reading"] == {"tokenizer": reader, "length": 8, "text": "query", "target": "kind"}
    assert task_of(cell).X.shape == usual.X.shape


def test_one_set_of_options_reads_texts_and_images(reader, work):
    options = {"tokenizer": reader, "length": 8, "size": 4, "text": "text", "target": None}
    sources = [write_texts(work / "t.csv"), write_pictures(work / "png"), "intents:4", "digits"]
    cells = [task_cell(source, **options) for source in sources]
    assert [cell["kind"] for cell in cells] == ["texts", "images", "texts", "images"]
    text = {"tokenizer": reader, "length": 8, "text": "text"}
    assert [cell["reading"] for cell in cells] == [text, {"size": 4}, {}, {"size": 4}]
    assert task_cell("digits", tokenizer="x", length=64)["reading"] == {}
    assert task_cell(sources[0], tokenizer=reader, length=128)["reading"] == {"tokenizer": reader}
    assert [task_of(cell).name for cell in cells] == ["t.csv", "png", "intents:4", "digits"]
    with pytest.raises(TypeError, match="lenght"):
        task_cell("digits", lenght=3)


def test_a_study_of_one_kind_refuses_the_other_before_it_is_read(work):
    message = "^data 't.csv' holds texts, but this study mixes rows by averaging, and token ids have no average; give images.$"
    write_texts(work / "t.csv")
    refused(OptionError, message, task_cell, "t.csv", only="images")
    refused(OptionError, "'banking77' holds texts", task_cell, "banking77", only="images")
    refused(OptionError, "^data 'digits' holds images, .* give texts.$", task_cell, "digits", only="texts")
    refused(OptionError, "only got 'image'; did you mean 'images'", task_cell, "digits", only="image")
    assert task_cell("digits", only="images")["kind"] == "images"


def test_what_is_no_name_is_refused():
    for name in (7, None, 1.5, ["digits"], "", " "):
        for call in (data.load_task, kind_of, task_cell, data.load_images, data.load_texts):
            refused(OptionError, "^data must be the name of a data set or a path; got ", call, name)


def test_paths_are_taken_as_text_or_as_paths(work):
    write_pictures(work / "digits")  # named as a data set is
    found = data.load_task((work / "digits").relative_to(work))
    assert (found.name, len(found.classes), len(data.load_task(work / "digits").classes)) == ("digits", 2, 2)
    assert task_cell(work.relative_to(work) / "digits")["data"] == "./digits"


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5", "llama"])
def test_a_model_without_its_tokenizer_is_no_tokenizer(tmp_path, kind):
    """The library would make one that knows no word, and every text the same row."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": kind}))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")
    message = "only config.json, model.safetensors; missing is one of tokenizer.json, vocab.txt, .* save_pretrained.$"
    refused(DataError, message, data.open_tokenizer, str(tmp_path / "model"))


def test_a_tokenizer_without_a_file_of_words_is_one_where_it_needs_none(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    reader = data.open_tokenizer(str(tmp_path))
    assert data.encode(reader, ["pay"], 4).shape == (1, 4)
    tokens.check_reading(reader, ["pay", "card"], length=5, name="toy")  # four letters and the end
    with pytest.warns(
        UqkdWarning, match="^1 of 2 rows of data toy are cut to 4 tokens; the longest has 5. Raise length="
    ):
        tokens.check_reading(reader, ["pay", "card"], length=4, name="toy")


def test_texts_of_which_most_words_are_unknown_are_refused(reader, work):
    def rewritten(words):
        lines = [f"please {' '.join(words)} {WORDS[n % 6]},{'xy'[n % 2]}" for n in range(40)]
        (work / f"{len(words)}.csv").write_text("\n".join(["text,label", *lines]))
        return f"{len(words)}.csv"

    assert data.load_task(rewritten(["bitte", "zahlen"]), tokenizer=reader).X.shape[1] == 128  # a half is read
    message = r"^60 % of the words of data 3.csv \(120 of 200\) are unknown to the tokenizer, .* tokenizer="
    refused(DataError, message, data.load_task, rewritten(["bitte", "zahlen", "jetzt"]), tokenizer=reader)


def test_unknown_words_are_counted_as_words_not_as_pieces(tmp_path):
    """A known word of many pieces does not make up for three unknown ones."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "p", "##a", "##y"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    found = data.open_tokenizer(str(tmp_path))
    message = r"^67 % of the words of data toy \(2 of 3\)"
    refused(DataError, message, tokens.check_reading, found, ["payayay bank coin"], length=99, name="toy")


def test_a_tokenizer_that_does_not_number_its_words_is_counted_by_tokens():
    class Encoded(dict):
        is_fast = False

    class Slow:
        all_special_ids, unk_token_id = (1, 2, 3), 1

        def __call__(self, texts, **_):
            known = {"pay": 4}
            return Encoded(input_ids=[[2, *(known.get(word, 1) for word in text.split()), 3] for text in texts])

    tokens.check_reading(Slow(), ["pay card", "coin pay"], length=4, name="toy")
    message = r"^67 % of the words of data toy .4 of 6. are unknown"
    refused(DataError, message, tokens.check_reading, Slow(), ["pay a b", "c pay d"], length=9, name="toy")


def test_texts_of_which_nothing_is_left_are_unknown(tmp_path):
    """A tokenizer of pairs of letters drops those that it does not know."""
    (tmp_path / "vocab.json").write_text(json.dumps({"<|endoftext|>": 0, "a": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    found = data.open_tokenizer(str(tmp_path))
    refused(DataError, "67 % .* unknown", tokens.check_reading, found, ["a", "bbb", "ccc"], length=9, name="toy")


def test_texts_that_are_cut_are_counted(reader, work):
    path = write_texts(work / "t.csv")  # three words and two marks
    assert data.load_task(path, tokenizer=reader, length=5).X.shape[1] == 5  # and no warning
    message = (
        "^60 of 60 rows of data .*t.csv are cut to 4 tokens; the longest has 5. Raise length= to read them whole.$"
    )
    with pytest.warns(UqkdWarning, match=message) as caught:
        data.load_task(path, tokenizer=reader, length=4)
    assert caught[0].filename == __file__


def test_tokenizers_that_are_not_there(work, reader, monkeypatch):
    for name in ("./none", "../none", "~/none/none", "a/b/none", "/none", "none/"):
        seen = refused(DataError, "cannot be loaded as it does not exist .looked in /", data.open_tokenizer, name)
        assert "hub" not in seen
    for name in (7, None, ""):
        refused(OptionError, "^tokenizer must be a model's folder or name; got ", data.open_tokenizer, name)

    def unreached(*_, **__):
        raise OSError("no network\nand more")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", unreached)
    message = r"^tokenizer 'owner/name' does not exist here .looked in /.*owner. and cannot be loaded from the hub .OSError: no net"
    refused(DataError, message, data.open_tokenizer, "owner/name")
    monkeypatch.undo()
    monkeypatch.chdir(work)
    (work / "words").symlink_to(reader)
    assert len(data.open_tokenizer("words")) == len(data.open_tokenizer(reader)) == 12


def test_too_few_rows_of_a_class_are_counted(reader, work):
    def rows(counts):
        texts = [f"pay {WORDS[n % 6]},{name}" for name, count in counts.items() for n in range(count)]
        return "\n".join(["text,label", *texts])

    (work / "few.csv").write_text(rows({"x": 20, "y": 7}))
    message = "class 'y' has 1 .1 such of 2 classes., with 7 in all; it takes 8. Bring more rows, or merge"
    refused(DataError, message, data.load_task, "few.csv", tokenizer=reader)
    (work / "enough.csv").write_text(rows({"x": 20, "y": 8}))
    assert np.bincount(data.load_task("enough.csv", tokenizer=reader).labels_test)[1] == 1
    (work / "parts").mkdir()
    (work / "parts" / "train.csv").write_text(rows({"x": 20, "y": 20}))
    (work / "parts" / "test.csv").write_text(rows({"x": 9, "y": 1}))
    message = "class 'y' has 1 .*, of the test part that came with the data; it takes 2 there"
    refused(DataError, message, data.load_task, "parts", tokenizer=reader)


def test_what_lies_in_the_folder_worked_in_needs_no_slash(reader, work):
    write_pictures(work / "png")
    (work / "texts").mkdir()
    write_texts(work / "texts" / "train.csv")
    write_texts(work / "texts" / "test.csv", rows=12)
    assert (kind_of("png"), kind_of("texts")) == ("images", "texts")
    found = data.load_task("png")
    assert (found.name, found.classes) == ("png", ("x", "y"))
    assert found.fingerprint == data.load_task("./png").fingerprint == data.load_images("png").fingerprint
    assert len(data.load_task("texts", tokenizer=reader).X) == 60 == (~data.load_texts("texts").held_out).sum()
    refused(OptionError, "'pgn'; .* or the path of texts or images", data.load_task, "pgn")


def test_another_folder_worked_in_is_another_task(work, monkeypatch):
    write_pictures(work / "here" / "png", seed=1)
    write_pictures(work / "there" / "png", seed=2)
    found = []
    for path in work.rglob("*"):
        os.utime(path, (0, 0))
    for place in ("here", "there"):
        monkeypatch.chdir(work / place)
        found.append(data.load_task("png").fingerprint)
    assert found[0] != found[1]


def test_a_file_that_is_mended_is_read_anew(reader, work):
    for path in (work / "t.csv", work / "parts" / "train.csv"):
        name = str(path if path.parent == work else path.parent)
        write_texts(path)
        cell = task_cell(name, tokenizer=reader)
        assert data.load_task(name, tokenizer=reader) is data.load_task(name, tokenizer=reader)
        write_texts(path, rows=66)
        assert data.load_task(name, tokenizer=reader).fingerprint != cell["data_fingerprint"]
        with pytest.raises(ProvenanceError, match="changed during the run"):
            task_of(cell)


def test_a_name_of_a_data_set_stays_one_and_a_folder_of_that_name_is_told(work):
    data.tasks._loaded.cache_clear()
    write_pictures(work / "digits")
    with pytest.warns(
        UqkdWarning, match="'digits' is the data set of that name; to read what lies in /.* give './digits'"
    ):
        assert len(data.load_task("digits").classes) == 10
    assert len(data.load_task("./digits").classes) == 2


def test_what_is_not_there_does_not_exist(work, reader):
    for name in ("t.csv", "a/b", "./png", "t.npz", "t.txt", "mteb/banking77", "~/no such", "/no"):
        for call in (data.load_task, kind_of, data.load_images, data.load_texts):
            seen = refused(DataError, f"^data {name} does not exist .looked in /.*; check the path.$", call, name)
            assert "hub" not in seen
    refused(DataError, "t.csv does not exist", data.load_task, "t.csv", tokenizer=reader)
    refused(OptionError, "pickle", kind_of, "t.pkl")
    (work / "t.txt").write_text("text")
    refused(DataError, "ends in '.txt'; texts come as .csv, .*ndjson and images as .npz", kind_of, "t.txt")


def test_letters_of_endings_and_forms_of_lines(reader, work):
    usual = data.load_task(write_texts(work / "a.csv"), tokenizer=reader)
    (work / "t.CSV").write_bytes((work / "a.csv").read_bytes())
    lines = [line.rpartition(",")[::2] for line in (work / "a.csv").read_text().splitlines()[1:]]
    (work / "t.ndjson").write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in lines))
    for name in ("t.CSV", "t.ndjson"):
        assert kind_of(name) == "texts"
        assert data.load_task(name, tokenizer=reader).fingerprint == usual.fingerprint
    pixels = np.random.Generator(np.random.SFC64(1)).integers(0, 256, size=(40, 5, 5), dtype=np.uint8)
    np.savez(work / "t.npz", images=pixels, labels=np.arange(40) % 2)
    (work / "t.npz").rename(work / "t.NPZ")
    assert kind_of("t.NPZ") == "images"
    assert len(data.load_task("t.NPZ", tokenizer=reader).classes) == 2


def test_a_folder_is_what_it_holds_whatever_else_is_given(reader, work):
    import datasets

    datasets.disable_progress_bars()
    write_texts(work / "texts" / "train.csv")
    write_texts(work / "texts" / "dev.csv", rows=12)
    (work / "texts" / "notes").mkdir()
    write_texts(work / "one" / "anything.csv")
    write_pictures(work / "png")
    (work / "png" / ".hidden.csv").write_text("")
    (work / "empty").mkdir()
    (work / "empty" / ".train.csv").write_text("")
    table = datasets.Dataset.from_dict({"text": ["pay"] * 40, "label": ["x", "y"] * 20})
    table.save_to_disk("saved texts")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    pictures = [Image.fromarray(np.full((4, 4), n, dtype=np.uint8)) for n in range(40)]
    table = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1] * 20}, features=features)
    datasets.DatasetDict({"train": table, "dev": table}).save_to_disk("saved pictures")
    for name, kind in (("texts", "texts"), ("saved texts", "texts"), ("png", "images"), ("saved pictures", "images")):
        assert kind_of(name) == kind_of(name, tokenizer=reader) == kind
        assert data.load_task(name, tokenizer=reader).name == name
    for name in ("texts", "saved texts"):
        refused(OptionError, f"data '{name}' holds texts, .* say which with tokenizer=", data.load_task, name)
    refused(DataError, "one is a folder without a train file", data.load_task, "one", tokenizer=reader)
    assert data.load_texts("texts").held_out.sum() == 12  # a part of development where there is no test part
    (work / "texts" / "val.csv").write_text("text,label")
    refused(DataError, "has both parts 'dev' and 'val'", data.load_texts, "texts")
    assert (kind_of("empty"), kind_of("empty", tokenizer=reader)) == ("images", "texts")
    for damaged in ("{", "[]", '{"features": 1}'):
        (work / "saved pictures" / "train" / "dataset_info.json").write_text(damaged)
        assert kind_of("saved pictures") in ("images", "texts")  # what is wrong is told where it is read
