"""Prompts as chat models see them: BOS at every turn, templates that print the date, their arguments, turns, and lengths."""

from __future__ import annotations

import datetime

import pytest
from toys import dice

from uqkd.errors import DataError, OptionError, PreflightError, ProvenanceError
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.models.encoding import Encoder
from uqkd.llm.prompts import Prompts
from uqkd.llm.sampling import Sampling

EVERY_TURN = "{% for m in messages %}{{ bos_token }}{{ m['role'] }} {{ m['content'] }} {% endfor %}{{ bos_token }}w7"
DATED = "{{ bos_token }}{% if strftime_now is defined %}{{ strftime_now('w%-d') }} {% endif %}" + EVERY_TURN
THINKING = "{{ bos_token }}{{ messages[0]['content'] }}{% if enable_thinking is not defined or enable_thinking %} w9{% endif %}"
WORDS = Prompts(("a", "b"), ("w1 w2", "w3"))
FIRST, SECOND = datetime.date(2026, 3, 4), datetime.date(2026, 3, 5)


@pytest.fixture(scope="module")
def templated(make_model, tmp_path_factory):
    """An encoder of a tiny model with some chat template."""

    def make(template, **options):
        return Encoder.of(make_model(tmp_path_factory.mktemp("t") / "m", template=template), **options)

    return make


def test_bos_that_opens_every_turn_is_no_mistake(templated):
    encoder = templated(EVERY_TURN)
    ids = encoder.render(WORDS.with_system("w5"), max_tokens=4).ids[0]
    assert ids.count(1) == 3
    assert encoder.preflight(WORDS, max_tokens=4).ids[0] == 1


def test_the_real_chat_model_passes_its_preflight(smollm2):
    """R1: its BOS is <|im_start|>, which opens every turn; it was refused for "BOS 1 3 times"."""
    encoder = Encoder.of(smollm2)
    asked = Prompts(("a",), ("What is the capital of France?",))
    view = encoder.preflight(asked, max_tokens=32)
    assert view.ids.count(1) == 3
    assert view.mask[-1]
    assert (encoder.eos_id, encoder.context, encoder.vocabulary) == (2, 8192, 49152)
    with_system = encoder.render(asked.with_system("Answer in one word."), max_tokens=32)
    assert "Answer in one word." in encoder.tokenizer.decode(with_system.ids[0])
    assert "helpful AI assistant" not in encoder.tokenizer.decode(with_system.ids[0])  # the template's own system turn
    assert with_system.hashes != encoder.render(asked, max_tokens=32).hashes


def test_two_bos_in_a_row_at_the_beginning_are_one_too_many(templated):
    with pytest.raises(
        PreflightError, match=r"2 of 2 prompts cannot be used: prompt 'a' has BOS 1 2 times.*prompt 'b'"
    ):
        templated("{{ bos_token }}" + EVERY_TURN).preflight(WORDS, max_tokens=4)


def test_all_turns_go_through_the_template(templated):
    chat = (("system", "w5"), ("user", "w1"), ("assistant", "w2"), ("user", "w3"))
    encoder = templated(EVERY_TURN)
    ids = encoder.encode_prompts(Prompts(("a",), ("w3",), (), (chat,)))[0]
    assert [i for i in ids if i > 3] == [9, 5, 6, 7, 11]  # w5 w1 w2 w3, and the w7 that asks for the answer
    plain = templated(EVERY_TURN, chat=False)
    with pytest.raises(
        DataError, match=r"1 of 1 prompts are chats of several turns \('a' first\), and no chat template"
    ):
        plain.encode_prompts(Prompts(("a",), ("w3",), (), (chat,)))


def test_a_template_that_refuses_the_turns_says_so_in_one_line(templated):
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}w1"
    with pytest.raises(
        DataError, match=r"the chat template refuses a prompt of 2 turns \(system, user\): no system turn"
    ):
        templated(strict).encode_prompts(WORDS.with_system("w5"))


def test_arguments_reach_the_template_and_are_another_prompt(templated):
    default, off = templated(THINKING), templated(THINKING, template_args={"enable_thinking": False})
    assert default.encode("w1")[-1] == 13
    assert off.encode("w1")[-1] == 5
    one, other = (encoder.render(WORDS, max_tokens=4) for encoder in (default, off))
    assert not set(one.hashes) & set(other.hashes)
    assert other.identity == {"template_args": ["enable_thinking=False"]}
    assert one.identity == {}


@pytest.mark.parametrize(
    ("template", "given", "message"),
    [
        (THINKING, {"enable_thinkin": False}, "no argument 'enable_thinkin'; did you mean 'enable_thinking'"),
        (THINKING, {"zzz": 1}, "no argument 'zzz'; it would change nothing"),
        (None, {"enable_thinking": False}, "no chat template is used"),
    ],
)
def test_arguments_that_would_change_nothing_are_refused(templated, template, given, message):
    with pytest.raises(OptionError, match=message):
        templated(template, template_args=given)


def test_a_template_that_prints_the_date_is_told_one_day(templated):
    encoder = templated(DATED)
    first, again, second = (encoder.on_day(day).render(WORDS, max_tokens=4) for day in (FIRST, "2026-03-04", SECOND))
    assert first.ids == again.ids
    assert first.identity == {"template_day": "2026-03-04"}
    assert not set(first.hashes) & set(second.hashes)
    assert encoder.on_day(None) is encoder
    assert encoder.day == datetime.date.today()
    assert templated(EVERY_TURN).render(WORDS, max_tokens=4).identity == {}  # it does not ask for the date


def drawn(encoder, bank, *, k, day, prompts=WORDS):
    teacher = dice(encoder=encoder.on_day(day))
    return fill_bank(teacher, prompts, k, bank=bank, sampling=Sampling(max_tokens=4)), teacher


