"""Students that answer: the draws of the sampler of the house, with a cache, whatever mode and adapters a model is in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES, save_family
from scipy import stats

from uqkd import seeds
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts import Prompts
from uqkd.llm.sampling import Sampling
from uqkd.llm.students.answering import draw_answers
from uqkd.llm.teachers import Request, complete, open_teacher
from uqkd.llm.teachers.decoding.next_token import choose

PROMPTS = Prompts(("a", "b", "c"), ("w1 w2 w3 w4 w5 w6 w7", "w9", "w30 w31"))


def loaded(path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)


def passed(model):
    """How many tokens pass through the model from now on, (rows, tokens of a row) of every pass."""
    found = []
    inner = getattr(model, "get_base_model", lambda: model)()
    inner.register_forward_pre_hook(
        lambda _module, _args, given: found.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    return found


def test_each_token_is_computed_once_and_equal_prompts_together(tiny):
    """R9: without a cache every step went over all tokens before it."""
    model, encoder = loaded(tiny), Encoder.of(tiny)
    draw_answers(model, encoder, PROMPTS, 1, sampling=Sampling(max_tokens=2), key=("tests", "warm"))  # is measured once
    seen = passed(model)
    drawn = draw_answers(model, encoder, PROMPTS, 20, sampling=Sampling(max_tokens=30), key=("tests", "cache"))
    longest = max(len(ids) for ids in encoder.encode_prompts(PROMPTS))
    assert max(len(one.token_ids) for one in drawn) > 20
    assert seen[0] == (3, longest - 1)  # the prompts, without their last tokens
    assert set(seen[1:]) == {(60, 1)}
    assert len(seen) <= 1 + 30


@pytest.mark.parametrize("kind", ["whole", "adapters"])
def test_a_student_in_memory_draws_what_it_draws_from_its_folder(kind, tiny, tmp_path):
    from peft import LoraConfig, get_peft_model

    model, encoder, path = loaded(tiny), Encoder.of(tiny), tiny
    if kind == "adapters":
        with seeds.torch_stream("tests", "answering", shared=True):
            model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
        path = tmp_path / "adapter"
        model.save_pretrained(path)
    model.train()
    before = model.generation_config
    drawn = draw_answers(model, encoder, PROMPTS, 8, sampling=Sampling(max_tokens=6), key=("tests", kind))
    assert model.training
    assert model.generation_config is before
    teacher = open_teacher(path, backend="transformers", dtype="float32", device="cpu")
    asked = [
        Request(ids, seeds.seed63("tests", kind, name, r, shared=True))
        for name, ids in zip(PROMPTS.ids, encoder.encode_prompts(PROMPTS), strict=True)
        for r in range(8)
    ]
    other = complete(teacher, asked, Sampling(max_tokens=6))
    whole = [(*one.token_ids, *((2,) if one.finished else ())) for one in drawn]
    # Adapters are merged there, which rounds otherwise: a token flips where two lie within 1e-6, once in 1e5 tokens of these 144.
    assert sum(a == tuple(b.token_ids) for a, b in zip(whole, other, strict=True)) >= 23
    assert {one.finished for one in drawn} <= {True, False}
    assert all(2 not in one.token_ids for one in drawn)


def test_dropout_does_not_act_while_a_student_answers(make_model, tmp_path):
    path = make_model(tmp_path / "m", spread=0.2, attention_dropout=0.5)
    model, encoder = loaded(path), Encoder.of(path)
    found = []
    for training in (True, False):
        model.train(training)
        with seeds.torch_stream("tests", "dropout", training, shared=True):
            found.append(draw_answers(model, encoder, PROMPTS, 4, sampling=Sampling(max_tokens=6), key=("t", "drop")))
    assert found[0] == found[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_that_are_computed_once_draw_the_same(family, make_model, tmp_path):
    """Every family whose cache can be taken apart; the prompt is longer than a sliding window."""
    path = save_family(family, tmp_path / "m", make_model)
    teacher = open_teacher(path, backend="transformers", dtype="float32", device="cpu")
    asked = [
        Request((7, 8, 30, 31, 5, 100, 44, 12, 9, 9, 31, 77), seeds.seed63("t", family, i, shared=True))
        for i in range(40)
    ]
    once = complete(teacher, asked, Sampling(max_tokens=8))
    assert teacher._exact.shares == (
        "Mamba" not in family
    )  # `generate` does not go on from a state that is handed to it
    teacher._exact = type(teacher._exact)(pads=True, shares=False)
    each = complete(teacher, asked, Sampling(max_tokens=8))
    # A token flips where two lie within 1e-6 of one another: once in 1e5 tokens of these 320.
    assert sum(a.token_ids == b.token_ids for a, b in zip(once, each, strict=True)) >= 39


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=0.7), Sampling(top_p=0.9), Sampling(top_k=50), Sampling(min_p=0.002)]
)
def test_choosing_among_many_tokens_follows_their_probabilities(sampling):
    """49,152 tokens in 192 blocks; the most probable lie anywhere. Ten cells of equal probability, 20,000 draws."""
    rng = seeds.generator("tests", "choose many", sampling.top_p, sampling.top_k, sampling.temperature, sampling.min_p)
    logits = (rng.standard_normal(49_152) * 2.5).astype(np.float32)
    weights = np.exp((logits.astype(np.float64) - logits.max()) / sampling.temperature)
    order = np.argsort(-weights, kind="stable")
    if sampling.top_k:
        weights[order[sampling.top_k :]] = 0.0
    if sampling.min_p:
        weights[weights < sampling.min_p * weights.max()] = 0.0
    if sampling.top_p < 1:
        ranked = weights[order] / weights.sum()
        weights[order[np.cumsum(ranked) - ranked >= sampling.top_p]] = 0.0
    exact = weights / weights.sum()
    places = np.concatenate([choose(np.tile(logits, (200, 1)), rng.random(200), sampling)[0] for _ in range(100)])
    assert (exact[places] > 0).all()
    cells = np.minimum((np.cumsum(exact) - exact) * 10, 9).astype(int)
    expected = np.bincount(cells, weights=exact, minlength=10) * len(places)
    there = expected > 0  # one token may fill several cells
    assert there.sum() > 4
    assert stats.chisquare(np.bincount(cells[places], minlength=10)[there], expected[there]).pvalue > 1e-6
    tokens, logs = choose(np.tile(logits, (50, 1)), rng.random(50), sampling)
    # float32 logits of up to 30 below the largest: a rounding of 1e-6 of them.
    assert logs == pytest.approx(np.log(exact[tokens]), abs=2e-5)
