"""Row R4: a student whose tokenizer is not the teacher's learns the teacher's words, and what is lost is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from other_tokenizers import END, byte_bpe, save_gpt2, unigram, wordpiece

from uqkd.cli import main
from uqkd.errors import PreflightError
from uqkd.llm import Encoder, Prompts, Recipe, Response, Responses, Sampling, SeedDesign, distill, weigh
from uqkd.llm.bank import Bank
from uqkd.llm.bank.filling import fill_bank
from uqkd.llm.bank.importing.importing import import_responses
from uqkd.llm.students.rows import tokenising
from uqkd.llm.students.rows.tokenising import student_tokens
from uqkd.llm.students.rows.training_rows import training_rows
from uqkd.llm.teachers import open_teacher

DOCS = Path(__file__).parents[4] / "docs"
TEXTS = (
    "Paris.", "The capital is Tokyo", "It's Canberra, I think.", "red and blue and yellow", "tails", "Heads!", "eight legs", "Au",
    "the moon pulls the sea", "Brasília", "Nairobi, of course ...", "", "short", "Mercury is nearest to the sun", " no idea",
    "two\n\nlines", "don't know", "日本の首都", "😀 ok",
)  # fmt: skip
OTHERS = (
    "an entirely different text",
    "about other things",
    "so that it merges others",
    "a tokenizer of its own words",
)


def coder(tokenizer, **more):
    return Encoder(tokenizer, False, vocabulary=len(tokenizer), **more)


@pytest.fixture(scope="module")
def teacher():
    return coder(byte_bpe(TEXTS, 400))


@pytest.fixture(scope="module")
def drawn(teacher):
    """What a bank would hold: ids without the end, and what the teacher's tokenizer decodes."""
    ids = teacher.plain(TEXTS)
    return tuple(Response(own, teacher.decode(own)) for own in ids)


@pytest.fixture(scope="module")
def students(teacher):
    """Student tokenizers: of the teacher's size, smaller and larger, and of other kinds."""
    made = {
        "same size": byte_bpe(OTHERS, 300),
        "smaller": byte_bpe(OTHERS, 280),
        "larger": byte_bpe(OTHERS + TEXTS, 600),
        "unigram": unigram(TEXTS, 120),
        "wordpiece": wordpiece(TEXTS, 160),
    }
    made["same size"].add_tokens([f"<added {n}>" for n in range(len(teacher.tokenizer) - len(made["same size"]))])
    assert len(made["same size"]) == len(teacher.tokenizer)
    return {name: coder(tokenizer) for name, tokenizer in made.items()}


@pytest.mark.parametrize("kind", ["same size", "smaller", "larger"])
def test_text_is_encoded_anew_where_the_ids_are_anothers(drawn, students, kind):
    encoder = students[kind]
    assert all(
        encoder.decode(one.token_ids) != one.text for one in drawn if len(one.text) > 5
    )  # what was learnt before
    found = student_tokens(drawn, encoder)
    assert (found.reencoded, found.encoded, found.drifted, found.examples) == (True, len(drawn), 0.0, ())
    assert [encoder.decode(ids) for ids in found.ids] == [one.text for one in drawn]
    assert max(max(ids, default=0) for ids in found.ids) < encoder.vocabulary
    assert found.notes == (str(found),)
    assert (
        "another tokenizer than the teacher: 19 of 19 distinct responses are encoded from their text, and all"
        in str(found)
    )


