"""Texts with classes: files, folders and the hub give the same data; bad input has one clear line; nothing is run or lost."""

import csv
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from uqkd import data
from uqkd.errors import DataError, OptionError

# Texts that some reader takes for something else: a gap, a number, a formula, markup, a line break, a mark of a tokenizer.
HOSTILE = [
    "NA", "null", "1.0", "=1+1", '<script>alert("x")</script>', r"\input{secret}", "two\nlines", "a,b;c\td", " spaced ",
    "Ünïcödé 🙂", "[SEP] [PAD]", "-", "\u202egnol", "nul\x00byte",
]  # fmt: skip
CLASSES = ["rest", "card", "rest", "loan", "card", "loan", "card"] * 2


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))


@pytest.fixture
def frame():
    return pd.DataFrame({"text": HOSTILE, "label": CLASSES, "other": [*CLASSES[1:], None]})


def write_csv(frame, path):
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines)
        writer.writerow(frame.columns)
        writer.writerows(frame.astype(object).where(frame.notna(), "").to_numpy().tolist())


def write_jsonl(frame, path):
    path.write_text(
        "\n".join(json.dumps(row) for row in frame.astype(object).where(frame.notna(), None).to_dict("records"))
    )


WRITERS = {".csv": write_csv, ".jsonl": write_jsonl, ".parquet": lambda frame, path: frame.to_parquet(path)}


def save_to_disk(frame, path, *, numbered=True):
    import datasets

    datasets.disable_progress_bars()
    table = datasets.Dataset.from_pandas(frame)
    if numbered:  # classes as numbers with names, in an order of their own and with one that no row has
        table = table.cast_column("label", datasets.ClassLabel(names=["unused", "rest", "loan", "card"]))
    table.save_to_disk(str(path))
    return table


def test_every_form_gives_the_same_data(frame, tmp_path):
    found = {}
    for kind, write in WRITERS.items():
        write(frame, tmp_path / f"d{kind}")
        found[kind] = data.load_texts(str(tmp_path / f"d{kind}"), annotators=["other"])
    save_to_disk(frame, tmp_path / "numbered")
    save_to_disk(frame, tmp_path / "plain", numbered=False)
    for name in ("numbered", "plain"):
        found[name] = data.load_texts(str(tmp_path / name), annotators=["other"])
    for one in found.values():
        assert one.texts == tuple(HOSTILE)
        assert one.classes == ("card", "loan", "rest")
        assert [one.classes[place] for place in one.labels] == CLASSES
        assert one.labels.dtype == np.int64
        assert [one.classes[a] if a >= 0 else None for a in one.annotators[:, 0]] == [*CLASSES[1:], None]
        assert one.held_out is None
        assert one.outside == ()
    assert len({one.fingerprint for one in found.values()}) == 1


def test_names_of_classes_in_a_parquet_file_of_the_hub_are_read(frame, tmp_path):
    table = save_to_disk(frame, tmp_path / "saved")
    table.to_parquet(str(tmp_path / "d.parquet"))
    assert pd.read_parquet(tmp_path / "d.parquet")["label"].dtype.kind == "i"
    found = [data.load_texts(str(tmp_path / name)) for name in ("d.parquet", "saved")]
    assert found[0].classes == ("card", "loan", "rest")
    assert found[0].fingerprint == found[1].fingerprint


def test_the_fingerprint_follows_the_contents(frame, tmp_path):
    def fingerprint(changed, **options):
        changed.to_parquet(tmp_path / "d.parquet")
        return data.load_texts(str(tmp_path / "d.parquet"), **options).fingerprint

    base = fingerprint(frame)
    assert fingerprint(frame.rename(columns={"text": "q", "label": "k"}), text="q", target="k") == base
    changes = [
        frame.assign(text=["NA ", *HOSTILE[1:]]),
        frame.assign(text=["N", "Anull", *HOSTILE[2:]]),  # the same letters, parted elsewhere
        frame.assign(label=frame["label"].replace("rest", "other")),
        frame.assign(label=CLASSES[::-1]),
        frame.iloc[::-1],
    ]
    made = {base, *(fingerprint(changed) for changed in changes), fingerprint(frame, annotators=["other"])}
    assert len(made) == len(changes) + 2


def test_numbered_classes_are_sorted_as_numbers(frame, tmp_path):
    numbers = [10, 2, 10, -1, 2, -1, 2] * 2
    frame.assign(label=np.array(numbers, dtype=float)).to_parquet(tmp_path / "f.parquet")
    frame.assign(label=numbers).to_parquet(tmp_path / "d.parquet")
    write_csv(frame.assign(label=numbers), tmp_path / "d.csv")
    found = [data.load_texts(str(tmp_path / name)) for name in ("d.parquet", "d.csv", "f.parquet")]
    assert found[0].classes == found[1].classes == ("-1", "2", "10")
    assert found[0].labels.tolist() == [2, 1, 2, 0, 1, 0, 1] * 2
    assert len({one.fingerprint for one in found}) == 1


