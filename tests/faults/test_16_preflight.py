"""Fault 16: tokenizer, model and prompts that do not fit are refused before any work, with ids and mask shown."""

from __future__ import annotations

import json

import pytest

from uqkd.errors import PreflightError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts import Prompts
from uqkd.llm.sampling import Sampling

ONE = Prompts(("a",), ("w1 w2",))
TWICE = "{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"


def config(path, **changes):
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    (path / "generation_config.json").unlink(missing_ok=True)
    return path


def refused(path, prompts=ONE, *, max_tokens=16):
    with pytest.raises(PreflightError) as caught:
        Encoder.of(path).preflight(prompts, max_tokens=max_tokens)
    return str(caught.value)


def test_a_fitting_model_passes(make_model, tmp_path):
    assert Encoder.of(make_model(tmp_path / "m")).preflight(ONE, max_tokens=16).mask[-1]


@pytest.mark.parametrize("rows", [200, 2000])
def test_vocabularies_that_disagree(make_model, tmp_path, rows):
    message = refused(make_model(tmp_path / "m", vocab_size=rows))
    assert f"the tokenizer has 256 tokens, the model {rows} rows" in message


def test_no_eos(make_model, tmp_path):
    path = make_model(tmp_path / "m")
    file = path / "tokenizer_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "eos_token"}))
    assert "has no EOS token" in refused(path)


def test_eos_that_is_not_the_models(make_model, tmp_path):
    message = refused(config(make_model(tmp_path / "m"), eos_token_id=9))
    assert "EOS of the tokenizer is 2 ('</s>'), but the model ends with [9]" in message


@pytest.mark.parametrize("how", ["template", "text"])
def test_second_bos_shows_ids_and_mask(make_model, tmp_path, how):
    path = make_model(tmp_path / "m", template=TWICE if how == "template" else None)
    message = refused(path, ONE if how == "template" else Prompts(("a",), ("<s> <s> w1",)))
    assert "has BOS 1 2 times" in message
    assert [line.split()[:2] for line in message.splitlines()[2:5]] == [
        ["1", "prompt"],
        ["1", "prompt"],
        ["5", "prompt"],
    ]


def test_prompt_beyond_the_context(make_model, tmp_path):
    prompts = Prompts(("short", "long"), ("w1", " ".join(["w2"] * 50)))
    path = make_model(tmp_path / "m", context=64)
    Encoder.of(path).preflight(prompts, max_tokens=14)  # 50 + 14 just fits
    message = refused(path, prompts, max_tokens=15)
    assert "prompt 'long' has 50 tokens, and with max_tokens=15 goes beyond the context of 64" in message
    assert "tokens not shown" in message


def test_prompt_that_ends_with_eos(make_model, tmp_path):
    assert "ends with the token 2 that ends a response" in refused(
        make_model(tmp_path / "m"), Prompts(("a",), ("w1 </s>",))
    )


def test_respond_refuses_before_it_draws(transformers_teacher, tmp_path):
    bank = Bank(tmp_path / "bank")
    long = Prompts(("a",), (" ".join(["w2"] * 60),))
    with pytest.raises(PreflightError, match="beyond the context"):
        fill_bank(transformers_teacher, long, 2, bank=bank, sampling=Sampling())
    assert bank.rows == 0