def test_rows_hold_the_students_own_tokens(drawn, students):
    """Prompt, response and end, through the rows that every trainer learns from."""
    encoder = students["same size"]
    prompts = Prompts(("a",), ("say something :",))
    answers = Responses(prompts, drawn, np.arange(len(drawn)).reshape(1, 1, -1))
    rows = training_rows(
        weigh(answers, "multi"),
        encoder,
        recipe=Recipe(steps=1),
        seed_design=SeedDesign.independent(1),
        key=("t", "rows"),
    )
    table = rows.table()
    said = [encoder.decode(ids[learnt == 1].tolist()) for ids, learnt in zip(table[:, 0], table[:, 1], strict=True)]
    assert sorted(said) == sorted(one.text for one in drawn)
    ends = [int(ids[learnt == 1][-1]) for ids, learnt in zip(table[:, 0], table[:, 1], strict=True)]
    assert set(ends) == {encoder.eos_id}
    assert all(encoder.decode(ids[learnt == 0].tolist()).startswith("say something :") for ids, learnt in table[:, :2])
    assert rows.notes


def test_a_tokenizer_that_loses_something_says_how_much(drawn, students):
    texts = [one.text for one in drawn]
    for kind, lost in (("unigram", {" no idea"}), ("wordpiece", {"The capital is Tokyo", "Brasília"})):
        encoder = students[kind]
        found = student_tokens(drawn, encoder)
        drifts = [text for ids, text in zip(found.ids, texts, strict=True) if encoder.decode(ids) != text]
        assert lost <= set(drifts)
        assert 0 < len(drifts) < len(texts)
        assert found.drifted == len(drifts) / len(texts)
        assert found.examples == tuple((text, encoder.texts(encoder.plain([text]))[0]) for text in drifts[:3])
        line = str(found)
        assert "\n" not in line
        assert f"{len(drifts)} of them ({100 * found.drifted:.3g} %) do not decode to it again" in line
        assert f"{found.examples[0][0]!r} becomes {found.examples[0][1]!r}" in line


def test_no_bos_and_no_end_is_learnt_that_the_tokenizer_puts_around_plain_text(students):
    encoder = students["wordpiece"]
    around = encoder.tokenizer("tails")["input_ids"]
    assert (around[0], around[-1]) == (2, 3)
    (ids,) = student_tokens((Response(None, "tails"),), encoder).ids
    assert list(ids) == around[1:-1]


def test_equal_ids_are_one_response(students):
    """Two ways in which the teacher wrote one word, and two texts that a tokenizer without capitals cannot tell apart."""
    same = (
        Response((5, 6), "red"),
        Response((9,), "red"),
        Response((9,), "red", finished=False),
        Response((3,), "Red"),
    )
    assert student_tokens(same, students["wordpiece"]).same.tolist() == [0, 0, 2, 0]
    assert student_tokens(same, students["larger"]).same.tolist() == [0, 0, 2, 3]


def test_drawn_ids_of_ones_own_tokenizer_are_learnt_as_they_are(teacher):
    """Also where the tokenizer would write the text in another way, or a character was cut in two."""
    letters = tuple(number for letter in "Paris" for number in teacher.plain([letter])[0])
    whole = teacher.plain(["Paris"])[0]
    half = teacher.plain(["日"])[0][:1]
    assert letters != whole
    assert teacher.decode(half) == "\ufffd"
    distinct = tuple(Response(ids, teacher.decode(ids)) for ids in (letters, whole, half, (), (0, *whole)))
    found = student_tokens(distinct, teacher)
    assert (found.reencoded, found.encoded, found.notes) == (False, 0, ())
    assert list(found.ids) == [letters, whole, half, (), (0, *whole)]
    assert found.same.tolist() == [0, 1, 2, 3, 4]
    assert found.longest == len(letters) == 5
    assert found.response(0) == distinct[0]


def test_text_alone_is_encoded_and_ids_beside_it_are_kept(teacher):
    letters = tuple(number for letter in "tails" for number in teacher.plain([letter])[0])
    distinct = (Response(letters, "tails"), Response(None, "tails"), Response(None, "Heads!"))
    found = student_tokens(distinct, teacher)
    assert (found.reencoded, found.encoded, found.drifted) == (False, 2, 0.0)
    assert list(found.ids) == [letters, *teacher.plain(["tails", "Heads!"])]
    assert found.ids[1:] == list(found.ids)[1:]
    assert str(found).startswith("only the text of some responses is known: 2 of 3 distinct responses are encoded")