def folder_of(parts, path, kind=".csv"):
    path.mkdir()
    for part, frame in parts.items():
        WRITERS[kind](frame, path / f"{part}{kind}")
    return str(path)


@pytest.fixture
def parts(frame):
    return {"test": frame.iloc[7:10], "validation": frame.iloc[10:], "train": frame.iloc[:7]}


def test_folders_of_parts_keep_the_test_part_apart(frame, parts, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    tables = {part: datasets.Dataset.from_pandas(rows, preserve_index=False) for part, rows in parts.items()}
    datasets.DatasetDict(tables).save_to_disk(str(tmp_path / "saved"))
    folders = [folder_of(parts, tmp_path / kind[1:], kind) for kind in WRITERS] + [str(tmp_path / "saved")]
    found = [data.load_texts(folder) for folder in folders]
    assert len({one.fingerprint for one in found}) == 1
    assert found[0].texts == (*HOSTILE[:7], *HOSTILE[10:], *HOSTILE[7:10])  # training first, test last
    assert np.flatnonzero(found[0].held_out).tolist() == [11, 12, 13]
    part = data.split_texts(found[0])
    assert part.texts_test == tuple(HOSTILE[7:10])
    anew = data.split_texts(found[0], test_fraction=0.5)
    assert len(anew.texts_test) == 7
    for folder in folders:
        one = data.load_texts(folder, split="train")
        assert (one.texts, one.held_out) == (tuple(HOSTILE[:7]), None)
    without = data.load_texts(folder_of({p: parts[p] for p in ("train", "validation")}, tmp_path / "v"))
    assert np.flatnonzero(without.held_out).tolist() == [
        7,
        8,
        9,
        10,
    ]  # the validation part, where there is no test part
    assert without.fingerprint != data.load_texts(folder_of({"train": frame}, tmp_path / "t")).fingerprint


def test_a_class_of_the_test_part_only_is_named(frame, parts, tmp_path):
    parts["test"] = frame.iloc[7:10].assign(label="new")
    found = data.load_texts(folder_of(parts, tmp_path / "d"))
    with pytest.raises(DataError, match="class 'new' .* is in the test part only; give a test_fraction"):
        data.split_texts(found)
    assert len(data.split_texts(found, test_fraction=0.2).classes) == 4


def test_texts_of_no_class_are_returned_apart(frame, tmp_path):
    write_csv(frame, tmp_path / "d.csv")
    whole, found = (data.load_texts(str(tmp_path / "d.csv"), outside=outside) for outside in (None, "rest"))
    assert found.classes == ("card", "loan")
    assert found.outside == tuple(t for t, c in zip(HOSTILE, CLASSES, strict=True) if c == "rest")
    assert found.texts == tuple(t for t, c in zip(HOSTILE, CLASSES, strict=True) if c != "rest")
    write_csv(frame[frame["label"] != "rest"], tmp_path / "e.csv")
    assert len({found.fingerprint, whole.fingerprint, data.load_texts(str(tmp_path / "e.csv")).fingerprint}) == 3


def test_split_is_stratified_keyed_by_the_data_and_uses_every_row_once():
    drawn = data.IntentWorld.make(classes=6, key=("tests", "split")).draw(305, key=("tests", "split texts"))
    part, again = data.split_texts(drawn), data.split_texts(drawn)
    assert part.texts_test == again.texts_test
    np.testing.assert_array_equal(np.sort([*part.rows, *part.rows_test]), np.arange(305))
    counts = np.bincount(drawn.labels)
    np.testing.assert_array_equal(np.bincount(part.labels_test), [round(0.2 * n) for n in counts])
    assert [drawn.texts[row] for row in part.rows_test] == list(part.texts_test)
    assert [drawn.texts[row] for row in part.rows] == list(part.texts)
    np.testing.assert_array_equal(drawn.labels[part.rows], part.labels)
    other = data.IntentWorld.make(classes=6, key=("tests", "split")).draw(305, key=("tests", "other texts"))
    assert not np.array_equal(data.split_texts(other).rows_test, part.rows_test)
    assert not np.array_equal(part.rows_test, np.flatnonzero(np.arange(305) >= 244))
    for fraction in (0.0, 1.0, np.nan):
        with pytest.raises(OptionError, match="test_fraction"):
            data.split_texts(drawn, test_fraction=fraction)


def replaced(values, place, value):
    return [*values[:place], value, *values[place + 1 :]]


BAD = {
    "empty text": (
        lambda f: f.assign(text=replaced(HOSTILE, 4, " ")),
        r"'text' of data .* holds an empty text in row 5",
    ),
    "no class": (
        lambda f: f.assign(label=replaced(CLASSES, 2, None)),
        r"'label' .* no class in row 3 \(1 such rows of 14\)",
    ),
    "one class": (lambda f: f.assign(label="card"), r"holds one class only \('card'\)"),
    "a lonely class": (lambda f: f.assign(label=replaced(CLASSES, 0, "oak")), r"class 'oak' .* has one row"),
    "no rows": (lambda f: f.iloc[:0], r"has no rows"),
    "a stranger": (
        lambda f: f.assign(other=replaced(CLASSES, 3, "lone")),
        r"annotator 1 of data .* says 'lone' in row 4, which is no class of the labels; did you mean 'loan'",
    ),
}


# An empty JSONL file has no columns either, and says so.
@pytest.mark.parametrize(("fault", "kind"), [(f, k) for f in BAD for k in WRITERS if (f, k) != ("no rows", ".jsonl")])
def test_bad_rows_are_named(frame, tmp_path, fault, kind):
    spoil, message = BAD[fault]
    WRITERS[kind](spoil(frame), tmp_path / f"d{kind}")
    with pytest.raises(DataError, match=message) as caught:
        data.load_texts(str(tmp_path / f"d{kind}"), annotators=["other"])
    assert len(str(caught.value).splitlines()) == 1


def test_values_that_are_no_text_are_named(frame, tmp_path):
    frame.assign(text=np.arange(14)).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match="holds 0, which is no text, in row 1"):
        data.load_texts(str(tmp_path / "d.parquet"))
    frame.assign(text=replaced(HOSTILE, 1, None)).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match="holds nothing in row 2"):
        data.load_texts(str(tmp_path / "d.parquet"))
    for column, values in (("text", HOSTILE), ("label", CLASSES)):
        half = frame.astype(object).assign(**{column: pd.Series(replaced(values, 6, "half \ud83d"), dtype=object)})
        write_jsonl(half, tmp_path / "d.jsonl")
        with pytest.raises(DataError, match=r"holds half of a surrogate pair \('half \\ud83d'\) in row 7"):
            data.load_texts(str(tmp_path / "d.jsonl"))
    frame.assign(label=np.arange(14) / 4).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match="classes are names or whole numbers"):
        data.load_texts(str(tmp_path / "d.parquet"))


