"""`uqkd sample` on files as people have them: turns, system texts, template arguments, other columns, prompts too long."""

from __future__ import annotations

import json

import pytest

from uqkd.cli import main
from uqkd.llm.bank import Bank

TEMPLATE = (
    "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    "{% if enable_thinking is not defined or enable_thinking %}w9 {% endif %}w7"
)
ROWS = [
    {"question": "w1 w2", "level": 3, "answer": 4},
    {
        "question": [
            {"role": "user", "content": "w3"},
            {"role": "assistant", "content": "w4"},
            {"role": "user", "content": "w5"},
        ]
    },
    {"question": " ".join(["w6"] * 60), "id": "long"},
]


@pytest.fixture
def sample(make_model, tmp_path, capsys):
    model = make_model(tmp_path / "model", template=TEMPLATE)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, ROWS)))

    def run(*words):
        line = [
            "sample",
            "--teacher",
            model,
            "--prompts",
            prompts,
            "--bank",
            tmp_path / "bank",
            "--backend",
            "transformers",
        ]
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in (*line, "--max-tokens", 8, "--k", 2, "--column", "prompt=question", *words)])
        out, err = capsys.readouterr()
        return stop.value.code, out, err.splitlines()[-1] if err else ""

    return run


def test_from_such_a_file_to_a_bank_that_tells_what_it_left_out(sample, tmp_path):
    code, out, _ = sample("--too-long", "skip", "--template-arg", "enable_thinking=false", "--system", "w0")
    assert code == 0
    assert "columns not read" in out
    assert "'answer'" in out
    assert "left out: 1 of 3 prompts are too long: prompt 'long' has 62 tokens" in out
    assert "4 responses drawn, 0 reused" in out
    assert "2 responses left out (see left_out.jsonl)" in out
    assert f"uqkd show {tmp_path / 'bank'}" in out
    bank = Bank(tmp_path / "bank")
    assert bank.identity["template_args"] == ["enable_thinking=False"]
    turns = [json.loads(text) for text in bank.table()["messages"].unique()]
    assert sorted(len(own) for own in turns) == [2, 4]
    assert all(own[0] == {"role": "system", "content": "w0"} for own in turns)
    again = sample("--too-long", "skip", "--template-arg", "enable_thinking=false", "--system", "w0")
    assert "0 responses drawn, 4 reused" in again[1]


def test_without_a_word_prompts_that_are_too_long_stop_it_and_are_listed(sample, tmp_path):
    code, _, err = sample()
    assert code == 2
    assert (
        "1 of 3 prompts are too long: prompt 'long' has 62 tokens, and with max_tokens=8 goes beyond the context of 64"
        in err
    )
    assert "--too-long skip" in err
    assert Bank(tmp_path / "bank").rows == 0


def test_the_same_prompts_rendered_otherwise_are_refused(sample):
    assert sample("--too-long", "skip")[0] == 0
    code, _, err = sample("--too-long", "skip", "--system", "w0")
    assert code == 2
    assert "system" in err
    code, _, err = sample("--too-long", "skip", "--template-arg", "enable_thinking=false")
    assert code == 2
    assert "template_args" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--template-arg", "enable_thinking"),
            "--template-arg got 'enable_thinking'; write it as --template-arg name=value.",
        ),
        (("--template-arg", "thinking=false"), "the chat template has no argument 'thinking'"),
        (("--header", "X=1"), "backend 'transformers' has no option 'headers'"),
        (("--url", "http://localhost:1/v1"), "backend 'transformers' has no option 'url'"),
        (("--too-long", "skipp"), "did you mean 'skip'"),
        (("--backend", "vlm"), "did you mean 'vllm'"),
        (("--max-flagged", "0.0", "--too-long", "skip"), "responses are flagged"),
    ],
)
def test_wrong_options_are_one_line(sample, words, message):
    code, _, err = sample(*words)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