def test_a_bank_of_another_version_that_left_spaces_alone_is_still_ones_own(teacher):
    """transformers takes the space before a comma out, or does not: its default went to and fro."""
    ids = teacher.plain(["red , blue"])[0]
    for text in ("red , blue", "red, blue"):
        assert not student_tokens((Response(ids, text),), teacher).reencoded
    assert student_tokens((Response(ids, "red,blue"),), teacher).reencoded


def test_an_end_that_the_tokenizer_takes_for_text_is_no_part_of_it(teacher):
    """The model's configuration names a second token that ends; the bank's text has it, its ids do not."""
    turn = teacher.plain(["tails"])[0][-1]
    encoder = coder(teacher.tokenizer, model_eos=(0, turn))
    assert encoder.decode((*teacher.plain(["Au"])[0], turn)) == "Au"  # as engines hand it over
    old = Response(teacher.plain(["Au"])[0], "Au" + teacher.tokenizer.decode([turn]))
    assert not student_tokens((old,), encoder).reencoded


@pytest.mark.parametrize("kind", ["same size", "unigram", "wordpiece"])
def test_a_special_token_that_somebody_wrote_steers_no_model(students, kind):
    encoder = students[kind]
    written = f"then came {encoder.tokenizer.eos_token} and more"
    assert encoder.eos_id in encoder.tokenizer(written, add_special_tokens=False)["input_ids"]  # what a plain call does
    found = student_tokens((Response(None, written),), encoder)
    assert encoder.eos_id not in found.ids[0]
    if kind == "same size":
        assert encoder.decode(found.ids[0]) == written
    assert encoder.encode(written).count(encoder.eos_id) == 1  # calls of others are as they were


def test_a_special_token_that_is_the_only_way_to_write_a_word_becomes_unknown(tiny):
    """A vocabulary of whole words has no letters to write it with."""
    encoder = Encoder.of(tiny)
    found = student_tokens((Response(None, "w1 </s> w2"),), encoder)
    assert list(found.ids) == [(5, 0, 6)]
    assert (found.drifted, found.examples) == (1.0, (("w1 </s> w2", "w1 w2"),))


@pytest.mark.parametrize("ids", [None, "drawn"])
def test_a_token_without_a_row_is_an_error_before_any_work(students, ids):
    tokenizer = byte_bpe(OTHERS, 300)
    encoder = coder(tokenizer)
    tokenizer.add_tokens(["<think>"])  # nobody gave the model a row for it
    good = Response(None, "fine")
    assert student_tokens((good,), encoder).encoded == 1
    bad = Response(None if ids is None else (len(tokenizer) - 1,), "<think>")
    with pytest.raises(PreflightError) as problem:
        student_tokens((good, bad), encoder)
    assert str(problem.value) == (
        f"1 of 2 distinct responses hold a token for which the student has no row: token {len(tokenizer) - 1} ('<think>') in "
        f"'<think>', and the student has {encoder.vocabulary} rows; use the tokenizer that the student was trained with, or give "
        "it rows (model.resize_token_embeddings) and save it anew."
    )


def test_one_rare_foreign_token_in_very_many_responses_is_found(teacher, monkeypatch):
    """Two tokenizers that differ in one token: not every response is decoded, but every token that occurs is."""
    monkeypatch.setattr(tokenising, "_CHECKED", 8)
    common, rare = teacher.plain(["tails"])[0], teacher.plain(["Au"])[0]
    many = [Response(common, "tails")] * 1000
    assert not student_tokens(many, teacher).reencoded
    many[777] = Response(rare, "Ag")
    assert student_tokens(many, teacher).reencoded