def test_rows_of_a_part_are_named_with_the_part(parts, tmp_path):
    parts["test"] = parts["test"].assign(text=["fine", " ", "fine"])
    with pytest.raises(DataError, match="part test holds an empty text in row 2"):
        data.load_texts(folder_of(parts, tmp_path / "d"))


FILES = {
    "commas": ("d.csv", "text,label\nhello, you,card\n", r"line 2 has 3 columns and the header 2; put texts"),
    "a short row": ("d.csv", "text,label\nhello\n", r"line 2 has 1 columns"),
    "an open quote": ("d.csv", 'text,label\n"hello,card\n', r"cannot be read as csv"),
    "twice": ("d.csv", "text,label,text\na,b,c\n", r"names the column 'text' twice"),
    "no JSON": ("d.jsonl", '{"text": "a", "label": 1}\nhello\n', r"line 2 is not JSON"),
    "no object": ("d.jsonl", "[1, 2]\n", r"line 1 is \[1, 2\]"),
    "no Parquet": ("d.parquet", "text", r"cannot be read as parquet"),
    "another kind": ("d.txt", "hello", r"ends in '.txt'; a .csv, .parquet, .jsonl, .ndjson file is needed"),
    "empty": ("d.csv", "", r"no column 'text'"),
    "empty JSONL": ("d.jsonl", "\n", r"no column 'text'"),
}


@pytest.mark.parametrize("fault", FILES)
def test_files_that_do_not_fit(tmp_path, fault):
    name, contents, message = FILES[fault]
    (tmp_path / name).write_text(contents)
    with pytest.raises((DataError, OptionError), match=message) as caught:
        data.load_texts(str(tmp_path / name))
    assert len(str(caught.value).splitlines()) == 1


