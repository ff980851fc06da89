"""`uqkd distill` and `uqkd measure` from a bank to the table, and what they refuse."""

import json

import pandas as pd
import pytest
import torch

from uqkd import seeds
from uqkd.cli import main
from uqkd.llm import Bank, World, read_prompts
from uqkd.llm.embedded import Size, tokenizer


def uqkd(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A teacher that says anything, prompts and a bank of 4 responses for each of 2 students."""
    from transformers import LlamaForCausalLM

    root = tmp_path_factory.mktemp("students")
    world = World.make(clans=2, members=2, key=("test", "cli"))
    coder = tokenizer(world)
    with seeds.torch_stream("test", "cli"):
        model = LlamaForCausalLM(Size(16, 32, 1, 2).config(len(coder)))
    torch.nn.init.zeros_(model.lm_head.weight)  # every token alike: about half of the answers end by themselves
    model.save_pretrained(root / "teacher")
    coder.save_pretrained(root / "teacher")
    prompts = world.prompts(relations=["home", "food"])
    lines = [json.dumps({"prompt": t, "answers": list(a)}) for t, a in zip(prompts.texts, prompts.answers, strict=True)]
    (root / "prompts.jsonl").write_text("\n".join(lines))
    words = ("--teacher", root / "teacher", "--prompts", root / "prompts.jsonl", "--backend", "transformers")
    more = ("--max-tokens", 50, "--max-flagged", 1.0)
    assert uqkd("sample", *words, *more, "--k", 4, "--students", 2, "--bank", root / "bank") == 0
    return root


TRAIN = ("--students", 2, "--steps", 3, "--batch", 4)


def test_from_the_bank_to_the_table(place, capsys):
    assert (
        not Bank(place / "bank")
        .responses(read_prompts(place / "prompts.jsonl"), students=2, k=4, per_student=4)
        .distinct[0]
        .finished
    )
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / "made", *TRAIN)
    assert uqkd("distill", *words) == 0
    out = capsys.readouterr().out
    assert "supervised" in out  # ids and mask are shown
    assert "2 students saved" in out
    assert uqkd("distill", *words) == 0
    assert "all 2 students are there already" in capsys.readouterr().out
    table = place / "table.csv"
    asked = ("--students", place / "made", "--prompts", place / "prompts.jsonl", "--draws", 3, "--out", table)
    assert uqkd("measure", *asked, "--max-tokens", 4) == 0
    first = table.read_bytes()
    found = pd.read_csv(table).set_index("quantity")
    assert set(found["n_students"]) == {2}
    assert found.loc["total_gini", "estimate"] == pytest.approx(
        found.loc["intra_gini", "estimate"] + found.loc["inter_gini", "estimate"]
    )
    assert len(pd.read_csv(place / "table.prompts.csv")) == 8
    capsys.readouterr()
    assert uqkd("measure", *asked, "--max-tokens", 4) == 0
    assert "drawing" not in capsys.readouterr().out  # answers are kept
    assert table.read_bytes() == first


def test_students_of_other_inputs_are_not_mixed(place, capsys):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / "other")
    assert uqkd("distill", *words, *TRAIN) == 0
    capsys.readouterr()
    assert uqkd("distill", *words, *TRAIN, "--weights", "single") == 2
    assert "weights: 'multi' there, 'single' now" in capsys.readouterr().err


@pytest.mark.parametrize("weights", ["medoid", "reranked", "precision"])
def test_every_weighting_trains(place, weights):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / weights)
    assert uqkd("distill", *words, *TRAIN, "--weights", weights, "--lora", 2) == 0
    assert sorted(path.name for path in (place / weights).glob("student-*")) == ["student-0", "student-1"]


def test_too_few_responses_and_students_are_refused(place, capsys):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / "none")
    assert uqkd("distill", *words, "--students", 2, "--k", 5) == 2
    assert "8 responses to each prompt, 4 for each of 2 students; draw 10" in capsys.readouterr().err
    assert uqkd("measure", "--students", place, "--prompts", place / "prompts.jsonl", "--out", place / "x.csv") == 2
    assert "measure needs two students at least" in capsys.readouterr().err
    assert not (place / "none").exists()
