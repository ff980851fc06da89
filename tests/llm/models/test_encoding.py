"""Token ids of prompts and of what a student learns: chat templates, one BOS, and EOS where the model ended by itself."""

from __future__ import annotations

import pytest

from uqkd.errors import OptionError
from uqkd.llm.models.configuration import saved_dtype
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.responses import Prompts, Response

TEMPLATE = "{{ bos_token }}{% for m in messages %}w9 {{ m['content'] }} w8 {% endfor %}{% if add_generation_prompt %}w7{% endif %}"


@pytest.fixture(scope="module")
def plain(tiny):
    return Encoder.of(tiny)


@pytest.fixture(scope="module")
def templated(make_model, tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("chat") / "model", template=TEMPLATE, eos_token_id=[2, 77])


def test_plain_prompts(plain):
    assert (plain.chat, plain.vocabulary, plain.context, plain.stop_ids) == (False, 256, 64, (2,))
    assert plain.encode("w0 w5 nonsense") == (4, 9, 0)
    assert plain.decode([4, 9, 2]) == "w0 w5"


def test_chat_template_writes_the_only_bos(templated):
    chat = Encoder.of(templated)
    assert chat.chat
    assert chat.encode("w0") == (1, 13, 4, 12, 11)  # <s> w9 w0 w8 w7
    assert chat.stop_ids == (2, 77)  # the model's own list, and the tokenizer's
    assert Encoder.of(templated, chat=False).encode("w0") == (4,)


def test_chat_without_a_template_is_refused(tiny):
    with pytest.raises(OptionError, match="has no chat template"):
        Encoder.of(tiny, chat=True)


def test_only_a_response_that_the_model_ended_teaches_eos(plain):
    finished = plain.supervised((4, 5), Response((6, 7), "w2 w3", finished=True))
    assert finished == ((4, 5, 6, 7, 2), (False, False, True, True, True))
    cut = plain.supervised((4, 5), Response((6, 7), "w2 w3", finished=False))
    assert cut == ((4, 5, 6, 7), (False, False, True, True))


def test_pad_that_is_eos_hides_no_eos(make_model, tmp_path):
    """The published scripts mask by token id, and their students never learn to stop; here the mask goes by position."""
    encoder = Encoder.of(make_model(tmp_path / "m"))
    encoder.tokenizer.pad_token = encoder.tokenizer.eos_token
    view = encoder.preflight(Prompts(("a",), ("w1 w2",)), max_tokens=8, example=Response((9,), "w5"))
    assert view.ids == (5, 6, 9, 2)
    assert view.mask == (False, False, True, True)
    assert any("pad is EOS" in note for note in view.notes)
    by_token_id = tuple(m and i != encoder.tokenizer.pad_token_id for i, m in zip(view.ids, view.mask, strict=True))
    assert by_token_id != view.mask  # what masking by id would have lost


def test_preflight_shows_every_token(plain):
    lines = str(plain.preflight(Prompts(("a",), ("w1 w2",)), max_tokens=8, example=Response((9,), "w5"))).splitlines()
    assert lines[0] == "preflight: prompt 'a', 4 tokens, 2 supervised"
    assert [line.split() for line in lines[1:5]] == [
        ["5", "prompt", "'w1'"],
        ["6", "prompt", "'w2'"],
        ["9", "supervised", "'w5'"],
        ["2", "supervised", "'</s>'"],
    ]


def test_without_end_takes_any_token_that_ends(templated):
    encoder = Encoder.of(templated)
    assert [encoder.without_end(ids) for ids in ((5, 2), (5, 77), (5, 6), ())] == [(5,), (5,), (5, 6), ()]


def test_saved_dtype_is_what_the_model_says(tiny):
    assert saved_dtype(tiny) == "float32"
