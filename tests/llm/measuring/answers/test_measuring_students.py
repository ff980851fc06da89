"""Students measured from their folders: how they are sampled, what they were before, and their losses on a teacher's answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from uqkd.errors import DataError, OptionError, ProvenanceError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.measuring import HeldOut
from uqkd.llm.measuring.answers.drawing import draw_students
from uqkd.llm.measuring.answers.kept import answers_of, finished
from uqkd.llm.measuring.answers.recorded import recorded
from uqkd.llm.measuring.held_out import held_out_loss, loss_of_folder
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts import Prompts
from uqkd.llm.responses import Response, Responses
from uqkd.llm.sampling import Sampling
from uqkd.llm.teachers import open_teacher

PROMPTS = Prompts(("a", "b"), ("w1 w2", "w5"))
SAID = (Response((7, 8), "w3 w4"), Response((9,), "w5", finished=False), Response((10, 11, 12), "w6 w7 w8"))


def model_of(path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


@torch.inference_mode()
def by_hand(model, prompt, response):
    """−log p of a response, its end included where it has one, from one plain pass."""
    said = [*response.token_ids, *([2] if response.finished else [])]
    logs = torch.log_softmax(model(torch.tensor([[*prompt, *said]])).logits[0].double(), -1)
    return -sum(float(logs[len(prompt) - 1 + t, token]) for t, token in enumerate(said)), len(said)


def test_losses_are_those_of_one_plain_pass_each_response_as_often_as_it_was_drawn(tiny):
    model, encoder = model_of(tiny).train(), Encoder.of(tiny)
    drawn = Responses(PROMPTS, SAID, [[[0, 0, 1], [2, 1, 0]]])
    found = held_out_loss(model, encoder, drawn)
    assert model.training
    model.eval()
    ids = encoder.encode_prompts(PROMPTS)
    for p in range(2):
        each = [by_hand(model, ids[p], SAID[i]) for i in drawn.index[0, p]]
        assert found.tokens[0, p] == sum(tokens for _, tokens in each)
        # float32: some 64 roundings of 6e-8 of logits up to 10 in each of at most 8 tokens.
        assert found.students[0, p] == pytest.approx(sum(nats for nats, _ in each), abs=3e-4)
    assert loss_of_folder(tiny, drawn).students == pytest.approx(found.students, abs=1e-4)
    assert "3 responses of the teacher" in found.note


def test_a_student_that_knows_nothing_loses_the_logarithm_of_its_vocabulary_a_token(tiny):
    model = model_of(tiny)
    torch.nn.init.zeros_(model.lm_head.weight)
    one = held_out_loss(model, Encoder.of(tiny), Responses(PROMPTS, SAID, [[[0, 2], [1, 1]]]))
    assert one.students / one.tokens == pytest.approx(np.full((1, 2), math.log(256)), rel=1e-6)
    both = HeldOut.concatenate([one, one], one)
    assert (both.students.shape, both.undistilled.shape) == ((2, 2), (2,))


def test_a_student_of_another_tokenizer_loses_on_its_own_tokens(tiny, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "</s>", *(f"w{i}" for i in range(20))]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    coder = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=22, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, eos_token_id=1
    )
    model = LlamaForCausalLM(config)
    torch.nn.init.zeros_(model.lm_head.weight)
    found = held_out_loss(
        model, Encoder(coder, False, vocabulary=22, model_eos=(1,)), Responses(PROMPTS, SAID, [[[0], [2]]])
    )
    assert found.tokens.tolist() == [[3, 4]]  # with the ends
    assert found.students / found.tokens == pytest.approx(np.full((1, 2), math.log(22)), rel=1e-6)
    assert "another tokenizer" in found.note


def folders(root, *about):
    for s, own in enumerate(about):
        (root / f"student-{s}").mkdir(parents=True)
        (root / f"student-{s}" / "distilled.json").write_text(json.dumps(own))
    return root


def test_what_students_were_made_of_is_read_and_must_be_the_same(tmp_path):
    known = {"sampling": {"temperature": 0.7, "max_tokens": 32}, "base": "models/small", "bank": "f", "fresh": False}
    found = recorded(folders(tmp_path / "a", *[known] * 11))
    assert [folder.name for folder in found.folders][9:] == ["student-9", "student-10"]  # by number
    assert (found.base, found.bank, found.fresh) == ("models/small", "f", False)
    assert found.sampled(top_p=0.9)[0] == Sampling(temperature=0.7, top_p=0.9, max_tokens=32)
    assert found.sampled()[1] == "students are sampled as the teacher was: temperature=0.7, max_tokens=32"
    with pytest.raises(OptionError, match="did you mean 'top_p'"):
        found.sampled(topp=0.9)
    with pytest.raises(DataError, match="must be of one base; 'student-0' has 'models/small', 'student-1' 'other'"):
        recorded(folders(tmp_path / "b", known, {**known, "base": "other"}))
    assert recorded(folders(tmp_path / "c", *[{**known, "fresh": True}] * 2)).base is None
    older = recorded(folders(tmp_path / "d", {}, {}))
    assert older.sampled(temperature=0.5)[0] == Sampling(temperature=0.5, max_tokens=256)
    assert "older students" in older.sampled()[1]
    with pytest.raises(OptionError, match="measure needs two students at least"):
        recorded(folders(tmp_path / "e", known))


def test_answers_of_several_students_are_held_once_and_as_they_are(tiny, tmp_path):
    teacher = open_teacher(tiny, backend="transformers", dtype="float32", device="cpu")
    banks = [Bank(tmp_path / str(s)) for s in range(3)]
    for s, bank in enumerate(banks):
        key = ("tests", "answers", s % 2)  # the third says what the first says
        fill_bank(teacher, PROMPTS, 5, bank=bank, sampling=Sampling(max_tokens=4), key=key)
    found = answers_of(banks, PROMPTS, 4)
    assert found.shape == (3, 2, 4)
    assert np.array_equal(found.index[0], found.index[2])
    for s, bank in enumerate(banks):
        own = bank.responses(PROMPTS, students=1, k=4, per_student=4)
        for p in range(2):
            assert found.texts(s, p) == own.texts(0, p)
    assert np.array_equal(finished(found), np.array([one.finished for one in found.distinct])[found.index])
    with pytest.raises(DataError, match=r"lacks 2 of 12 responses"):
        answers_of(banks, PROMPTS, 6)


def test_answers_of_another_model_or_sampling_are_not_taken_for_these(tiny, make_model, tmp_path):
    """They were taken as they are as soon as none was missing: students trained anew showed the old ones' answers."""
    other = make_model(tmp_path / "other", spread=0.1)
    models, how = [("student-0", tiny), ("student-1", other)], {"backend": "transformers", "device": "cpu"}
    root, sampling, said = str(tmp_path / "draws"), Sampling(max_tokens=3), []
    first = draw_students(models, PROMPTS, 2, root=root, sampling=sampling, say=said.append, **how)
    assert [line.partition(":")[0] for line in said] == ["student-0", "student-1"]
    again = draw_students(models, PROMPTS, 2, root=root, sampling=sampling, say=said.append, **how)
    assert len(said) == 2  # nobody was asked again
    assert np.array_equal(first.index, again.index)
    with pytest.raises(ProvenanceError, match=r"'student-0'.*temperature: 1.0 there, 0.5 now"):
        draw_students(models, PROMPTS, 2, root=root, sampling=Sampling(temperature=0.5, max_tokens=3), **how)
    with pytest.raises(ProvenanceError, match=r"'student-1'.*revision"):
        draw_students([("student-1", tiny)], PROMPTS, 2, root=root, sampling=sampling, **how)
    counts = []
    draw_students(
        models, PROMPTS, 3, root=root, sampling=sampling, progress=lambda done, total: counts.append((done, total)), **how
    )  # fmt: skip
    assert counts[-1] == (12, 12)
    assert counts[0] == (10, 12)  # eight were there
