"""`uqkd distill` and `uqkd measure` from a bank to the table, and what they refuse."""

import json
import math

import pandas as pd
import pytest
import torch

from uqkd import seeds
from uqkd.cli import main
from uqkd.llm import Bank, World, read_prompts
from uqkd.llm.synthetic.testbed import Size, tokenizer


def uqkd(*words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A teacher that says anything, prompts and a bank of 4 responses for each of 2 students."""
    from transformers import LlamaForCausalLM

    root = tmp_path_factory.mktemp("students")
    world = World.make(groups=2, entities=2, key=("test", "cli"))
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
    cells = pd.read_csv(
        place / "table.cells.csv"
    )  # one row for each student and prompt, whose means are the quantities
    assert len(cells) == 2 * 8
    assert cells["intra_gini"].mean() == pytest.approx(found.loc["intra_gini", "estimate"])
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


def test_adapters_sit_in_the_last_blocks_alone(place, capsys):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / "last")
    assert uqkd("distill", *words, *TRAIN, "--lora-layers", 1) == 2
    assert "got --lora-layers 1 without --lora" in capsys.readouterr().err
    assert uqkd("distill", *words, *TRAIN, "--lora", 2, "--lora-layers", 3) == 2
    assert "layers=3 of Lora are more than the" in capsys.readouterr().err
    assert uqkd("distill", *words, *TRAIN, "--lora", 2, "--lora-layers", 1) == 0
    asked = json.loads((place / "last/student-0/adapter_config.json").read_text())["target_modules"]
    assert all(".layers." in name for name in asked)  # by their places; all layers are asked for by name


def test_too_few_responses_and_students_are_refused(place, capsys):
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / "none")
    assert uqkd("distill", *words, "--students", 2, "--k", 5) == 2
    assert "8 responses to each prompt, 4 for each of 2 students; draw 10" in capsys.readouterr().err
    assert uqkd("measure", "--students", place, "--prompts", place / "prompts.jsonl", "--out", place / "x.csv") == 2
    assert "measure needs two students at least" in capsys.readouterr().err
    assert not (place / "none").exists()


@pytest.fixture(scope="module")
def adapters(place):
    """Two students with adapters, and a bank that they have not seen."""
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", place / "adapters")
    assert uqkd("distill", *words, *TRAIN, "--lora", 2) == 0
    words = ("--teacher", place / "teacher", "--prompts", place / "prompts.jsonl", "--backend", "transformers")
    assert uqkd("sample", *words, "--max-tokens", 50, "--k", 3, "--seed-key", "held-out", "--bank", place / "held") == 0
    return place / "adapters"


def asked_of(place, students, name, *more):
    words = ("--students", students, "--prompts", place / "prompts.jsonl", "--draws", 3, "--out", place / name)
    return uqkd("measure", *words, *more)


def test_students_are_sampled_as_their_teacher_was_and_the_undistilled_one_stands_beside(place, adapters, capsys):
    """Before: temperature 1 and 256 tokens whatever the bank's were, and nothing to compare with."""
    capsys.readouterr()
    assert asked_of(place, adapters, "beside.csv", "--teacher-bank", place / "held") == 0
    out = capsys.readouterr().out
    assert "students are sampled as the teacher was: temperature=1.0, max_tokens=50" in out
    assert "undistilled: drawing 3 answers" in out
    assert "nan" not in out.lower()
    assert "is the bank that the students learnt" not in out
    held = Bank(place / "beside.draws" / "undistilled").identity
    assert (held["max_tokens"], held["temperature"]) == (50, 1.0)
    found = pd.read_csv(place / "beside.csv").set_index("quantity")
    loss = found.loc["held_out_loss"]
    rows = json.loads((place / "teacher" / "config.json").read_text())["vocab_size"]
    assert loss["undistilled"] == pytest.approx(math.log(rows), rel=1e-6)  # it says any token alike
    assert loss["estimate"] >= loss["undistilled"] - 1e-6  # no student loses less than the teacher itself
    assert loss["change"] == pytest.approx(loss["estimate"] - loss["undistilled"])
    assert loss["unit"] == "nats a token"
    assert found.loc["token_entropy", "undistilled"] == pytest.approx(math.log(rows), rel=1e-5)  # of tokens in float32
    assert {"empty", "perplexity", "predictive_entropy_normalised"} <= set(found.index)
    each = pd.read_csv(place / "beside.students.csv").query("quantity == 'held_out_loss'")
    assert each["student"].tolist() == ["student-0", "student-1", "undistilled"]
    assert each["estimate"][:2].mean() == pytest.approx(loss["estimate"], rel=1e-6)
    assert found["why"].notna()[found["standard_error"].isna()].all()
    assert "inter_gini" in found[found["over"] == "prompts"].index  # two students


def test_what_is_given_wins_and_a_bank_that_was_learnt_is_told(place, adapters, capsys):
    capsys.readouterr()
    words = ("--max-tokens", 5, "--temperature", 0.5, "--teacher-bank", place / "bank", "--no-base")
    assert asked_of(place, adapters, "given.csv", *words) == 0
    out = capsys.readouterr().out
    assert "; but temperature=0.5, max_tokens=5, as given" in out
    assert "is the bank that the students learnt" in out
    assert "undistilled" not in out
    assert Bank(place / "given.draws" / "student-1").identity["temperature"] == 0.5
    assert asked_of(place, adapters, "given.csv", "--no-base") == 2
    assert "temperature: 0.5 there, 1.0 now" in capsys.readouterr().err


def test_students_that_do_not_say_what_they_were(place, adapters, capsys, tmp_path):
    import shutil

    older = shutil.copytree(adapters, tmp_path / "older")
    for file in older.glob("student-*/distilled.json"):
        known = json.loads(file.read_text())
        file.write_text(json.dumps({name: value for name, value in known.items() if name not in ("sampling", "base")}))
    assert asked_of(place, older, "older.csv", "--max-tokens", 4) == 0
    out = capsys.readouterr().out
    assert "older students); plain sampling with max_tokens=4" in out
    assert "--base DIR measures it" in out
    assert asked_of(place, older, "older.csv", "--max-tokens", 4, "--base", place / "teacher") == 0
    assert "undistilled: drawing" in capsys.readouterr().out
    for file in older.glob("student-*/distilled.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "base": str(tmp_path / "gone")}))
    assert asked_of(place, older, "gone.csv", "--max-tokens", 4) == 2
    assert "the undistilled student is not where it was" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.engine
def test_vllm_answers_for_all_adapters_and_their_base_through_one_engine(
    place, adapters, capsys, monkeypatch, make_model, tmp_path
):
    """R9: `measure` opened one engine a student, and adapters could not be measured with vLLM at all."""
    pytest.importorskip("vllm")
    from uqkd.llm.teachers.backends.vllm import library

    base = make_model(tmp_path / "base", spread=0.2)  # heads of 32: vLLM's attention on a CPU has none of 8
    lines = [json.dumps({"prompt": f"w{i} w{i + 1}"}) for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    words = (
        "--teacher",
        base,
        "--prompts",
        tmp_path / "prompts.jsonl",
        "--backend",
        "transformers",
        "--max-tokens",
        60,
    )
    assert uqkd("sample", *words, "--k", 2, "--students", 3, "--bank", tmp_path / "bank") == 0
    words = ("--bank", tmp_path / "bank", "--student", base, "--out", tmp_path / "made", "--lora", 2)
    assert uqkd("distill", *words, "--students", 3, "--steps", 2, "--batch", 4) == 0
    starts, start = [], library.started
    monkeypatch.setattr(library, "started", lambda path, **options: starts.append(options) or start(path, **options))
    words = ("--students", tmp_path / "made", "--prompts", tmp_path / "prompts.jsonl", "--draws", 4)
    assert uqkd("measure", *words, "--out", tmp_path / "t.csv", "--backend", "vllm") == 0
    assert len(starts) == 1
    found = pd.read_csv(tmp_path / "t.csv").set_index("quantity")
    assert found.loc["intra_gini", "undistilled"] > 0
    assert sorted(path.name for path in (tmp_path / "t.draws").iterdir()) == [
        "student-0", "student-1", "student-2", "undistilled"
    ]  # fmt: skip


@pytest.mark.slow
def test_students_and_what_is_measured_of_them_on_an_object_store(place, s3, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("uqkd.store.mirrors._mirrors", {})
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path / "one"))
    made, table = f"{s3.root}/made", f"{s3.root}/table.csv"
    words = ("--bank", place / "bank", "--student", place / "teacher", "--out", made, *TRAIN)
    assert uqkd("distill", *words) == 0
    keys = {key.removeprefix(f"{made.removeprefix('s3://bucket/')}/") for key in s3.keys_below(made)}
    assert {"card.json", "student-0/uqkd.json", "student-0/README.md", "student-1/model.safetensors"} <= keys
    assert not [key for key in keys if key.startswith(".training")]
    monkeypatch.setattr("uqkd.store.mirrors._mirrors", {})  # another machine goes on
    monkeypatch.setenv("UQKD_CACHE", str(tmp_path / "another"))
    assert uqkd("distill", *words) == 0
    assert "all 2 students are there already" in capsys.readouterr().out
    asked = ("--students", made, "--prompts", place / "prompts.jsonl", "--draws", 3, "--out", table, "--max-tokens", 4)
    assert uqkd("measure", *asked) == 0
    assert f"{table}, {s3.root}/table.students.csv" in capsys.readouterr().out
    prefix = s3.root.removeprefix("s3://bucket/")
    assert b"inter_gini" in s3.keys()[f"{prefix}/table.csv"]
    assert b"between students" in s3.keys()[f"{prefix}/made/student-0/README.md"].lower()
    assert uqkd("verify", s3.root) == 0
    assert "2 trained models, 5 files, " in capsys.readouterr().out
    key = f"{prefix}/made/student-1/model.safetensors"
    whole = s3.keys()[key]
    s3.place(key, whole[:-1])
    assert uqkd("verify", s3.root, "--repair") == 1
    assert "run again: the same uqkd distill" in capsys.readouterr().out
    assert uqkd("distill", *words) == 0
    assert s3.keys()[key] == whole  # trained again, the same bits
