"""Prompts as people have them: every form reads the same, and what is wrong is said in one line that names the place."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest

from uqkd.errors import DataError, OptionError, UqkdError
from uqkd.llm.prompts import chat_json, prompt_id, read_prompts
from uqkd.llm.prompts.records import Records

ROWS = [
    {"prompt": "capital of France ?", "id": "fr", "answers": ["Paris", "paris"]},
    {"prompt": 'commas, "quotes" and\nlines', "id": None, "answers": []},
]
USER = {"role": "user", "content": "and of Italy ?"}
CHAT = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "capital of France ?"},
    {"role": "assistant", "content": "Paris"},
    USER,
]
TURNS = tuple((turn["role"], turn["content"]) for turn in CHAT)


def written(path, text, *, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def lines(path, *rows):
    return written(path, "\n".join(map(json.dumps, rows)))


def test_jsonl_csv_parquet_json_and_a_saved_data_set_read_the_same(tmp_path):
    import datasets

    jsonl = written(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, ROWS)) + "\n")
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(answers=frame["answers"].map(json.dumps)).to_csv(tmp_path / "a.csv", index=False)
    written(tmp_path / "a.json", json.dumps(ROWS, indent=1))
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"test": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "parts")
    read = read_prompts(jsonl)
    assert read.ids == ("fr", prompt_id(ROWS[1]["prompt"]))
    assert read.texts == (ROWS[0]["prompt"], ROWS[1]["prompt"])
    assert read.answers == (("Paris", "paris"), ())
    for name in ("a.csv", "a.parquet", "a.json", "saved"):
        assert read_prompts(tmp_path / name) == read, name
    assert read_prompts(tmp_path / "parts", split="test") == read
    with pytest.raises(DataError, match="has no split 'tset'; did you mean 'test'"):
        read_prompts(tmp_path / "parts", split="tset")


def test_chats_read_the_same_from_every_form(tmp_path):
    import datasets

    rows = [{"messages": CHAT, "answers": ["Rome"]}, {"messages": [USER], "answers": ["Rome"]}]
    frame = pd.DataFrame(rows)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.map(json.dumps).to_csv(tmp_path / "a.csv", index=False)
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    read = read_prompts(lines(tmp_path / "a.jsonl", *rows))
    assert read.texts == ("and of Italy ?", "and of Italy ?")
    assert read.chats == (TURNS, ())  # one turn of the user alone is a text
    assert read.ids == (prompt_id(chat_json(TURNS)), prompt_id("and of Italy ?"))
    for name in ("a.csv", "a.parquet", "saved"):
        assert read_prompts(tmp_path / name) == read, name
    as_prompt = [{"prompt": row["messages"], "answers": row["answers"]} for row in rows]
    assert read_prompts(lines(tmp_path / "b.jsonl", *as_prompt)) == read
    pd.DataFrame(as_prompt).map(json.dumps).to_csv(tmp_path / "b.csv", index=False)
    assert read_prompts(tmp_path / "b.csv") == read


def test_a_chat_of_one_user_turn_has_the_id_of_its_text(tmp_path):
    chat, text = (
        lines(tmp_path / "1.jsonl", {"messages": [USER]}),
        lines(tmp_path / "2.jsonl", {"prompt": USER["content"]}),
    )
    assert read_prompts(chat) == read_prompts(text)


def test_parts_of_texts_are_joined(tmp_path):
    parts = [{"type": "text", "text": "capital "}, {"type": "text", "text": "of Italy ?"}]
    read = read_prompts(lines(tmp_path / "a.jsonl", {"messages": [{"role": "user", "content": parts}]}))
    assert read.texts == ("capital of Italy ?",)


def test_a_system_text_is_put_before_every_prompt_and_ids_stay(tmp_path):
    path = lines(tmp_path / "a.jsonl", *ROWS)
    plain, briefed = read_prompts(path), read_prompts(path, system="Be brief.")
    assert briefed.ids == plain.ids
    assert briefed.turns(0) == (("system", "Be brief."), ("user", "capital of France ?"))
    with pytest.raises(DataError, match="system turn of their own"):
        read_prompts(lines(tmp_path / "b.jsonl", {"messages": CHAT}), system="Be brief.")


def test_further_columns_are_named_once_and_not_read(tmp_path):
    notes: list[str] = []
    path = lines(tmp_path / "a.jsonl", {"prompt": "a", "answer": "b", "topic": 1}, {"prompt": "c", "region": "d"})
    assert read_prompts(path, note=notes.append).answers == ((), ())
    said = "columns not read: 'answer' (did you mean 'answers'? --column answers=answer), 'topic', 'region'"
    assert notes == [said]
    assert read_prompts(path, columns={"answers": "answer"}).answers == (("b",), ())


def test_the_index_that_pandas_writes_is_no_column(tmp_path):
    notes: list[str] = []
    pd.DataFrame({"prompt": ["a", "b"]}).to_csv(tmp_path / "a.csv")
    pd.DataFrame({"prompt": ["a", "b"]}, index=[7, 9]).to_parquet(tmp_path / "a.parquet")
    assert read_prompts(tmp_path / "a.csv", note=notes.append) == read_prompts(
        tmp_path / "a.parquet", note=notes.append
    )
    assert notes == []


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_columns_of_other_names_are_mapped(tmp_path, form):
    frame = pd.DataFrame({"prompt": ["not this"], "question": ["two plus two ?"], "gold": ["four"]})
    path = tmp_path / f"a.{form}"
    if form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        getattr(frame, f"to_{form}")(path)
    read = read_prompts(path, columns={"prompt": "question", "answers": "gold"})
    assert (read.texts, read.answers) == (("two plus two ?",), (("four",),))
    with pytest.raises(DataError, match="no column 'godl' for 'answers', only .*'question'"):
        read_prompts(path, columns={"prompt": "question", "answers": "godl"})
    with pytest.raises(OptionError, match="no column 'promt' to map another to; did you mean 'prompt'"):
        read_prompts(path, columns={"promt": "question"})
    with pytest.raises(OptionError, match="'question' is mapped twice"):
        read_prompts(path, columns={"prompt": "question", "id": "question"})


def test_an_empty_name_leaves_a_column_unread(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"prompt": "a", "id": "x"})
    assert read_prompts(path, columns={"id": ""}).ids == (prompt_id("a"),)


ANSWERS = {
    "a list": (["a", "b"], ("a", "b")),
    "one text": ("a", ("a",)),
    "numbers": ([1, 0.5, True, 1963.0], ("1", "0.5", "true", "1963")),
    "a number": (3, ("3",)),
    "nothing": (None, ()),
    "a list with a gap": (["a", None], ("a",)),
    "a text like a list of numbers": ("[1, 2]", ("[1, 2]",)),
    "a list written as JSON": ('["a", "b"]', ("a", "b")),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_answers_are_texts_or_numbers_alone_or_in_a_list(tmp_path, case):
    given, wanted = ANSWERS[case]
    assert read_prompts(lines(tmp_path / "a.jsonl", {"prompt": "a", "answers": given})).answers == (wanted,)


def test_answers_of_parquet_are_lists_numbers_or_missing(tmp_path):
    frame = pd.DataFrame({"prompt": ["a", "b"], "answers": [["x", "y"], None], "year": [1963, None]})
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_prompts(tmp_path / "a.parquet").answers == (("x", "y"), ())
    assert read_prompts(tmp_path / "a.parquet", columns={"answers": "year"}).answers == (("1963",), ())


def test_a_cell_of_csv_is_a_json_list_or_the_one_answer(tmp_path):
    cells = ["four", "4", '["four", 4]', "[4, 5]", "[unknown]", "", "4, four"]
    pd.DataFrame({"prompt": list("abcdefg"), "answers": cells}).to_csv(tmp_path / "a.csv", index=False)
    wanted = (("four",), ("4",), ("four", "4"), ("4", "5"), ("[unknown]",), (), ("4, four",))
    assert read_prompts(tmp_path / "a.csv").answers == wanted


def test_equal_texts_may_have_different_ids(tmp_path):
    read = read_prompts(
        lines(tmp_path / "a.jsonl", {"prompt": "a", "id": 1}, {"prompt": "a", "id": 2}, {"prompt": "a"})
    )
    assert read.ids == ("1", "2", prompt_id("a"))
    assert read.texts == ("a", "a", "a")


def test_integer_ids_beside_a_missing_one_stay_integers(tmp_path):
    pd.DataFrame({"prompt": ["a", "b"], "id": [3, None]}).to_parquet(tmp_path / "a.parquet")
    assert read_prompts(tmp_path / "a.parquet").ids == ("3", prompt_id("b"))


def test_a_table_of_a_spreadsheet_is_read(tmp_path):
    """UTF-8 with a BOM, CRLF, quoted line breaks, and a cell longer than the csv module takes by itself."""
    long = "w " * 100_000
    text = f'\ufeffprompt,answers\r\n"first\r\nsecond, third",Zürich\r\n{long},b\r\n\r\n'
    limit = csv.field_size_limit()
    read = read_prompts(written(tmp_path / "a.csv", text))
    assert read.texts == ("first\r\nsecond, third", long)
    assert read.answers == (("Zürich",), ("b",))
    assert csv.field_size_limit() == limit


def test_the_limit_of_csv_cells_is_restored_after_an_error(tmp_path):
    limit = csv.field_size_limit()
    with pytest.raises(DataError, match="line 2"):
        list(Records(written(tmp_path / "a.csv", "prompt,id\na\n"), ("prompt",)))
    assert csv.field_size_limit() == limit


def test_adding_a_line_keeps_the_other_ids(tmp_path):
    one = read_prompts(written(tmp_path / "1.jsonl", '{"prompt": "b"}\n{"prompt": "c"}'))
    two = read_prompts(written(tmp_path / "2.jsonl", '{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "c"}'))
    assert two.ids[1:] == one.ids


def test_a_data_sets_folder_is_read_and_its_other_columns_are_left(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder / "train.jsonl", '{"prompt": "a", "difficulty": 3}\n{"prompt": "b", "difficulty": 4}')
    notes: list[str] = []
    assert read_prompts(folder, note=notes.append).texts == ("a", "b")
    assert notes == ["columns not read: 'difficulty'"]


def chat(*turns):
    return json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]})


PICTURE = [{"type": "text", "text": "what is it ?"}, {"type": "image_url", "image_url": {"url": "x"}}]
WRONG = {
    "same id": ("a.jsonl", '{"prompt": "a", "id": 1}\n{"prompt": "b", "id": "1"}', "id '1' stands in line 1 and in line 2"),
    "same prompt": ("a.jsonl", '{"prompt": "a"}\n\n{"prompt": "a"}', "same prompt 'a' stands in line 1 and in line 3"),
    "same chat": ("a.jsonl", f"{chat(*TURNS)}\n{chat(*TURNS)}", "same prompt 'and of Italy .' stands in line 1 and in line 2"),
    "misspelt": ("a.jsonl", '{"promt": "a"}', "line 1: there is no column 'prompt' .*did you mean .*--column prompt=promt"),
    "named otherwise": ("a.jsonl", '{"question": "a", "n": 1}', "only 'question', 'n'; say which .*--column prompt=question"),
    "one row without": ("a.jsonl", '{"prompt": "a"}\n{"id": 3}', "line 2 has no 'prompt'"),
    "bad JSON": ("a.jsonl", '{"prompt": "a"}\n{"prompt": "b"', "line 2 is not JSON"),
    "bad JSON list": ("a.json", '[{"prompt": "a"}', "a.json is not JSON"),
    "no object": ("a.jsonl", '"a"', "line 1 is 'a'; write"),
    "empty file": ("a.jsonl", "\n", "holds no prompts"),
    "empty csv": ("a.csv", "", "holds no prompts"),
    "empty prompt": ("a.jsonl", '{"prompt": " "}', "line 1: prompt is ' '"),
    "number": ("a.jsonl", '{"prompt": 3}', "line 1: prompt is 3"),
    "half a pair": ("a.jsonl", '{"prompt": "a\\ud800"}', "half of a surrogate pair"),
    "answers as Python": ("a.csv", "prompt,answers\na,\"['b', 'c']\"\n", "line 2: answers is .* as Python prints it; .*JSON"),
    "answers as NumPy": ("a.csv", "prompt,answers\na,['b' 'c']\n", "line 2: answers is .* as Python prints it"),
    "answers of lists": ("a.jsonl", '{"prompt": "a", "answers": [["b"]]}', "answers holds .'b'.; it must be a list of"),
    "answers as a dict": ("a.jsonl", '{"prompt": "a", "answers": {"text": ["b"]}}', "answers holds {'text': "),
    "an id of lists": ("a.jsonl", '{"prompt": "a", "id": [1]}', "id is .1.; it must be a text or a number"),
    "short row": ("a.csv", "id,prompt\n1\n", "line 2 has 1 columns, not as many columns"),
    "long row": ("a.csv", 'id,prompt\n1,"a\nb"\n1,a,b\n', "line 4 has 3 columns, not as many columns"),
    "open quote": ("a.csv", 'id,prompt\n1,"a\n', "line 2 is no CSV: .* check its quotes"),
    "semicolons": ("a.csv", "prompt;answers\na;b\n", "separated by semicolons .*save it with commas"),
    "tabs": ("a.csv", "prompt\tanswers\na\tb\n", "separated by tabs"),
    "column twice": ("a.csv", "prompt,prompt\na,b\n", "has the column 'prompt' twice"),
    "not parquet": ("a.parquet", "hello", "cannot be read as Parquet"),
    "another kind of file": ("a.xlsx", "hello", "ends in '.xlsx'; give a .jsonl, "),
    "unknown role": ("a.jsonl", chat(("usr", "a")), "line 1, turn 1 has the role 'usr'; did you mean 'user'"),
    "ends with a response": ("a.jsonl", chat(("user", "a"), ("assistant", "b")), "ends with the assistant.*uqkd import"),
    "ends with the system": ("a.jsonl", chat(("user", "a"), ("system", "b")), r"the chat \(user, system\) must end with"),
    "empty last turn": ("a.jsonl", chat(("system", "a"), ("user", " ")), "must end with a user's turn that is not empty"),
    "a picture": ("a.jsonl", chat(("user", PICTURE)), "turn 1 has content of type 'image_url'; only texts"),
    "no content": ("a.jsonl", chat(("user", None)), "turn 1 has content of type 'NoneType'"),
    "other keys": ("a.jsonl", '{"messages": [{"from": "human", "value": "a"}]}', "turn 1 has 'from', 'value'; write"),
    "no turns": ("a.jsonl", '{"messages": []}', "it must be a list of .role, content. that is not empty"),
    "a call of a tool": (
        "a.jsonl", '{"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": 1}]}]}', "turn 1 has tool_calls",
    ),
    "a chat as Python": ("a.csv", "messages\n\"[{'role': 'user', 'content': 'a'}]\"\n", "messages is .*not JSON .*json.dumps"),
    "a prompt as Python": ("a.csv", "prompt\n\"[{'role': 'user', 'content': 'a'}]\"\n", "prompt is .*not JSON .*json.dumps"),
    "two prompts": (
        "a.jsonl", json.dumps({"prompt": "other", "messages": CHAT}), "prompt 'other' is none of the turns in messages",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_place(tmp_path, case):
    name, text, message = WRONG[case]
    with pytest.raises(DataError, match=message) as caught:
        read_prompts(written(tmp_path / name, text))
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_text_that_looks_like_a_chat_stays_a_text(tmp_path):
    pd.DataFrame({"prompt": ["[{x}] what is this ?", "[1, 2] sorted ?"]}).to_csv(tmp_path / "a.csv", index=False)
    assert read_prompts(tmp_path / "a.csv").texts == ("[{x}] what is this ?", "[1, 2] sorted ?")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_latin_1_is_refused_with_the_line_and_byte(tmp_path, name):
    rows = "prompt\n" if name == "a.csv" else ""
    rows += (
        "".join(json.dumps({"prompt": "x" * 50 + str(i)}) + "\n" for i in range(1000))
        if name == "a.jsonl"
        else "x\n" * 1000
    )
    bad = '{"prompt": "caf\xe9"}\n' if name == "a.jsonl" else "caf\xe9\n"
    number = rows.count("\n") + 1
    with pytest.raises(DataError, match=f"line {number} is not UTF-8 .* at byte {bad.index(chr(0xE9))} of the line"):
        read_prompts(written(tmp_path / name, rows + bad, encoding="latin-1"))


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
    with pytest.raises(UqkdError, match=r"'someone/some-prompts'.*ConnectionError: no network.*offline, give a .jsonl"):
        read_prompts("someone/some-prompts")