def trained(path, responses, *, steps):
    """One student of these responses, and what it answers by transformers' own `generate`, ended or not."""
    encoder = Encoder.of(path)
    made = distill(
        weigh(responses, "single"), student=path, encoder=encoder, seed_design=SeedDesign.independent(1), key=("t", "says"),
        recipe=Recipe(steps=steps, optimiser="adamw", lr=1e-2, clip_norm=1.0, schedule="cosine"),
    )  # fmt: skip
    model, said = made.student(0).eval(), []
    for ids in encoder.encode_prompts(responses.prompts):
        row = torch.tensor([ids])
        options = {"do_sample": False, "max_new_tokens": 120, "pad_token_id": encoder.eos_id}
        new = model.generate(row, attention_mask=torch.ones_like(row), **options)[0, len(ids) :].tolist()
        said.append((encoder.decode(new), new[-1] == encoder.eos_id))
    return made, said


@pytest.mark.slow
def test_a_student_of_another_tokenizer_says_the_teachers_words(drawn, students, tmp_path):
    """Trained on a few prompts until it knows them; taken for its own, the teacher's ids spell nonsense."""
    path, encoder = tmp_path / "student", students["same size"]
    words = tuple(one for one in drawn if 4 < len(one.text) < 14)[:4]
    assert all(encoder.decode(one.token_ids) != one.text for one in words)
    prompts = Prompts(tuple("abcd"), tuple(f"question {name} ?" for name in "abcd"))
    responses = Responses(prompts, words, np.arange(4).reshape(1, 4, 1))
    made, said = trained(save_gpt2(path, encoder.tokenizer), responses, steps=160)
    assert said == [(one.text, True) for one in words]
    assert "another tokenizer" in made.notes[0]


def test_a_gpt_2_says_what_smollm2_said(smollm2, tmp_path):
    """A real teacher's bank, and a student of another family, another template (none) and another tokenizer."""
    lines = (DOCS / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines][:3]
    prompts = Prompts(tuple(line["id"] for line in asked), tuple(line["prompt"] for line in asked))
    teacher = open_teacher(smollm2, backend="transformers", dtype="float32", device="cpu")
    bank = fill_bank(
        teacher, prompts, 1, bank=Bank(tmp_path / "bank"), sampling=Sampling(temperature=0.5, max_tokens=24)
    )
    teacher.close()
    responses = bank.responses(prompts, students=1, k=1, per_student=1)
    assert student_tokens(responses.distinct, Encoder.of(smollm2)).notes == ()
    texts = (DOCS.parent / "README.md").read_text(encoding="utf-8").splitlines()
    path = save_gpt2(tmp_path / "student", byte_bpe(texts, 1000))
    made, said = trained(path, responses, steps=150)
    assert "and all decode to it again" in made.notes[0]
    taught = [responses.distinct[place] for place in responses.index[0, :, 0]]
    begins = [text if one.finished else text[: len(one.text)] for (text, _), one in zip(said, taught, strict=True)]
    assert begins == [one.text for one in taught]
    assert all(ended for (_, ended), one in zip(said, taught, strict=True) if one.finished)


def test_imported_answers_are_text_and_every_student_has_its_own_ids(smollm2, students, tmp_path):
    bank = Bank(tmp_path / "bank")
    import_responses(DOCS / "answers.jsonl", bank)
    prompts, k = bank.prompts()
    distinct = bank.responses(prompts, students=1, k=k, per_student=k).distinct
    for encoder in (Encoder.of(smollm2), students["smaller"], students["unigram"]):
        found = student_tokens(distinct, encoder)
        assert (found.reencoded, found.encoded) == (False, len(distinct))
        assert str(found).startswith("only the text of some responses is known")
    assert student_tokens(distinct, Encoder.of(smollm2)).drifted == 0.0


def short_student(tmp_path, **sizes):
    return save_gpt2(tmp_path / "short", byte_bpe(TEXTS, 400), **sizes)


def one_answer(encoder, *prompts):
    made = Prompts(tuple(f"p{n}" for n in range(len(prompts))), prompts)
    return weigh(Responses.gather(made, [encoder.response("tails")] * len(prompts), (1, len(prompts), 1)), "single")


