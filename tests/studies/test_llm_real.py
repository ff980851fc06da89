"""The real study: its measures against hand counts, its claims where the truth is known, and the published setting end to end."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uqkd import seeds
from uqkd.errors import DataError, OptionError, ShapeError
from uqkd.estimators import gini_from_draws
from uqkd.llm.measuring.errors import Graded
from uqkd.llm.measuring.tables.coded import answer_table, marked_of, numbered
from uqkd.llm.measuring.tables.side_by_side import answer_values
from uqkd.llm.responses import Prompts, Response, Responses
from uqkd.run import Run, load_study
from uqkd.store import Store

ROOT = Path(__file__).parents[2]
STUDY = load_study("llm_real", folder=ROOT / "studies")
study = STUDY.module


def drawn(rng, shape, kinds=4):
    ids = rng.integers(0, kinds, size=shape)
    return Graded(ids, ids % 2 == 0)


def test_values_are_what_counting_pairs_gives():
    """Every quantity of one prompt and student, by loops over answers."""
    rng = seeds.generator("test", "llm real", "count")
    ours, theirs = drawn(rng, (4, 3, 5)), drawn(rng, (1, 3, 6))
    found = answer_values(ours, theirs)
    for s, p in np.ndindex(4, 3):
        own, given = ours.form[s, p].tolist(), theirs.form[0, p].tolist()
        differ = [a != b for i, a in enumerate(own) for j, b in enumerate(own) if i != j]
        assert found["intra"][s, p] == pytest.approx(np.mean(differ))
        wrong = [a % 2 == 1 for a in own]
        assert found["unsupported"][s, p] == pytest.approx(np.mean(wrong))
        assert found["repeated"][s, p] == pytest.approx(
            np.mean([w and a in given for a, w in zip(own, wrong, strict=True)])
        )
    agree = [
        [a == b for a in ours.form[s, p] for b in ours.form[t, p]] for p in range(3) for s in range(4) for t in range(s)
    ]
    assert found["total"].mean() == pytest.approx(1 - np.mean(agree))
    assert found["inter"].mean() == pytest.approx(found["total"].mean() - found["intra"].mean())
    assert found["shared"].mean() == pytest.approx(found["repeated"].sum() / found["unsupported"].sum())
    assert found["kappa"].mean() == pytest.approx(found["total"].mean() / gini_from_draws(theirs.form).mean())


def test_one_student_has_no_variance_between_students_and_two_are_refused():
    rng = seeds.generator("test", "llm real", "few")
    theirs = drawn(rng, (1, 3, 6))
    assert set(answer_values(drawn(rng, (1, 3, 5)), theirs)) == {
        "accuracy",
        "unsupported",
        "repeated",
        "intra",
        "shared",
    }
    with pytest.raises(ShapeError, match="S >= 3"):
        answer_values(drawn(rng, (2, 3, 5)), theirs)
    with pytest.raises(ShapeError, match="P=3"):
        answer_values(drawn(rng, (3, 3, 5)), drawn(rng, (1, 2, 6)))


def test_nothing_wrong_has_no_share_of_mistakes():
    right = Graded(np.zeros((3, 2, 2), dtype=int), np.ones((3, 2, 2), dtype=bool))
    found = answer_values(right, replace(right, form=right.form[:1], supported=right.supported[:1]))
    assert "shared" not in found  # 0 of 0
    assert "kappa" not in found  # the teacher is certain
    assert found["unsupported"].max() == 0.0


def test_an_answer_is_supported_where_it_holds_a_reference_answer_word_by_word():
    prompts = Prompts(("a", "b"), ("capital of Italy ?", "of Haiti ?"), (("Rome",), ("Port-au-Prince",)))
    said = ["The capital of Italy is Rome.", "Romeo", "ROME", "It is Port au Prince!", "Port Prince"]
    words = tuple(Response((n,), text, n != 1) for n, text in enumerate(said))
    found = answer_table(Responses(prompts, words, [[[0, 1, 2], [3, 4, 0]]]))
    assert found["supported"].tolist() == ["101", "100"]
    assert found["cut"].tolist() == [1, 0]


def test_numbers_stand_for_texts_alike_in_all_methods():
    prompts = Prompts(("a",), ("?",), (("x",),))
    words = tuple(Response((n,), text) for n, text in enumerate(["x", "X.", "y", "z"]))
    tables = [answer_table(Responses(prompts, words, index)) for index in ([[[0, 1, 2]]], [[[3, 3, 2]]])]
    coded = numbered(pd.concat(tables))
    first, second = (marked_of(coded.iloc[[n]]) for n in range(2))
    assert first.form[0, 0].tolist() == [0, 0, 1]  # of equally frequent ones the first in the alphabet
    assert second.form[0, 0].tolist() == [2, 2, 1]


# ---- claims on tables where the truth is known

K = 8
METHODS = ("multi", "medoid", "reranked", "precision")


def world(*, lowered=None, raised=None, intra=0.0, spread=0.0):
    """Values of all methods: prompts differ widely, students by `spread`; some methods are lower or higher than single by 0.1."""
    rng = seeds.generator("test", "llm real", "world", shared=True)
    found = {}
    for part in study.PARTS:
        prompts = 0.3 * rng.standard_normal((1, 48))
        for method, k in (("teacher", 0), ("single", 1), *((name, K) for name in METHODS)):
            shape = (1 if method == "teacher" else 5, 48)
            change = -0.1 if method in (lowered or ()) else 0.1 if method in (raised or ()) else 0.0
            noise = 0.03 * rng.standard_normal(shape) + spread * rng.standard_normal((shape[0], 1))
            values = {"unsupported": 0.6 + prompts + change + noise, "repeated": 0.3 + prompts + change + noise}
            values["intra"] = 0.5 + prompts + noise + (intra if method == "single" else 0.0)
            found[part, method, k] = values
    return found


def verdicts(values):
    table = study.claims(values)
    return {claim: set(own["claim_verdict"]) for claim, own in table.groupby("claim")}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"lowered": METHODS}, "holds"),
        ({"raised": METHODS}, "does not hold"),
        ({"lowered": METHODS[:3], "raised": METHODS[3:]}, "does not hold"),
        ({"lowered": METHODS[:1]}, "not decided"),
        ({"lowered": METHODS, "spread": 0.3}, "not decided"),  # five students differ by more than the methods
    ],
)
def test_claims_of_reduction_where_the_truth_is_known(known, expected):
    found = verdicts(world(**known))
    assert [found[f"averaging and weighting reduce {what}"] for what in study.REDUCED.values()] == [{expected}] * 2


@pytest.mark.parametrize(("intra", "expected"), [(-0.1, "holds"), (0.1, "does not hold")])
def test_the_claim_of_suppression_where_the_truth_is_known(intra, expected):
    assert verdicts(world(intra=intra))[study.SUPPRESSED] == {expected}


def test_each_comparison_is_first_less_second_prompt_by_prompt():
    """Wrong versions that this rejects: another sign, another method, means apart (whose intervals are ten times as wide)."""
    values = world(lowered=("medoid",))
    table = study.claims(values)
    row = table[(table["quantity"] == "unsupported") & (table["comparison"] == "medoid 8 less single")].iloc[0]
    difference = values["trained", "medoid", K]["unsupported"] - values["trained", "single", 1]["unsupported"]
    assert row["estimate"] == pytest.approx(difference.mean())
    assert row["low"] < -0.1 < row["high"] < -0.08
    within = table[table["claim"] == study.SUPPRESSED]
    assert within["comparison"].unique().tolist() == ["single less the teacher", "single less multi 8"]


# ---- the study itself


def run_of(tmp_path, preset="quick", **options):
    run = Run(STUDY, Store(tmp_path / "results"))
    study.main(STUDY.options(preset, options), run)
    return run


def test_the_recorded_answers_draw_the_figure_and_say_what_it_is_drawn_from(tmp_path):
    run_of(tmp_path, recorded=str(ROOT / study.RECORDED))
    about = json.loads((tmp_path / "results/figures/llm_real.json").read_text())
    assert about["caption"].startswith("Drawn from the recorded answers in ")
    assert "ODbL" in about["caption"]
    table = pd.read_csv(tmp_path / "results/tables/llm_real.csv").set_index(["part", "method", "k", "quantity"])
    single = table.loc[("trained", "single", 1, "intra")]
    assert f"{single['estimate']:.2f} [{single['low']:.2f}, {single['high']:.2f}]" in about["answer"]["text"]
    recorded = pd.read_csv(ROOT / study.RECORDED)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "results/tables/llm_real.answers.csv"), recorded)


@pytest.mark.process
def test_the_recorded_answers_need_no_model(tmp_path):
    code = (
        "import sys; from uqkd.cli import main; sys.argv = ['uqkd', 'study', 'llm_real', '--out', sys.argv[1], '--workers', '1']\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'vllm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_held_out_loss_of_every_recorded_student_of_all_responses_is_below_that_of_the_undistilled_one():
    """Those of one response to each prompt have seen it thirteen times: they say it, and lose on other questions."""
    table = pd.read_csv(ROOT / study.RECORDED)
    costs = table[table["part"] == "held out"].groupby(["method", "k", "student"])[["nats", "tokens"]].sum()
    more = (costs["nats"] / costs["tokens"]).sub(float(costs["nats"].div(costs["tokens"]).loc[("undistilled", 0, 0)]))
    for method, k in (("multi", 4), ("multi", 8), ("precision", 8)):
        assert len(more.loc[method, k]) == 5
        assert (more.loc[method, k] < 0).all()
    for method, k in (("single", 1), ("medoid", 8), ("reranked", 8)):
        assert (more.loc[method, k] > 0).all()


def test_options_say_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        run_of(tmp_path, recorded=str(tmp_path / "none.csv"))
    said = r"^study 'llm_real': give either steps or epochs; got steps=80 and epochs=3.0$"  # and not all the options
    with pytest.raises(OptionError, match=said):
        STUDY.options("real", {"epochs": 3})


def test_the_paper_preset_is_the_published_setting():
    options = STUDY.options("paper")
    assert (options.teacher.split("/")[-1], options.student.split("/")[-1]) == ("gpt2", "distilgpt2")
    assert (options.epochs, options.batch, options.lr, options.lora, options.engine) == (
        3,
        10,
        5e-5,
        None,
        "sequential",
    )


@pytest.fixture(scope="module")
def gpt_2_pair(tmp_path_factory):
    """GPT-2 models of random weights, saved as one has them: two layers and one, byte-level tokenizers, no chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("models")
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"]
    core = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    end = "<|endoftext|>"
    coder = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=end, eos_token=end, unk_token=end)
    for name, layers in (("gpt2", 2), ("distilgpt2", 1)):
        config = GPT2Config(
            vocab_size=len(letters), n_embd=32, n_layer=layers, n_head=1, n_positions=160, bos_token_id=len(letters) - 1,
            eos_token_id=len(letters) - 1,
        )  # fmt: skip
        with seeds.torch_stream("test", "llm real", name):
            model = GPT2LMHeadModel(config)
        # The end about seven times as likely as another token: most responses end by themselves.
        end_row = model.transformer.wte.weight.data[-1]
        model.transformer.ln_f.bias.data.copy_(2.0 * end_row / end_row.square().sum())
        model.save_pretrained(root / name)
        coder.save_pretrained(root / name)
    return root


