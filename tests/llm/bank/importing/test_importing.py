"""Responses that people already have: every form gives one bank, nothing is added twice, and what is unknown is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from uqkd.cli import main
from uqkd.errors import DataError, OptionError, ProvenanceError
from uqkd.llm.bank import STUDY, Bank
from uqkd.llm.bank.columns.rows import Wanted, table_of
from uqkd.llm.bank.importing.importing import PROMPTS, import_responses
from uqkd.llm.prompts import chat_json, prompt_id, read_prompts, turns_of
from uqkd.llm.prompts.rendering import turns_hash
from uqkd.llm.requests import Completion, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.store import Inputs, Store

CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo", "Kenya": "Nairobi", "Peru": "Lima",
    "Chile": "Santiago", "Japan": "Tokyo", "Egypt": "Cairo", "Ghana": "Accra", "Cuba": "Havana", "Nepal": "Kathmandu",
    "Iceland": "Reykjavík", "Brazil": "Brasília", "Togo": "Lomé", "Greece": "Athens", "Poland": "Warsaw", "Fiji": "Suva",
    "Austria": "Vienna", "Hungary": "Budapest",
}  # fmt: skip
SAYINGS = (
    "{}",
    "{}.",
    "It is {}.",
    "The capital is {}.",
    "I believe that it is {}, but I am not sure.",
    "**{}**",
    "{}\n",
)
YEARS = range(1950, 2000)
PROMPTS_ASKED = [
    (f"What was the capital of {land} in {year}?", city) for year in YEARS for land, city in CAPITALS.items()
]
EACH = 100  # responses to each of 1,000 prompts


def lines(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def imported(path, root, **options):
    return import_responses(path, Bank(root), **options)


@pytest.fixture(scope="module")
def hundred_thousand():
    """A hundred thousand responses in the order of their rounds, of which 50 are missing and 100 empty."""
    rng = np.random.default_rng(5)
    cities = list(CAPITALS.values())
    right, which = rng.random(10**5) < 0.6, rng.integers(len(cities), size=10**5)
    sayings = rng.integers(len(SAYINGS), size=10**5)
    texts: list[str | None] = []
    for place in range(10**5):
        city = PROMPTS_ASKED[place % 1000][1] if right[place] else cities[which[place]]
        texts.append(SAYINGS[sayings[place]].format(city))
    odd = rng.permutation(10**5)[:150].tolist()
    for place in odd[:50]:
        texts[place] = None
    for place in odd[50:]:
        texts[place] = ""
    prompts = [PROMPTS_ASKED[place % 1000][0] for place in range(10**5)]
    return pd.DataFrame({"prompt": prompts, "response": texts, "topic": "capitals"})


@pytest.mark.slow
def test_a_hundred_thousand_responses_give_one_bank_from_every_form(hundred_thousand, tmp_path):
    import datasets

    frame = hundred_thousand
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.dropna().to_csv(tmp_path / "a.csv", index=False)  # CSV cannot say that a cell is missing
    gathered = frame.groupby("prompt", sort=False)["response"].apply(list).reset_index(name="responses")
    datasets.Dataset.from_pandas(gathered).save_to_disk(tmp_path / "saved")
    counts = frame.dropna().groupby("prompt").size()
    prints = set()
    for name in ("a.jsonl", "a.parquet", "a.csv", "saved"):
        found = imported(tmp_path / name, tmp_path / "banks" / name)
        assert (found.added, found.there, found.prompts) == (10**5 - 50, 0, 1000), name
        assert found.missing == (0 if name == "a.csv" else 50)
        assert (found.fewest, found.most) == (counts.min(), counts.max())
        assert counts.min() < EACH == counts.max()
        assert found.flags == {"empty": 100}
        assert ("100 are empty: CSV cannot tell" in str(found)) == (name == "a.csv")
        assert str(found).endswith("seeds are unknown: independence of these responses cannot be shown")
        assert f"{counts.min()} to 100 responses to each of 1,000 prompts (unequal: students can be given" in str(found)
        assert ("columns not read: 'topic'" in str(found)) == (name != "saved")
        prints.add(Bank(tmp_path / "banks" / name).fingerprint)
    assert len(prints) == 1
    table = Bank(tmp_path / "banks" / "saved").table()
    first = table[table["prompt"] == PROMPTS_ASKED[0][0]].sort_values("response_index")
    assert first["text"].tolist() == frame["response"][::1000].dropna().tolist()
    assert first["response_index"].tolist() == list(range(len(first)))


ROWS = [{"prompt": f"q{n % 7}", "response": f"answer {n}", "answers": ["yes"]} for n in range(100)]


def test_what_an_imported_row_says(tmp_path):
    imported(lines(tmp_path / "a.jsonl", ROWS[0]), tmp_path / "bank", teacher="gpt-x", sampling={"temperature": 1})
    bank = Bank(tmp_path / "bank")
    ((_, table),) = bank.units()
    (row,) = table.to_pylist()
    wanted = {
        "prompt_id": prompt_id("q0"), "prompt": "q0", "messages": None, "prompt_hash": turns_hash((("user", "q0"),)),
        "response_index": 0, "text": "answer 0", "teacher": "gpt-x", "revision": "unknown:gpt-x", "backend": "import",
        "logprobs": "none", "flags": "", "temperature": 1.0,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted
    unknown = (
        "seed",
        "token_ids",
        "token_logprobs",
        "tokens",
        "finish_reason",
        "top_p",
        "top_k",
        "min_p",
        "max_tokens",
    )
    assert [name for name in unknown if row[name] is not None] == []
    assert bank.identity["seeds"] == "unknown"
    prompts, k = bank.prompts()
    (response,) = bank.responses(prompts, students=1, k=k, per_student=k).distinct
    assert (response.token_ids, response.text, response.finished) == (None, "answer 0", True)


def test_the_same_file_adds_nothing_and_another_adds_to_it(tmp_path):
    path = lines(tmp_path / "a.jsonl", *ROWS)
    assert imported(path, tmp_path / "bank").added == 100
    before = Bank(tmp_path / "bank").fingerprint
    again = imported(shutil.copy(path, tmp_path / "copy.jsonl"), tmp_path / "bank")
    assert (again.added, again.there) == (0, 100)
    assert "nothing new: 100 responses already there" in str(again)
    assert Bank(tmp_path / "bank").fingerprint == before
    other = lines(tmp_path / "b.jsonl", {"prompt": "q0", "response": "more"}, {"prompt": "new", "response": "one"})
    found = imported(other, tmp_path / "bank")
    assert (found.added, found.prompts, found.fewest, found.most) == (2, 8, 1, 16)
    table = Bank(tmp_path / "bank").table()
    own = table[table["prompt"] == "q0"]
    assert own["response_index"].tolist() == list(range(16))
    assert own["text"].tolist()[-1] == "more"
    assert len(table) == 102
    asked = [json.loads(line)["prompt"] for line in (tmp_path / "bank" / PROMPTS).read_text().splitlines()]
    assert asked[-1] == "new"
    assert set(asked) == set(table["prompt"])


def test_the_answers_of_all_rows_of_a_prompt_are_kept(tmp_path):
    rows = [{"prompt": "q", "response": text, "answers": own} for text, own in (("a", ["x"]), ("b", ["y", "x"]))]
    imported(lines(tmp_path / "a.jsonl", *rows), tmp_path / "bank")
    assert read_prompts(tmp_path / "bank" / PROMPTS).answers == (("x", "y"),)


def test_rows_that_are_there_twice_count_once_where_another_file_adds_to_them(tmp_path):
    path, bank = lines(tmp_path / "a.jsonl", {"prompt": "q", "responses": ["a", "b"]}), Bank(tmp_path / "bank")
    import_responses(path, bank)
    ((params, table),) = bank.units()
    bank.store.commit(Inputs(STUDY, {**params, "part": 7}, method="m"), table, check_twins=False)
    found = import_responses(lines(tmp_path / "b.jsonl", {"prompt": "q", "response": "c"}), bank)
    assert (found.added, found.fewest) == (1, 3)
    assert bank.table()["response_index"].tolist() == [0, 1, 2]


class Stop(Exception):
    pass


@pytest.mark.parametrize("written", [False, True], ids=["before the write", "after the write"])
def test_stopped_at_any_commit_and_run_again_the_rows_are_those_of_one_go(tmp_path, monkeypatch, written):
    path = lines(tmp_path / "a.jsonl", *ROWS)
    imported(path, tmp_path / "whole", part=15)
    whole = Bank(tmp_path / "whole").table().sort_values(["prompt_id", "response_index"])
    commit = Store.commit
    for last in range(7):  # 100 responses in parts of 15
        left = [last]

        def stopped(store, *arguments, left=left, **options):
            if not left[0] and not written:
                raise Stop
            name = commit(store, *arguments, **options)
            if not left[0]:
                raise Stop
            left[0] -= 1
            return name

        root = tmp_path / f"cut-{last}"
        monkeypatch.setattr(Store, "commit", stopped)
        with pytest.raises(Stop):
            imported(path, root, part=15)
        monkeypatch.setattr(Store, "commit", commit)
        partial = Bank(root).rows
        assert partial == min(100, 15 * (last + written))
        found = imported(path, root, part=15)
        assert (found.there, found.added) == (partial, 100 - partial)
        pd.testing.assert_frame_equal(Bank(root).table().sort_values(["prompt_id", "response_index"]), whole)


KILLED = """
import os, signal, sys
from uqkd.llm.bank import STUDY, Bank
from uqkd.llm.bank.importing.importing import import_responses