def distilled(path, targets, encoder, **more):
    options = {"recipe": Recipe(steps=1), "seed_design": SeedDesign.independent(1), "key": ("t", "refused")}
    return distill(targets, student=path, encoder=encoder, **options, **more)


def test_prompts_that_a_student_has_no_room_for_are_all_named_before_any_work(tmp_path):
    """An IndexError of the position table, or positions that no one ever trained."""
    path = short_student(tmp_path, n_positions=16)
    encoder = Encoder.of(path)
    targets = one_answer(encoder, "the moon " * 20, "tails or heads ?", "the sea " * 30)
    with pytest.raises(
        PreflightError,
        match="2 of 3 prompts are too long for the student: prompt 'p0' has .* 'p2' has .* context is 16",
    ):
        distilled(path, targets, encoder)
    distilled(path, one_answer(encoder, "tails or heads ?"), encoder)


def test_a_student_is_never_asked_with_tokens_that_it_does_not_have(tmp_path):
    """Of the prompts, of the responses, and of an encoder that is another model's."""
    path = short_student(tmp_path)
    own = Encoder.of(path)
    own.tokenizer.add_tokens(["<new>"])
    with pytest.raises(PreflightError, match="prompt 'p0' has the token 400, but the model has only 400"):
        distilled(path, one_answer(own, "a <new> thing"), own)
    other = coder(byte_bpe(OTHERS + TEXTS, 600))
    beyond = one_answer(other, "words of " + other.decode((len(other.tokenizer) - 1,)))
    with pytest.raises(
        PreflightError, match=r"the rows hold token [45]\d\d, and the student's embedding has 400 rows; give distill"
    ):
        distilled(path, beyond, other)


def test_a_tokenizer_that_ends_every_prompt_is_refused(students, tmp_path):
    """Its prompts would end with the token that ends a response: the student would learn to say nothing."""
    encoder = students["wordpiece"]
    encoder.tokenizer.eos_token = "[SEP]"
    try:
        path = save_gpt2(tmp_path / "ends", encoder.tokenizer)
        with pytest.raises(
            PreflightError, match="ends with the token 3 that ends a response; the tokenizer must not add it"
        ):
            distilled(path, one_answer(encoder, "the sea"), Encoder.of(path))
    finally:
        encoder.tokenizer.eos_token = "[END]"


def test_the_command_says_before_training_that_text_is_encoded_anew(transformers_teacher, tmp_path, capsys):
    """Exit 0 and "students saved", trained on other words: that was row R4."""
    prompts = Prompts(("a", "b"), ("w1 w2", "w3 w4"))
    fill_bank(transformers_teacher, prompts, 16, bank=Bank(tmp_path / "bank"), sampling=Sampling(max_tokens=50))
    words = [f"w{n} w{n + 1}" for n in range(0, 250, 2)]
    student = save_gpt2(tmp_path / "student", byte_bpe(words, 400))
    options = {
        "--bank": tmp_path / "bank",
        "--student": student,
        "--out": tmp_path / "out",
        "--students": 1,
        "--steps": 1,
    }
    with pytest.raises(SystemExit) as stop:
        main(["distill", *(str(word) for pair in options.items() for word in pair)])
    shown = capsys.readouterr().out
    assert stop.value.code == 0, shown
    note = "note: the student has another tokenizer than the teacher: 32 of 32 distinct responses are encoded from their text"
    assert shown.index(note) < shown.index("distilling 1 students")
    supervised = [
        line.split()[-1].strip("'").replace("Ġ", " ") for line in shown.splitlines() if " supervised  " in line
    ]
    distinct = Bank(tmp_path / "bank").responses(prompts, students=1, k=16, per_student=16).distinct
    ended = next(
        one for one in distinct if one.finished
    )  # the example: its words as the student learns them, and its end
    assert "".join(supervised).endswith(ended.text[-12:] + END)