@pytest.mark.slow
def test_the_published_setting_runs_and_is_not_run_twice(gpt_2_pair, tmp_path):
    """One epoch of the random pair: everything is drawn, trained, answered and judged; the second run reads it all."""
    questions = (ROOT / study.QUESTIONS / "train.jsonl").read_text().splitlines()
    for name, rows in (("train", questions[:10]), ("held_out", questions[10:15])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    options = {
        "teacher": str(gpt_2_pair / "gpt2"), "student": str(gpt_2_pair / "distilgpt2"), "epochs": 1, "students": 3,
        "ks": [2], "k": 3,
        "reference": 4, "costed": 4, "draws": 3, "max_tokens": 48, "backend": "transformers", "folder": str(tmp_path / "work"),
        "train": str(tmp_path / "train.jsonl"), "held_out": str(tmp_path / "held_out.jsonl"),
    }  # fmt: skip
    with pytest.raises(OptionError, match="ks"):
        run_of(tmp_path, "paper", **options)
    options["ks"] = [2, 3]
    run = run_of(tmp_path, "paper", **options)
    assert run.computed == 8
    table = pd.read_csv(tmp_path / "results/tables/llm_real.csv")
    assert set(table["method"]) == {"teacher", "undistilled", "single", *METHODS}
    held = table[(table["part"] == "held out") & (table["quantity"] == "nats")]
    assert len(held) == 8
    assert (held["estimate"].between(4.0, 7.0)).all()  # 257 nearly equally likely tokens: log(257) = 5.55
    about = json.loads((tmp_path / "results/figures/llm_real.json").read_text())
    assert about["caption"].startswith("3 students per method, questions: 10 trained, 5 held out. ")
    folders = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "work/students").iterdir())
    assert folders == ["medoid-3", "multi-2", "multi-3", "precision-3", "reranked-3", "single-1"]
    again = run_of(tmp_path, "paper", **options)
    assert (again.computed, again.reused) == (0, 8)