def test_a_bank_topped_up_on_another_day_asks_what_it_asked_on_its_first(templated, tmp_path):
    """R11: two different prompts stood under one id in one bank, and no column told."""
    encoder, requests = templated(DATED), []
    bank, teacher = drawn(encoder, Bank(tmp_path / "a"), k=1, day=FIRST)
    requests += teacher.requests
    bank, teacher = drawn(encoder, bank, k=3, day=SECOND)
    requests += teacher.requests
    assert len(requests) == 6
    assert len({request.prompt_token_ids for request in requests}) == 2
    assert bank.identity["template_day"] == "2026-03-04"
    whole, _ = drawn(encoder, Bank(tmp_path / "b"), k=3, day=FIRST)
    assert bank.fingerprint == whole.fingerprint
    table = bank.table()
    assert table.groupby("prompt_id")["prompt_hash"].nunique().tolist() == [1, 1]


def test_another_rendering_of_a_prompt_is_refused(templated, tmp_path):
    bank, _ = drawn(templated(THINKING), Bank(tmp_path), k=1, day=FIRST)
    with pytest.raises(ProvenanceError, match="template_args"):
        drawn(templated(THINKING, template_args={"enable_thinking": False}), bank, k=2, day=FIRST)
    with pytest.raises(ProvenanceError, match="'a'"):
        drawn(templated(THINKING.replace("w9", "w8")), bank, k=2, day=FIRST)
    with pytest.raises(ProvenanceError, match="'a'"):
        drawn(templated(THINKING), bank, k=2, day=FIRST, prompts=WORDS.with_system("w5"))
    assert bank.rows == 2


def test_a_system_text_beside_a_system_turn_is_refused():
    with pytest.raises(DataError, match=r"1 prompts have a system turn of their own \('a' first\)"):
        Prompts(("a",), ("w1",), (), ((("system", "w5"), ("user", "w1")),)).with_system("w6")


@pytest.mark.parametrize("how", ["added", "in the vocabulary"])
def test_a_tokenizer_with_an_unused_token_beyond_the_models_rows_is_a_note(make_model, tmp_path, how):
    """R12."""
    rows = 256 if how == "added" else 255
    encoder = Encoder.of(make_model(tmp_path / "m", vocab_size=rows))
    if how == "added":
        encoder.tokenizer.add_tokens(["<unused>"])
    view = encoder.preflight(WORDS, max_tokens=4)
    assert any("no row for 1 tokens" in note for note in view.notes)
    last = "<unused>" if how == "added" else "w251"
    with pytest.raises(PreflightError, match=f"has the token {rows}, but the model has only {rows}"):
        encoder.preflight(Prompts(("a",), (f"w1 {last}",)), max_tokens=4)


def test_every_prompt_that_is_too_long_is_listed(make_model, tmp_path):
    encoder = Encoder.of(make_model(tmp_path / "m", context=32))
    long = " ".join(["w2"] * 30)
    prompts = Prompts(tuple("abcd"), ("w1", long, "w2", f"{long} w3"))
    rendered = encoder.render(prompts, max_tokens=8)
    assert list(rendered.too_long) == [1, 3]
    with pytest.raises(
        PreflightError, match=r"2 of 4 prompts cannot be used: prompt 'b' has 30 tokens.*prompt 'd' has 31"
    ):
        encoder.preflight(prompts, max_tokens=8)


def test_prompts_that_are_too_long_are_skipped_listed_and_tried_again(make_model, tmp_path):
    """R13: one of 51 prompts was too long, and all work stopped with no way round."""
    encoder = Encoder.of(make_model(tmp_path / "m", context=32))
    texts = [f"w{i}" for i in range(50)]
    prompts = Prompts(tuple(f"q{i}" for i in range(51)), (*texts, " ".join(["w2"] * 30)))
    bank, sampling, lines = Bank(tmp_path / "bank"), Sampling(max_tokens=8), []
    with pytest.raises(
        PreflightError, match=r"1 of 51 prompts are too long: prompt 'q50' has 30 tokens.*--too-long skip"
    ):
        fill_bank(dice(encoder=encoder), prompts, 2, bank=bank, sampling=sampling)
    assert bank.rows == 0
    seen = []
    fill_bank(
        dice(encoder=encoder), prompts, 2, bank=bank, sampling=sampling, too_long="skip", show=lines.append,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(100, 100)]
    assert bank.rows == 100
    assert any(line.startswith("left out: 1 of 51 prompts are too long: prompt 'q50'") for line in lines)
    assert [(one.prompt_id, one.response_index) for one in bank.left_out()] == [("q50", -1)]
    shorter = Prompts(prompts.ids, (*texts, "w2"))
    teacher = dice(encoder=encoder)
    fill_bank(teacher, shorter, 2, bank=bank, sampling=sampling, too_long="skip")
    assert (bank.rows, len(teacher.requests), bank.left_out()) == (102, 2, ())
    with pytest.raises(OptionError, match="too_long got 'skipp'; did you mean 'skip'"):
        fill_bank(teacher, shorter, 2, bank=bank, sampling=sampling, too_long="skipp")


def test_what_is_shown_before_sampling_is_a_prompt_that_is_asked_as_text(make_model, tmp_path):
    encoder = Encoder.of(make_model(tmp_path / "m", context=32, template="w9 {{ messages[0]['content'] }} w8"))
    prompts = Prompts(("long", "a"), (" ".join(["w2"] * 40), "w1"))
    rendered = encoder.render(prompts, max_tokens=8)
    assert rendered.view == "prompt 'a' as the model sees it, 3 tokens: 'w9 w1 w8'"