def stop(done, total):
    if done >= 45:
        os.kill(os.getpid(), signal.SIGKILL)

import_responses(sys.argv[1], Bank(sys.argv[2]), part=15, progress=stop)
"""


@pytest.mark.process
def test_killed_in_the_middle_and_run_again_the_bank_is_that_of_one_go(tmp_path):
    path = lines(tmp_path / "a.jsonl", *ROWS)
    imported(path, tmp_path / "whole", part=15)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(tmp_path / "cut")], check=False, cwd=os.getcwd()
    )
    assert done.returncode == -signal.SIGKILL
    assert Bank(tmp_path / "cut").rows == 45
    imported(path, tmp_path / "cut", part=15)
    assert Bank(tmp_path / "cut").fingerprint == Bank(tmp_path / "whole").fingerprint


def test_a_lost_unit_is_imported_again_in_its_place(tmp_path):
    path = lines(tmp_path / "a.jsonl", *ROWS)
    imported(path, tmp_path / "bank", part=15)
    before = Bank(tmp_path / "bank").fingerprint
    for unit in sorted((tmp_path / "bank" / "units" / "bank").iterdir()):
        unit.unlink()
        found = imported(path, tmp_path / "bank", part=15)
        assert found.added in (15, 10)
        assert Bank(tmp_path / "bank").fingerprint == before


def test_ctrl_c_says_how_far_it_came(tmp_path):
    def stop(done, _total):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="interrupted: 30 of 100 responses are committed; run the same again"):
        imported(lines(tmp_path / "a.jsonl", *ROWS), tmp_path / "bank", part=15, progress=stop)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_responses(tmp_path):
    peaks = []
    for count in (2_000, 8_000):
        path = lines(
            tmp_path / f"{count}.jsonl", *({"prompt": "q", "response": f"{n} " + "x" * 500} for n in range(count))
        )
        tracemalloc.start()
        imported(path, tmp_path / f"bank-{count}", part=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Holding the texts would take 6,000 × 500 bytes more; a response's place in its prompt takes some 100 at the most.
    assert peaks[1] - peaks[0] < 6_000 * 100


HOSTILE = (
    "a\x00b", "half \ud83d of a pair", "<script>alert(1)</script>", "\u202egnp.exe", "=HYPERLINK(1)", "x" * 2**20, "", " ",
    '["a", "b"]', "line\nbreak\r\nand\ttab", "\ufffd", "مرحبا",
)  # fmt: skip


def test_hostile_texts_are_kept(tmp_path):
    path = lines(tmp_path / "a.jsonl", *({"prompt": "q", "response": text} for text in HOSTILE))
    found = imported(path, tmp_path / "bank")
    kept = tuple(Bank(tmp_path / "bank").table()["text"])
    assert kept == tuple(text.encode("utf-8", "backslashreplace").decode() for text in HOSTILE)
    assert found.flags == {"control": 1, "surrogate": 1, "empty": 2, "replacement": 1}
    chats = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]} for text in HOSTILE
    ]
    imported(lines(tmp_path / "b.jsonl", *chats), tmp_path / "chats")
    assert tuple(Bank(tmp_path / "chats").table()["text"]) == kept


def test_missing_ones_are_left_out_and_empty_ones_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"prompt": "q", "response": null}\n{"prompt": "q", "response": NaN}\n{"prompt": "q", "response": ""}\n'
        '{"prompt": "q", "responses": ["a", null, 4]}\n{"prompt": "none", "response": null}'
    )
    found = imported(path, tmp_path / "bank")
    assert Bank(tmp_path / "bank").table()["text"].tolist() == ["", "a", "4"]
    assert (found.added, found.missing, found.prompts, found.flags) == (3, 4, 1, {"empty": 1})
    assert "left out: 1 prompt without any response (line 5 first)" in str(found)
    assert read_prompts(tmp_path / "bank" / PROMPTS).texts == ("q",)
    with pytest.raises(DataError, match="holds no responses .1 are null."):
        imported(lines(tmp_path / "b.jsonl", {"prompt": "q", "response": None}), tmp_path / "other")


CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "capital of Italy ?"}]
TURNS = tuple((turn["role"], turn["content"]) for turn in CHAT)
ROME = {"role": "assistant", "content": "Rome"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*CHAT, ROME]},
        {"messages": CHAT, "response": "Rome"},
        {"prompt": CHAT, "responses": ["Rome"]},
        {"prompt": CHAT, "response": [ROME]},
    ],
)
def test_a_chat_and_its_response_come_in_four_forms(tmp_path, row):
    imported(lines(tmp_path / "a.jsonl", row), tmp_path / "bank")
    bank = Bank(tmp_path / "bank")
    (found,) = bank.table().to_dict("records")
    assert (found["text"], found["prompt"], turns_of(found["messages"])) == ("Rome", "capital of Italy ?", TURNS)
    assert found["prompt_id"] == prompt_id(chat_json(TURNS))
    assert bank.prompts()[0].chats == read_prompts(tmp_path / "bank" / PROMPTS).chats == (TURNS,)


def test_rows_of_one_id_or_of_one_text_are_responses_to_one_prompt(tmp_path):
    rows = [
        {"id": 1, "prompt": "q", "response": "a"},
        {"prompt": "q", "response": "b"},
        {"id": 1, "prompt": "q", "response": "c"},
        {"prompt": "q", "responses": ["d", "e"]},
    ]
    imported(lines(tmp_path / "a.jsonl", *rows), tmp_path / "bank")
    table = Bank(tmp_path / "bank").table()
    assert table.groupby("prompt_id")["text"].apply(list).to_dict() == {
        "1": ["a", "c"],
        prompt_id("q"): ["b", "d", "e"],
    }


def test_ids_that_number_the_rows_are_noticed(tmp_path):
    path = lines(tmp_path / "a.jsonl", *({"id": n, "prompt": "q", "response": "a"} for n in range(5)))
    assert "5 ids stand for 1 different prompts: where 'id' numbers the rows" in str(imported(path, tmp_path / "bank"))
    found = imported(path, tmp_path / "other", columns={"id": ""})
    assert (found.prompts, found.most) == (1, 5)
    assert "ids stand for" not in str(found)


def test_an_id_stands_for_one_prompt(tmp_path):
    one, two = {"id": "x", "prompt": "q", "response": "a"}, {"id": "x", "prompt": "other", "response": "a"}
    with pytest.raises(
        DataError, match="line 2: id 'x' stands for another prompt in line 1; give each prompt its own id"
    ):
        imported(lines(tmp_path / "a.jsonl", one, two), tmp_path / "bank")
    imported(lines(tmp_path / "b.jsonl", one), tmp_path / "bank")
    with pytest.raises(ProvenanceError, match="prompt id 'x' stands for another prompt in the bank"):
        imported(lines(tmp_path / "c.jsonl", two), tmp_path / "bank")
    assert Bank(tmp_path / "bank").rows == 1


def test_a_bank_is_of_one_teacher(tmp_path):
    rows = [{"prompt": "q", "response": f"by {name}", "model": name} for name in ("gpt-x", "gpt-x", "llama")]
    path = lines(tmp_path / "a.jsonl", *rows)
    with pytest.raises(
        DataError, match=r"holds responses of 'gpt-x' \(2\), 'llama' \(1\), but a bank is of one teacher"
    ):
        imported(path, tmp_path / "bank")
    with pytest.raises(DataError, match="and none of 'lama'; but a bank is of one teacher"):
        imported(path, tmp_path / "bank", teacher="lama")
    found = imported(path, tmp_path / "bank", teacher="llama")
    assert Bank(tmp_path / "bank").table()["text"].tolist() == ["by llama"]
    assert "left out: 2 responses of other models" in str(found)
    with pytest.raises(ProvenanceError, match="revision: 'unknown:llama' there, 'unknown:gpt-x' now"):
        imported(path, tmp_path / "bank", teacher="gpt-x")
    assert imported(path, tmp_path / "all", columns={"model": ""}).teacher == "unknown"
    assert imported(lines(tmp_path / "b.jsonl", *rows[:2]), tmp_path / "one").teacher == "gpt-x"


def test_another_sampling_is_not_mixed(tmp_path):
    path = lines(tmp_path / "a.jsonl", *ROWS[:2])
    imported(path, tmp_path / "bank", sampling={"temperature": 1.0})
    with pytest.raises(ProvenanceError, match="temperature: 1.0 there, 0.5 now"):
        imported(path, tmp_path / "bank", sampling={"temperature": 0.5})
    with pytest.raises(OptionError, match="temperature must be"):
        imported(path, tmp_path / "bank", sampling={"temperature": -1})


def test_drawn_and_imported_responses_are_not_mixed(tmp_path):
    about = TeacherInfo("tiny", "r", "vllm", "0.32", "float32", "processed", False)
    row, said = Wanted("a", "q", None, "", 0, 7), Completion((5, 2), "yes", (-0.5, -0.1), "stop")
    table = table_of([row], [said], about=about, sampling=Sampling().columns())
    identity = {"revision": "r", "backend": "vllm", "key": ["llm"], **Sampling().columns()}
    Bank(tmp_path / "bank").store.commit(Inputs(STUDY, {"bank": identity}, method="m"), table)
    with pytest.raises(ProvenanceError, match="backend: 'vllm' there, 'import' now"):
        imported(lines(tmp_path / "a.jsonl", *ROWS[:2]), tmp_path / "bank")


def test_finish_reasons_are_kept_and_those_of_other_servers_understood(tmp_path):
    reasons = ["stop", "end_turn", "length", "MAX_TOKENS", "tool_calls", None]
    row = {"prompt": "q", "responses": list("abcdef"), "finish_reason": reasons, "seed": [1, 2, 3, 4, 5, None]}
    found = imported(
        lines(tmp_path / "a.jsonl", row, {"prompt": "q", "response": "g", "finish_reason": "stop"}), tmp_path / "b"
    )
    bank = Bank(tmp_path / "b")
    table = bank.table()
    wanted = ["stop", "stop", "length", "length", "tool_calls", None, "stop"]
    assert [None if pd.isna(one) else one for one in table["finish_reason"]] == wanted
    assert table["seed"].tolist()[:5] == [1, 2, 3, 4, 5]
    assert table["seed"].isna().tolist() == [False] * 5 + [True] * 2
    assert found.flags == {"length": 2}
    responses = bank.responses(bank.prompts()[0], students=1, k=7, per_student=7)
    finished = [responses.distinct[i].finished for i in responses.index[0, 0]]
    assert finished == [True, True, False, False, False, True, True]


def test_lists_in_csv_are_json(tmp_path):
    frame = pd.DataFrame(
        {"prompt": ["q", "r"], "responses": ['["a", "b"]', "one"], "finish_reason": ['["stop", "length"]', ""]}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    imported(tmp_path / "a.csv", tmp_path / "bank")
    table = Bank(tmp_path / "bank").table()
    assert sorted(zip(table["text"], table["flags"], strict=True)) == [("a", ""), ("b", "length"), ("one", "")]


WRONG = {
    "no response": (
        {"prompt": "q", "completion": "a"},
        "line 1: there is no column 'response' .*--column response=completion",
    ),
    "both": ({"prompt": "q", "response": "a", "responses": ["b"]}, "line 1 has both 'response' and 'responses'"),
    "a response and the assistant": (
        {"messages": [*CHAT, ROME], "response": "a"},
        "ends with the assistant's turn too",
    ),
    "the assistant alone": ({"messages": [ROME]}, "line 1: the chat is the assistant's turn alone"),
    "an object": ({"prompt": "q", "response": {"text": "a"}}, "response holds {'text': 'a'}; it must be a text"),
    "a turn of the user": ({"prompt": "q", "response": CHAT[1:]}, "response holds a turn of the user"),
    "too few reasons": (
        {"prompt": "q", "responses": ["a", "b"], "finish_reason": ["stop"]},
        "holds 1 values for 2 responses",
    ),
    "too many seeds": ({"prompt": "q", "responses": ["a", "b"], "seed": [1, 2, 3]}, "holds 3 values for 2 responses"),
    "a reason of numbers": (
        {"prompt": "q", "response": "a", "finish_reason": 3},
        "finish_reason is 3; it must be a text",
    ),
    "a seed of text": (
        {"prompt": "q", "response": "a", "seed": "x"},
        "seed is 'x'; it must be an integer.*--column seed=",
    ),
    "a seed too large": ({"prompt": "q", "response": "a", "seed": 2**63}, "it must be an integer of 64 bits"),
    "a seed too small": (
        {"prompt": "q", "response": "a", "seed": -(2**63) - 1},
        "it must be an integer of 64 bits",
    ),
    "no prompt": ({"response": "a"}, "there is no column 'prompt' or 'messages'"),
    "half a pair asked": ({"prompt": "\ud800", "response": "a"}, "holds half of a surrogate pair"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_place_and_nothing_is_written(tmp_path, case):
    row, message = WRONG[case]
    with pytest.raises(DataError, match=message) as caught:
        imported(lines(tmp_path / "a.jsonl", row), tmp_path / "bank")
    assert "a.jsonl, line 1" in str(caught.value)
    with pytest.raises(DataError, match="b.jsonl, line 101"):
        imported(lines(tmp_path / "b.jsonl", *ROWS, row), tmp_path / "bank", part=10)
    assert Bank(tmp_path / "bank").rows == 0


def uqkd(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


def test_the_command_imports_maps_columns_and_says_what_it_cannot_show(tmp_path, capsys):
    path = lines(tmp_path / "a.jsonl", {"question": "q", "completion": "a", "gold": "b", "topic": "c"})
    words = ("import", path, "--bank", tmp_path / "bank", "--teacher", "gpt-x", "--temperature", 0.7)
    assert uqkd(*words) == 2
    assert "--column prompt=question" in capsys.readouterr().err
    mapped = ("--column", "prompt=question", "--column", "response=completion", "--column", "answers=gold")
    assert uqkd(*words, *mapped) == 0
    out = capsys.readouterr().out
    assert "1 response imported (teacher 'gpt-x')" in out
    assert "columns not read: 'topic'" in out
    assert "seeds are unknown: independence of these responses cannot be shown" in out
    assert read_prompts(tmp_path / "bank" / PROMPTS).answers == (("b",),)
    assert uqkd(*words, *mapped) == 0
    assert "nothing new" in capsys.readouterr().out
    assert uqkd("verify", tmp_path / "bank") == 0


@pytest.mark.slow
def test_imported_responses_are_distilled_and_measured(make_model, tmp_path, capsys):
    """From a file to students and the table: text is encoded with the student's tokenizer."""
    model = make_model(tmp_path / "model")
    rows = [
        {"prompt": f"w{p} w9", "answers": [f"w{p}"], "responses": [f"w{p} w{p + r}" for r in range(4)]}
        for p in range(5)
    ]
    bank, made, table = tmp_path / "bank", tmp_path / "made", tmp_path / "table.csv"
    assert uqkd("import", lines(tmp_path / "a.jsonl", *rows), "--bank", bank) == 0
    train = ("--student", model, "--students", 2, "--steps", 3, "--batch", 4)
    for weights in ("multi", "medoid", "precision"):
        assert uqkd("distill", "--bank", bank, "--out", tmp_path / weights, "--weights", weights, *train) == 0
    assert uqkd("distill", "--bank", bank, "--out", made, *train) == 0
    assert "supervised" in capsys.readouterr().out
    asked = ("--students", made, "--prompts", bank / PROMPTS, "--draws", 2, "--max-tokens", 3, "--teacher-bank", bank)
    assert uqkd("measure", *asked, "--out", table) == 0
    found = pd.read_csv(table).set_index("quantity")
    assert found.loc["teacher_gini", "estimate"] == 1.0  # the four responses to each prompt all differ
    assert found.loc["accuracy", "n_prompts"] == 5
