"""Prompts files: every form reads the same, and what is wrong is said in one line that names the place (fault 6)."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from uqkd.errors import DataError, OptionError, UqkdError
from uqkd.llm.prompts import prompt_id, read_prompts

ROWS = [
    {"prompt": "capital of France ?", "id": "fr", "answers": ["Paris"]},
    {"prompt": 'commas, "quotes" and\nlines', "id": None, "answers": []},
]


def written(path, text, *, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_jsonl_csv_and_parquet_read_the_same(tmp_path):
    jsonl = written(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, ROWS)) + "\n")
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(answers=frame["answers"].map(json.dumps)).to_csv(tmp_path / "a.csv", index=False)
    read = read_prompts(jsonl)
    assert read.ids == ("fr", prompt_id(ROWS[1]["prompt"]))
    assert read.texts == (ROWS[0]["prompt"], ROWS[1]["prompt"])
    assert read.answers == (("Paris",), ())
    assert read == read_prompts(tmp_path / "a.csv") == read_prompts(tmp_path / "a.parquet")


def test_adding_a_line_keeps_the_other_ids(tmp_path):
    one = read_prompts(written(tmp_path / "1.jsonl", '{"prompt": "b"}\n{"prompt": "c"}'))
    two = read_prompts(written(tmp_path / "2.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}'))
    assert two.ids[1:] == one.ids


def test_a_data_sets_folder_is_read_and_its_other_columns_are_left(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder / "train.jsonl", '{"prompt": "a", "difficulty": 3}\n{"prompt": "b", "difficulty": 4}')
    assert read_prompts(folder).texts == ("a", "b")


WRONG = {
    "same id": (
        "a.jsonl",
        '{"prompt": "a", "id": 1}\n{"prompt": "b", "id": "1"}',
        "same id '1' stands in line 1 and in line 2",
    ),
    "same prompt": ("a.jsonl", '{"prompt": "a"}\n\n{"prompt": "a"}', "same prompt 'a' stands in line 1 and in line 3"),
    "misspelt": (
        "a.jsonl",
        '{"promt": "a"}',
        "line 1: there is no column 'prompt', only .'promt'.; did you mean 'prompt'",
    ),
    "unknown": ("a.jsonl", '{"prompt": "a", "answer": ["b"]}', "unknown column 'answer'; did you mean 'answers'"),
    "bad JSON": ("a.jsonl", '{"prompt": "a"}\n{"prompt": "b"', "line 2 is not JSON"),
    "no object": ("a.jsonl", '"a"', "line 1 is 'a'; write"),
    "empty file": ("a.jsonl", "\n", "holds no prompts"),
    "empty csv": ("a.csv", "", "holds no prompts"),
    "empty prompt": ("a.jsonl", '{"prompt": " "}', "line 1: prompt is ' '"),
    "number": ("a.jsonl", '{"prompt": 3}', "line 1: prompt is 3"),
    "half a pair": ("a.jsonl", '{"prompt": "a\\ud800"}', "half of a surrogate pair"),
    "answers": ("a.csv", 'prompt,answers\na,"b"\n', "answers is 'b'; write a JSON list"),
    "answers of numbers": ("a.jsonl", '{"prompt": "a", "answers": [1]}', "must be a list of texts"),
    "short row": ("a.csv", "id,prompt\n1\n", "line 2 has not as many columns"),
    "long row": ("a.csv", "id,prompt\n1,a,b\n", "line 2 has not as many columns"),
    "not parquet": ("a.parquet", "hello", "cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path, case):
    name, text, message = WRONG[case]
    with pytest.raises(DataError, match=message) as caught:
        read_prompts(written(tmp_path / name, text))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_latin_1_is_refused_with_the_byte(tmp_path, name):
    with pytest.raises(DataError, match="is not UTF-8 .* at byte"):
        read_prompts(written(tmp_path / name, 'prompt\n{"prompt": "caf\xe9"}', encoding="latin-1"))


def test_missing_file_and_pickle(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(OptionError, match="can run code when loaded"):
        read_prompts(tmp_path / "a.pkl")


def test_a_name_that_cannot_be_loaded_says_what_works_offline(monkeypatch):
    import datasets

    def refuse(*_arguments, **_options):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(UqkdError, match=r"ConnectionError: no network.*offline, give a .jsonl"):
        read_prompts("someone/some-prompts")