def test_names_columns_and_parts_that_are_not_there(frame, parts, tmp_path):
    write_csv(frame.rename(columns={"text": "query"}), tmp_path / "d.csv")
    cases = [
        ({"name": "bankng77"}, OptionError, "did you mean 'banking77'.*IntentWorld"),
        ({"name": str(tmp_path / "no.csv")}, DataError, r"no\.csv does not exist"),
        ({"name": str(tmp_path / "no.pkl")}, OptionError, "pickle"),
        (
            {"name": str(tmp_path / "d.csv")},
            OptionError,
            r"no column 'text': say which one to use with text=; it has \['query'",
        ),
        ({"name": str(tmp_path / "d.csv"), "text": "quer"}, DataError, "no column 'quer'; did you mean 'query'"),
        ({"name": str(tmp_path / "d.csv"), "text": "query", "target": "k"}, DataError, "no column 'k'"),
        ({"name": str(tmp_path / "d.csv"), "text": "query", "annotators": ["x"]}, DataError, "no column 'x'"),
        ({"name": str(tmp_path / "d.csv"), "split": "train"}, OptionError, "one file, which has no part 'train'"),
        ({"name": folder_of(parts, tmp_path / "d"), "split": "tests"}, OptionError, "did you mean 'test'"),
        ({"name": folder_of({"test": frame}, tmp_path / "e")}, DataError, "a folder without a train file"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            data.load_texts(**options)
        assert len(str(caught.value).splitlines()) == 1
    WRITERS[".jsonl"](frame, tmp_path / "d" / "train.jsonl")
    with pytest.raises(DataError, match=r"both train\.csv and train\.jsonl"):
        data.load_texts(str(tmp_path / "d"))
    (tmp_path / "b.csv").write_bytes(b"text,label\n\xff,card\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        data.load_texts(str(tmp_path / "b.csv"))


def test_a_damaged_folder_of_datasets(frame, tmp_path):
    save_to_disk(frame, tmp_path / "saved")
    next((tmp_path / "saved").glob("*.arrow")).write_bytes(b"no arrow")
    with pytest.raises(DataError, match="cannot be read as a folder of datasets.save_to_disk") as caught:
        data.load_texts(str(tmp_path / "saved"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_very_long_text_is_read(tmp_path, frame):
    write_csv(frame.assign(text=replaced(HOSTILE, 0, "long " * 100_000)), tmp_path / "d.csv")
    assert len(data.load_texts(str(tmp_path / "d.csv")).texts[0]) == 500_000
    assert csv.field_size_limit() == 131_072  # the library's own limit is as it was


@pytest.mark.parametrize(
    "name", ["banking77", "clinc150", "trec", "ag_news", "massive", "cifar10", "cifar100", "imagenet"]
)
def test_what_needs_a_network_says_so_in_one_line(monkeypatch, name):
    asked = {}

    def refuse(**options):
        asked.update(options)
        raise ConnectionError("no network\nand a second line")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(DataError, match=r"could not be fetched \(ConnectionError: no network\).* Offline: ") as caught:
        data.load_images(name, size=8) if name in ("cifar10", "cifar100", "imagenet") else data.load_texts(name)
    assert len(str(caught.value).splitlines()) == 1
    assert "trust_remote_code" not in asked


def test_without_a_network_the_real_library_says_so_too(tmp_path):
    code = (
        "from uqkd import data, errors\n"
        "try: data.load_texts('banking77')\n"
        "except errors.DataError as problem: print(problem)\n"
    )
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("data banking77 (mteb/banking77 on the hub, all parts) could not be fetched")


def test_data_of_the_hub_come_as_their_files_would(frame, parts, tmp_path, monkeypatch):
    """The hub's own form: named classes by number, parts, and for clinc150 a class that is none."""
    import datasets

    datasets.disable_progress_bars()
    kind = datasets.ClassLabel(names=["rest", "loan", "card"])

    def fetch(path, name=None, split=None):
        names = {} if path == "fancyzhx/ag_news" else {"label": "intent"}
        tables = {
            part: datasets.Dataset.from_pandas(rows.rename(columns=names), preserve_index=False).cast_column(
                names.get("label", "label"), kind
            )
            for part, rows in parts.items()
        }
        return tables[split] if split else datasets.DatasetDict(tables)

    monkeypatch.setattr("datasets.load_dataset", fetch)
    expected = data.load_texts(folder_of(parts, tmp_path / "d"))
    assert data.load_texts("ag_news").fingerprint == expected.fingerprint
    assert data.load_texts("ag_news", split="train").texts == tuple(HOSTILE[:7])
    monkeypatch.setattr(
        "uqkd.data.texts.loading.TEXTS", {"clinc150": data.hub.HubData("x", "text", "intent", outside="rest")}
    )
    found = data.load_texts("clinc150")
    assert found.classes == ("card", "loan")
    assert len(found.outside) == 4


def test_nothing_is_written_beside_the_data(frame, tmp_path):
    save_to_disk(frame, tmp_path / "saved")
    before = sorted(tmp_path.rglob("*"))
    data.load_texts(str(tmp_path / "saved"))
    assert sorted(tmp_path.rglob("*")) == before
