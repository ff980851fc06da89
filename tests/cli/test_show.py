"""`uqkd show`: the first look into a bank counts right, finds the most divided prompts, and is safe for a terminal."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from uqkd.cli import main
from uqkd.cli.models.show import lines_of
from uqkd.errors import DataError, OptionError, StoreError
from uqkd.llm.bank import STUDY, Bank, summary
from uqkd.llm.bank.columns.rows import Wanted, table_of
from uqkd.llm.bank.importing.importing import import_responses
from uqkd.llm.bank.left_out import LeftOut, write_left_out
from uqkd.llm.bank.summary import summarise
from uqkd.llm.requests import Completion, TeacherInfo
from uqkd.llm.sampling import Sampling
from uqkd.llm.similarity.clusters import normalise
from uqkd.store import Inputs

SAMPLING = Sampling(temperature=0.7, max_tokens=32)
ABOUT = TeacherInfo("tiny", "abc123", "vllm", "0.32", "float32", "processed", True)
IDENTITY = {
    "revision": "abc123", "backend": "vllm", "engine_version": "0.32", "dtype": "float32", "logprobs": "processed", "chat": True,
    "template_day": "2026-11-28", "key": ["llm", "mine"], "stop_ids": [2], **SAMPLING.columns(),
}  # fmt: skip


def drawn(root, said):
    """A bank as `uqkd sample` leaves it, from (prompt, response index, tokens, text, finish reason)."""
    bank = Bank(root)
    for place, rows in enumerate(np.array_split(np.arange(len(said)), 2)):
        wanted = [Wanted(said[n][0], f"what of {said[n][0]} ?", None, "", said[n][1], 1000 + int(n)) for n in rows]
        completions = [Completion(tuple(range(said[n][2])), said[n][3], (-0.5,) * said[n][2], said[n][4]) for n in rows]
        table = table_of(wanted, completions, about=ABOUT, sampling=SAMPLING.columns())
        bank.store.commit(Inputs(STUDY, {"bank": IDENTITY, "part": place}, method="m"), table)
    return bank


SAID = [
    ("a", 0, 3, "Paris", "stop"), ("a", 1, 4, "paris.", "stop"), ("a", 2, 3, "Rome", "stop"), ("b", 0, 1, "", "stop"),
    ("b", 1, 32, "on and on", "length"), ("b", 2, 5, "a\x00b", "stop"), ("c", 0, 2, "yes", "stop"), ("c", 1, 2, "Yes!", "stop"),
]  # fmt: skip


def test_a_summary_counts_what_is_there(tmp_path):
    found = summarise(drawn(tmp_path / "bank", SAID))
    assert (found.teacher, found.prompts, found.responses, found.fewest, found.most) == ("tiny", 3, 8, 2, 3)
    assert found.flags == {"empty": 1, "length": 1, "control": 1}
    assert (found.lengths, found.unit) == ((1, 2, 3, 4, 32, 32), "tokens")
    assert found.unsaid == 0
    assert [(one.prompt_id, round(one.gini, 6)) for one in found.divided] == [("b", 1.0), ("a", round(2 / 3, 6))]
    assert found.divided[1].answers == (("Paris", 2), ("Rome", 1))
    assert summarise(drawn(tmp_path / "bank", SAID), prompts=1, answers=1).divided[0].others == 2
    assert summarise(drawn(tmp_path / "bank", SAID), prompts=0).divided == ()


def test_the_command_says_what_people_look_for(tmp_path, capsys):
    bank = drawn(tmp_path / "bank", SAID)
    write_left_out(
        bank.store, [LeftOut("d", -1, "has 9000 tokens"), LeftOut("e", -1, "has 9001 tokens"), LeftOut("f", 2, "429")]
    )
    with pytest.raises(SystemExit, match="0"):
        main(["show", str(bank.root)])
    out = " ".join(capsys.readouterr().out.split())
    for said in (
        "teacher tiny, revision abc123", "backend vllm 0.32 float32, chat template, logprobs processed",
        "template prints the date: 2026-11-28", "temperature 0.7, top_p 1, top_k 0", "max_tokens 32",
        "seeds one for each response, key llm/mine", "prompts 3", "responses 8, 2 to 3 to each prompt",
        "median 3, half are 2 to 4, 90 % are 1 to 32, the longest 32 tokens",
        "1 cut at max_tokens (12.5 %), 1 empty (12.5 %), 1 with control characters (12.5 %)",
        "2 prompts (has 9000 tokens; prompt 'd' first); 1 response (429; prompt 'f' first)",
        "1.00 what of b ? 1 x (empty)", "0.67 what of a ? 2 x Paris 1 x Rome", "read in 0.",
    ):  # fmt: skip
        assert said in out, said


def test_imported_responses_are_counted_in_characters_and_say_what_is_unknown(tmp_path):
    path = tmp_path / "a.jsonl"
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "capital of Italy ?"}]
    path.write_text(json.dumps({"messages": chat, "responses": ["Rome", "Rom", "Roma"]}))
    import_responses(path, Bank(tmp_path / "bank"), teacher="gpt-x")
    text = " ".join(" ".join(lines_of(summarise(Bank(tmp_path / "bank")))).split())
    assert "teacher gpt-x, imported" in text
    assert "sampling unknown" in text
    assert "seeds unknown: independence of these responses cannot be shown" in text
    assert "the longest 4 characters" in text
    assert "3 end for an unknown reason and count as finished (100 %)" in text
    assert "capital of Italy ? (chat of 2 turns)" in text


@pytest.mark.parametrize("candidates", [1, 3, 64])
def test_the_most_divided_prompts_are_those_of_all_pairs_counted(tmp_path, monkeypatch, candidates):
    """Letter by letter some prompts look more divided than they are: the search must not stop at them."""
    monkeypatch.setattr(summary, "_CANDIDATES", candidates)
    rng = np.random.default_rng(3)
    forms = ("{}", "{}.", "The {}", " {} ", "{}!")
    said, texts = [], {}
    for p in range(40):
        own = [str(rng.integers(1 + p % 6)) for _ in range(int(rng.integers(1, 9)))]
        texts[f"p{p}"] = [forms[int(rng.integers(5))].format(f"answer {one}") for one in own]
        said += [(f"p{p}", n, 2, text, "stop") for n, text in enumerate(texts[f"p{p}"])]
    true = {}
    for name, own in texts.items():
        pairs = [normalise(one) != normalise(two) for one, two in combinations(own, 2)]
        true[name] = float(np.mean(pairs)) if pairs else 0.0
    found = summarise(drawn(tmp_path / "bank", said), prompts=6).divided
    best = sorted(true.values(), reverse=True)[:6]
    # 1e-12: both are ratios of two whole numbers below 100.
    assert np.abs(np.array([one.gini for one in found]) - best).max() < 1e-12
    assert all(abs(true[one.prompt_id] - one.gini) < 1e-12 for one in found)
    for one in found:
        assert sum(count for _, count in one.answers) + one.of_others == len(texts[one.prompt_id])


def test_what_a_terminal_would_obey_is_written_out(tmp_path):
    hostile = ["\x1b[31mred", "\u202egnp.exe", "line\nbreak", "x" * 10**5, "\x9b2J", "ok"]
    said = [("\x1b]0;title\x07", n, 2, text, "stop") for n, text in enumerate(hostile)]
    bank = drawn(tmp_path / "bank", said)
    write_left_out(bank.store, [LeftOut("\x1b[2J", -1, "\x1b[1mbold")])
    shown = list(lines_of(summarise(bank, answers=10)))
    assert all(char.isprintable() for line in shown for char in line.removeprefix("\n"))
    assert max(map(len, shown)) <= 101
    assert any("\\x1b[31mred" in line for line in shown)
    assert any(line.endswith("x…") for line in shown)


def test_a_missing_and_an_empty_bank_say_what_to_do(tmp_path, capsys):
    with pytest.raises(StoreError, match="there is no folder"):
        Bank(tmp_path / "none", create=False)
    with pytest.raises(SystemExit, match="2"):
        main(["show", str(tmp_path / "none")])
    assert capsys.readouterr().err.startswith("error: there is no folder")
    with pytest.raises(DataError, match="is empty; draw responses .uqkd sample. or bring some .uqkd import."):
        summarise(Bank(tmp_path / "empty"))
    with pytest.raises(OptionError, match="prompts >= 0 and answers >= 0; got prompts=-1, answers=5"):
        summarise(Bank(tmp_path / "empty"), prompts=-1)
